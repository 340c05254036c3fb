//! [`Bottle`]: the public handle. Cheap to clone; names the bottle's supervisor only.
//!
//! Every method is a message round trip. Dropping the last clone closes the bottle in the background.

mod claude;
mod session;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;
use tokio::sync::{broadcast, mpsc, watch};

pub use claude::{ClaudeOptions, claude_argv};
pub use session::{ExecResult, ExecSession};

use crate::actors::supervision::{CallError, call};
use crate::backend::{LogOptions, MemberStats, Output};
use crate::ids::{BottleId, Fingerprint, Role, Slug};
use crate::messages::{
    BottleEvent, BottleMsg, BottleStatus, BottleTree, CloseReport, CopyRequest, ExecRequest, OperationError,
};
use crate::plan::LaunchPlan;

/// From a request to its first answer. An exec on a loaded engine takes seconds to start.
const START_DEADLINE: Duration = Duration::from_secs(120);
/// From a request to the end of a copy.
const COPY_DEADLINE: Duration = Duration::from_secs(630);

/// A running bottle.
///
/// ```no_run
/// # async fn example(bottle: bottle::Bottle) -> Result<(), bottle::messages::OperationError> {
/// let result = bottle.exec(bottle::ExecRequest::new(["git", "status"])).await?;
/// println!("{} {}", result.code, String::from_utf8_lossy(&result.stdout));
/// bottle.close().await;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Bottle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    actor: ActorRef<BottleMsg>,
    plan: Arc<LaunchPlan>,
    id: BottleId,
    /// Also keeps the bottle open: its supervisor closes it when no receiver is left.
    status: watch::Receiver<BottleStatus>,
    events: broadcast::Sender<BottleEvent>,
}

impl Bottle {
    pub(crate) fn new(
        actor: ActorRef<BottleMsg>,
        plan: Arc<LaunchPlan>,
        id: BottleId,
        status: watch::Receiver<BottleStatus>,
        events: broadcast::Sender<BottleEvent>,
    ) -> Self {
        Self { inner: Arc::new(Inner { actor, plan, id, status, events }) }
    }

    /// The visible name.
    pub fn slug(&self) -> &Slug {
        self.inner.plan.slug()
    }

    /// The bottle's id, as in its labels.
    pub fn id(&self) -> &BottleId {
        &self.inner.id
    }

    /// The plan it was launched from.
    pub fn plan(&self) -> &LaunchPlan {
        &self.inner.plan
    }

    /// SHA-256 fingerprint of the bottle's certificate authority.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.inner.status.borrow().fingerprint.clone()
    }

    /// Phase word now: launching, ready, degraded, suspended, closing, gone.
    pub fn phase(&self) -> &'static str {
        self.inner.status.borrow().phase
    }

    /// The supervision tree now: what each child is doing, its restarts, since when and why. `None` in the
    /// first moments of a launch.
    pub fn tree(&self) -> Option<Arc<BottleTree>> {
        self.inner.status.borrow().tree.clone()
    }

    /// The bottle as it changes: phase, tree, report. The receiver also keeps the bottle open, as a handle does.
    pub fn watch(&self) -> watch::Receiver<BottleStatus> {
        self.inner.status.clone()
    }

    /// Events from now on. A slow reader misses the oldest (`RecvError::Lagged`).
    pub fn events(&self) -> broadcast::Receiver<BottleEvent> {
        self.inner.events.subscribe()
    }

    /// Runs a command and collects what it prints.
    ///
    /// Keeps at most 16 MiB of each stream and drops the rest ([`ExecResult::truncated`]). Dropping the
    /// future kills the command and everything it started. Not idempotent.
    ///
    /// # Errors
    /// `NotReady` outside the phase ready, `TimedOut` with what was printed so far, `Closed` when the
    /// bottle closes meanwhile, `Backend` when the engine fails.
    pub async fn exec(&self, request: ExecRequest) -> Result<ExecResult, OperationError> {
        let timeout = request.timeout;
        self.exec_stream(request).await?.collect(timeout).await
    }

    /// Starts a command; its streams are the session's. Dropping the session kills the command.
    ///
    /// # Errors
    /// As [`Bottle::exec`].
    pub async fn exec_stream(&self, request: ExecRequest) -> Result<ExecSession, OperationError> {
        let streams = self.ask(START_DEADLINE, |reply| BottleMsg::Exec(request, reply)).await??;
        Ok(ExecSession::new(streams, self.slug().clone()))
    }

    /// Starts Claude Code (or the bottle's own `command`) with the bottle's prompt and the given arguments.
    ///
    /// # Errors
    /// As [`Bottle::exec`].
    pub async fn exec_claude(
        &self,
        args: Vec<String>,
        options: ClaudeOptions,
    ) -> Result<ExecSession, OperationError> {
        let mut request = ExecRequest::new(claude_argv(&self.inner.plan, &args, &options));
        request.tty = options.tty;
        request.stdin = options.stdin;
        self.exec_stream(request).await
    }

    /// Copies a host file or directory into the agent container, with the rules of `docker cp`.
    ///
    /// Streams; missing parents are created, existing files replaced; what arrives belongs to the agent
    /// user. Links inside are copied as links. Dropping the future does not undo a copy that has begun.
    /// Safe to repeat.
    ///
    /// # Errors
    /// `Host` for the host's side, `Backend` for the container's, `NotReady`, `Deadline` (10 min).
    pub async fn cp_in(&self, host: impl AsRef<Path>, inside: &str) -> Result<(), OperationError> {
        let request = CopyRequest { host: host.as_ref().to_owned(), inside: inside.to_owned() };
        self.ask(COPY_DEADLINE, |reply| BottleMsg::CpIn(request, reply)).await?
    }

    /// Copies a file or directory of the agent container to the host.
    ///
    /// What comes from inside is treated as hostile: nothing is written outside the target; devices and
    /// links that lead out of what is copied are left out. Existing directories are merged, an existing file
    /// is replaced in one step. A copy that is cut off changes nothing.
    ///
    /// # Errors
    /// As [`Bottle::cp_in`].
    pub async fn cp_out(&self, inside: &str, host: impl AsRef<Path>) -> Result<(), OperationError> {
        let request = CopyRequest { host: host.as_ref().to_owned(), inside: inside.to_owned() };
        self.ask(COPY_DEADLINE, |reply| BottleMsg::CpOut(request, reply)).await?
    }

    /// What a member's first process printed.
    ///
    /// # Errors
    /// `NotReady` when the member does not exist yet or any more, `Backend`.
    pub async fn logs(
        &self,
        role: Role,
        options: LogOptions,
    ) -> Result<mpsc::Receiver<Output>, OperationError> {
        self.ask(START_DEADLINE, |reply| BottleMsg::Logs(role, options, reply)).await?
    }

    /// Memory, CPU time and processes of a member, one reading.
    ///
    /// # Errors
    /// `NotReady`, `Backend`.
    pub async fn stats(&self, role: Role) -> Result<MemberStats, OperationError> {
        self.ask(START_DEADLINE, |reply| BottleMsg::Stats(role, reply)).await?
    }

    /// Waits until the bottle is gone, for whatever reason. Dropping the future changes nothing.
    pub async fn wait(&self) -> Arc<CloseReport> {
        let mut status = self.inner.status.clone();
        match status.wait_for(|status| status.report.is_some()).await {
            Ok(status) => status.report.clone().unwrap_or_default(),
            Err(_) => Arc::default(),
        }
    }

    /// Closes the bottle: commands, agent, mitmproxy, pipelock, networks, in this order.
    ///
    /// Idempotent: a second close waits for the first and gets the same report. Dropping the future does
    /// not stop the teardown.
    pub async fn close(&self) -> Arc<CloseReport> {
        let _ = self.inner.actor.cast(BottleMsg::Close);
        self.wait().await
    }

    async fn ask<R: Send + 'static>(
        &self,
        deadline: Duration,
        message: impl FnOnce(ractor::RpcReplyPort<R>) -> BottleMsg,
    ) -> Result<R, OperationError> {
        let slug = self.slug().clone();
        match call(&self.inner.actor, message, deadline).await {
            Ok(reply) => Ok(reply),
            Err(CallError::Gone) if self.phase() == "gone" => {
                Err(OperationError::NotReady { slug, phase: "gone" })
            }
            Err(CallError::Gone) => Err(OperationError::Closed(slug)),
            Err(CallError::Deadline(after)) => Err(OperationError::Deadline { slug, after }),
        }
    }
}
