//! What an outside hand has changed on a running member, put right without ending it.

use bollard::models::{
    ContainerInspectResponse, EndpointSettings, NetworkConnectRequest, NetworkDisconnectRequest,
};
use bollard::query_parameters::RenameContainerOptions;

use super::super::{BackendError, BackendResult, Mended, Op, Repair, Subject};
use super::classify::Meaning;
use super::container::{inspect_raw, state_of, subject};
use super::engine::{Engine, is_missing, meaning};
use super::{hardening, network};
use crate::ids::{MemberId, Role};
use crate::plan::spec::{Endpoint, MemberSpec, MemberState};

/// What the engine calls the place of a container that is on no network.
const NOWHERE: &str = "none";

/// Mends a member. (Docker API: `GET /containers/{id}/json`, `POST /networks/{id}/disconnect` and `…/connect`,
/// `POST /containers/{id}/unpause` and `…/rename`.)
///
/// The attachments come first, so that a paused sidecar is whole when it goes on; the name comes last, so that
/// somebody else's container of that name keeps nothing else from being mended.
pub(super) async fn mend(engine: &Engine, id: &MemberId, spec: &MemberSpec) -> BackendResult<Mended> {
    let found = match inspect_raw(engine, Op::MendMember, id.as_str()).await {
        Err(error) if is_missing(&error) => return Ok(Mended::NotRunning(MemberState::Gone)),
        answer => answer.map_err(|error| named(error, spec))?,
    };
    let paused = match state_of(&found.state.clone().unwrap_or_default()) {
        MemberState::Running => false,
        MemberState::Paused => true,
        state => return Ok(Mended::NotRunning(state)),
    };
    let bottle = &spec.ownership.bottle;
    let networks = network::resolve(engine, Op::MendMember, bottle, &spec.endpoints).await?;
    let mut repairs = attachments(engine, Op::MendMember, id, spec, &networks, &found).await?;
    if paused && spec.role != Role::Agent && resume(engine, id, spec).await? {
        repairs.push(Repair::Resumed);
    }
    if name(engine, Op::MendMember, id, spec, &found).await? {
        repairs.push(Repair::Renamed);
    }
    Ok(if repairs.is_empty() { Mended::Intact } else { Mended::Repaired(repairs) })
}

/// An error about a container by its name, which says more than the id it was found by.
pub(super) fn named(error: BackendError, spec: &MemberSpec) -> BackendError {
    match error.subject {
        Subject::Container(_) => BackendError { subject: subject(&spec.name), ..error },
        _ => error,
    }
}

/// Puts a running member on its networks (ids, as its endpoints), at its addresses, and on no other one.
pub(super) async fn attachments(
    engine: &Engine,
    op: Op,
    id: &MemberId,
    spec: &MemberSpec,
    networks: &[String],
    found: &ContainerInspectResponse,
) -> BackendResult<Vec<Repair>> {
    let mut repairs = Vec::new();
    for (_, extra) in places(found).filter(|(_, place)| !networks.iter().any(|id| is_at(place, id))) {
        let network = extra.network_id.clone().unwrap_or_default();
        if disconnect(engine, op, id, spec, &network).await? {
            repairs.push(Repair::Disconnected);
        }
    }
    for (network, endpoint) in networks.iter().zip(&spec.endpoints) {
        let place = places(found).map(|(_, place)| place).find(|place| is_at(place, network));
        let right =
            place.is_some_and(|place| endpoint.address.is_none() || address_of(place) == endpoint.address);
        if right {
            continue;
        }
        if place.is_some() {
            disconnect(engine, op, id, spec, network).await?;
        }
        connect(engine, id, spec, network, endpoint).await?;
        repairs.push(Repair::Reconnected(endpoint.zone));
    }
    Ok(repairs)
}

/// Whether a member that does not run would come up on its networks (ids), at its addresses, and on no other one.
/// Until the first start the engine knows its networks by name only.
pub(super) fn will_come_up(spec: &MemberSpec, networks: &[String], found: &ContainerInspectResponse) -> bool {
    let right = |(network, endpoint): (&String, &Endpoint)| {
        places(found).any(|(name, place)| {
            let never_started = place.network_id.as_deref().unwrap_or_default().is_empty();
            let fixed = place.ipam_config.as_ref().and_then(|config| config.ipv4_address.as_deref());
            (is_at(place, network) || never_started && (name == endpoint.network || name == *network))
                && fixed.unwrap_or_default().parse().ok() == endpoint.address
        })
    };
    places(found).count() == networks.len() && networks.iter().zip(&spec.endpoints).all(right)
}

/// Networks by name, and the member's place on each.
fn places(found: &ContainerInspectResponse) -> impl Iterator<Item = (&str, &EndpointSettings)> {
    let networks = found.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    networks
        .into_iter()
        .flatten()
        .map(|(name, place)| (name.as_str(), place))
        .filter(|(name, _)| *name != NOWHERE)
}

fn is_at(place: &EndpointSettings, network: &str) -> bool {
    place.network_id.as_deref() == Some(network)
}

fn address_of(place: &EndpointSettings) -> Option<std::net::Ipv4Addr> {
    place.ip_address.as_deref()?.parse().ok()
}

/// Gives a member its name back. `false` when it has it.
///
/// # Errors
/// `NameConflict` when somebody else has it.
pub(super) async fn name(
    engine: &Engine,
    op: Op,
    id: &MemberId,
    spec: &MemberSpec,
    found: &ContainerInspectResponse,
) -> BackendResult<bool> {
    if found.name.as_deref().map(|name| name.trim_start_matches('/')) == Some(spec.name.as_str()) {
        return Ok(false);
    }
    let options = RenameContainerOptions { name: spec.name.clone() };
    let call = engine.docker.rename_container(id.as_str(), options);
    unless(Meaning::SameName, engine.call(op, subject(&spec.name), call).await)
}

async fn resume(engine: &Engine, id: &MemberId, spec: &MemberSpec) -> BackendResult<bool> {
    let call = engine.docker.unpause_container(id.as_str());
    unless(Meaning::NotPaused, engine.call(Op::MendMember, subject(&spec.name), call).await)
}

async fn disconnect(
    engine: &Engine,
    op: Op,
    id: &MemberId,
    spec: &MemberSpec,
    network: &str,
) -> BackendResult<bool> {
    let request = NetworkDisconnectRequest { container: id.to_string(), force: Some(false) };
    let call = engine.docker.disconnect_network(network, request);
    unless(Meaning::NotConnected, engine.call(op, subject(&spec.name), call).await)
}

/// Puts a member on a network, running or not.
pub(super) async fn connect(
    engine: &Engine,
    id: &MemberId,
    spec: &MemberSpec,
    network: &str,
    endpoint: &Endpoint,
) -> BackendResult<bool> {
    let request = NetworkConnectRequest {
        container: id.to_string(),
        endpoint_config: Some(hardening::settings(endpoint)),
    };
    let call = engine.docker.connect_network(network, request);
    unless(Meaning::AlreadyConnected, engine.call(Op::ConnectMember, subject(&spec.name), call).await)
}

/// `false`: somebody was faster, and all is as it should be.
fn unless(done: Meaning, answer: BackendResult<()>) -> BackendResult<bool> {
    match answer {
        Ok(()) => Ok(true),
        Err(error) if meaning(&error) == Some(done) => Ok(false),
        Err(error) => Err(error),
    }
}
