//! A running command as its caller sees it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::backend::{BackendError, ExecControl, Output};
use crate::ids::Slug;
use crate::messages::{ExecEnd, ExecStreams, OperationError};
use crate::plan::spec::TtySize;

/// Bytes of each stream that a captured command keeps.
const CAPTURE_LIMIT_BYTES: usize = 16 * 1024 * 1024;

/// What a captured command left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecResult {
    /// Exit code; 128 + signal where a signal ended it.
    pub code: i64,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Whether output beyond 16 MiB of a stream was dropped.
    pub truncated: bool,
}

impl ExecResult {
    /// Whether the exit code is 0.
    pub fn success(&self) -> bool {
        self.code == 0
    }
}

/// A running command. Dropping it kills the command and everything it started.
#[derive(Debug)]
pub struct ExecSession {
    streams: ExecStreams,
    slug: Slug,
}

impl ExecSession {
    pub(crate) fn new(streams: ExecStreams, slug: Slug) -> Self {
        Self { streams, slug }
    }

    /// Takes the input side. Dropping it sends end of file. `None` when input was not asked for, or taken.
    pub fn take_stdin(&mut self) -> Option<mpsc::Sender<Bytes>> {
        self.streams.stdin.take()
    }

    /// The next piece of output; `None` when the command has closed its output.
    pub async fn next_output(&mut self) -> Option<Output> {
        self.streams.output.recv().await
    }

    /// A control that can be used beside a reader: resize and kill.
    pub fn control(&self) -> Arc<dyn ExecControl> {
        Arc::clone(&self.streams.control)
    }

    /// Tells the terminal its new size.
    ///
    /// # Errors
    /// The command has no terminal, or has ended.
    pub async fn resize(&self, size: TtySize) -> Result<(), BackendError> {
        self.streams.control.resize(size).await
    }

    /// Kills the command and everything it started.
    ///
    /// # Errors
    /// The engine failed.
    pub async fn kill(&self) -> Result<(), BackendError> {
        self.streams.control.kill().await
    }

    /// Waits for the end; output that was not read is dropped.
    ///
    /// # Errors
    /// The engine failed while the command ran, or the bottle was closed.
    pub async fn wait(mut self) -> Result<ExecEnd, OperationError> {
        self.streams.stdin = None;
        while self.streams.output.recv().await.is_some() {}
        self.end().await
    }

    async fn end(self) -> Result<ExecEnd, OperationError> {
        match self.streams.end.await {
            Ok(Ok(ExecEnd::Cancelled)) | Err(_) => Err(OperationError::Closed(self.slug)),
            Ok(end) => Ok(end?),
        }
    }

    /// Collects the output until the end.
    pub(crate) async fn collect(mut self, timeout: Option<Duration>) -> Result<ExecResult, OperationError> {
        self.streams.stdin = None;
        let mut result = ExecResult::default();
        while let Some(piece) = self.streams.output.recv().await {
            let (into, bytes) = match piece {
                Output::Stdout(bytes) | Output::Console(bytes) => (&mut result.stdout, bytes),
                Output::Stderr(bytes) => (&mut result.stderr, bytes),
            };
            let room = CAPTURE_LIMIT_BYTES.saturating_sub(into.len()).min(bytes.len());
            into.extend_from_slice(&bytes[..room]);
            result.truncated |= room < bytes.len();
        }
        match self.end().await? {
            ExecEnd::Exited(code) => Ok(ExecResult { code, ..result }),
            ExecEnd::TimedOut => Err(OperationError::TimedOut {
                after: timeout.unwrap_or_default(),
                stdout: result.stdout,
                stderr: result.stderr,
            }),
            // `end` has turned it into an error already.
            ExecEnd::Cancelled => Ok(result),
        }
    }
}
