//! Streams between the runtime and a member: exec, attach, archives, logs.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use tokio::io::AsyncWrite;

use super::BackendResult;
use crate::ids::Secret;
use crate::plan::spec::{ExecUser, TtySize};

/// Bytes with errors, unbounded length, pulled by the reader.
pub type ByteStream = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>;
/// What a process prints, in order within one stream.
pub type OutputStream = Pin<Box<dyn Stream<Item = BackendResult<Output>> + Send>>;
/// Where a process's input goes. Shutdown sends end of file.
pub type InputSink = Pin<Box<dyn AsyncWrite + Send>>;

/// One piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout(Bytes),
    /// Standard error.
    Stderr(Bytes),
    /// A terminal's single stream.
    Console(Bytes),
}

/// Alias used by callers of exec.
pub type ExecOutput = Output;

/// The standard streams of a member's first process.
pub struct MemberIo {
    /// Open when the member has [`StdinMode::Open`](crate::plan::spec::StdinMode).
    pub stdin: Option<InputSink>,
    /// From the moment of attachment on.
    pub output: OutputStream,
    /// Whether the member ran already: nothing was started and no material was written.
    pub found_running: bool,
}

impl fmt::Debug for MemberIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberIo").field("stdin", &self.stdin.is_some()).finish_non_exhaustive()
    }
}

/// A command to run inside a member.
#[derive(Clone, Debug)]
pub struct ExecSpec {
    /// Program and arguments; never a secret (visible in the process list).
    pub argv: Vec<String>,
    /// Added to the member's environment; may hold secrets, is not shown by `inspect`.
    pub env: BTreeMap<String, Secret<String>>,
    /// Working directory; `None` = the member's.
    pub cwd: Option<String>,
    /// As whom.
    pub user: ExecUser,
    /// A terminal of this size; `None` = separate pipes.
    pub tty: Option<TtySize>,
    /// Whether standard input is open.
    pub stdin: bool,
}

impl ExecSpec {
    /// A command with pipes, no input, as the agent user.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            env: BTreeMap::new(),
            cwd: None,
            user: ExecUser::Agent,
            tty: None,
            stdin: false,
        }
    }
}

/// A running command.
pub struct ExecIo {
    /// Present when asked for.
    pub stdin: Option<InputSink>,
    /// Ends when the command and all that inherited its output have ended.
    pub output: OutputStream,
    /// Resize, kill, exit code.
    pub control: Box<dyn ExecControl>,
}

impl fmt::Debug for ExecIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecIo").field("stdin", &self.stdin.is_some()).finish_non_exhaustive()
    }
}

/// The other side of a running command.
#[async_trait]
pub trait ExecControl: Send + Sync {
    /// Changes the terminal's size. Without a terminal: `Denied`.
    async fn resize(&self, size: TtySize) -> BackendResult<()>;

    /// Kills the command and every process it started, also those that left its process group.
    async fn kill(&self) -> BackendResult<()>;

    /// The exit code; call it after the output has ended. `None` while it still runs.
    async fn exit_code(&self) -> BackendResult<Option<i64>>;
}

/// What to read of a member's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on as new lines come.
    pub follow: bool,
    /// Only the last lines; `None` = all.
    pub tail: Option<usize>,
    /// Put the engine's time before each line.
    pub timestamps: bool,
}
