//! User files → validated [`Manifest`]. Pure but for [`load()`]. See `docs/manifest.md`.
//!
//! `load` reads, `tree` parses and keeps positions, `merge` lays one tree over another, `validate` (with
//! `checker`, `env`, `ssh`, `egress`) builds the model and collects every finding, `error` renders them.

mod checker;
mod egress;
mod env;
mod error;
mod load;
mod merge;
mod model;
mod schema;
mod ssh;
#[cfg(test)]
mod tests;
mod tree;
mod validate;

pub(crate) use checker::nearest;
pub use env::RESERVED as RESERVED_ENV;
pub use error::{Excerpt, Finding, ManifestErrors, render};
pub use load::{FILE_NAME, MAX_BYTES, decode, load, locations};
pub use model::{
    AgentManifest, BottleManifest, CredentialEntry, CredentialSource, DlpAction, EgressLimits,
    EgressManifest, EgressRule, EnvValue, Manifest, ResourcesManifest, Restart, SshEntry,
};
pub use schema::schema;
pub use tree::Source;
pub use validate::{RUNTIME_REMOVED, parse};
