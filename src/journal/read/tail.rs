//! [`Tail`]: the events of one bottle in order, across the files that take turns, as far as they are written.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};

use super::super::Journal;
use super::super::files::{self, EVENTS, OLDER_EVENTS};
use crate::ids::BottleId;
use crate::messages::EventRecord;

/// A longer line is no event; it is skipped without being kept.
const LINE_BYTES: usize = 1 << 20;
/// Read at once.
const CHUNK_BYTES: u64 = 64 << 10;

/// What a look gave.
#[derive(Debug)]
pub(super) enum Look {
    /// The next event.
    Event(Box<EventRecord>),
    /// Nothing more for now.
    End,
    /// Nothing more ever: the files are gone and what was open has been read.
    Gone,
}

/// A place in the events of one bottle.
#[derive(Debug)]
pub(super) struct Tail {
    bottle: BottleId,
    dir: PathBuf,
    /// The file being read, and what tells it apart from the one that has its name later.
    open: Option<(File, (u64, u64))>,
    /// How much of it has been read.
    position: u64,
    /// What was read last, and a line that has begun before.
    rest: Vec<u8>,
    /// Up to here its lines have been given.
    given: usize,
    /// Up to here it has been searched for a line's end.
    searched: usize,
    /// Within a line that is too long.
    skipping: bool,
    /// The file is not the current one any more; it may have grown just before.
    last_look: bool,
    /// Lines that could not be understood.
    pub(super) skipped: u64,
}

impl Tail {
    /// From the oldest event on.
    pub(super) fn new(state_dir: &Path, bottle: &BottleId) -> Self {
        Self {
            bottle: bottle.clone(),
            dir: Journal::dir(state_dir, bottle),
            open: None,
            position: 0,
            rest: Vec::new(),
            given: 0,
            searched: 0,
            skipping: false,
            last_look: false,
            skipped: 0,
        }
    }

    /// The next event that is there.
    pub(super) fn look(&mut self) -> Look {
        loop {
            if let Some(line) = self.line() {
                match serde_json::from_slice::<EventRecord>(&line) {
                    Ok(record) if record.bottle == self.bottle => return Look::Event(Box::new(record)),
                    _ if line.iter().all(u8::is_ascii_whitespace) => {}
                    _ => self.skip(),
                }
                continue;
            }
            if self.read() {
                continue;
            }
            match self.change() {
                Change::None => return Look::End,
                Change::Gone => return Look::Gone,
                Change::Look => {}
            }
        }
    }

    /// A whole line, out of what was read.
    fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            let Some(at) = self.rest[self.searched..].iter().position(|byte| *byte == b'\n') else {
                self.rest.drain(..self.given);
                if self.rest.len() > LINE_BYTES {
                    self.rest = Vec::new();
                    self.skipping = true;
                }
                (self.given, self.searched) = (0, self.rest.len());
                return None;
            };
            let end = self.searched + at;
            let line = self.rest[self.given..end].to_vec();
            (self.given, self.searched) = (end + 1, end + 1);
            if !std::mem::take(&mut self.skipping) {
                return Some(line);
            }
            self.skip();
        }
    }

    fn skip(&mut self) {
        self.skipped += 1;
        if self.skipped == 1 {
            tracing::warn!(bottle = %self.bottle, "the journal has lines that cannot be understood; they are skipped");
        }
    }

    /// Whether there was more.
    fn read(&mut self) -> bool {
        let Some((file, _)) = &mut self.open else { return false };
        let count = file.take(CHUNK_BYTES).read_to_end(&mut self.rest).unwrap_or(0);
        self.position += count as u64;
        count > 0
    }

    /// At the end of a file: is it still the one that is written to?
    fn change(&mut self) -> Change {
        let (older, current) = (self.dir.join(OLDER_EVENTS), self.dir.join(EVENTS));
        let there = files::identity_at(&current);
        let Some((file, mine)) = &mut self.open else {
            // The older one last: a file that took its name just now still holds what comes first.
            let opened = self.open(&current) | self.open(&older);
            return if opened { Change::Look } else { self.end() };
        };
        let mine = *mine;
        if there == Some(mine) {
            if file.metadata().is_ok_and(|meta| meta.len() < self.position) && file.rewind().is_ok() {
                self.begin();
                return Change::Look;
            }
            return Change::None;
        }
        if there.is_none() && self.dir.exists() {
            // Its directory is there, so it is about to be made.
            return Change::None;
        }
        if !std::mem::replace(&mut self.last_look, true) {
            return Change::Look;
        }
        if there.is_none() {
            return Change::Gone;
        }
        let next = match files::identity_at(&older) {
            Some(older_one) if older_one != mine => older,
            _ => current,
        };
        if self.open(&next) { Change::Look } else { Change::None }
    }

    fn end(&self) -> Change {
        if self.dir.exists() { Change::None } else { Change::Gone }
    }

    fn open(&mut self, path: &Path) -> bool {
        let Ok((file, _)) = files::open(path) else { return false };
        let Some(identity) = files::identity(&file) else { return false };
        self.open = Some((file, identity));
        self.begin();
        true
    }

    /// At the first byte of a file. A line without an end, of the file before, has no end.
    fn begin(&mut self) {
        if !self.rest.is_empty() || self.skipping {
            self.skip();
        }
        self.rest = Vec::new();
        (self.given, self.searched, self.position) = (0, 0, 0);
        (self.skipping, self.last_look) = (false, false);
    }
}

enum Change {
    None,
    Look,
    Gone,
}
