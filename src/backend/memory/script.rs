//! What scripted processes do: members with a script by role, small programs by name, hooks for the rest.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;

use super::super::streams::Output;
use crate::egress::ProbeChecks;
use crate::plan::spec::MemberSpec;

/// The future of a process: its exit code.
pub(super) type Process = Pin<Box<dyn Future<Output = i64> + Send>>;
/// Where a process's output goes.
pub(super) type Emit = Arc<dyn Fn(Output) + Send + Sync>;

/// Standard input as a scripted process sees it.
pub(super) struct Input {
    pieces: UnboundedReceiver<Bytes>,
    rest: Vec<u8>,
}

impl Input {
    pub(super) fn new(pieces: UnboundedReceiver<Bytes>) -> Self {
        Self { pieces, rest: Vec::new() }
    }

    /// The next piece; `None` at the end.
    pub(super) async fn piece(&mut self) -> Option<Bytes> {
        if self.rest.is_empty() {
            return self.pieces.recv().await;
        }
        Some(std::mem::take(&mut self.rest).into())
    }

    /// The next line without its end; `None` at the end.
    pub(super) async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            match self.pieces.recv().await {
                Some(piece) => self.rest.extend_from_slice(&piece),
                None if self.rest.is_empty() => return None,
                None => return Some(String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned()),
            }
        }
    }
}

/// A scripted member's view of itself.
pub struct ScriptIo {
    /// The specification it was created from.
    pub spec: MemberSpec,
    pub(super) input: Input,
    pub(super) emit: Emit,
}

impl fmt::Debug for ScriptIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptIo").field("role", &self.spec.role).finish_non_exhaustive()
    }
}

impl ScriptIo {
    /// The next line of standard input; `None` at its end.
    pub async fn line(&mut self) -> Option<String> {
        self.input.line().await
    }

    /// Prints a line on standard output.
    pub fn print(&self, line: &str) {
        (self.emit)(Output::Stdout(format!("{line}\n").into()));
    }

    /// Prints a line on standard error.
    pub fn print_error(&self, line: &str) {
        (self.emit)(Output::Stderr(format!("{line}\n").into()));
    }
}

/// What the members of a role do when their command is not one of the known programs.
#[derive(Clone)]
pub struct MemberScript(Arc<dyn Fn(ScriptIo) -> Process + Send + Sync>);

impl fmt::Debug for MemberScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemberScript(…)")
    }
}

impl MemberScript {
    /// A script as an async function; its value is the member's exit code.
    pub fn new<F>(script: impl Fn(ScriptIo) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = i64> + Send + 'static,
    {
        Self(Arc::new(move |io| Box::pin(script(io))))
    }

    /// Answers each line of standard input with lines of standard output; runs until it is stopped.
    pub fn answering(answer: impl Fn(&str) -> Vec<String> + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        Self::new(move |mut io| {
            let answer = answer.clone();
            async move {
                while let Some(line) = io.line().await {
                    for reply in answer(&line) {
                        io.print(&reply);
                    }
                }
                std::future::pending().await
            }
        })
    }

    /// Runs in silence until it is stopped.
    pub fn idle() -> Self {
        Self::new(|_| std::future::pending())
    }

    /// mitmproxy's control channel: a configuration line is answered by `ready`, a probe by its success, a ping
    /// by its pong.
    pub fn mitmproxy() -> Self {
        Self::answering(Self::mitmproxy_answers())
    }

    /// What mitmproxy's addon answers to one line: for scripts that differ from it in a point.
    pub fn mitmproxy_answers() -> impl Fn(&str) -> Vec<String> + Clone + Send + Sync + 'static {
        |line| {
            let message: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            let reply = match message.get("op").and_then(|op| op.as_str()) {
                Some("probe") => serde_json::json!({
                    "event": "probe", "id": message["id"], "ok": true, "detail": "", "ms": 1,
                    "checks": ProbeChecks {
                        gate_health: true,
                        gate_refuses: true,
                        scan_denies: true,
                        proxy_denies: true,
                        proxy_allows: true,
                    },
                }),
                Some("ping") => serde_json::json!({ "event": "pong", "id": message["id"] }),
                Some(_) => return Vec::new(),
                None => serde_json::json!({ "event": "ready" }),
            };
            vec![reply.to_string()]
        }
    }

    pub(super) fn run(&self, io: ScriptIo) -> Process {
        (self.0)(io)
    }
}

/// What a hooked command prints and returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecAnswer {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Exit code.
    pub code: i64,
}

/// Answers commands that no built-in program answers; `None` leaves them to the built-in programs.
pub type CommandHook = Arc<dyn Fn(&MemberSpec, &[String]) -> Option<ExecAnswer> + Send + Sync>;
