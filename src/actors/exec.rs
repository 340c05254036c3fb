//! One short-lived worker per command: starts it, carries its streams, enforces its time-out.
//!
//! Restart type temporary; owner: the bottle supervisor. When the worker goes (the bottle closes, the
//! caller drops its session) the command and everything it started are killed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::backend::streams::{InputSink, OutputStream};
use crate::backend::{Backend, BackendError, ExecControl, ExecIo, ExecSpec};
use crate::ids::MemberId;
use crate::messages::{ExecEnd, ExecStreams, OperationError};

/// Pieces of output that wait for a slow reader; then the command waits.
const OUTPUT_QUEUE: usize = 64;
/// Pieces of input that wait for a slow command; then the writer waits.
const INPUT_QUEUE: usize = 16;
/// How long output may go on after a kill before the stream is given up.
const AFTER_KILL: Duration = Duration::from_secs(5);

/// Where a command's streams go once it runs.
pub type ExecReply = RpcReplyPort<Result<ExecStreams, OperationError>>;

/// What an exec worker is started with.
#[derive(Debug)]
pub struct ExecArgs {
    /// Where the container lives.
    pub backend: Arc<dyn Backend>,
    /// The container.
    pub member: MemberId,
    /// The command.
    pub spec: ExecSpec,
    /// Its time-out.
    pub timeout: Option<Duration>,
    /// The caller.
    pub reply: ExecReply,
}

/// State of an exec worker: dropping it cancels the task.
#[derive(Debug)]
pub struct ExecState {
    args: Option<ExecArgs>,
    cancel: CancellationToken,
    _ends_task: DropGuard,
}

/// The worker.
#[derive(Debug)]
pub struct Exec;

/// Its messages.
#[derive(Clone, Copy, Debug)]
pub enum ExecMsg {
    /// The first message.
    Run,
    /// The command has ended.
    Done,
}

impl Actor for Exec {
    type Msg = ExecMsg;
    type State = ExecState;
    type Arguments = ExecArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<ExecMsg>,
        args: ExecArgs,
    ) -> Result<ExecState, ActorProcessingErr> {
        myself.cast(ExecMsg::Run)?;
        let cancel = CancellationToken::new();
        let ends_task = cancel.clone().drop_guard();
        Ok(ExecState { args: Some(args), cancel, _ends_task: ends_task })
    }

    async fn handle(
        &self,
        myself: ActorRef<ExecMsg>,
        message: ExecMsg,
        state: &mut ExecState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ExecMsg::Run => {
                if let Some(args) = state.args.take() {
                    let (cancel, me) = (state.cancel.clone(), myself.clone());
                    tokio::spawn(async move {
                        run(args, cancel).await;
                        let _ = me.cast(ExecMsg::Done);
                    });
                }
            }
            ExecMsg::Done => finish(&myself),
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "an actor that ends itself has no children to stop in order")]
fn finish(myself: &ActorRef<ExecMsg>) {
    myself.stop(None);
}

/// Runs one command to its end. Also used without a bottle supervisor, on a bottle of another process.
pub(crate) async fn run(args: ExecArgs, cancel: CancellationToken) {
    let ExecArgs { backend, member, spec, timeout, reply } = args;
    let started = tokio::select! {
        started = backend.exec(&member, spec) => started,
        // The engine may still start it; the container goes with the bottle, and the command with it.
        () = cancel.cancelled() => return,
    };
    let ExecIo { stdin, output, control } = match started {
        Ok(io) => io,
        Err(error) => {
            let _ = reply.send(Err(error.into()));
            return;
        }
    };
    let control: Arc<dyn ExecControl> = control.into();
    let (output_tx, output_rx) = mpsc::channel(OUTPUT_QUEUE);
    let (end_tx, end_rx) = oneshot::channel();
    let (stdin_tx, stdin_rx) = mpsc::channel(INPUT_QUEUE);
    let input = stdin.map(|sink| tokio::spawn(feed(sink, stdin_rx)));
    let streams = ExecStreams {
        stdin: input.is_some().then_some(stdin_tx),
        output: output_rx,
        control: Arc::clone(&control),
        end: end_rx,
    };
    let delivered = reply.send(Ok(streams)).is_ok();
    let end = if delivered {
        carry(output, output_tx, control.as_ref(), timeout, &cancel).await
    } else {
        control.kill().await.map(|()| ExecEnd::Cancelled)
    };
    if let Some(input) = input {
        input.abort();
    }
    let _ = end_tx.send(end);
}

/// Writes input until the caller drops its end; then end of file.
async fn feed(mut sink: InputSink, mut pieces: mpsc::Receiver<Bytes>) {
    while let Some(piece) = pieces.recv().await {
        if sink.write_all(&piece).await.is_err() || sink.flush().await.is_err() {
            return;
        }
    }
    let _ = sink.shutdown().await;
}

/// Carries output until the command has ended, its time-out has passed, or nobody wants it any more.
///
/// The wait for the exit code is a part of it: a command that has closed its output still runs, and its
/// time-out, its session and its bottle still end it.
async fn carry(
    mut output: OutputStream,
    to: mpsc::Sender<crate::backend::Output>,
    control: &dyn ExecControl,
    timeout: Option<Duration>,
    cancel: &CancellationToken,
) -> Result<ExecEnd, BackendError> {
    let deadline = async {
        match timeout {
            Some(after) => tokio::time::sleep(after).await,
            None => std::future::pending().await,
        }
    };
    let ended = async {
        // Room first: a piece that was pulled is never lost to an interruption.
        while let Ok(room) = to.reserve().await {
            match output.next().await {
                Some(piece) => room.send(piece?),
                None => break,
            }
        }
        exit_code(control).await.map(ExecEnd::Exited)
    };
    // A close wins over the death of the command that it causes.
    let interrupted = tokio::select! {
        biased;
        () = cancel.cancelled() => ExecEnd::Cancelled,
        () = to.closed() => ExecEnd::Cancelled,
        ended = ended => return ended,
        () = deadline => ExecEnd::TimedOut,
    };
    let killed = control.kill().await;
    if interrupted == ExecEnd::Cancelled {
        // The container may have gone first; its caller only has to know that the bottle closed.
        return Ok(interrupted);
    }
    killed?;
    // What it printed before it died still belongs to the caller.
    let drain = async {
        while let Some(Ok(piece)) = output.next().await {
            if to.send(piece).await.is_err() {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(AFTER_KILL, drain).await;
    Ok(interrupted)
}

/// Waits for the exit code: streams can end before their command does.
pub(super) async fn exit_code(control: &dyn ExecControl) -> Result<i64, BackendError> {
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(code) = control.exit_code().await? {
            return Ok(code);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}
