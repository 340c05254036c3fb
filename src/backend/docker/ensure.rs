//! A member made, or found again: by its name, else by its labels.
//!
//! Container names *are* unique on Docker: the engine's conflict answer decides who owns a name.

use std::cmp::Reverse;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerSummaryStateEnum};
use bollard::query_parameters::{CreateContainerOptionsBuilder, ListContainersOptions};

use super::super::{BackendError, BackendErrorKind, BackendResult, Op, Subject, labels};
use super::classify::Meaning;
use super::container::{inspect_raw, remove, subject};
use super::engine::{Engine, is_missing, meaning};
use super::{hardening, mend, network};
use crate::ids::{MemberId, Role};
use crate::plan::spec::{MemberSpec, MemberState};

/// How often a create is tried when the name is being freed or won by a twin of this call.
const ENSURE_ATTEMPTS: u32 = 20;
const ENSURE_PAUSE: Duration = Duration::from_millis(100);

/// Why a container is not usable.
#[derive(Debug, thiserror::Error)]
enum EnsureError {
    #[error("a container of that name belongs to somebody else")]
    Foreign,
    #[error("it runs with another specification; stop it first")]
    RunsDifferently,
    #[error("the name did not become free")]
    NameBusy,
}

fn refused(spec: &MemberSpec, kind: BackendErrorKind, why: EnsureError) -> BackendError {
    BackendError::new(Op::CreateMember, subject(&spec.name), kind, why)
}

/// Creates a member with all endpoints, or finds it again. (Docker API: `POST /containers/create`,
/// `POST /networks/{id}/connect`.)
///
/// A found member that is not running and differs from the specification, or would not come up on its networks,
/// is removed and made anew; so is a paused sidecar that differs, because it serves nobody. What runs otherwise is
/// never replaced; its name and attachments are put right.
///
/// # Errors
/// `NameConflict`; `NotFound` for image or network; `Denied` when it runs with another specification.
pub(super) async fn ensure(engine: &Engine, spec: &MemberSpec) -> BackendResult<MemberId> {
    let bottle = &spec.ownership.bottle;
    let networks = network::resolve(engine, Op::ConnectMember, bottle, &spec.endpoints).await?;
    for _ in 0..ENSURE_ATTEMPTS {
        if let Some(found) = find(engine, spec).await? {
            if let Some(id) = reuse(engine, spec, &networks, &found).await? {
                return Ok(id);
            }
            continue;
        }
        match create(engine, spec, &networks).await {
            // Somebody was faster, or the name is not free yet: look again who it is.
            Err(error) if error.kind == BackendErrorKind::NameConflict => {
                tokio::time::sleep(ENSURE_PAUSE).await;
            }
            answer => return answer,
        }
    }
    Err(refused(spec, BackendErrorKind::NameConflict, EnsureError::NameBusy))
}

/// The container that has the name, else the one of this bottle and role that an outside hand has renamed.
async fn find(engine: &Engine, spec: &MemberSpec) -> BackendResult<Option<ContainerInspectResponse>> {
    let named = match inspect_raw(engine, Op::CreateMember, &spec.name).await {
        Err(error) if is_missing(&error) => None,
        answer => Some(answer?),
    };
    if named.is_some() {
        return Ok(named);
    }
    let label = |key: &str, value: &str| format!("{key}={value}");
    let both =
        vec![label(labels::BOTTLE, spec.ownership.bottle.as_str()), label(labels::ROLE, spec.role.as_str())];
    let options = ListContainersOptions {
        all: true,
        filters: Some([("label".to_owned(), both)].into()),
        ..ListContainersOptions::default()
    };
    let call = engine.docker.list_containers(Some(options));
    let listed = engine.call(Op::CreateMember, subject(&spec.name), call).await?;
    let alive =
        |state| matches!(state, Some(ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::PAUSED));
    let best =
        listed.into_iter().max_by_key(|one| (alive(one.state), Reverse((one.created, one.id.clone()))));
    let Some(id) = best.and_then(|one| one.id) else { return Ok(None) };
    match inspect_raw(engine, Op::CreateMember, &id).await {
        Err(error) if is_missing(&error) => Ok(None),
        answer => answer.map(Some).map_err(|error| mend::named(error, spec)),
    }
}

/// `None`: the found container was removed, look again.
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
        return Err(refused(spec, BackendErrorKind::NameConflict, EnsureError::Foreign));
    }
    let id = MemberId::new(found.id.clone().unwrap_or_default());
    let same = label(labels::SPEC) == Some(hardening::spec_hash(spec).as_str());
    let state = found.state.clone().unwrap_or_default();
    let paused = state.paused == Some(true);
    match super::container::state_of(&state) {
        MemberState::Running | MemberState::Paused if same => {
            mend::attachments(engine, Op::CreateMember, &id, spec, networks, found).await?;
        }
        // Nobody waits for a sidecar that is paused.
        MemberState::Running | MemberState::Paused if !paused || spec.role == Role::Agent => {
            return Err(refused(spec, BackendErrorKind::Denied, EnsureError::RunsDifferently));
        }
        // Until its first start the engine does not tell the ids of a container's networks; the label does.
        MemberState::Created
            if same
                && label(labels::NETWORKS) == Some(networks.join(",").as_str())
                && mend::will_come_up(spec, networks, found) => {}
        MemberState::Exited(_) if same && mend::will_come_up(spec, networks, found) => {}
        _ => {
            let removed = remove(engine, &id).await;
            return removed.map(|()| None).map_err(|error| mend::named(error, spec));
        }
    }
    mend::name(engine, Op::CreateMember, &id, spec, found).await?;
    Ok(Some(id))
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
        if let Err(error) = mend::connect(engine, &id, spec, network, endpoint).await {
            // The cause is worth more than a failed removal; what stays carries labels.
            let _ = remove(engine, &id).await;
            return Err(error);
        }
    }
    Ok(id)
}
