//! Step `ca`: the bottle's certificate, alone in its file and appended to the system bundle.
//!
//! Appended instead of running `update-ca-certificates`, which takes one to two seconds (measured).

use std::io::Write;
use std::path::Path;

use super::{Archive, HostFileError, Owner};
use crate::plan::members::{CA_BUNDLE_PATH, CA_CERT_PATH};

/// Adds both files. `bundle` is the image's own bundle, without any bottle's certificate.
///
/// # Errors
/// The archive's writer failed.
pub fn add<W: Write>(
    archive: &mut Archive<W>,
    certificate: &str,
    bundle: &[u8],
) -> Result<(), HostFileError> {
    let mut both = bundle.to_vec();
    if !both.ends_with(b"\n") && !both.is_empty() {
        both.push(b'\n');
    }
    both.extend_from_slice(certificate.as_bytes());
    for (path, content) in [(CA_CERT_PATH, certificate.as_bytes()), (CA_BUNDLE_PATH, both.as_slice())] {
        let path = Path::new(path);
        archive.file(path, 0o644, Owner::Root, content).map_err(HostFileError::at(path))?;
    }
    Ok(())
}
