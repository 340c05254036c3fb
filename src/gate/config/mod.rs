//! The configuration file: pipelock's YAML, read strictly.
//!
//! `file` is the shape of the part that means something here, [`inert`] the shape of the part that does not (a
//! tunnel is never opened, so nothing scans responses). A key in neither is an error that names it. A switch that
//! would loosen the gate, or turn on a protection that this engine lacks, is an error too: see `load`.

pub mod file;
pub mod inert;
mod load;
mod validate;

pub use load::{Source, read};

/// Policies for the tests of other modules.
#[cfg(test)]
pub(crate) mod tests_support {
    use crate::gate::policy::Policy;

    /// Parses a file that has to be valid.
    pub(crate) fn policy(yaml: &str) -> Policy {
        super::load::parse(yaml.as_bytes(), std::path::Path::new(".")).unwrap()
    }
}
