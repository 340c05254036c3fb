//! Cleanup: what no living owner claims, and nothing else.

use std::time::Duration;

use bottle::backend::{Backend as _, OwnedResource};
use bottle::ids::OwnerId;
use bottle::lease;
use bottle::plan::spec::Ownership;

use crate::farm::{Farm, assert_works, foreign_member, names, pass};

/// What a dead owner of this host leaves: containers and networks with its labels.
async fn leave(farm: &Farm, bottle: &str, change: impl FnOnce(&mut Ownership)) {
    let mut spec = foreign_member(&format!("claude-bottle-{bottle}"));
    spec.ownership.bottle = format!("{bottle:0>16}").as_str().into();
    spec.ownership.slug = bottle.into();
    spec.ownership.owner = "00000000deadbeef".into();
    spec.ownership.host = lease::host_id(&farm.state_dir());
    change(&mut spec.ownership);
    let ground = bottle::plan::spec::GroundSpec {
        ownership: spec.ownership.clone(),
        int_name: format!("claude-bottle-int-{bottle}"),
        mid_name: format!("claude-bottle-mid-{bottle}"),
        egress_name: "claude-bottle-egress".into(),
        pool: "10.99.0.0/16".parse().unwrap(),
        subnets: None,
    };
    farm.engine.ensure_ground(&ground).await.unwrap();
    let id = farm.engine.ensure_member(&spec).await.unwrap();
    farm.engine.start_member(&id, None).await.unwrap();
}

async fn slugs(farm: &Farm, detached: bool) -> Vec<String> {
    let plan = farm.runtime.prepare_cleanup(detached).await.unwrap();
    plan.orphans.iter().map(|orphan| orphan.slug.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn only_bottles_of_dead_owners_of_this_host_are_removed() {
    let farm = Farm::new().await;
    let other = farm.second_runtime().await;
    let own = farm.launch().await;
    let (plan, material) = farm.plan_of(false).await;
    let theirs = other.launch(plan, material).await.unwrap();
    leave(&farm, "dead", |_| {}).await;
    leave(&farm, "away", |ownership| ownership.host = "elsewhere".into()).await;
    leave(&farm, "damaged", |ownership| ownership.owner = OwnerId::from("")).await;
    leave(&farm, "kept", |ownership| ownership.detached = true).await;
    assert_eq!(slugs(&farm, false).await, ["dead"]);
    assert_eq!(slugs(&farm, true).await, ["dead", "kept"]);
    let plan = farm.runtime.prepare_cleanup(false).await.unwrap();
    assert!(!plan.empty() && plan.print().contains("claude-bottle-dead"));
    assert_eq!(plan.unknown.len(), 2);
    let done = farm.runtime.cleanup(&plan).await;
    assert!(done.len() == 1 && done[0].1.failed.is_empty());
    let again = farm.runtime.prepare_cleanup(false).await.unwrap();
    assert!(again.empty());
    assert!(farm.runtime.cleanup(&again).await.is_empty());
    let left = names(&farm.owned().await);
    assert!(!left.iter().any(|name| name.ends_with("-dead")), "{left:?}");
    assert_eq!(left.len(), 2 * 5 + 3 * 3, "{left:?}");
    assert_works(&own).await;
    assert_works(&theirs).await;
}

#[tokio::test(start_paused = true)]
async fn cleaning_up_a_plan_twice_is_success() {
    let farm = Farm::new().await;
    leave(&farm, "dead", |_| {}).await;
    let plan = farm.runtime.prepare_cleanup(false).await.unwrap();
    for _ in 0..2 {
        let done = farm.runtime.cleanup(&plan).await;
        assert!(done.iter().all(|(_, report)| report.failed.is_empty()));
    }
    farm.assert_nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_came_alive_after_the_plan_was_made_is_left_alone() {
    let farm = Farm::new().await;
    leave(&farm, "dead", |_| {}).await;
    let mut plan = farm.runtime.prepare_cleanup(false).await.unwrap();
    let held = lease::Lease::acquire(&farm.state_dir()).unwrap();
    plan.orphans[0].owner = held.owner().clone();
    assert!(farm.runtime.cleanup(&plan).await.is_empty());
    assert_eq!(farm.owned().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn leases_that_cannot_be_read_make_no_orphans() {
    let farm = Farm::new().await;
    leave(&farm, "dead", |_| {}).await;
    let owners = farm.state_dir().join("owners");
    std::fs::rename(&owners, farm.state_dir().join("moved")).unwrap();
    std::fs::write(&owners, "in the way").unwrap();
    assert!(farm.runtime.prepare_cleanup(false).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_bottle_under_launch_is_nobodys_orphan() {
    let farm = Farm::new().await;
    farm.engine.set_script(bottle::ids::Role::Mitmproxy, bottle::testing::MemberScript::idle());
    let other = farm.second_runtime().await;
    let (plan, material) = farm.plan_of(false).await;
    let runtime = farm.runtime.clone();
    let launch = tokio::spawn(async move { runtime.launch(plan, material).await });
    pass(Duration::from_secs(5)).await;
    assert_eq!(farm.owned().await.len(), 5);
    assert!(farm.runtime.prepare_cleanup(true).await.unwrap().empty());
    assert!(other.prepare_cleanup(true).await.unwrap().empty());
    launch.abort();
}

#[tokio::test(start_paused = true)]
async fn bottles_of_all_owners_are_listed_and_can_be_attached_to() {
    let farm = Farm::new().await;
    let other = farm.second_runtime().await;
    let bottle = farm.launch().await;
    let active = other.list_active().await.unwrap();
    assert_eq!(active.iter().map(|one| &one.slug).collect::<Vec<_>>(), [bottle.slug()]);
    for name in ["coder", "claude-bottle-coder", bottle.id().as_str()] {
        let attached = other.attach(name).await.unwrap();
        assert_eq!(attached.exec(crate::farm::sh("echo hi")).await.unwrap().stdout, b"hi\n");
    }
    let missing = other.attach("nobody").await.unwrap_err();
    assert!(missing.to_string().contains("running: coder"), "{missing}");
    let attached = other.attach("coder").await.unwrap();
    attached.stop(Duration::from_secs(1)).await.unwrap();
    bottle.wait().await;
    let left = farm.owned().await;
    assert!(!left.iter().any(|item| matches!(item.resource, OwnedResource::Member { .. })));
}
