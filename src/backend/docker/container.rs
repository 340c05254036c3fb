//! The containers of a bottle: inspected, waited for, stopped, removed. `ensure.rs` makes them.

use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum};
use bollard::query_parameters::{
    InspectContainerOptions, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use futures::StreamExt as _;

use super::super::{BackendError, BackendErrorKind, BackendResult, Op, Subject};
use super::classify::{self, Meaning};
use super::engine::{Engine, is_missing, meaning, within};
use crate::ids::MemberId;
use crate::plan::spec::{MemberExit, MemberState, MemberStatus};

/// A lost connection must not make a wait last for ever: the state is read again this often.
const WAIT_RECHECK: Duration = Duration::from_secs(30);
const GONE_PAUSE: Duration = Duration::from_millis(50);

/// Why a container cannot be waited for.
#[derive(Debug, thiserror::Error)]
#[error("it was never started")]
struct NeverStarted;

pub(super) fn subject(id: &str) -> Subject {
    Subject::Container(id.to_owned())
}

/// The engine's whole answer about one container.
pub(super) async fn inspect_raw(
    engine: &Engine,
    op: Op,
    id: &str,
) -> BackendResult<ContainerInspectResponse> {
    engine.call(op, subject(id), engine.docker.inspect_container(id, None::<InspectContainerOptions>)).await
}

/// What the member is doing. (Docker API: `GET /containers/{id}/json`.)
pub(super) async fn inspect(engine: &Engine, id: &MemberId) -> BackendResult<MemberStatus> {
    match inspect_raw(engine, Op::InspectMember, id.as_str()).await {
        Ok(found) => Ok(status_of(found.state.unwrap_or_default())),
        Err(error) if is_missing(&error) => {
            Ok(MemberStatus { state: MemberState::Gone, started_at: None, pid: 0 })
        }
        Err(error) => Err(error),
    }
}

/// Docker's zero time stands for "never".
fn status_of(state: ContainerState) -> MemberStatus {
    let started_at = state.started_at.clone().filter(|at| !at.is_empty() && !at.starts_with("0001-"));
    MemberStatus { pid: state.pid.unwrap_or(0), state: state_of(&state), started_at }
}

/// A container that is being removed is still there until it is not: its last exit is reported.
pub(super) fn state_of(state: &ContainerState) -> MemberState {
    use ContainerStateStatusEnum as S;
    match state.status {
        Some(S::CREATED) => MemberState::Created,
        Some(S::RUNNING | S::RESTARTING | S::STOPPING) => MemberState::Running,
        Some(S::PAUSED) => MemberState::Paused,
        _ => MemberState::Exited(MemberExit {
            code: state.exit_code.unwrap_or(0),
            oom_killed: state.oom_killed.unwrap_or(false),
        }),
    }
}

/// Waits for the end of a member. (Docker API: `POST /containers/{id}/wait?condition=not-running`.)
///
/// The client turns a non-zero exit into an error; here it is a value. The state is read again now and then,
/// because a connection that is lost in silence would never answer.
///
/// # Errors
/// `NotFound` for a missing member, `NotRunning` for one that was never started.
pub(super) async fn wait(engine: &Engine, id: &MemberId) -> BackendResult<MemberExit> {
    let failed = |error| classify::failed(Op::WaitMember, subject(id.as_str()), error);
    loop {
        let found = inspect_raw(engine, Op::WaitMember, id.as_str()).await?;
        match state_of(&found.state.unwrap_or_default()) {
            MemberState::Exited(exit) => return Ok(exit),
            MemberState::Created => {
                let (kind, subject) = (BackendErrorKind::NotRunning, subject(id.as_str()));
                return Err(BackendError::new(Op::WaitMember, subject, kind, NeverStarted));
            }
            _ => {}
        }
        let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
        let mut answers = std::pin::pin!(engine.docker.wait_container(id.as_str(), Some(options)));
        let code = match tokio::time::timeout(WAIT_RECHECK, answers.next()).await {
            Err(_) | Ok(None) => continue,
            Ok(Some(Ok(answer))) => answer.status_code,
            Ok(Some(Err(Error::DockerContainerWaitError { code, .. }))) => code,
            Ok(Some(Err(error))) => return Err(failed(error)),
        };
        let oom_killed = match inspect_raw(engine, Op::WaitMember, id.as_str()).await {
            Ok(found) => found.state.and_then(|state| state.oom_killed).unwrap_or(false),
            Err(_) => false,
        };
        return Ok(MemberExit { code, oom_killed });
    }
}

/// Stops a member. (Docker API: `POST /containers/{id}/stop`.) The engine counts whole seconds: rounded up.
pub(super) async fn stop(engine: &Engine, id: &MemberId, grace: Duration) -> BackendResult<()> {
    let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
    let options = StopContainerOptionsBuilder::new().t(i32::try_from(seconds).unwrap_or(i32::MAX)).build();
    let limit = engine.deadlines.of(Op::StopMember) + Duration::from_secs(seconds);
    let call = async {
        let answer = engine.docker.stop_container(id.as_str(), Some(options)).await;
        answer.map_err(|error| classify::failed(Op::StopMember, subject(id.as_str()), error))
    };
    match within(limit, Op::StopMember, subject(id.as_str()), call).await {
        Err(error) if is_missing(&error) => Ok(()),
        answer => answer,
    }
}

/// Kills and removes a member with its anonymous volumes; returns when it is really gone. (Docker API:
/// `DELETE /containers/{id}?force=1&v=1`.) Missing is success, and so is a removal already under way.
pub(super) async fn remove(engine: &Engine, id: &MemberId) -> BackendResult<()> {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    let call = engine.docker.remove_container(id.as_str(), Some(options));
    match engine.call(Op::RemoveMember, subject(id.as_str()), call).await {
        Ok(()) => Ok(()),
        Err(error) if is_missing(&error) => Ok(()),
        Err(error) if meaning(&error) == Some(Meaning::Removing) => gone(engine, id).await,
        Err(error) => Err(error),
    }
}

async fn gone(engine: &Engine, id: &MemberId) -> BackendResult<()> {
    let limit = engine.deadlines.of(Op::RemoveMember);
    within(limit, Op::RemoveMember, subject(id.as_str()), async {
        loop {
            match inspect_raw(engine, Op::RemoveMember, id.as_str()).await {
                Err(error) if is_missing(&error) => return Ok(()),
                Err(error) => return Err(error),
                Ok(_) => tokio::time::sleep(GONE_PAUSE).await,
            }
        }
    })
    .await
}
