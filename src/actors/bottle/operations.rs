//! What callers ask of a bottle: each is handed to a worker or task together with the caller's reply port.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use ractor::{Actor, ActorRef, RpcReplyPort};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::BottleState;
use super::phase::Phase;
use crate::actors::copy;
use crate::actors::exec::{Exec, ExecArgs};
use crate::backend::{Backend, LogOptions, MemberStats, Output};
use crate::ids::{MemberId, Role, Slug};
use crate::messages::{BottleMsg, CopyRequest, ExecRequest, ExecStreams, OperationError};

/// Lines of a log that wait for a slow reader.
const LOG_QUEUE: usize = 256;
/// From the request to the end of a copy.
const COPY_DEADLINE: Duration = Duration::from_secs(600);

fn agent(state: &BottleState) -> Result<MemberId, OperationError> {
    let ready = state.phase.can_exec().then(|| state.children.member_id(Role::Agent).cloned()).flatten();
    ready.ok_or_else(|| not_ready(state))
}

fn not_ready(state: &BottleState) -> OperationError {
    if matches!(state.phase, Phase::Suspended(_)) {
        return OperationError::Suspended { slug: state.plan.slug().clone() };
    }
    OperationError::NotReady { slug: state.plan.slug().clone(), phase: state.phase.as_str() }
}

pub(super) async fn exec(
    myself: &ActorRef<BottleMsg>,
    state: &mut BottleState,
    request: ExecRequest,
    reply: RpcReplyPort<Result<ExecStreams, OperationError>>,
) {
    let member = match agent(state) {
        Ok(member) => member,
        Err(error) => return drop(reply.send(Err(error))),
    };
    if reply.is_closed() {
        return;
    }
    let secrets = state.material.env().iter().map(|(name, value)| (name.clone(), value.clone()));
    let args = ExecArgs {
        backend: Arc::clone(&state.backend),
        member,
        timeout: request.timeout,
        spec: request.into_spec(secrets),
        reply,
    };
    match Actor::spawn_linked(None, Exec, args, myself.get_cell()).await {
        Ok((worker, _)) => state.children.add_exec(worker.get_cell()),
        // The reply port went down with the worker: the caller sees the bottle as gone.
        Err(error) => tracing::error!(%error, "exec worker did not start"),
    }
}

/// Hands a copy to a task of its own; `work` is [`copy::into_member`] or [`copy::out_of_member`].
fn copy<F>(
    state: &BottleState,
    reply: RpcReplyPort<Result<(), OperationError>>,
    work: impl FnOnce(Arc<dyn Backend>, MemberId) -> F,
) where
    F: Future<Output = Result<(), OperationError>> + Send + 'static,
{
    match agent(state) {
        Ok(member) => {
            let work = work(Arc::clone(&state.backend), member);
            state.tasks.spawn(copy_within(Limits::of(state), reply, work));
        }
        Err(error) => drop(reply.send(Err(error))),
    }
}

pub(super) fn cp_in(
    state: &BottleState,
    request: CopyRequest,
    reply: RpcReplyPort<Result<(), OperationError>>,
) {
    copy(state, reply, |backend, member| async move {
        copy::into_member(backend.as_ref(), &member, &request).await
    });
}

pub(super) fn cp_out(
    state: &BottleState,
    request: CopyRequest,
    reply: RpcReplyPort<Result<(), OperationError>>,
) {
    copy(state, reply, |backend, member| async move {
        copy::out_of_member(backend.as_ref(), &member, &request).await
    });
}

/// What ends a copy before its time.
struct Limits {
    slug: Slug,
    closing: CancellationToken,
}

impl Limits {
    fn of(state: &BottleState) -> Self {
        Self { slug: state.plan.slug().clone(), closing: state.closing.clone() }
    }
}

async fn copy_within(
    limits: Limits,
    reply: RpcReplyPort<Result<(), OperationError>>,
    work: impl Future<Output = Result<(), OperationError>>,
) {
    let Limits { slug, closing } = limits;
    let done = tokio::select! {
        biased;
        () = closing.cancelled() => Err(OperationError::Closed(slug)),
        done = work => done,
        () = tokio::time::sleep(COPY_DEADLINE) => {
            Err(OperationError::Deadline { slug, after: COPY_DEADLINE })
        }
    };
    let _ = reply.send(done);
}

pub(super) fn logs(
    state: &BottleState,
    role: Role,
    options: LogOptions,
    reply: RpcReplyPort<Result<mpsc::Receiver<Output>, OperationError>>,
) {
    let Some(member) = state.children.member_id(role).cloned() else {
        return drop(reply.send(Err(not_ready(state))));
    };
    let backend = Arc::clone(&state.backend);
    tokio::spawn(async move {
        let mut stream = match backend.logs(&member, options).await {
            Ok(stream) => stream,
            Err(error) => return drop(reply.send(Err(error.into()))),
        };
        let (to, from) = mpsc::channel(LOG_QUEUE);
        if reply.send(Ok(from)).is_err() {
            return;
        }
        let carry = async {
            while let Some(Ok(piece)) = stream.next().await {
                if to.send(piece).await.is_err() {
                    return;
                }
            }
        };
        // A quiet container's log ends with its reader too.
        tokio::select! {
            () = carry => {}
            () = to.closed() => {}
        }
    });
}

pub(super) fn stats(
    state: &BottleState,
    role: Role,
    reply: RpcReplyPort<Result<MemberStats, OperationError>>,
) {
    let Some(member) = state.children.member_id(role).cloned() else {
        return drop(reply.send(Err(not_ready(state))));
    };
    let backend = Arc::clone(&state.backend);
    tokio::spawn(async move {
        let _ = reply.send(backend.stats(&member).await.map_err(Into::into));
    });
}
