//! The bottle's audit file: one JSON line a decision, kept after the bottle is gone.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::egress::AuditRecord;
use crate::ids::BottleId;

/// An open audit file. A bottle without a state directory has none: then decisions are events only.
#[derive(Debug)]
pub struct AuditLog {
    path: Option<PathBuf>,
    /// Closed by a failure; the next line opens it again.
    file: Option<File>,
    /// The last line may be incomplete: the next one starts on a line of its own.
    torn: bool,
}

impl AuditLog {
    /// No file.
    pub fn none() -> Self {
        Self { path: None, file: None, torn: false }
    }

    /// Opens the file of a bottle for appending; makes its directory (mode 0700). Safe to repeat.
    ///
    /// # Errors
    /// The directory or the file cannot be made.
    pub fn open(state_dir: &Path, bottle: &BottleId) -> io::Result<Self> {
        let path = Self::path(state_dir, bottle);
        if let Some(dir) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let file = open(&path)?;
        Ok(Self { path: Some(path), file: Some(file), torn: false })
    }

    /// Where the file of a bottle lies.
    pub fn path(state_dir: &Path, bottle: &BottleId) -> PathBuf {
        state_dir.join("audit").join(format!("{bottle}.jsonl"))
    }

    /// Appends one line in one write, so that lines never mix.
    ///
    /// # Errors
    /// The disk is full, or the file system failed: the caller then closes the egress.
    pub fn append(&mut self, record: &AuditRecord) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut file = match self.file.take() {
            Some(file) => file,
            None => open(path)?,
        };
        let mut line = if self.torn { vec![b'\n'] } else { Vec::new() };
        serde_json::to_writer(&mut line, record)?;
        line.push(b'\n');
        let written = file.write_all(&line);
        self.torn = written.is_err();
        if written.is_ok() {
            self.file = Some(file);
        }
        written
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}
