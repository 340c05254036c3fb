//! [`EventLog`]: the file that events are appended to, bounded by two files that take turns.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::Journal;
use super::files::{self, EVENTS, OLDER_EVENTS};
use crate::ids::BottleId;
use crate::messages::EventRecord;

/// How much of the end of a file is looked at when a journal is opened again.
const REMEMBERED_BYTES: u64 = 512 << 10;

/// No bottle has so many events: a number from here on is a broken file, and counting goes on without it.
const IMPOSSIBLE_SEQ: u64 = 1 << 53;

/// An open events file.
#[derive(Debug)]
pub(super) struct EventLog {
    dir: PathBuf,
    file: File,
    size: u64,
    /// The last line may be incomplete: the next one starts on a line of its own.
    torn: bool,
    /// From this size on the file makes room for a new one.
    limit: u64,
}

impl EventLog {
    /// Opens the file in a bottle's directory, which exists.
    pub(super) fn open(dir: &Path, limit: u64) -> io::Result<Self> {
        let (file, size) = files::append_to(&dir.join(EVENTS))?;
        let torn = size > 0 && last_byte(&dir.join(EVENTS), size).is_none_or(|byte| byte != b'\n');
        Ok(Self { dir: dir.to_owned(), file, size, torn, limit })
    }

    /// Appends one line in one write.
    pub(super) fn append(&mut self, record: &EventRecord) -> io::Result<()> {
        if self.size >= self.limit {
            self.rotate()?;
        }
        let mut line = if self.torn { vec![b'\n'] } else { Vec::new() };
        serde_json::to_writer(&mut line, record)?;
        line.push(b'\n');
        let written = self.file.write_all(&line);
        self.torn = written.is_err();
        if written.is_ok() {
            self.size += line.len() as u64;
        }
        written
    }

    /// Readers that have the full file open read it to its end: it only gets another name.
    fn rotate(&mut self) -> io::Result<()> {
        let path = self.dir.join(EVENTS);
        std::fs::rename(&path, self.dir.join(OLDER_EVENTS))?;
        // When the new file cannot be made the old one is appended to by its other name until the next try.
        let (file, size) = files::append_to(&path)?;
        (self.file, self.size, self.torn) = (file, size, false);
        Ok(())
    }
}

/// The last records of a bottle's files, oldest first; what cannot be right is left out.
pub(super) fn remembered(state_dir: &Path, bottle: &BottleId, most: usize) -> Vec<EventRecord> {
    let mut records: Vec<EventRecord> = Vec::new();
    if !files::is_safe(bottle) {
        return records;
    }
    let dir = Journal::dir(state_dir, bottle);
    for name in [OLDER_EVENTS, EVENTS] {
        let text = end_of(&dir.join(name)).unwrap_or_default();
        records
            .extend(text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()));
    }
    records.retain(|record| record.bottle == *bottle && record.seq < IMPOSSIBLE_SEQ);
    records.split_off(records.len().saturating_sub(most))
}

fn end_of(path: &Path) -> io::Result<Vec<u8>> {
    let (mut file, size) = files::open(path)?;
    file.seek(SeekFrom::Start(size.saturating_sub(REMEMBERED_BYTES)))?;
    let mut text = Vec::new();
    file.take(REMEMBERED_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

fn last_byte(path: &Path, size: u64) -> Option<u8> {
    let (mut file, _) = files::open(path).ok()?;
    file.seek(SeekFrom::Start(size - 1)).ok()?;
    let mut byte = [0];
    file.read_exact(&mut byte).ok().map(|()| byte[0])
}
