//! The journal of a bottle: its events and its tree on disk, so that other processes can see them, and the
//! post-mortem that stays after an escalation.
//!
//! Nothing depends on it: a disk that is full mutes the journal and stops no bottle (the audit file is another
//! matter). It holds no secret. Why files: `docs/design/2026-11-23-journal-on-disk.md`. The reading side is [`read`];
//! [`prune`] removes what dead owners left.
//!
//! ```text
//! <state_dir>/bottles/<bottle id>/owner           whose journal it is, from the first moment
//!                                /tree.json       the last tree, replaced as a whole
//!                                /events.jsonl    one event a line; at 4 MiB it becomes events.1.jsonl
//! <state_dir>/post-mortem/<time>-<slug>-<bottle id>.json      the newest 50
//! ```

mod bounds;
mod bundles;
mod files;
mod log;
mod prune;
pub mod read;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::egress::AuditVerdict;
use crate::ids::{BottleId, Slug};
use crate::messages::{BottleEvent, BottleTree, EventRecord, PostMortem};
use crate::plan::spec::Ownership;
use log::EventLog;

pub use prune::prune;

/// From this size on the events file makes room for a new one.
const ROTATE_BYTES: u64 = 4 << 20;
/// How many events are remembered in memory.
const REMEMBERED: usize = 256;
/// How many of those may be egress decisions: an agent makes as many as it likes.
const REMEMBERED_DENIED: usize = 64;
/// Denied decisions that are noted in one [`DENIED_WINDOW`]; the audit file has all.
const DENIED_PER_WINDOW: u32 = 30;
const DENIED_WINDOW: Duration = Duration::from_secs(10);
/// A disk that failed, or was slow, is left alone for this long.
const PAUSE: Duration = Duration::from_secs(10);
/// A disk that takes longer for one line is slow: whoever writes waits for it.
const SLOW: Duration = Duration::from_millis(500);

/// An open journal. Its methods never fail and never wait long: a disk that fails or dawdles is left alone for a while,
/// and what happened meanwhile is written afterwards as far as it is remembered.
#[derive(Debug)]
pub struct Journal {
    bottle: BottleId,
    slug: Slug,
    seq: u64,
    /// The last events, oldest first.
    recent: VecDeque<EventRecord>,
    /// Since when, and how many denied decisions were noted since.
    denied: Option<(Instant, u32)>,
    disk: Option<Disk>,
}

/// What the journal has on disk.
#[derive(Debug)]
struct Disk {
    state_dir: PathBuf,
    ownership: Ownership,
    /// `None` until it could be opened.
    log: Option<EventLog>,
    /// Events up to this one are in the file.
    written: u64,
    /// The tree that is in the file.
    tree: Vec<u8>,
    /// The tree that should be.
    wanted_tree: Vec<u8>,
    /// Nothing is tried before this moment.
    muted: Option<Instant>,
    /// The trouble has been told.
    told: bool,
    /// The bottle is gone, and so are its files.
    closed: bool,
    rotate_bytes: u64,
    pause: Duration,
}

/// The time now as events, trees and post-mortems tell it: RFC 3339, UTC, milliseconds.
pub fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

impl Journal {
    /// No files: for tests and bottles without a state directory.
    pub fn none() -> Self {
        Self::with_disk(BottleId::new(""), Slug::new(""), None)
    }

    /// Opens the journal of a bottle under `state_dir/bottles/<id>`; what cannot be opened is mute.
    ///
    /// Where there is one already, of this owner's earlier supervisor or of another owner, it is continued.
    pub fn open(state_dir: &Path, ownership: &Ownership) -> Self {
        Self::open_with(state_dir, ownership, ROTATE_BYTES, PAUSE)
    }

    fn open_with(state_dir: &Path, ownership: &Ownership, rotate_bytes: u64, pause: Duration) -> Self {
        let disk = Disk {
            state_dir: state_dir.to_owned(),
            ownership: ownership.clone(),
            log: None,
            written: 0,
            tree: Vec::new(),
            wanted_tree: Vec::new(),
            muted: None,
            told: false,
            closed: false,
            rotate_bytes,
            pause,
        };
        let mut journal = Self::with_disk(ownership.bottle.clone(), ownership.slug.clone(), Some(disk));
        journal.recent = log::remembered(state_dir, &ownership.bottle, REMEMBERED).into();
        journal.seq = journal.recent.iter().map(|record| record.seq).max().unwrap_or(0);
        if let Some(disk) = &mut journal.disk {
            disk.written = journal.seq;
            disk.sync(&journal.recent);
        }
        journal
    }

    fn with_disk(bottle: BottleId, slug: Slug, disk: Option<Disk>) -> Self {
        Self { bottle, slug, seq: 0, recent: VecDeque::new(), denied: None, disk }
    }

    /// Where a bottle's files lie.
    pub fn dir(state_dir: &Path, bottle: &BottleId) -> PathBuf {
        files::bottles_dir(state_dir).join(bottle.as_str())
    }

    /// Appends an event.
    ///
    /// Of egress decisions only those that refused something, and not the runtime's own probes; when there are many at
    /// once only the first ones. The audit file has all.
    pub fn event(&mut self, event: &BottleEvent) {
        if !self.is_noted(event) {
            return;
        }
        self.seq += 1;
        let record = EventRecord {
            time: now(),
            seq: self.seq,
            bottle: self.bottle.clone(),
            slug: self.slug.clone(),
            event: bounds::event(event),
        };
        self.remember(record);
        if let Some(disk) = &mut self.disk {
            disk.sync(&self.recent);
        }
    }

    /// Replaces the tree. The same tree again costs nothing.
    pub fn tree(&mut self, tree: &BottleTree) {
        let Some(disk) = &mut self.disk else { return };
        disk.wanted_tree = serde_json::to_vec(&bounds::tree(tree)).unwrap_or_default();
        disk.sync(&self.recent);
    }

    /// The last events, oldest first, at most `n`; of those at most 256 that are remembered.
    pub fn last_events(&self, n: usize) -> Vec<EventRecord> {
        self.recent.iter().skip(self.recent.len().saturating_sub(n)).cloned().collect()
    }

    /// Writes the post-mortem bundle; it outlives the bottle. The newest 50 of all bottles are kept.
    pub fn post_mortem(&mut self, bundle: &PostMortem) {
        let Some(disk) = &self.disk else { return };
        // Also while the disk is left alone: there is no second chance.
        match bundles::write(&disk.state_dir, bundle) {
            Ok(path) => {
                tracing::info!(bottle = %self.bottle, path = %path.display(), "post-mortem written");
            }
            Err(error) => tracing::warn!(bottle = %self.bottle, %error, "the post-mortem cannot be written"),
        }
    }

    /// The bottle is gone: its files go, except a post-mortem. Safe to repeat; events are only remembered from now on.
    pub fn close(&mut self) {
        if let Some(disk) = &mut self.disk {
            disk.close();
        }
    }

    fn is_noted(&mut self, event: &BottleEvent) -> bool {
        let BottleEvent::Audited(record) = event else { return true };
        let refused = matches!(record.verdict, AuditVerdict::Deny | AuditVerdict::Unavailable);
        if !refused || record.probe {
            return false;
        }
        let now = Instant::now();
        let fresh = |since: &Instant| now.duration_since(*since) < DENIED_WINDOW;
        let (since, count) = self.denied.filter(|(since, _)| fresh(since)).unwrap_or((now, 0));
        self.denied = Some((since, count.saturating_add(1)));
        count < DENIED_PER_WINDOW
    }

    /// Decisions make room for decisions before anything else does.
    fn remember(&mut self, record: EventRecord) {
        let is_decision = |record: &EventRecord| matches!(record.event, BottleEvent::Audited(_));
        let decisions = self.recent.iter().filter(|record| is_decision(record)).count();
        if is_decision(&record)
            && decisions >= REMEMBERED_DENIED
            && let Some(oldest) = self.recent.iter().position(is_decision)
        {
            self.recent.remove(oldest);
        }
        self.recent.push_back(record);
        if self.recent.len() > REMEMBERED {
            self.recent.pop_front();
        }
    }
}

impl Disk {
    /// Brings the files up to what is known, or mutes itself for a while.
    fn sync(&mut self, recent: &VecDeque<EventRecord>) {
        let begun = Instant::now();
        if self.closed || self.muted.is_some_and(|until| begun < until) {
            return;
        }
        match self.try_sync(recent) {
            Ok(()) if begun.elapsed() > SLOW => self.mute(&io::Error::from(io::ErrorKind::TimedOut)),
            Ok(()) => {
                self.muted = None;
                if std::mem::take(&mut self.told) {
                    tracing::info!(bottle = %self.ownership.bottle, "the journal is written again");
                }
            }
            Err(error) => self.mute(&error),
        }
    }

    fn mute(&mut self, error: &io::Error) {
        self.muted = Instant::now().checked_add(self.pause);
        // A file that was removed by an outside hand is made again.
        self.log = None;
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(bottle = %self.ownership.bottle, %error, "the journal cannot be written; the bottle goes on");
        }
    }

    fn try_sync(&mut self, recent: &VecDeque<EventRecord>) -> io::Result<()> {
        let dir = Journal::dir(&self.state_dir, &self.ownership.bottle);
        let log = match &mut self.log {
            Some(log) => log,
            none => {
                if !files::is_safe(&self.ownership.bottle) {
                    return Err(io::Error::other("the bottle's id cannot be the name of a directory"));
                }
                files::make_dir(&dir)?;
                files::replace(&dir.join(files::OWNER), self.ownership.owner.as_str().as_bytes())?;
                none.insert(EventLog::open(&dir, self.rotate_bytes)?)
            }
        };
        let written = self.written;
        for record in recent.iter().filter(|record| record.seq > written) {
            log.append(record)?;
            self.written = record.seq;
        }
        if self.tree != self.wanted_tree {
            files::replace(&dir.join(files::TREE), &self.wanted_tree)?;
            self.tree.clone_from(&self.wanted_tree);
        }
        Ok(())
    }

    fn close(&mut self) {
        if std::mem::replace(&mut self.closed, true) || !files::is_safe(&self.ownership.bottle) {
            return;
        }
        self.log = None;
        match std::fs::remove_dir_all(Journal::dir(&self.state_dir, &self.ownership.bottle)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(bottle = %self.ownership.bottle, %error, "the journal cannot be removed; cleanup does it");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod disk_tests;
#[cfg(test)]
mod tests;
