//! Supervisors and workers that are killed: somebody above takes over.

use std::time::Duration;

use bottle::messages::EndReason;
use bottle::testing::MemberScript;

use crate::farm::{Farm, assert_works, pass};

#[expect(clippy::disallowed_methods, reason = "the brutal kill is what is tested")]
fn kill(cell: &ractor::ActorCell) {
    cell.kill();
}

#[tokio::test(start_paused = true)]
async fn the_root_sweeps_what_a_killed_supervisor_leaves() {
    let farm = Farm::new().await;
    let neighbour = farm.launch().await;
    let root = farm.root().await;
    let mut bottle = farm.spawn(&root, "00000000000000cc").await;
    bottle.ready().await;
    assert_eq!(farm.names_of(&bottle.id).await.len(), 5);
    kill(&bottle.actor.get_cell());
    let report = bottle.report().await;
    assert!(matches!(report.reason, Some(EndReason::ActorFailed(_))), "{:?}", report.reason);
    assert_eq!(report.removed.len(), 5);
    assert!(farm.names_of(&bottle.id).await.is_empty());
    assert_works(&neighbour).await;
}

#[tokio::test(start_paused = true)]
async fn the_root_sweeps_what_a_supervisor_leaves_that_is_killed_at_any_moment_of_a_launch() {
    for millis in (0..40).map(|step| step * 7) {
        let farm = Farm::new().await;
        let root = farm.root().await;
        farm.engine.set_latency(Duration::from_millis(50));
        let mut bottle = farm.spawn(&root, "00000000000000dd").await;
        pass(Duration::from_millis(millis)).await;
        kill(&bottle.actor.get_cell());
        bottle.report().await;
        pass(Duration::from_secs(60)).await;
        farm.assert_nothing_left().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_worker_is_replaced_by_one_that_takes_its_container_over() {
    let farm = Farm::new().await;
    let root = farm.root().await;
    let mut bottle = farm.spawn(&root, "00000000000000ee").await;
    bottle.ready().await;
    let before = farm.names_of(&bottle.id).await;
    let workers = bottle.actor.get_cell().get_children();
    assert!(workers.len() >= 3, "{}", workers.len());
    for worker in &workers {
        kill(worker);
    }
    pass(Duration::from_secs(5)).await;
    let tree = bottle.status.borrow().tree.clone().unwrap();
    assert_eq!(tree.phase, "ready");
    assert!(tree.children[..3].iter().all(|child| child.incarnation == 2), "{tree:?}");
    assert_eq!(farm.names_of(&bottle.id).await, before);
}

#[tokio::test(start_paused = true)]
async fn a_bottle_that_nobody_observes_closes_itself() {
    let farm = Farm::new().await;
    let root = farm.root().await;
    let bottle = farm.spawn(&root, "00000000000000ff").await;
    let id = bottle.id.clone();
    drop(bottle);
    pass(Duration::from_secs(60)).await;
    assert!(farm.names_of(&id).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn launches_beyond_the_limit_wait_for_their_turn_and_a_failed_one_gives_it_back() {
    let farm = Farm::new().await;
    farm.engine.set_script(bottle::ids::Role::Mitmproxy, MemberScript::idle());
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let (plan, material) = farm.plan_of(false).await;
        let runtime = farm.runtime.clone();
        waiting.push(tokio::spawn(async move { runtime.launch(plan, material).await }));
    }
    pass(Duration::from_secs(1)).await;
    assert!(farm.owned().await.len() <= 8 * 5, "at most eight at once");
    for one in waiting {
        assert!(one.await.unwrap().is_err());
    }
    farm.assert_nothing_left().await;
}
