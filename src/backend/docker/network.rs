//! Networks on Docker: looked up, told apart, removed. `ground.rs` makes them.
//!
//! Docker does not keep network names unique, so a name is looked up before and after each create; of several
//! with one name the oldest counts, then the lowest id. Members are attached by network *id*.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::Network;
use bollard::query_parameters::{ListContainersOptions, ListNetworksOptions};
use ipnet::Ipv4Net;

use super::super::{BackendError, BackendErrorKind, BackendResult, Op, Subject, labels};
use super::classify::Meaning;
use super::engine::{Engine, is_missing, meaning};
use crate::ids::BottleId;
use crate::plan::spec::{Endpoint, Zone};

pub(super) const INHIBIT: &str = "com.docker.network.bridge.inhibit_ipv4";
pub(super) const GATEWAY_MODE: &str = "com.docker.network.bridge.gateway_mode_ipv4";
/// How often a network is tried again that still has the endpoint of a member just removed.
const REMOVE_ATTEMPTS: u32 = 10;
const REMOVE_PAUSE: Duration = Duration::from_millis(200);

/// Why a network of the right name is not usable.
#[derive(Debug, thiserror::Error)]
pub(super) enum NetworkError {
    #[error("a network of that name belongs to somebody else")]
    Foreign,
    #[error("no free subnet is left in {0}; widen the pool or run the cleanup")]
    Exhausted(Ipv4Net),
    #[error("the subnet {0} is taken")]
    Taken(Ipv4Net),
    #[error("it has the subnet {0}; remove the ground first")]
    OtherSubnet(Ipv4Net),
    #[error("the network of that name is not isolated and has members; remove it by hand")]
    NotIsolated,
    #[error("the network has no usable IPv4 subnet")]
    NoSubnet,
    #[error("the network does not exist")]
    Missing,
}

pub(super) fn refused(op: Op, name: &str, kind: BackendErrorKind, why: NetworkError) -> BackendError {
    BackendError::new(op, Subject::Network(name.to_owned()), kind, why)
}

/// Whose a network must be to be used.
#[derive(Clone, Copy)]
pub(super) enum Claim<'a> {
    Bottle(&'a BottleId),
    Shared,
}

impl Claim<'_> {
    pub(super) fn holds(self, network: &Network) -> bool {
        let label =
            |key: &str| network.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
        match self {
            Claim::Bottle(bottle) => label(labels::BOTTLE) == Some(bottle.as_str()),
            Claim::Shared => label(labels::SHARED) == Some("true"),
        }
    }
}

pub(super) fn is_isolated(network: &Network) -> bool {
    let option = |key: &str| network.options.as_ref().and_then(|all| all.get(key)).map(String::as_str);
    network.internal == Some(true)
        && network.enable_ipv6 != Some(true)
        && (option(INHIBIT) == Some("true") || option(GATEWAY_MODE) == Some("isolated"))
}

/// The network ids of a member's endpoints, in their order.
///
/// # Errors
/// `NotFound` for a missing network, `NameConflict` for one that is not this bottle's.
pub(super) async fn resolve(
    engine: &Engine,
    op: Op,
    bottle: &BottleId,
    endpoints: &[Endpoint],
) -> BackendResult<Vec<String>> {
    let existing = list(engine, HashMap::new()).await?;
    endpoints
        .iter()
        .map(|endpoint| {
            let claim = if endpoint.zone == Zone::Egress { Claim::Shared } else { Claim::Bottle(bottle) };
            let refuse = |kind, why| refused(op, &endpoint.network, kind, why);
            let found = oldest(&existing, &endpoint.network)
                .ok_or_else(|| refuse(BackendErrorKind::NotFound, NetworkError::Missing))?;
            if !claim.holds(found) {
                return Err(refuse(BackendErrorKind::NameConflict, NetworkError::Foreign));
            }
            // A network made before this program or by a damaged one must not carry an agent.
            if endpoint.zone != Zone::Egress && !is_isolated(found) {
                return Err(refuse(BackendErrorKind::Denied, NetworkError::NotIsolated));
            }
            Ok(id_of(found))
        })
        .collect()
}

/// Removes the inner networks of a bottle. Missing is success. (Docker API: `DELETE /networks/{id}`.)
///
/// # Errors
/// `Denied` while a member runs on one of them.
pub(super) async fn remove_ground(engine: &Engine, bottle: &BottleId) -> BackendResult<()> {
    let label = format!("{}={bottle}", labels::BOTTLE);
    let found = list(engine, filter("label", &label)).await?;
    let ids: Vec<String> = found.iter().map(id_of).collect();
    let results = futures::future::join_all(ids.iter().map(|id| remove(engine, id))).await;
    results.into_iter().collect()
}

/// Removes the shared network unless a member, running or not, is on it. `true` when it is gone.
pub(super) async fn remove_shared(engine: &Engine, name: &str) -> BackendResult<bool> {
    let found = list(engine, filter("name", name)).await?;
    let mut gone = true;
    for network in found.iter().filter(|net| net.name.as_deref() == Some(name) && Claim::Shared.holds(net)) {
        // The engine itself only counts running members.
        let options = ListContainersOptions {
            all: true,
            // A container that was never started is found by the name only.
            filters: Some(HashMap::from([("network".to_owned(), vec![id_of(network), name.to_owned()])])),
            ..ListContainersOptions::default()
        };
        let subject = Subject::Network(name.to_owned());
        let call = engine.docker.list_containers(Some(options));
        let members = engine.call(Op::RemoveZone, subject, call).await?;
        gone &= members.is_empty() && remove(engine, &id_of(network)).await.is_ok();
    }
    Ok(gone)
}

pub(super) async fn remove(engine: &Engine, id: &str) -> BackendResult<()> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let subject = Subject::Network(id.to_owned());
        match engine.call(Op::RemoveZone, subject, engine.docker.remove_network(id)).await {
            Ok(()) => return Ok(()),
            Err(error) if is_missing(&error) => return Ok(()),
            Err(error) if meaning(&error) == Some(Meaning::InUse) && attempt < REMOVE_ATTEMPTS => {
                tokio::time::sleep(REMOVE_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Lists networks. The engine's name filter matches parts of names; callers compare the whole.
pub(super) async fn list(
    engine: &Engine,
    filters: HashMap<String, Vec<String>>,
) -> BackendResult<Vec<Network>> {
    let options = ListNetworksOptions { filters: Some(filters) };
    let subject = Subject::Engine(engine.address.clone());
    engine.call(Op::ListOwned, subject, engine.docker.list_networks(Some(options))).await
}

pub(super) fn filter(key: &str, value: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([(key.to_owned(), vec![value.to_owned()])])
}

/// Of all networks with exactly this name the one that counts: same answer for everyone who asks.
pub(super) fn oldest<'a>(networks: &'a [Network], name: &str) -> Option<&'a Network> {
    networks
        .iter()
        .filter(|network| network.name.as_deref() == Some(name))
        .min_by_key(|network| (created_nanos(network), id_of(network)))
}

/// Creation time; the engine cuts trailing zeros, so its text does not sort.
pub(super) fn created_nanos(network: &Network) -> i128 {
    let created = network.created.as_deref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    created.map_or(0, |at| at.as_nanosecond())
}

pub(super) fn id_of(network: &Network) -> String {
    network.id.clone().unwrap_or_default()
}

pub(super) fn subnets_of(network: &Network) -> Vec<Ipv4Net> {
    let configs = network.ipam.as_ref().and_then(|ipam| ipam.config.as_deref()).unwrap_or_default();
    configs.iter().filter_map(|config| config.subnet.as_deref()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str, id: &str, created: &str) -> Network {
        Network {
            name: Some(name.into()),
            id: Some(id.into()),
            created: Some(created.into()),
            ..Network::default()
        }
    }

    #[test]
    fn the_oldest_of_one_name_counts_then_the_lowest_id() {
        let networks = [
            network("a", "3", "2026-01-01T00:00:00.12Z"),
            network("a", "2", "2026-01-01T00:00:00.1Z"),
            network("a", "1", "2026-01-01T01:00:00.1+01:00"),
            network("a-longer", "0", "2025-01-01T00:00:00Z"),
        ];
        assert_eq!(oldest(&networks, "a").map(id_of), Some("1".to_owned()));
    }

    #[test]
    fn a_network_without_the_isolating_option_is_not_isolated() {
        let mut net = network("a", "1", "2026-01-01T00:00:00Z");
        net.internal = Some(true);
        assert!(!is_isolated(&net));
        net.options = Some(HashMap::from([(INHIBIT.to_owned(), "true".to_owned())]));
        assert!(is_isolated(&net));
        net.internal = Some(false);
        assert!(!is_isolated(&net));
    }
}
