//! What callers ask of a bottle: each is handed to a worker or task together with the caller's reply port.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use ractor::{Actor, ActorRef, RpcReplyPort};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::phase::Phase;
use super::{BottleState, note, post_mortem};
use crate::actors::copy;
use crate::actors::exec::{Exec, ExecArgs};
use crate::backend::{LogOptions, MemberStats, Output};
use crate::egress::AuditRecord;
use crate::ids::{MemberId, Role, Slug};
use crate::messages::{
    BottleEvent, BottleMsg, ContainerMsg, CopyRequest, ExecRequest, ExecStreams, OperationError,
};
use crate::plan::launch_material;

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

pub(super) fn cp_in(
    state: &BottleState,
    request: CopyRequest,
    reply: RpcReplyPort<Result<(), OperationError>>,
) {
    match agent(state) {
        Ok(member) => {
            let backend = Arc::clone(&state.backend);
            state.tasks.spawn(copy_within(Limits::of(state), reply, async move {
                copy::into_member(backend.as_ref(), &member, &request).await
            }));
        }
        Err(error) => drop(reply.send(Err(error))),
    }
}

pub(super) fn cp_out(
    state: &BottleState,
    request: CopyRequest,
    reply: RpcReplyPort<Result<(), OperationError>>,
) {
    match agent(state) {
        Ok(member) => {
            let backend = Arc::clone(&state.backend);
            state.tasks.spawn(copy_within(Limits::of(state), reply, async move {
                copy::out_of_member(backend.as_ref(), &member, &request).await
            }));
        }
        Err(error) => drop(reply.send(Err(error))),
    }
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

/// Keeps a decision. A line that cannot be kept closes the egress: no traffic without a trace.
///
/// # Errors
/// The line was lost: a launch cannot succeed any more.
pub(super) fn audit(state: &mut BottleState, record: AuditRecord) -> std::io::Result<()> {
    let kept = state.audit.append(&record);
    post_mortem::remember(state, &record);
    if let Err(error) = &kept {
        tracing::error!(bottle = %state.plan.slug(), %error, "audit line lost; egress halted");
        // Once is enough: a halt stays in force.
        if let (false, Some(mitmproxy), Ok(line)) =
            (state.halted, state.children.member(Role::Mitmproxy), launch_material::halt_line())
        {
            state.halted = true;
            let _ = mitmproxy.cast(ContainerMsg::Control(line));
        }
    }
    note(state, BottleEvent::Audited(Arc::new(record)));
    kept
}
