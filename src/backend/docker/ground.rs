//! The ground of a bottle on Docker: its networks made, found again, completed.

use std::collections::HashMap;
use std::sync::Mutex;

use bollard::models::{Ipam, IpamConfig, Network, NetworkCreateRequest};
use ipnet::Ipv4Net;

use super::super::subnets;
use super::super::{BackendErrorKind, BackendResult, Op, Subject, labels};
use super::classify::Meaning;
use super::engine::{Engine, meaning};
use super::network::{
    Claim, GATEWAY_MODE, INHIBIT, NetworkError, filter, id_of, is_isolated, list, oldest, refused, remove,
    subnets_of,
};
use crate::plan::spec::{Ground, GroundSpec, Ownership};

const ICC: &str = "com.docker.network.bridge.enable_icc";

/// Makes or finds the networks of a bottle. (Docker API: `GET /networks`, `POST /networks/create`.)
///
/// What this call has made is removed again when it fails; after a dropped call the next one finds it.
///
/// # Errors
/// `NameConflict`, `NoAddressSpace`, `Denied` when a network of ours was made without isolation or has another
/// subnet than the one that is asked for.
pub(super) async fn ensure_ground(engine: &Engine, spec: &GroundSpec) -> BackendResult<Ground> {
    let existing = list(engine, HashMap::new()).await?;
    let taken: Vec<Ipv4Net> = existing.iter().flat_map(subnets_of).collect();
    let mut made = Vec::new();
    let shared = Mutex::new(subnets::shared(spec.pool, taken.clone()));
    let wanted = Wanted { name: &spec.egress_name, claim: Claim::Shared, pool: spec.pool, subnet: None };
    let request = |subnet| shared_request(&spec.egress_name, subnet);
    // The shared network outlives the bottle, so it is not on the list of what a failure removes.
    ensure(engine, &wanted, &existing, &shared, request).await?;

    let candidates = Mutex::new(subnets::inner(spec.pool, &spec.ownership.bottle, taken));
    let zone = |name, role, subnet: Option<Ipv4Net>| {
        let (candidates, existing) = (&candidates, &existing);
        async move {
            let claim = Claim::Bottle(&spec.ownership.bottle);
            let wanted = Wanted { name, claim, pool: spec.pool, subnet };
            let request = |subnet| inner_request(engine, &spec.ownership, name, role, subnet);
            match subnet {
                Some(only) => {
                    let only = Mutex::new(std::iter::once(only));
                    ensure(engine, &wanted, existing, &only, request).await
                }
                None => ensure(engine, &wanted, existing, candidates, request).await,
            }
        }
    };
    let (int, mid) = futures::join!(
        zone(&spec.int_name, "int", spec.subnets.map(|(int, _)| int)),
        zone(&spec.mid_name, "mid", spec.subnets.map(|(_, mid)| mid)),
    );
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
    let wanted = Wanted { name, claim: Claim::Shared, pool, subnet: None };
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
    /// The only subnet that will do.
    subnet: Option<Ipv4Net>,
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
            return found_again(found, wanted);
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
        (Some(winner), _) if wanted.claim.holds(winner) => found_again(winner, wanted),
        // Whoever had the name has gone meanwhile; the caller's next try gets it.
        (None, Some(error)) => Err(error),
        (_, _) => {
            let (kind, why) = (BackendErrorKind::NameConflict, NetworkError::Foreign);
            Err(refused(Op::CreateZone, wanted.name, kind, why))
        }
    }
}

fn found_again(network: &Network, wanted: &Wanted<'_>) -> BackendResult<Ensured> {
    let refuse = |kind, why| Err(refused(Op::CreateZone, wanted.name, kind, why));
    match (subnets_of(network).into_iter().next(), wanted.subnet) {
        (None, _) => refuse(BackendErrorKind::Protocol, NetworkError::NoSubnet),
        (Some(found), Some(only)) if found != only => {
            refuse(BackendErrorKind::Denied, NetworkError::OtherSubnet(found))
        }
        (Some(subnet), _) => Ok(Ensured { id: id_of(network), subnet, made: false }),
    }
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
            let why = wanted.subnet.map_or(NetworkError::Exhausted(wanted.pool), NetworkError::Taken);
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
