//! Networks: idempotency, conflicts, address space, concurrency.

use bottle::backend::{BackendErrorKind, OwnedBy};
use bottle::plan::spec::{Ground, Zone};
use futures::future::join_all;
use ipnet::Ipv4Net;

use crate::lab::{Lab, endpoint};

fn subnets(ground: &Ground) -> [Ipv4Net; 2] {
    [ground.agent_int, ground.pipelock_mid].map(|address| Ipv4Net::new(address, 29).unwrap().trunc())
}

pub async fn ground_is_found_again_with_the_same_addresses(lab: &Lab) {
    let first = lab.ground("a").await;
    assert_eq!(lab.ground("a").await, first);
    let [int, mid] = subnets(&first);
    assert!(int.contains(&first.mitmproxy_int) && mid.contains(&first.mitmproxy_mid));
    assert!(lab.pool.contains(&int) && lab.pool.contains(&mid) && int != mid);
    assert_ne!(first.agent_int, first.mitmproxy_int);
    assert_ne!(first.pipelock_mid, first.mitmproxy_mid);
    assert_eq!(lab.backend.owned(&lab.owner()).await.unwrap().len(), 2);
}

pub async fn a_half_made_ground_is_completed(lab: &Lab) {
    // A bottle whose middle zone has another name: its inner zone is found, the other one is made.
    let mut half = lab.ground_spec("a");
    half.mid_name = format!("{}-other", lab.run);
    let before = lab.backend.ensure_ground(&half).await.unwrap();
    let whole = lab.ground("a").await;
    assert_eq!((before.agent_int, before.mitmproxy_int), (whole.agent_int, whole.mitmproxy_int));
    assert_eq!(lab.backend.owned(&lab.owner()).await.unwrap().len(), 3);
}

pub async fn a_foreign_zone_is_a_name_conflict(lab: &Lab) {
    lab.ground("a").await;
    let mut spec = lab.ground_spec("b");
    spec.mid_name = lab.ground_spec("a").mid_name;
    let error = lab.backend.ensure_ground(&spec).await.unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::NameConflict);
    assert!(lab.backend.owned(&OwnedBy::Bottle(spec.ownership.bottle)).await.unwrap().is_empty());
}

pub async fn a_used_up_pool_is_no_address_space_and_leaves_nothing(lab: &Lab) {
    lab.ground("a").await;
    let mut spec = lab.ground_spec("b");
    let taken = subnets(&lab.ground("a").await);
    let free = lab.pool.subnets(29).unwrap().find(|net| !taken.contains(net)).unwrap();
    // Room for one zone of the two.
    spec.pool = free;
    let error = lab.backend.ensure_ground(&spec).await.unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::NoAddressSpace);
    assert!(lab.backend.owned(&OwnedBy::Bottle(spec.ownership.bottle)).await.unwrap().is_empty());
}

pub async fn concurrent_grounds_never_overlap(lab: &Lab) {
    let grounds = join_all(["a", "b", "c", "d"].map(|bottle| lab.ground(bottle))).await;
    let mut all: Vec<Ipv4Net> = grounds.iter().flat_map(subnets).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 8);
}

pub async fn concurrent_grounds_of_one_bottle_are_one_ground(lab: &Lab) {
    let spec = lab.ground_spec("a");
    let (first, second) = futures::join!(lab.backend.ensure_ground(&spec), lab.backend.ensure_ground(&spec));
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(lab.backend.owned(&lab.owner()).await.unwrap().len(), 2);
}

pub async fn concurrent_claims_on_one_name_have_one_winner(lab: &Lab) {
    lab.ground("other").await;
    let a = lab.ground_spec("a");
    let mut b = lab.ground_spec("b");
    (b.int_name, b.mid_name) = (a.int_name.clone(), a.mid_name.clone());
    let (first, second) = futures::join!(lab.backend.ensure_ground(&a), lab.backend.ensure_ground(&b));
    // Each may have got one of the two names: then both lose and the caller takes another name.
    let won = usize::from(first.is_ok()) + usize::from(second.is_ok());
    assert!(won <= 1, "both won");
    for error in [first.err(), second.err()].into_iter().flatten() {
        assert_eq!(error.kind, BackendErrorKind::NameConflict);
    }
    let left = lab.backend.owned(&lab.owner()).await.unwrap();
    assert_eq!(left.len(), 2 + 2 * won, "{left:?}");
}

pub async fn removing_ground_twice_is_success(lab: &Lab) {
    let bottle = lab.ground("a").await.spec.ownership.bottle;
    lab.backend.remove_ground(&bottle).await.unwrap();
    assert!(lab.backend.owned(&lab.owner()).await.unwrap().is_empty());
    lab.backend.remove_ground(&bottle).await.unwrap();
}

pub async fn the_shared_zone_stays_while_a_member_is_on_it(lab: &Lab) {
    lab.ground("a").await;
    let mut spec = lab.member_spec("a", &["sleep", "600"]);
    spec.endpoints = vec![endpoint(Zone::Egress, &lab.egress(), None)];
    let id = lab.backend.ensure_member(&spec).await.unwrap();
    assert!(!lab.backend.remove_shared(&lab.egress()).await.unwrap());
    lab.backend.remove_member(&id).await.unwrap();
    assert!(lab.backend.remove_shared(&lab.egress()).await.unwrap());
    assert!(lab.backend.remove_shared(&lab.egress()).await.unwrap());
}

/// Two free subnets of the lab's pool, in an order that a search would not take.
async fn wanted(lab: &Lab) -> (Ipv4Net, Ipv4Net) {
    let taken = lab.ground("other").await.subnets();
    let mut free = lab.pool.subnets(29).unwrap().filter(|net| *net != taken.0 && *net != taken.1);
    let (mid, int) = (free.next().unwrap(), free.nth(3).unwrap());
    (int, mid)
}

pub async fn the_subnets_that_were_asked_for_are_taken(lab: &Lab) {
    let mut spec = lab.ground_spec("a");
    spec.subnets = Some(wanted(lab).await);
    let first = lab.backend.ensure_ground(&spec).await.unwrap();
    assert_eq!(Some(first.subnets()), spec.subnets);
    assert_eq!(lab.backend.ensure_ground(&spec).await.unwrap(), first);
}

pub async fn a_taken_subnet_is_no_address_space_and_leaves_nothing(lab: &Lab) {
    let (int, _) = wanted(lab).await;
    let mut spec = lab.ground_spec("a");
    spec.subnets = Some((int, lab.ground("other").await.subnets().0));
    let error = lab.backend.ensure_ground(&spec).await.unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::NoAddressSpace);
    assert!(lab.backend.owned(&OwnedBy::Bottle(spec.ownership.bottle)).await.unwrap().is_empty());
}

pub async fn a_zone_on_another_subnet_is_denied_and_stays(lab: &Lab) {
    let before = lab.ground("a").await;
    let mut spec = lab.ground_spec("a");
    spec.subnets = Some(wanted(lab).await);
    let error = lab.backend.ensure_ground(&spec).await.unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Denied);
    assert_eq!(lab.ground("a").await, before);
}

pub async fn one_lost_zone_is_made_anew_on_its_subnet(lab: &Lab) {
    let before = lab.ground("a").await;
    lab.hand.remove_network(&before.spec.mid_name);
    let mut spec = lab.ground_spec("a");
    spec.subnets = Some(before.subnets());
    let after = lab.backend.ensure_ground(&spec).await.unwrap();
    assert_eq!((after.subnets(), after.pipelock_mid), (before.subnets(), before.pipelock_mid));
    assert_eq!(lab.backend.owned(&lab.owner()).await.unwrap().len(), 2);
}
