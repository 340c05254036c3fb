//! A member dies: the bottle ends as a whole, says why, and nobody else notices.

use std::time::Duration;

use bottle::ids::{MemberId, Role};
use bottle::messages::{EndReason, ExitReason, Step};
use bottle::plan::spec::MemberExit;
use bottle::testing::{MemberScript, MemoryBackend};

use crate::farm::{Farm, assert_works, chain, pass, sh};

#[derive(Clone, Copy, Debug)]
enum Death {
    Killed,
    Oom,
    Exited,
    Removed,
}

const DEATHS: [Death; 4] = [Death::Killed, Death::Oom, Death::Exited, Death::Removed];

impl Death {
    fn strike(self, engine: &MemoryBackend, id: &MemberId) {
        match self {
            Death::Killed => assert!(engine.kill_member(id)),
            Death::Oom => assert!(engine.oom(id)),
            Death::Exited => assert!(engine.end_member(id, 3)),
            Death::Removed => engine.remove_by_hand(id),
        }
    }

    fn exit(self) -> ExitReason {
        let exited = |code, oom_killed| ExitReason::ContainerExited(MemberExit { code, oom_killed });
        match self {
            Death::Killed => exited(137, false),
            Death::Oom => exited(137, true),
            Death::Exited => exited(3, false),
            Death::Removed => ExitReason::ContainerGone,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn any_death_of_the_agent_ends_the_bottle_with_its_reason_and_spares_the_neighbour() {
    for death in DEATHS {
        let farm = Farm::new().await;
        let neighbour = farm.launch().await;
        let before = farm.names_of(neighbour.id()).await;
        let bottle = farm.launch().await;
        let running = bottle.exec_stream(sh("sleep 1000")).await.unwrap();
        death.strike(&farm.engine, &farm.member(&bottle, Role::Agent));
        let report = bottle.wait().await;
        assert_eq!(report.reason, Some(EndReason::AgentEnded(death.exit())), "{death:?}");
        assert!(report.failed.is_empty(), "{death:?}");
        tokio::time::timeout(Duration::from_secs(60), running.wait()).await.expect("the command ends").ok();
        assert!(farm.names_of(bottle.id()).await.is_empty());
        assert_eq!(farm.names_of(neighbour.id()).await, before);
        assert_works(&neighbour).await;
    }
}

#[tokio::test(start_paused = true)]
async fn any_death_during_a_launch_names_the_member() {
    for role in Role::ALL {
        for death in DEATHS {
            let farm = Farm::new().await;
            // The chain never comes up by itself, so the launch goes on until the death.
            farm.engine.set_script(Role::Mitmproxy, MemberScript::idle());
            let (plan, material) = farm.plan_of(false).await;
            let name = plan.names().member(role).to_owned();
            let runtime = farm.runtime.clone();
            let launch = tokio::spawn(async move { runtime.launch(plan, material).await });
            pass(Duration::from_secs(1)).await;
            death.strike(&farm.engine, &farm.engine.member_named(&name).unwrap());
            let error = launch.await.unwrap().unwrap_err();
            assert_eq!(error.failure.step, Step::Member(role), "{}", chain(&error));
            assert!(chain(&error).contains(&death.exit().to_string()), "{}", chain(&error));
            assert!(error.teardown.is_empty());
            farm.assert_nothing_left().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_words_of_a_sidecar_that_does_not_come_up_are_in_the_error() {
    for role in [Role::Mitmproxy, Role::Pipelock] {
        let farm = Farm::new().await;
        // Without pipelock no probe passes.
        farm.engine.set_script(Role::Mitmproxy, MemberScript::idle());
        farm.engine.set_script(
            role,
            MemberScript::new(async |io| {
                tokio::time::sleep(Duration::from_millis(5)).await;
                io.print_error("config line 3: no such key");
                1
            }),
        );
        let error = farm.try_launch().await.unwrap_err();
        let text = chain(&error);
        assert_eq!(error.failure.step, Step::Member(role), "{text}");
        assert!(text.contains("exited with code 1") && text.contains("config line 3"), "{text}");
        farm.assert_nothing_left().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_never_answered_is_named_by_the_deadline() {
    let farm = Farm::new().await;
    farm.engine.set_script(
        Role::Mitmproxy,
        MemberScript::answering(|line| {
            let ready = !line.contains("\"op\"");
            if ready { vec![r#"{"event":"ready"}"#.to_owned()] } else { Vec::new() }
        }),
    );
    let error = farm.try_launch().await.unwrap_err();
    assert_eq!(error.failure.step, Step::Probe, "{}", chain(&error));
    assert_eq!(error.kind(), bottle::error::ErrorKind::Deadline);
    farm.assert_nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_that_never_gets_ready_is_named_by_the_deadline() {
    let farm = Farm::new().await;
    farm.engine.set_script(Role::Mitmproxy, MemberScript::idle());
    let error = farm.try_launch().await.unwrap_err();
    assert_eq!(error.failure.step, Step::Member(Role::Mitmproxy), "{}", chain(&error));
    farm.assert_nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn two_deaths_at_once_are_one_end() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    for role in Role::ALL {
        farm.engine.kill_member(&farm.member(&bottle, role));
    }
    let report = bottle.wait().await;
    assert!(matches!(report.reason, Some(EndReason::AgentEnded(_))));
    farm.assert_nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn a_mitmproxy_that_cannot_be_heard_any_more_ends_the_bottle() {
    let farm = Farm::new().await;
    farm.engine.fault(
        bottle::testing::FaultRule::on(bottle::backend::Op::StartMember, bottle::testing::Fault::HalfClosed)
            .role(Role::Mitmproxy),
    );
    let begun = tokio::time::Instant::now();
    let error = farm.try_launch().await.unwrap_err();
    assert!(chain(&error).contains("closed its output while it ran"), "{}", chain(&error));
    assert!(begun.elapsed() < Duration::from_secs(60), "long before the launch deadline");
    farm.assert_nothing_left().await;
}
