//! Closing: once, in order, from wherever it comes.

use std::sync::Arc;
use std::time::Duration;

use bottle::backend::{BackendErrorKind, Op};
use bottle::ids::Role;
use bottle::messages::{EndReason, OperationError};
use bottle::testing::{Fault, FaultRule, MemberScript};

use crate::farm::{Farm, assert_works, chain, failed, pass, sh};

#[tokio::test(start_paused = true)]
async fn closing_twice_and_at_once_gives_the_same_report() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    let (first, second) = tokio::join!(bottle.close(), bottle.close());
    assert!(Arc::ptr_eq(&first, &second));
    assert!(Arc::ptr_eq(&first, &bottle.close().await));
    assert_eq!((first.reason.clone(), first.removed.len()), (Some(EndReason::Closed), 5));
    farm.assert_nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn the_agent_goes_before_the_sidecars_and_these_before_the_networks() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    farm.engine.clear_journal();
    let report = bottle.close().await;
    let names = bottle.plan().names();
    assert_eq!(report.removed[0], names.agent);
    assert!(
        report.removed[1..3].contains(&names.mitmproxy) && report.removed[1..3].contains(&names.pipelock)
    );
    assert!(report.removed[3..].contains(&names.int) && report.removed[3..].contains(&names.mid));
    let removals: Vec<_> =
        farm.engine.journal().into_iter().filter(|call| call.op == Op::RemoveMember).collect();
    assert_eq!(removals[0].role, Some(Role::Agent));
}

#[tokio::test(start_paused = true)]
async fn everything_is_refused_after_a_close() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    bottle.close().await;
    let gone = |error: OperationError| matches!(error, OperationError::NotReady { phase: "gone", .. });
    assert!(gone(bottle.exec(sh("true")).await.unwrap_err()));
    assert!(gone(bottle.cp_in(farm.host.cwd(), "/work").await.unwrap_err()));
    assert!(gone(bottle.cp_out("/work", farm.dir.path()).await.unwrap_err()));
    assert!(gone(bottle.stats(Role::Agent).await.unwrap_err()));
    assert!(gone(bottle.logs(Role::Agent, bottle::backend::LogOptions::default()).await.unwrap_err()));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_fails_during_a_close_is_reported_and_a_later_cleanup_takes_the_rest() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    for nth in 1..=60 {
        farm.engine.fault(FaultRule::on(Op::RemoveMember, Fault::Error(BackendErrorKind::Denied)).nth(nth));
    }
    let report = bottle.close().await;
    assert!(failed(&report).iter().any(|text| text.starts_with("remove container")), "{:?}", failed(&report));
    assert!(!farm.owned().await.is_empty());
    farm.engine.clear_faults();
    let plan = farm.runtime.prepare_cleanup(false).await.unwrap();
    assert_eq!(plan.orphans.len(), 1);
    let done = farm.runtime.cleanup(&plan).await;
    assert!(done.iter().all(|(_, report)| report.failed.is_empty()));
    farm.assert_nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn one_failure_of_each_call_of_a_close_is_overcome() {
    for op in [Op::ListOwned, Op::RemoveMember, Op::RemoveZone] {
        for fault in [Fault::Error(BackendErrorKind::Denied), Fault::Timeout, Fault::LostAnswer] {
            let farm = Farm::new().await;
            let bottle = farm.launch().await;
            farm.engine.fault(FaultRule::on(op, fault));
            let report = bottle.close().await;
            assert_eq!(failed(&report), Vec::<String>::new(), "{op} {fault:?}");
            farm.assert_nothing_left().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_closes_in_the_background() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    let other = bottle.clone();
    drop(bottle);
    pass(Duration::from_secs(60)).await;
    assert_works(&other).await;
    drop(other);
    pass(Duration::from_secs(60)).await;
    farm.assert_nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_of_a_launch_at_any_moment_rolls_it_back() {
    for millis in (0..60).map(|step| step * 5) {
        let farm = Farm::new().await;
        farm.engine.set_latency(Duration::from_millis(20));
        let (plan, material) = farm.plan_of(true).await;
        let begun = tokio::time::timeout(Duration::from_millis(millis), farm.runtime.launch(plan, material));
        drop(begun.await);
        pass(Duration::from_secs(300)).await;
        farm.assert_nothing_left().await;
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_of_a_launch_after_any_number_of_polls_rolls_it_back() {
    for polls in 1..12 {
        let farm = Farm::new().await;
        let (plan, material) = farm.plan_of(false).await;
        let mut launch = Box::pin(farm.runtime.launch(plan, material));
        for _ in 0..polls {
            if futures::poll!(launch.as_mut()).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        // The root answers while nobody looks: the answer is dropped with the future.
        pass(Duration::from_millis(1)).await;
        drop(launch);
        pass(Duration::from_secs(300)).await;
        farm.assert_nothing_left().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_during_a_launch_ends_it_with_a_typed_error() {
    let farm = Farm::new().await;
    farm.engine.set_script(Role::Mitmproxy, MemberScript::idle());
    let (plan, material) = farm.plan_of(false).await;
    let runtime = farm.runtime.clone();
    let launch = tokio::spawn(async move { runtime.launch(plan, material).await });
    pass(Duration::from_secs(10)).await;
    let reports = farm.runtime.shutdown().await;
    assert_eq!(reports.len(), 1);
    let error = launch.await.unwrap().unwrap_err();
    assert!(chain(&error).contains("closed during its launch"), "{}", chain(&error));
    assert_eq!(error.kind(), bottle::error::ErrorKind::Cancelled);
    farm.assert_nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_closes_all_and_refuses_new_ones() {
    let farm = Farm::new().await;
    let bottles = [farm.launch().await, farm.launch().await, farm.launch().await];
    let (plan, material) = farm.plan_of(false).await;
    let reports = farm.runtime.shutdown().await;
    assert_eq!(reports.len(), 3);
    assert!(bottles.iter().all(|bottle| bottle.phase() == "gone"));
    farm.assert_nothing_left().await;
    assert!(farm.runtime.shutdown().await.is_empty());
    let refused = farm.runtime.launch(plan, material).await.unwrap_err();
    assert!(chain(&refused).contains("shutting down"), "{}", chain(&refused));
    farm.assert_nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn dropping_the_runtime_closes_all_and_then_gives_the_lease_up() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    let (state_dir, other) = (farm.state_dir(), farm.second_runtime().await);
    let Farm { runtime, dir: _dir, .. } = farm;
    drop(runtime);
    let report = bottle.wait().await;
    assert_eq!(report.reason, Some(EndReason::Closed));
    pass(Duration::from_secs(1)).await;
    assert_eq!(bottle::lease::alive(&state_dir).unwrap().len(), 1);
    assert!(other.list_active().await.unwrap().is_empty());
}
