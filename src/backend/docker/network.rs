//! The networks of a bottle: made, found again, repaired, removed.
//!
//! Docker does not keep network names unique, so a name is looked up before and after each create; of several
//! with one name the oldest counts, then the lowest id. Members are attached by network *id*.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use bollard::models::{Ipam, IpamConfig, Network, NetworkCreateRequest};
use bollard::query_parameters::{ListContainersOptions, ListNetworksOptions};
use ipnet::Ipv4Net;

use super::super::subnets;
use super::super::{BackendError, BackendErrorKind, BackendResult, Op, Subject, labels};
use super::classify::Meaning;
use super::engine::{Engine, is_missing, meaning};
use crate::ids::BottleId;
use crate::plan::spec::{Endpoint, Ground, GroundSpec, Ownership, Zone};

const INHIBIT: &str = "com.docker.network.bridge.inhibit_ipv4";
const GATEWAY_MODE: &str = "com.docker.network.bridge.gateway_mode_ipv4";
const ICC: &str = "com.docker.network.bridge.enable_icc";
/// How often a network is tried again that still has the endpoint of a member just removed.
const REMOVE_ATTEMPTS: u32 = 10;
const REMOVE_PAUSE: Duration = Duration::from_millis(200);

/// Why a network of the right name is not usable.
#[derive(Debug, thiserror::Error)]
enum NetworkError {
    #[error("a network of that name belongs to somebody else")]
    Foreign,
    #[error("no free subnet is left in {0}; widen the pool or run the cleanup")]
    Exhausted(Ipv4Net),
    #[error("the network of that name is not isolated and has members; remove it by hand")]
    NotIsolated,
    #[error("the network has no usable IPv4 subnet")]
    NoSubnet,
    #[error("the network does not exist")]
    Missing,
}

fn refused(op: Op, name: &str, kind: BackendErrorKind, why: NetworkError) -> BackendError {
    BackendError::new(op, Subject::Network(name.to_owned()), kind, why)
}

/// Whose a network must be to be used.
#[derive(Clone, Copy)]
enum Claim<'a> {
    Bottle(&'a BottleId),
    Shared,
}

impl Claim<'_> {
    fn holds(self, network: &Network) -> bool {
        let label =
            |key: &str| network.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
        match self {
            Claim::Bottle(bottle) => label(labels::BOTTLE) == Some(bottle.as_str()),
            Claim::Shared => label(labels::SHARED) == Some("true"),
        }
    }
}

/// Makes or finds the networks of a bottle. (Docker API: `GET /networks`, `POST /networks/create`.)
///
/// What this call has made is removed again when it fails; after a dropped call the next one finds it.
///
/// # Errors
/// `NameConflict`, `NoAddressSpace`, `Denied` when a network of ours was made without isolation.
pub(super) async fn ensure_ground(engine: &Engine, spec: &GroundSpec) -> BackendResult<Ground> {
    let existing = list(engine, HashMap::new()).await?;
    let taken: Vec<Ipv4Net> = existing.iter().flat_map(subnets_of).collect();
    let mut made = Vec::new();
    let shared = Mutex::new(subnets::shared(spec.pool, taken.clone()));
    let wanted = Wanted { name: &spec.egress_name, claim: Claim::Shared, pool: spec.pool };
    let request = |subnet| shared_request(&spec.egress_name, subnet);
    // The shared network outlives the bottle, so it is not on the list of what a failure removes.
    ensure(engine, &wanted, &existing, &shared, request).await?;

    let candidates = Mutex::new(subnets::inner(spec.pool, &spec.ownership.bottle, taken));
    let zone = |name, role| {
        let (candidates, existing) = (&candidates, &existing);
        async move {
            let claim = Claim::Bottle(&spec.ownership.bottle);
            let wanted = Wanted { name, claim, pool: spec.pool };
            let request = |subnet| inner_request(engine, &spec.ownership, name, role, subnet);
            ensure(engine, &wanted, existing, candidates, request).await
        }
    };
    let (int, mid) = futures::join!(zone(&spec.int_name, "int"), zone(&spec.mid_name, "mid"));
    made.extend([&int, &mid].into_iter().flatten().filter(|net| net.made).map(|net| net.id.clone()));
    match (int, mid) {
        (Ok(int), Ok(mid)) => Ok(addresses(spec, int.subnet, mid.subnet)),
        (Err(error), _) | (_, Err(error)) => {
            for id in made {
                // The cause is worth more than this failure; what stays carries labels.
                let _ = remove(engine, &id).await;
            }
            Err(error)
        }
    }
}

/// Makes or finds the shared network alone; gives its subnet. Its first host address is the engine host's.
pub(super) async fn ensure_shared(engine: &Engine, name: &str, pool: Ipv4Net) -> BackendResult<Ipv4Net> {
    let existing = list(engine, HashMap::new()).await?;
    let taken: Vec<Ipv4Net> = existing.iter().flat_map(subnets_of).collect();
    let candidates = Mutex::new(subnets::shared(pool, taken));
    let wanted = Wanted { name, claim: Claim::Shared, pool };
    let ensured =
        ensure(engine, &wanted, &existing, &candidates, |subnet| shared_request(name, subnet)).await?;
    Ok(ensured.subnet)
}

/// The first host address is the gateway's and stays empty; members follow.
fn addresses(spec: &GroundSpec, int: Ipv4Net, mid: Ipv4Net) -> Ground {
    let at = |net: Ipv4Net, offset: u32| (u32::from(net.network()) + offset).into();
    Ground {
        spec: spec.clone(),
        mitmproxy_int: at(int, 2),
        agent_int: at(int, 3),
        pipelock_mid: at(mid, 2),
        mitmproxy_mid: at(mid, 3),
    }
}

struct Wanted<'a> {
    name: &'a str,
    claim: Claim<'a>,
    pool: Ipv4Net,
}

struct Ensured {
    id: String,
    subnet: Ipv4Net,
    made: bool,
}

async fn ensure(
    engine: &Engine,
    wanted: &Wanted<'_>,
    existing: &[Network],
    candidates: &Mutex<impl Iterator<Item = Ipv4Net>>,
    request: impl Fn(Ipv4Net) -> NetworkCreateRequest,
) -> BackendResult<Ensured> {
    if let Some(found) = oldest(existing, wanted.name) {
        if !wanted.claim.holds(found) {
            return Err(refused(
                Op::CreateZone,
                wanted.name,
                BackendErrorKind::NameConflict,
                NetworkError::Foreign,
            ));
        }
        if matches!(wanted.claim, Claim::Shared) || is_isolated(found) {
            return found_again(found, wanted.name);
        }
        remove(engine, &id_of(found)).await.map_err(|_| {
            refused(Op::CreateZone, wanted.name, BackendErrorKind::Denied, NetworkError::NotIsolated)
        })?;
    }
    let (created, conflict) = match create(engine, wanted, candidates, request).await {
        Ok(created) => (Some(created), None),
        // Engine 25 and later refuse a second network of the name; earlier ones make it. Either way the
        // oldest network of the name decides.
        Err(error) if error.kind == BackendErrorKind::NameConflict => (None, Some(error)),
        Err(error) => return Err(error),
    };
    let now = list(engine, filter("name", wanted.name)).await?;
    let winner = oldest(&now, wanted.name);
    if let Some((id, subnet)) = created {
        if winner.is_none_or(|winner| id_of(winner) == id) {
            return Ok(Ensured { id, subnet, made: true });
        }
        remove(engine, &id).await?;
    }
    match (winner, conflict) {
        (Some(winner), _) if wanted.claim.holds(winner) => found_again(winner, wanted.name),
        // Whoever had the name has gone meanwhile; the caller's next try gets it.
        (None, Some(error)) => Err(error),
        (_, _) => {
            let (kind, why) = (BackendErrorKind::NameConflict, NetworkError::Foreign);
            Err(refused(Op::CreateZone, wanted.name, kind, why))
        }
    }
}

fn found_again(network: &Network, name: &str) -> BackendResult<Ensured> {
    let subnet = subnets_of(network).into_iter().next();
    let subnet = subnet
        .ok_or_else(|| refused(Op::CreateZone, name, BackendErrorKind::Protocol, NetworkError::NoSubnet))?;
    Ok(Ensured { id: id_of(network), subnet, made: false })
}

/// Creates the network on the first candidate that the engine accepts.
async fn create(
    engine: &Engine,
    wanted: &Wanted<'_>,
    candidates: &Mutex<impl Iterator<Item = Ipv4Net>>,
    request: impl Fn(Ipv4Net) -> NetworkCreateRequest,
) -> BackendResult<(String, Ipv4Net)> {
    loop {
        let next = candidates.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
        let Some(subnet) = next else {
            let why = NetworkError::Exhausted(wanted.pool);
            return Err(refused(Op::CreateZone, wanted.name, BackendErrorKind::NoAddressSpace, why));
        };
        let subject = Subject::Network(wanted.name.to_owned());
        let call = engine.docker.create_network(request(subnet));
        match engine.call(Op::CreateZone, subject, call).await {
            Ok(created) => return Ok((created.id, subnet)),
            Err(error) if meaning(&error) == Some(Meaning::Overlaps) => {}
            Err(error) => return Err(error),
        }
    }
}

fn inner_request(
    engine: &Engine,
    ownership: &Ownership,
    name: &str,
    role: &str,
    subnet: Ipv4Net,
) -> NetworkCreateRequest {
    // Without this the host's services answer on the bridge's own address.
    let isolation = if engine.isolated_gateway { (GATEWAY_MODE, "isolated") } else { (INHIBIT, "true") };
    bridge_request(name, subnet, true, isolation, labels::of(ownership, role))
}

fn shared_request(name: &str, subnet: Ipv4Net) -> NetworkCreateRequest {
    let labels = HashMap::from([(labels::SHARED.to_owned(), "true".to_owned())]);
    bridge_request(name, subnet, false, (ICC, "false"), labels)
}

fn bridge_request(
    name: &str,
    subnet: Ipv4Net,
    internal: bool,
    option: (&str, &str),
    labels: HashMap<String, String>,
) -> NetworkCreateRequest {
    let config = IpamConfig { subnet: Some(subnet.to_string()), ..IpamConfig::default() };
    NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("bridge".into()),
        internal: Some(internal),
        attachable: Some(false),
        enable_ipv6: Some(false),
        ipam: Some(Ipam { config: Some(vec![config]), ..Ipam::default() }),
        options: Some(HashMap::from([(option.0.to_owned(), option.1.to_owned())])),
        labels: Some(labels),
        ..NetworkCreateRequest::default()
    }
}

fn is_isolated(network: &Network) -> bool {
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
    bottle: &BottleId,
    endpoints: &[Endpoint],
) -> BackendResult<Vec<String>> {
    let existing = list(engine, HashMap::new()).await?;
    endpoints
        .iter()
        .map(|endpoint| {
            let claim = if endpoint.zone == Zone::Egress { Claim::Shared } else { Claim::Bottle(bottle) };
            let refuse = |kind, why| refused(Op::ConnectMember, &endpoint.network, kind, why);
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

async fn remove(engine: &Engine, id: &str) -> BackendResult<()> {
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
fn oldest<'a>(networks: &'a [Network], name: &str) -> Option<&'a Network> {
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

fn id_of(network: &Network) -> String {
    network.id.clone().unwrap_or_default()
}

fn subnets_of(network: &Network) -> Vec<Ipv4Net> {
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
