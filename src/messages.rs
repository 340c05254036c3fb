//! Every message and reply that crosses an actor boundary. Data only, no behaviour.
//!
//! A variant is the imperative verb of the handle method it serves; an event is a past participle.

mod event;
mod post_mortem;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ractor::RpcReplyPort;
use tokio::sync::{mpsc, oneshot};

use crate::backend::{
    BackendError, BackendErrorKind, ExecControl, ExecSpec, Happening, LogOptions, MemberStats, Mended, News,
    Output,
};
use crate::egress::{AuditRecord, ProbeChecks};
use crate::ids::{BottleId, Fingerprint, MemberId, Role, Secret, Slug};
use crate::plan::provision::{AGENT_USER, WORKSPACE};
use crate::plan::spec::{ExecUser, Ground, TtySize};

pub use crate::actors::bottle::phase::{EndReason, Step};
pub use crate::actors::container::WorkerSerial;
pub use crate::actors::supervision::{ExitReason, Incarnation};
pub use event::{BottleEvent, EventRecord};
pub use post_mortem::{ExitNote, LogTail, PostMortem};
pub use tree::{BottleTree, ChildState, ChildTree};

/// A command for the agent container. See [`Bottle::exec`](crate::Bottle::exec).
#[derive(Clone, Debug)]
pub struct ExecRequest {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Added to the bottle's environment.
    pub env: Vec<(String, Secret<String>)>,
    /// Working directory; default `/workspace`.
    pub cwd: Option<String>,
    /// As whom; default the agent user.
    pub user: ExecUser,
    /// A terminal of this size; default separate pipes.
    pub tty: Option<TtySize>,
    /// Whether standard input is open; default closed.
    pub stdin: bool,
    /// After this long everything the command started is killed; default never.
    pub timeout: Option<Duration>,
}

impl ExecRequest {
    /// A command as the agent user, with pipes, no input and no time-out.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            cwd: None,
            user: ExecUser::Agent,
            tty: None,
            stdin: false,
            timeout: None,
        }
    }

    /// What the backend is asked to run: `secrets` are the bottle's own variables, the request's win.
    pub(crate) fn into_spec(self, secrets: impl IntoIterator<Item = (String, Secret<String>)>) -> ExecSpec {
        let mut env: BTreeMap<_, _> = secrets.into_iter().collect();
        env.extend(self.env);
        let user = match self.user {
            // By number, whatever user the image names: nothing runs as root because an image says so.
            ExecUser::Agent => ExecUser::Named(AGENT_USER.to_owned()),
            other => other,
        };
        let cwd = Some(self.cwd.unwrap_or_else(|| WORKSPACE.to_owned()));
        ExecSpec { argv: self.argv, env, cwd, user, tty: self.tty, stdin: self.stdin }
    }

    /// With a time-out after which all the command started is killed.
    #[must_use]
    pub fn timeout(mut self, after: Duration) -> Self {
        self.timeout = Some(after);
        self
    }

    /// With open standard input.
    #[must_use]
    pub fn stdin(mut self) -> Self {
        self.stdin = true;
        self
    }

    /// With a terminal.
    #[must_use]
    pub fn tty(mut self, size: TtySize) -> Self {
        self.tty = Some(size);
        self
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecEnd {
    /// By itself, with this exit code.
    Exited(i64),
    /// Its time-out passed and all it had started was killed.
    TimedOut,
    /// The bottle was closed, or the session dropped, before it ended.
    Cancelled,
}

/// A running command: what the exec worker gives to the caller. Wrapped by [`ExecSession`](crate::ExecSession).
pub struct ExecStreams {
    /// Input, when asked for. Bounded: a full channel is back-pressure.
    pub stdin: Option<mpsc::Sender<bytes::Bytes>>,
    /// Output in order. Bounded: a slow reader slows the command, never the runtime.
    pub output: mpsc::Receiver<Output>,
    /// Resize and kill.
    pub control: Arc<dyn ExecControl>,
    /// Resolves once, after the output has ended.
    pub end: oneshot::Receiver<Result<ExecEnd, BackendError>>,
}

impl std::fmt::Debug for ExecStreams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecStreams").finish_non_exhaustive()
    }
}

/// Why an operation on a bottle failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperationError {
    /// The bottle is not in a phase that allows it.
    #[error("bottle {slug} is {phase}")]
    NotReady {
        /// Which bottle.
        slug: Slug,
        /// Its phase.
        phase: &'static str,
    },
    /// The engine cannot be reached; the bottle waits for it.
    #[error("bottle {slug} is suspended: the container engine cannot be reached")]
    Suspended {
        /// Which bottle.
        slug: Slug,
    },
    /// The engine failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A host file could not be read or written.
    #[error("copy {path}")]
    Host {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The command's time-out passed; it and all it started were killed.
    #[error("command timed out after {after:?} and was killed")]
    TimedOut {
        /// The time-out.
        after: Duration,
        /// What it had printed to standard output, up to the capture limit.
        stdout: Vec<u8>,
        /// What it had printed to standard error, up to the capture limit.
        stderr: Vec<u8>,
    },
    /// The bottle was closed meanwhile.
    #[error("bottle {0} was closed")]
    Closed(Slug),
    /// The deadline passed without an answer.
    #[error("no answer from bottle {slug} within {after:?}")]
    Deadline {
        /// Which bottle.
        slug: Slug,
        /// The deadline.
        after: Duration,
    },
}

/// Copies between host and agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyRequest {
    /// The path on the host.
    pub host: PathBuf,
    /// The path in the agent container.
    pub inside: String,
}

/// What was removed and what could not be.
#[derive(Clone, Debug, Default)]
pub struct CloseReport {
    /// Why the bottle ended.
    pub reason: Option<EndReason>,
    /// Names of what was removed, in order.
    pub removed: Vec<String>,
    /// What could not be removed, and why. `cleanup` finds it again.
    pub failed: Vec<Arc<BackendError>>,
}

/// What an observer sees of a bottle.
#[derive(Clone, Debug)]
pub struct BottleStatus {
    /// Phase word: launching, ready, degraded, suspended, closing, gone.
    pub phase: &'static str,
    /// The supervision tree; `None` before the launch has begun.
    pub tree: Option<Arc<BottleTree>>,
    /// Set once it was ready. Creates belong to a launch: what never was ready may leave one under way.
    pub was_ready: bool,
    /// Set once it is gone.
    pub report: Option<Arc<CloseReport>>,
    /// Fingerprint of the bottle's certificate.
    pub fingerprint: Option<Fingerprint>,
}

/// A launch that failed: the cause and what could not be removed, both.
#[derive(Debug, thiserror::Error)]
#[error("launch bottle {slug}: {step}")]
pub struct LaunchFailure {
    /// Which bottle.
    pub slug: Slug,
    /// The step that failed.
    pub step: Step,
    /// Why.
    #[source]
    pub source: StepError,
}

impl LaunchFailure {
    /// Whether the launch may succeed under the next name.
    pub fn is_name_conflict(&self) -> bool {
        matches!(&self.source, StepError::Backend(error) if error.kind == BackendErrorKind::NameConflict)
    }
}

/// Why a launch step failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The engine failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A host file could not be read.
    #[error(transparent)]
    Host(#[from] crate::plan::provision::HostFileError),
    /// The certificate authority could not be made.
    #[error(transparent)]
    Ca(#[from] crate::egress::CaError),
    /// The sidecars' configuration could not be rendered.
    #[error(transparent)]
    Material(#[from] crate::plan::launch_material::LaunchMaterialError),
    /// A member ended instead of becoming ready.
    #[error("the {role} container {exit}; its last words: {tail}")]
    MemberEnded {
        /// Which.
        role: Role,
        /// How.
        exit: ExitReason,
        /// The last lines it printed.
        tail: String,
    },
    /// A decision could not be written to the audit file, so nothing may leave.
    #[error("write the audit file")]
    Audit(#[source] std::io::Error),
    /// The probe answered no.
    #[error("the chain does not behave: {0}")]
    ProbeRefused(String),
    /// A command inside failed.
    #[error("{command} exited with code {code}: {output}")]
    Command {
        /// Its name.
        command: &'static str,
        /// Its exit code.
        code: i64,
        /// Its last output.
        output: String,
    },
    /// A child actor failed.
    #[error("{0}")]
    Actor(String),
    /// The bottle was closed during its launch.
    #[error("the bottle was closed during its launch")]
    Closed,
    /// The launch deadline passed.
    #[error("not ready within {0:?}")]
    Deadline(Duration),
}

/// Messages of the bottle supervisor.
#[derive(Debug)]
pub enum BottleMsg {
    /// [`Runtime::launch`](crate::Runtime::launch): the first message.
    Launch,
    /// [`Bottle::exec`](crate::Bottle::exec) and its relatives.
    Exec(ExecRequest, RpcReplyPort<Result<ExecStreams, OperationError>>),
    /// [`Bottle::cp_in`](crate::Bottle::cp_in).
    CpIn(CopyRequest, RpcReplyPort<Result<(), OperationError>>),
    /// [`Bottle::cp_out`](crate::Bottle::cp_out).
    CpOut(CopyRequest, RpcReplyPort<Result<(), OperationError>>),
    /// [`Bottle::logs`](crate::Bottle::logs).
    Logs(Role, LogOptions, RpcReplyPort<Result<mpsc::Receiver<Output>, OperationError>>),
    /// [`Bottle::stats`](crate::Bottle::stats).
    Stats(Role, RpcReplyPort<Result<MemberStats, OperationError>>),
    /// [`Bottle::close`](crate::Bottle::close).
    Close,
    /// From the ground task.
    GroundMade(Result<Ground, BackendError>),
    /// From a container worker; from a replaced one it is ignored.
    Member(Role, WorkerSerial, MemberEvent),
    /// From the provisioner: it has come to this step.
    ProvisionReached(Step),
    /// From the provisioner.
    Provisioned(Result<(), (Step, StepError)>),
    /// From the teardown task; with the last lines of each container when a post-mortem was asked for.
    TornDown(CloseReport, Vec<LogTail>),
    /// From a timer.
    LaunchDeadlinePassed,
    /// From a timer: ask for the probe again, if this probing is still the current one.
    ProbeAgain(u64),
    /// From a timer: is the chain alive?
    HealthDue,
    /// From a timer: the pause before a restart is over.
    BackoffPassed(Role, Incarnation),
    /// From the root: something happened to a member, or to the networks.
    Noticed(Option<Role>, Happening),
    /// From the mend task.
    Mended(Role, Result<Mended, BackendError>),
    /// From the root: the engine cannot be heard any more.
    EngineLost,
    /// From the task that waits for it.
    EngineBack,
}

/// What a container worker reports.
#[derive(Debug)]
pub enum MemberEvent {
    /// It is created; archives may go in.
    Created(MemberId),
    /// It runs and is heard; a fresh mitmproxy: its addon listens.
    Ready {
        /// It ran already.
        adopted: bool,
    },
    /// A step towards that failed.
    Failed(StepError),
    /// It ended, or cannot be heard or told anything any more; with its last words.
    Ended(ExitReason, String),
    /// Nobody can tell what became of it: the engine is away.
    EngineLost(BackendError),
    /// The answer to the probe of this number.
    Probed(u64, Result<(), ProbeFailure>),
    /// An egress decision.
    Audited(Box<AuditRecord>),
}

/// A probe that did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeFailure {
    /// What did not behave, for people.
    pub detail: String,
    /// The single checks: they tell whose fault it is.
    pub checks: ProbeChecks,
}

/// Messages of a container worker.
#[derive(Debug)]
pub enum ContainerMsg {
    /// The first message: ensure, attach, start, watch.
    Run,
    /// A line for its standard input.
    Control(Secret<String>),
    /// From its task: nothing more will come.
    Ended,
    /// From its task: it panicked. The worker fails with it.
    Panicked(String),
}

/// Messages of the root supervisor.
#[derive(Debug)]
pub enum RootMsg {
    /// [`Runtime::prepare_cleanup`](crate::Runtime::prepare_cleanup): the bottles that a supervisor cares for.
    Living(RpcReplyPort<BTreeSet<BottleId>>),
    /// [`Runtime::launch`](crate::Runtime::launch).
    Spawn(Box<crate::actors::bottle::BottleArgs>, RpcReplyPort<Result<ractor::ActorRef<BottleMsg>, String>>),
    /// [`Runtime::shutdown`](crate::Runtime::shutdown): refuse new bottles from now on, close those that live.
    Shutdown(RpcReplyPort<Vec<(Slug, Arc<CloseReport>)>>),
    /// From the engine watch.
    News(News),
    /// From the engine watch: it hears the engine from now on.
    EngineHeard,
    /// From the engine watch: it does not hear the engine any more.
    EngineLost,
    /// The last [`Runtime`](crate::Runtime) is dropped: as `Shutdown`, then give the lease up.
    Retire,
}
