//! A sidecar dies, hangs, is paused or loses its worker: the bottle goes on, and the agent with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bottle::backend::Repair;
use bottle::ids::Role;
use bottle::messages::{BottleEvent, ChildState, EndReason, ExitReason, OperationError};
use bottle::plan::spec::MemberExit;
use bottle::testing::MemberScript;
use bottle::{Bottle, ExecSession};

use crate::farm::{Farm, assert_works, pass, sh};

const SIDECARS: [Role; 2] = [Role::Pipelock, Role::Mitmproxy];

/// A farm whose engine takes its time, so that what lies between two states can be seen.
async fn farm() -> Farm {
    let farm = Farm::new().await;
    farm.engine.set_latency(Duration::from_millis(100));
    farm
}

/// Something that runs inside and must not notice anything.
async fn work(bottle: &Bottle) -> ExecSession {
    bottle.exec_stream(sh("sleep 100000")).await.unwrap()
}

async fn assert_still_at_work(bottle: &Bottle) {
    let listed = bottle.exec(sh("ps")).await.unwrap();
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(text.contains("sleep 100000"), "{text}");
}

async fn until_phase(bottle: &Bottle, word: &str) {
    let mut left = 30_000;
    while bottle.phase() != word {
        assert!(left > 0, "still {} instead of {word}: {:?}", bottle.phase(), bottle.tree());
        left -= 1;
        pass(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_that_ends_comes_back_under_its_name_and_the_agent_is_not_touched() {
    for role in SIDECARS {
        for removed in [false, true] {
            let farm = farm().await;
            let bottle = farm.launch().await;
            let agent = farm.member(&bottle, Role::Agent);
            let before = farm.names_of(bottle.id()).await;
            let _at_work = work(&bottle).await;
            let mut events = bottle.events();
            let sidecar = farm.member(&bottle, role);
            if removed {
                farm.engine.remove_by_hand(&sidecar);
            } else {
                assert!(farm.engine.kill_member(&sidecar));
            }
            until_phase(&bottle, "degraded").await;
            assert!(bottle.exec(sh("true")).await.unwrap().success(), "commands still run");
            until_phase(&bottle, "ready").await;
            let mut after = farm.names_of(bottle.id()).await;
            let mut before = before;
            before.sort();
            after.sort();
            assert_eq!(after, before);
            assert_eq!(farm.member(&bottle, Role::Agent), agent);
            assert_eq!(
                farm.member(&bottle, role) == sidecar,
                !removed,
                "the same container unless it is gone"
            );
            assert_still_at_work(&bottle).await;
            let mut recovered = Vec::new();
            while let Ok(event) = events.try_recv() {
                if let BottleEvent::MemberRecovered { role, .. } = event {
                    recovered.push(role);
                }
            }
            assert_eq!(recovered, [role]);
            bottle.close().await;
            farm.assert_nothing_left().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn both_sidecars_at_once_come_back() {
    let farm = farm().await;
    let bottle = farm.launch().await;
    let _at_work = work(&bottle).await;
    for role in SIDECARS {
        farm.engine.oom(&farm.member(&bottle, role));
    }
    until_phase(&bottle, "degraded").await;
    until_phase(&bottle, "ready").await;
    assert_still_at_work(&bottle).await;
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_that_dies_too_often_fails_the_bottle_closed() {
    for role in SIDECARS {
        let farm = farm().await;
        let neighbour = farm.launch().await;
        let bottle = farm.launch().await;
        for _ in 0..3 {
            assert!(farm.engine.end_member(&farm.member(&bottle, role), 7));
            until_phase(&bottle, "degraded").await;
            until_phase(&bottle, "ready").await;
        }
        let tree = bottle.tree().unwrap();
        let child = tree.children.iter().find(|child| child.child == role.to_string()).unwrap();
        assert_eq!((child.restarts_used, child.restarts_allowed, child.incarnation), (3, 3, 4));
        assert!(farm.engine.end_member(&farm.member(&bottle, role), 7));
        let report = bottle.wait().await;
        let exit = ExitReason::ContainerExited(MemberExit { code: 7, oom_killed: false });
        assert_eq!(report.reason, Some(EndReason::Escalated(role, exit)));
        assert!(farm.names_of(bottle.id()).await.is_empty());
        assert_works(&neighbour).await;
    }
}

#[tokio::test(start_paused = true)]
async fn restarts_that_are_far_apart_are_never_too_many() {
    let farm = farm().await;
    let bottle = farm.launch().await;
    let _at_work = work(&bottle).await;
    for _ in 0..20 {
        farm.engine.kill_member(&farm.member(&bottle, Role::Pipelock));
        until_phase(&bottle, "degraded").await;
        until_phase(&bottle, "ready").await;
        pass(Duration::from_secs(61)).await;
    }
    assert_still_at_work(&bottle).await;
}

#[tokio::test(start_paused = true)]
async fn a_mitmproxy_that_answers_no_probe_is_replaced() {
    let farm = farm().await;
    let deaf = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&deaf);
    let answers = MemberScript::mitmproxy_answers();
    farm.engine.set_script(
        Role::Mitmproxy,
        MemberScript::answering(move |line| {
            // A fresh one hears again.
            if !line.contains("\"op\"") {
                heard.store(false, Ordering::SeqCst);
            }
            if heard.load(Ordering::SeqCst) { Vec::new() } else { answers(line) }
        }),
    );
    let bottle = farm.launch().await;
    let _at_work = work(&bottle).await;
    pass(Duration::from_secs(120)).await;
    assert_eq!(bottle.tree().unwrap().children[1].incarnation, 1, "it is healthy");
    deaf.store(true, Ordering::SeqCst);
    until_phase(&bottle, "degraded").await;
    until_phase(&bottle, "ready").await;
    let tree = bottle.tree().unwrap();
    assert_eq!((tree.children[0].incarnation, tree.children[1].incarnation), (1, 2));
    assert_still_at_work(&bottle).await;
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_says_the_gate_is_dead_has_the_gate_replaced() {
    let farm = farm().await;
    let broken = Arc::new(AtomicBool::new(false));
    let (sees, starts) = (Arc::clone(&broken), Arc::new(AtomicU32::new(0)));
    let (mends, counted) = (Arc::clone(&broken), Arc::clone(&starts));
    let answers = MemberScript::mitmproxy_answers();
    farm.engine.set_script(
        Role::Pipelock,
        MemberScript::new(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            mends.store(false, Ordering::SeqCst);
            std::future::pending()
        }),
    );
    farm.engine.set_script(
        Role::Mitmproxy,
        MemberScript::answering(move |line| {
            let mut said = answers(line);
            if sees.load(Ordering::SeqCst) {
                for line in &mut said {
                    *line = line
                        .replace("\"ok\":true", "\"ok\":false")
                        .replace("\"gate_health\":true", "\"gate_health\":false");
                }
            }
            said
        }),
    );
    let bottle = farm.launch().await;
    broken.store(true, Ordering::SeqCst);
    until_phase(&bottle, "degraded").await;
    until_phase(&bottle, "ready").await;
    let tree = bottle.tree().unwrap();
    assert_eq!((tree.children[0].incarnation, tree.children[1].incarnation), (2, 1));
    assert_eq!(starts.load(Ordering::SeqCst), 2, "it was killed and started again");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_always_started_again_is_provisioned_before_anybody_gets_in() {
    let farm = farm().await;
    let bottle = farm.launch_with_restart("permanent").await;
    let note = farm.dir.path().join("note");
    std::fs::write(&note, "mine").unwrap();
    bottle.cp_in(&note, "/workspace/note").await.unwrap();
    farm.engine.end_member(&farm.member(&bottle, Role::Agent), 0);
    until_phase(&bottle, "degraded").await;
    let refused = bottle.exec(sh("true")).await;
    assert!(matches!(refused, Err(OperationError::NotReady { .. })), "{refused:?}");
    until_phase(&bottle, "ready").await;
    let agent = farm.member(&bottle, Role::Agent);
    assert_eq!(farm.engine.file(&agent, "/workspace/note").as_deref(), Some(b"mine".as_slice()));
    assert!(farm.engine.file(&agent, "/usr/local/share/ca-certificates/claude-bottle-mitm.crt").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_transient_agent_comes_back_after_a_failure_and_ends_the_bottle_when_it_is_done() {
    let farm = farm().await;
    let bottle = farm.launch_with_restart("transient").await;
    farm.engine.end_member(&farm.member(&bottle, Role::Agent), 3);
    until_phase(&bottle, "degraded").await;
    until_phase(&bottle, "ready").await;
    farm.engine.end_member(&farm.member(&bottle, Role::Agent), 0);
    let report = bottle.wait().await;
    let done = ExitReason::ContainerExited(MemberExit { code: 0, oom_killed: false });
    assert_eq!(report.reason, Some(EndReason::AgentEnded(done)));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_goes_away_and_comes_back_finds_the_bottle_as_it_was() {
    let farm = farm().await;
    let bottle = farm.launch().await;
    let _at_work = work(&bottle).await;
    let members = Role::ALL.map(|role| farm.member(&bottle, role));
    for _ in 0..5 {
        farm.engine.engine_down();
        until_phase(&bottle, "suspended").await;
        let refused = bottle.exec(sh("true")).await;
        assert!(matches!(refused, Err(OperationError::Suspended { .. })), "{refused:?}");
        assert!(bottle.tree().unwrap().children[..3].iter().all(|child| child.state == ChildState::Unheard));
        pass(Duration::from_secs(300)).await;
        assert_eq!(bottle.phase(), "suspended");
        farm.engine.engine_up();
        until_phase(&bottle, "ready").await;
        assert_eq!(Role::ALL.map(|role| farm.member(&bottle, role)), members);
        assert_still_at_work(&bottle).await;
        assert!(bottle.tree().unwrap().children.iter().all(|child| child.restarts_used == 0));
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_comes_back_without_its_containers_ends_what_is_temporary_and_restarts_the_rest() {
    let farm = farm().await;
    let temporary = farm.launch().await;
    let permanent = farm.launch_with_restart("permanent").await;
    farm.engine.engine_down();
    until_phase(&permanent, "suspended").await;
    farm.engine.engine_up_without_members();
    let report = temporary.wait().await;
    assert!(matches!(report.reason, Some(EndReason::AgentEnded(_))), "{:?}", report.reason);
    until_phase(&permanent, "ready").await;
    assert_works(&permanent).await;
    let tree = permanent.tree().unwrap();
    assert!(tree.children.iter().all(|child| child.restarts_used == 0), "{tree:?}");
}

#[tokio::test(start_paused = true)]
async fn a_teardown_that_found_no_engine_is_finished_when_it_is_back() {
    let farm = farm().await;
    let bottle = farm.launch().await;
    farm.engine.engine_down();
    until_phase(&bottle, "suspended").await;
    let report = bottle.close().await;
    assert!(!report.failed.is_empty());
    farm.engine.engine_up();
    pass(Duration::from_secs(60)).await;
    farm.assert_nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn what_an_outside_hand_changes_is_put_right() {
    let farm = farm().await;
    let bottle = farm.launch().await;
    let _at_work = work(&bottle).await;
    let members = Role::ALL.map(|role| farm.member(&bottle, role));
    let mut events = bottle.events();
    farm.engine.pause(&members[1]);
    pass(Duration::from_secs(5)).await;
    until_phase(&bottle, "ready").await;
    assert!(farm.engine.rename_by_hand(&members[2], "somebody"));
    pass(Duration::from_secs(5)).await;
    assert_eq!(Role::ALL.map(|role| farm.member(&bottle, role)), members);
    let mut repairs = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let BottleEvent::MemberMended { role, repairs: done } = event {
            repairs.push((role, done));
        }
    }
    let expected = [(Role::Mitmproxy, vec![Repair::Resumed]), (Role::Agent, vec![Repair::Renamed])];
    assert_eq!(repairs, expected);
    assert_still_at_work(&bottle).await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_agent_stays_paused_and_is_shown_as_such() {
    let farm = farm().await;
    let bottle = farm.launch().await;
    let agent = farm.member(&bottle, Role::Agent);
    farm.engine.pause(&agent);
    pass(Duration::from_secs(60)).await;
    assert_eq!(bottle.tree().unwrap().children[2].state, ChildState::Paused);
    farm.engine.unpause(&agent);
    pass(Duration::from_secs(5)).await;
    assert_eq!(bottle.tree().unwrap().children[2].state, ChildState::Running);
    assert_works(&bottle).await;
}

#[tokio::test(start_paused = true)]
async fn networks_that_were_removed_are_made_again_with_their_addresses() {
    let farm = farm().await;
    let bottle = farm.launch().await;
    let _at_work = work(&bottle).await;
    let agent = farm.member(&bottle, Role::Agent);
    let before = farm.engine.addresses(&agent);
    assert!(farm.engine.remove_network("claude-bottle-int-coder"));
    until_phase(&bottle, "degraded").await;
    until_phase(&bottle, "ready").await;
    assert_eq!(farm.member(&bottle, Role::Agent), agent);
    assert_eq!(farm.engine.addresses(&agent), before);
    assert_still_at_work(&bottle).await;
}
