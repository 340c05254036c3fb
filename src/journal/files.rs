//! Files of the journal: where they lie, how they are written so that a reader never sees half of one, and how they
//! are opened so that nothing in their place can block or mislead a reader.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::ids::BottleId;

/// Events of a bottle, the newest.
pub(super) const EVENTS: &str = "events.jsonl";
/// Events before those.
pub(super) const OLDER_EVENTS: &str = "events.1.jsonl";
/// The supervision tree.
pub(super) const TREE: &str = "tree.json";
/// Whose journal it is; there from the first moment, before there is a tree.
pub(super) const OWNER: &str = "owner";
/// Longest name of a journal's directory that is taken for one.
const LONGEST_ID: usize = 64;

/// The directory of all journals.
pub(super) fn bottles_dir(state_dir: &Path) -> PathBuf {
    state_dir.join("bottles")
}

/// The directory of all post-mortems.
pub(super) fn post_mortem_dir(state_dir: &Path) -> PathBuf {
    state_dir.join("post-mortem")
}

/// Whether a bottle's id can be the name of a directory. An id of ours is 16 hex digits; an embedder's may be another
/// word, but never a path.
pub(super) fn is_safe(id: &BottleId) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=LONGEST_ID).contains(&id.as_str().len()) && id.as_str().chars().all(word)
}

/// Makes a directory and those above it, for this user alone.
pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Opens a file of this user alone for appending; its size beside it.
pub(super) fn append_to(path: &Path) -> io::Result<(File, u64)> {
    let file =
        OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(safe_flags()).open(path)?;
    let size = regular(&file)?;
    Ok((file, size))
}

/// Puts a whole file in the place of another, in one step. Without fsync: after a power cut nobody needs it.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = temporary(path);
    let written = write_new(&temporary, content).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// Where a file is written before it has its name. Starts with a dot, so that no reader takes it for one.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.tmp"))
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(safe_flags());
    let mut file = options.open(path)?;
    regular(&file)?;
    file.write_all(content)
}

/// Opens a file for reading.
///
/// # Errors
/// Besides the usual: it is a link, a pipe or a directory.
pub(super) fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().read(true).custom_flags(safe_flags()).open(path)?;
    let size = regular(&file)?;
    Ok((file, size))
}

/// What tells two files apart, whatever their names are.
pub(super) fn identity(file: &File) -> Option<(u64, u64)> {
    file.metadata().ok().map(|meta| (meta.dev(), meta.ino()))
}

/// The same of a path; `None` when there is none.
pub(super) fn identity_at(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// No link is followed, and a pipe does not wait for its other end.
fn safe_flags() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()
}

fn regular(file: &File) -> io::Result<u64> {
    let meta = file.metadata()?;
    if meta.is_file() { Ok(meta.len()) } else { Err(io::Error::other("it is not a regular file")) }
}
