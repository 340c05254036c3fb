//! Leaf worker of one container: ensure or adopt, attach, start, watch its output, report its end.
//!
//! Role: container worker (pipelock, mitmproxy, agent). Owner: the bottle supervisor. Messages:
//! [`ContainerMsg`]. The work is one task, so the worker always answers; stopping the worker ends the task
//! but leaves the container alone: containers are removed by the teardown, from labels, and a new worker
//! adopts what runs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::interpreter::Interpreter;
use super::supervision::ExitReason;
use crate::backend::{Backend, BackendError, BackendErrorKind, MemberIo, Output};
use crate::ids::{MemberId, Role, Secret};
use crate::messages::{BottleMsg, ContainerMsg, MemberEvent, StepError};
use crate::plan::spec::{MemberSpec, MemberState};

/// Lines of a container's output kept for error messages.
const TAIL_LINES: usize = 20;
/// Control lines that may wait for the container to read them.
const CONTROL_QUEUE: usize = 64;
/// How long one control line may wait to be read. Output waits for it.
const CONTROL_PATIENCE: Duration = Duration::from_secs(5);
/// How long the news of a container's end may come after the end of its output.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// How a worker comes to its container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Makes it, or finds the one that was made, and starts it.
    Start,
    /// Kills it first: it runs but does not answer.
    Replace(MemberId),
    /// Takes it over as it is; one that has ended is reported, not started.
    Adopt(MemberId),
}

/// Which worker a message comes from: a replaced one may still have sent something.
pub type WorkerSerial = u64;

/// What a container worker is started with.
#[derive(Debug)]
pub struct ContainerArgs {
    /// How it comes to its container.
    pub entry: Entry,
    /// Named in everything it reports.
    pub serial: WorkerSerial,
    /// Where its container lives.
    pub backend: Arc<dyn Backend>,
    /// What to run.
    pub spec: MemberSpec,
    /// Written to the container's standard input at its start.
    pub material: Option<Secret<String>>,
    /// Who hears about it.
    pub bottle: ActorRef<BottleMsg>,
    /// Waited for by the teardown: a create or start that is under way when the worker stops is finished,
    /// not dropped, because the engine would finish it anyway, after the teardown had looked.
    pub tasks: TaskTracker,
}

/// State of a container worker.
#[derive(Debug)]
pub struct ContainerState {
    args: Arc<ContainerArgs>,
    control: mpsc::Sender<Secret<String>>,
    /// Taken by the task.
    control_rx: Option<mpsc::Receiver<Secret<String>>>,
    cancel: CancellationToken,
    /// Ends the task whenever the state goes, also by a kill.
    _ends_task: DropGuard,
}

/// The worker.
#[derive(Debug)]
pub struct Container;

impl Actor for Container {
    type Msg = ContainerMsg;
    type State = ContainerState;
    type Arguments = ContainerArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<ContainerMsg>,
        args: ContainerArgs,
    ) -> Result<ContainerState, ActorProcessingErr> {
        let (control, control_rx) = mpsc::channel(CONTROL_QUEUE);
        let cancel = CancellationToken::new();
        let ends_task = cancel.clone().drop_guard();
        myself.cast(ContainerMsg::Run)?;
        Ok(ContainerState {
            args: Arc::new(args),
            control,
            control_rx: Some(control_rx),
            cancel,
            _ends_task: ends_task,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<ContainerMsg>,
        message: ContainerMsg,
        state: &mut ContainerState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ContainerMsg::Run => start_task(&myself, state),
            ContainerMsg::Control(line) => {
                if state.control.try_send(line).is_err() {
                    // A line may close the egress: what cannot be told to is replaced.
                    let exit = ExitReason::Hung("its control lines are not read".to_owned());
                    state.args.report(MemberEvent::Ended(exit, Tail::default().text()));
                }
            }
            ContainerMsg::Ended => {}
            ContainerMsg::Panicked(why) => return Err(why.into()),
        }
        Ok(())
    }
}

impl ContainerArgs {
    /// Tells the bottle. It may be gone already; then nobody needs the news.
    fn report(&self, event: MemberEvent) {
        let _ = self.bottle.cast(BottleMsg::Member(self.spec.role, self.serial, event));
    }
}

fn start_task(myself: &ActorRef<ContainerMsg>, state: &mut ContainerState) {
    let Some(control) = state.control_rx.take() else { return };
    let (args, cancel, me) = (Arc::clone(&state.args), state.cancel.clone(), myself.clone());
    args.tasks.clone().spawn(async move {
        // A panic in a task is nobody's event; it becomes the worker's own failure, which supervision sees.
        let lived = std::panic::AssertUnwindSafe(live(&args, control, &cancel)).catch_unwind().await;
        let _ = match lived {
            Ok(last) => {
                if let Some(event) = last {
                    args.report(event);
                }
                me.cast(ContainerMsg::Ended)
            }
            Err(panic) => me.cast(ContainerMsg::Panicked(words_of(panic.as_ref()))),
        };
    });
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.unwrap_or_else(|| "no words".to_owned()))
}

/// A container's whole life as this worker sees it; returns its last event, nothing when it was cancelled.
async fn live(
    args: &ContainerArgs,
    control: mpsc::Receiver<Secret<String>>,
    cancel: &CancellationToken,
) -> Option<MemberEvent> {
    let (backend, role) = (&args.backend, args.spec.role);
    let (id, io) = match enter(args, cancel).await {
        Ok(Some(entered)) => entered,
        Ok(None) => return None,
        Err(event) => return Some(event),
    };
    let mut interpreter = Interpreter::new(role);
    if io.found_running {
        interpreter.found_running();
    }
    if interpreter.is_ready() {
        args.report(MemberEvent::Ready { adopted: io.found_running });
    }
    let mut tail = Tail::default();
    let watch = async {
        let why = pump(io, control, &mut interpreter, &mut tail, &|event| args.report(event)).await;
        if !speaks_protocol(role) {
            return end_of(backend.as_ref(), &id).await;
        }
        // No decision without a trace, no halt that is not heard: a channel does not outlive its container
        // for longer than the news of its end takes, and a container not its channel.
        let ended = tokio::time::timeout(END_PATIENCE, end_of(backend.as_ref(), &id)).await;
        ended.unwrap_or(Ok(why))
    };
    let ended = tokio::select! {
        () = cancel.cancelled() => return None,
        ended = watch => ended,
    };
    Some(match ended {
        Err(lost) => MemberEvent::EngineLost(lost),
        Ok(exit) if interpreter.is_ready() => MemberEvent::Ended(exit, tail.text()),
        Ok(exit) => MemberEvent::Failed(StepError::MemberEnded { role, exit, tail: tail.text() }),
    })
}

/// Comes to a running container with attached streams, as the entry says. `None` when it was cancelled.
async fn enter(
    args: &ContainerArgs,
    cancel: &CancellationToken,
) -> Result<Option<(MemberId, MemberIo)>, MemberEvent> {
    let backend = args.backend.as_ref();
    match &args.entry {
        Entry::Adopt(id) => return adopt(backend, id).await,
        // What was killed already is no reason to give up: the start that follows decides.
        Entry::Replace(id) => {
            if let Err(error) = backend.stop_member(id, Duration::ZERO).await
                && error.kind != BackendErrorKind::NotFound
            {
                backend.remove_member(id).await.map_err(failed)?;
            }
        }
        Entry::Start => {}
    }
    let id = backend.ensure_member(&args.spec).await.map_err(failed)?;
    args.report(MemberEvent::Created(id.clone()));
    if cancel.is_cancelled() {
        return Ok(None);
    }
    let io = backend.start_member(&id, args.material.clone()).await.map_err(failed)?;
    Ok(Some((id, io)))
}

async fn adopt(backend: &dyn Backend, id: &MemberId) -> Result<Option<(MemberId, MemberIo)>, MemberEvent> {
    let status = backend.inspect_member(id).await.map_err(failed)?;
    let exit = match status.state {
        MemberState::Running | MemberState::Paused => {
            let io = backend.attach_member(id).await.map_err(failed)?;
            return Ok(Some((id.clone(), MemberIo { found_running: true, ..io })));
        }
        MemberState::Exited(exit) => ExitReason::ContainerExited(exit),
        MemberState::Created => ExitReason::StartFailed("it was never started".to_owned()),
        MemberState::Gone => ExitReason::ContainerGone,
    };
    Err(MemberEvent::Ended(exit, Tail::default().text()))
}

fn failed(error: BackendError) -> MemberEvent {
    if error.kind == BackendErrorKind::Unreachable {
        return MemberEvent::EngineLost(error);
    }
    MemberEvent::Failed(error.into())
}

/// Carries output out and control lines in until one of them breaks; says what that means for a container that
/// goes on. A lost stream can be had again; a container that does not read has to be replaced.
async fn pump(
    io: MemberIo,
    mut control: mpsc::Receiver<Secret<String>>,
    interpreter: &mut Interpreter,
    tail: &mut Tail,
    report: &(impl Fn(MemberEvent) + Sync),
) -> ExitReason {
    let hung = |what: &str| ExitReason::Hung(what.to_owned());
    let MemberIo { mut stdin, mut output, .. } = io;
    loop {
        tokio::select! {
            piece = output.next() => match piece {
                Some(Ok(Output::Stdout(bytes) | Output::Console(bytes))) => {
                    for event in interpreter.feed(&bytes) {
                        report(event);
                    }
                    tail.feed(&bytes);
                }
                Some(Ok(Output::Stderr(bytes))) => tail.feed(&bytes),
                // A broken stream says nothing about the container; the wait that follows does.
                Some(Err(_)) | None => return ExitReason::Unheard("closed its output while it ran".to_owned()),
            },
            Some(line) = control.recv() => {
                let Some(sink) = &mut stdin else { return hung("it has no control channel") };
                let written = sink.write_all(line.expose_secret().as_bytes());
                match tokio::time::timeout(CONTROL_PATIENCE, written).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => return hung("its control lines are not read"),
                }
            }
        }
    }
}

/// Waits for the container's end, whatever became of its streams. `Err`: nobody can tell.
async fn end_of(backend: &dyn Backend, id: &MemberId) -> Result<ExitReason, BackendError> {
    match backend.wait_member(id).await {
        Ok(exit) => Ok(ExitReason::ContainerExited(exit)),
        Err(error) if error.kind == BackendErrorKind::NotFound => Ok(ExitReason::ContainerGone),
        Err(error) if matches!(error.kind, BackendErrorKind::Unreachable | BackendErrorKind::Deadline) => {
            Err(error)
        }
        Err(error) => Ok(ExitReason::Unheard(crate::error::chain(&error))),
    }
}

/// The last lines of a container's output.
#[derive(Debug, Default)]
struct Tail {
    lines: VecDeque<String>,
}

impl Tail {
    fn feed(&mut self, bytes: &[u8]) {
        for line in String::from_utf8_lossy(bytes).lines().filter(|line| !line.trim().is_empty()) {
            if self.lines.len() == TAIL_LINES {
                self.lines.pop_front();
            }
            self.lines.push_back(line.chars().take(400).collect());
        }
    }

    fn text(&self) -> String {
        if self.lines.is_empty() {
            return "(it printed nothing)".to_owned();
        }
        self.lines.iter().map(String::as_str).collect::<Vec<_>>().join(" | ")
    }
}

/// Whether a role's container is judged by what it prints.
pub(super) fn speaks_protocol(role: Role) -> bool {
    role == Role::Mitmproxy
}
