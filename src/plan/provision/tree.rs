//! A directory tree of the host as tar entries, safe against hostile trees.
//!
//! Links are copied as links and never followed, also not when they appear while we read (`O_NOFOLLOW`).
//! Devices, sockets and pipes are left out and reported. Memory does not grow with the size of files.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Archive, HostFileError, Owner};

/// Something that does not go into a bottle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Where it lies on the host.
    pub path: PathBuf,
    /// What it is.
    pub what: &'static str,
}

/// Adds everything below `from` under `to`, owned by the agent.
///
/// # Errors
/// A directory or file cannot be read. One that vanishes while we read is left out and reported.
pub fn add<W: Write>(
    archive: &mut Archive<W>,
    from: &Path,
    to: &Path,
) -> Result<Vec<Skipped>, HostFileError> {
    let mut skipped = Vec::new();
    let mut waiting = vec![(from.to_owned(), to.to_owned())];
    while let Some((source, target)) = waiting.pop() {
        let meta = match fs::symlink_metadata(&source) {
            Ok(meta) => meta,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && source != from => {
                skipped.push(Skipped { path: source, what: "vanished" });
                continue;
            }
            Err(error) => return Err(HostFileError::at(&source)(error)),
        };
        if meta.is_dir() {
            archive
                .dir(&target, meta.permissions().mode(), Owner::Agent)
                .map_err(HostFileError::at(&source))?;
            let mut names: Vec<_> = fs::read_dir(&source)
                .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
                .map_err(HostFileError::at(&source))?
                .into_iter()
                .map(|entry| entry.file_name())
                .collect();
            // Popped from the end: reverse order gives a sorted archive.
            names.sort_by(|a, b| b.cmp(a));
            waiting.extend(names.into_iter().map(|name| (source.join(&name), target.join(&name))));
        } else if meta.is_symlink() {
            let link = fs::read_link(&source).map_err(HostFileError::at(&source))?;
            archive.symlink(&target, &link, Owner::Agent).map_err(HostFileError::at(&source))?;
        } else if meta.is_file() {
            match open(&source).and_then(|file| Ok((file.metadata()?, file))) {
                Ok((now, file)) if now.is_file() => {
                    archive
                        .file_from(&target, now.mode(), Owner::Agent, now.len(), file)
                        .map_err(HostFileError::at(&source))?;
                }
                Ok(_) => skipped.push(Skipped { path: source, what: "changed while it was read" }),
                Err(error) => return Err(HostFileError::at(&source)(error)),
            }
        } else {
            skipped.push(Skipped { path: source, what: "device, socket or pipe" });
        }
    }
    Ok(skipped)
}

/// Opens a file without following a link and without waiting on a pipe that took its place.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

#[cfg(test)]
mod tests;
