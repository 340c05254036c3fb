//! The containers of a bottle: made, found again, inspected, waited for, stopped, removed.
//!
//! Container names *are* unique on Docker: the engine's conflict answer decides who owns a name.

use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, NetworkConnectRequest,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, RemoveContainerOptionsBuilder,
    StopContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures::StreamExt as _;

use super::super::{BackendError, BackendErrorKind, BackendResult, Op, Subject, labels};
use super::classify::{self, Meaning};
use super::engine::{Engine, is_missing, meaning, within};
use super::{hardening, network};
use crate::ids::MemberId;
use crate::plan::spec::{Endpoint, MemberExit, MemberSpec, MemberState, MemberStatus};

/// How often a create is tried when the name is being freed or won by a twin of this call.
const ENSURE_ATTEMPTS: u32 = 20;
const ENSURE_PAUSE: Duration = Duration::from_millis(100);
/// A lost connection must not make a wait last for ever: the state is read again this often.
const WAIT_RECHECK: Duration = Duration::from_secs(30);
const GONE_PAUSE: Duration = Duration::from_millis(50);

/// Why a container of the right name is not usable.
#[derive(Debug, thiserror::Error)]
enum ContainerError {
    #[error("a container of that name belongs to somebody else")]
    Foreign,
    #[error("it runs with another specification; stop it first")]
    RunsDifferently,
    #[error("it was never started")]
    NeverStarted,
    #[error("the name did not become free")]
    NameBusy,
}

pub(super) fn subject(id: &str) -> Subject {
    Subject::Container(id.to_owned())
}

fn refused(op: Op, id: &str, kind: BackendErrorKind, why: ContainerError) -> BackendError {
    BackendError::new(op, subject(id), kind, why)
}

/// Creates a member with all endpoints, or finds it again. (Docker API: `POST /containers/create`,
/// `POST /networks/{id}/connect`.)
///
/// A found member that is not running and differs from the specification, or hangs on networks that are gone,
/// is removed and made anew. A running one is never replaced; a missing endpoint of it is connected again.
///
/// # Errors
/// `NameConflict`; `NotFound` for image or network; `Denied` when it runs with another specification.
pub(super) async fn ensure(engine: &Engine, spec: &MemberSpec) -> BackendResult<MemberId> {
    let networks = network::resolve(engine, &spec.ownership.bottle, &spec.endpoints).await?;
    for _ in 0..ENSURE_ATTEMPTS {
        match inspect_raw(engine, Op::CreateMember, &spec.name).await {
            Ok(found) => {
                if let Some(id) = reuse(engine, spec, &networks, &found).await? {
                    return Ok(id);
                }
            }
            Err(error) if is_missing(&error) => match create(engine, spec, &networks).await {
                // Somebody was faster, or the name is not free yet: look again who it is.
                Err(error) if error.kind == BackendErrorKind::NameConflict => {
                    tokio::time::sleep(ENSURE_PAUSE).await;
                }
                answer => return answer,
            },
            Err(error) => return Err(error),
        }
    }
    Err(refused(Op::CreateMember, &spec.name, BackendErrorKind::NameConflict, ContainerError::NameBusy))
}

/// `None`: the found container was removed, create anew.
async fn reuse(
    engine: &Engine,
    spec: &MemberSpec,
    networks: &[String],
    found: &ContainerInspectResponse,
) -> BackendResult<Option<MemberId>> {
    let label = |key: &str| {
        let labels = found.config.as_ref().and_then(|config| config.labels.as_ref());
        labels.and_then(|labels| labels.get(key)).map(String::as_str)
    };
    let ours = label(labels::BOTTLE) == Some(spec.ownership.bottle.as_str())
        && label(labels::ROLE) == Some(spec.role.as_str());
    if !ours {
        return Err(refused(
            Op::CreateMember,
            &spec.name,
            BackendErrorKind::NameConflict,
            ContainerError::Foreign,
        ));
    }
    let id = MemberId::new(found.id.clone().unwrap_or_default());
    let same = label(labels::SPEC) == Some(hardening::spec_hash(spec).as_str());
    let alive = found.state.as_ref().and_then(|state| state.running).unwrap_or(false);
    // Until its first start the engine does not tell the ids of a container's networks; the label does.
    let missing: Vec<usize> = if alive {
        (0..networks.len()).filter(|at| !is_on(found, &networks[*at])).collect()
    } else if label(labels::NETWORKS) == Some(networks.join(",").as_str()) {
        Vec::new()
    } else {
        (0..networks.len()).collect()
    };
    match (alive, same, missing.is_empty()) {
        (_, true, true) => Ok(Some(id)),
        (true, true, false) => {
            for at in missing {
                connect(engine, &id, &networks[at], &spec.endpoints[at]).await?;
            }
            Ok(Some(id))
        }
        (true, false, _) => Err(refused(
            Op::CreateMember,
            &spec.name,
            BackendErrorKind::Denied,
            ContainerError::RunsDifferently,
        )),
        (false, _, _) => remove(engine, &id).await.map(|()| None),
    }
}

fn is_on(found: &ContainerInspectResponse, network: &str) -> bool {
    let networks = found.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    networks.is_some_and(|all| {
        all.iter().any(|(key, endpoint)| key == network || endpoint.network_id.as_deref() == Some(network))
    })
}

async fn create(engine: &Engine, spec: &MemberSpec, networks: &[String]) -> BackendResult<MemberId> {
    let options = CreateContainerOptionsBuilder::new().name(&spec.name).build();
    let body = hardening::request(spec, networks);
    let created = engine
        .call(Op::CreateMember, subject(&spec.name), engine.docker.create_container(Some(options), body))
        .await
        .map_err(|error| match meaning(&error) {
            Some(Meaning::NoImage) => {
                BackendError { subject: Subject::Image(spec.image.to_string()), ..error }
            }
            _ => error,
        })?;
    let id = MemberId::new(created.id);
    // Engines before 25 take one endpoint at create; the others follow before the start.
    for (network, endpoint) in networks.iter().zip(&spec.endpoints).skip(1) {
        if let Err(error) = connect(engine, &id, network, endpoint).await {
            // The cause is worth more than a failed removal; what stays carries labels.
            let _ = remove(engine, &id).await;
            return Err(error);
        }
    }
    Ok(id)
}

async fn connect(engine: &Engine, id: &MemberId, network: &str, endpoint: &Endpoint) -> BackendResult<()> {
    let request = NetworkConnectRequest {
        container: id.to_string(),
        endpoint_config: Some(hardening::settings(endpoint)),
    };
    let call = engine.docker.connect_network(network, request);
    engine.call(Op::ConnectMember, subject(id.as_str()), call).await
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
                let why = ContainerError::NeverStarted;
                return Err(refused(Op::WaitMember, id.as_str(), BackendErrorKind::NotRunning, why));
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
