//! The reading side of the journal: trees, events and post-mortems of all bottles of a state directory, whoever owns
//! them.
//!
//! Nothing on disk is trusted. A file may be truncated, huge, of another version, something else than a file, or gone
//! since it was listed; each of these is a [`ReadError`] of that file alone, and a line of events that cannot be
//! understood is skipped. Texts may come from inside containers: escape them before they reach a terminal.

mod follow;
mod tail;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::{Journal, bundles, files};
use crate::ids::{BottleId, OwnerId};
use crate::messages::{BottleTree, PostMortem};

pub use super::bundles::PostMortemFile;
pub use follow::Follow;

/// Largest tree that is read.
const TREE_BYTES: u64 = 4 << 20;
/// Largest post-mortem that is read.
const POST_MORTEM_BYTES: u64 = 64 << 20;
/// Largest file that names an owner.
const OWNER_BYTES: u64 = 256;
/// Most journals that are listed.
const BOTTLES: usize = 4096;

/// Why a file of the journal could not be read. Reads after "failed to".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is not there (any more), is no plain file, or the disk failed.
    #[error("read {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is larger than anything that is written here.
    #[error("read {}: {size} bytes are more than {limit}", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Its size.
        size: u64,
        /// What is allowed.
        limit: u64,
    },
    /// It is truncated, corrupt or of another version.
    #[error("understand {}", path.display())]
    Invalid {
        /// Which.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// It speaks of another bottle than the one whose directory it lies in.
    #[error("understand {}: it is of bottle {found:?}", path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
        /// Whose it says it is.
        found: BottleId,
    },
}

impl ReadError {
    /// Whether the file is just not there: never written, or gone with its bottle.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// One journal of a state directory.
#[derive(Debug)]
pub struct Entry {
    /// Whose.
    pub bottle: BottleId,
    /// The runtime that writes it. When its lease is dead, nobody cares for the bottle.
    pub owner: Option<OwnerId>,
    /// Its tree.
    pub tree: Result<BottleTree, ReadError>,
}

/// All journals, by id. A bottle whose launch has just begun has no tree yet.
///
/// # Errors
/// The directory exists but cannot be read. What is wrong with one journal is in its entry.
pub fn bottles(state_dir: &Path) -> Result<Vec<Entry>, ReadError> {
    let entry = |bottle: BottleId| {
        let owner = owner(state_dir, &bottle);
        let tree = tree(state_dir, &bottle);
        Entry { owner: owner.or_else(|| tree.as_ref().ok().map(|tree| tree.owner.clone())), tree, bottle }
    };
    Ok(ids(state_dir)?.into_iter().map(entry).collect())
}

/// The tree of one bottle.
///
/// # Errors
/// See [`ReadError`].
pub fn tree(state_dir: &Path, bottle: &BottleId) -> Result<BottleTree, ReadError> {
    let path = Journal::dir(state_dir, bottle).join(files::TREE);
    if !files::is_safe(bottle) {
        return Err(ReadError::Io { path, source: io::ErrorKind::NotFound.into() });
    }
    let tree: BottleTree = json(&path, TREE_BYTES)?;
    if tree.bottle == *bottle { Ok(tree) } else { Err(ReadError::Foreign { path, found: tree.bottle }) }
}

/// The post-mortems that are kept, newest first. Only their names are looked at.
///
/// # Errors
/// The directory exists but cannot be read.
pub fn post_mortems(state_dir: &Path) -> Result<Vec<PostMortemFile>, ReadError> {
    let dir = files::post_mortem_dir(state_dir);
    or_empty(bundles::list(&dir), &dir)
}

/// A post-mortem.
///
/// # Errors
/// See [`ReadError`].
pub fn post_mortem(file: &PostMortemFile) -> Result<PostMortem, ReadError> {
    json(&file.path, POST_MORTEM_BYTES)
}

/// The runtime that writes a journal.
pub(super) fn owner(state_dir: &Path, bottle: &BottleId) -> Option<OwnerId> {
    let text = bytes(&Journal::dir(state_dir, bottle).join(files::OWNER), OWNER_BYTES).ok()?;
    let text = String::from_utf8(text).ok()?;
    files::is_safe(&BottleId::from(text.as_str())).then(|| OwnerId::new(text))
}

/// The directories that can be journals, sorted.
pub(super) fn ids(state_dir: &Path) -> Result<Vec<BottleId>, ReadError> {
    let dir = files::bottles_dir(state_dir);
    let list = || {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            let id = entry.file_name().into_string().map(BottleId::new).ok().filter(files::is_safe);
            // Gone since: then it is no journal any more.
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            found.extend(id.filter(|_| is_dir));
            if found.len() == BOTTLES {
                tracing::warn!(dir = %dir.display(), "there are more journals than are looked at");
                break;
            }
        }
        found.sort();
        Ok(found)
    };
    or_empty(list(), &dir)
}

fn or_empty<T>(list: io::Result<Vec<T>>, dir: &Path) -> Result<Vec<T>, ReadError> {
    match list {
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        list => list.map_err(|source| ReadError::Io { path: dir.to_owned(), source }),
    }
}

fn json<T: DeserializeOwned>(path: &Path, limit: u64) -> Result<T, ReadError> {
    let text = bytes(path, limit)?;
    serde_json::from_slice(&text).map_err(|source| ReadError::Invalid { path: path.to_owned(), source })
}

/// A whole file; it may grow while it is read, so the limit holds for what is read too.
fn bytes(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    let failed = |source| ReadError::Io { path: path.to_owned(), source };
    let (file, size) = files::open(path).map_err(failed)?;
    let mut content = Vec::new();
    if size <= limit {
        file.take(limit + 1).read_to_end(&mut content).map_err(failed)?;
    }
    let size = size.max(content.len() as u64);
    if size > limit { Err(ReadError::TooLarge { path: path.to_owned(), size, limit }) } else { Ok(content) }
}

#[cfg(test)]
mod tests;
