//! The table, row by row and by random event sequences.

use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;
use crate::plan::spec::MemberExit;

fn run(events: impl IntoIterator<Item = Event>) -> (Phase, Vec<Effect>) {
    events.into_iter().fold((Phase::new(), Vec::new()), |(phase, mut all), event| {
        let (next, effects) = step(phase, event);
        all.extend(effects);
        (next, all)
    })
}

fn launched() -> Vec<Event> {
    vec![
        Event::GroundReady,
        Event::MemberReady(Role::Agent),
        Event::MemberReady(Role::Pipelock),
        Event::MemberReady(Role::Mitmproxy),
        Event::Provisioned,
        Event::ProbePassed,
    ]
}

#[test]
fn a_launch_asks_for_each_thing_once_and_admits_last() {
    let (phase, effects) = run(launched());
    assert_eq!(phase.as_str(), "ready");
    assert_eq!(effects, [Effect::StartMembers, Effect::Provision, Effect::Probe, Effect::Admit]);
}

#[test]
fn nobody_is_admitted_before_the_probe_has_passed() {
    let mut events = launched();
    events.pop();
    let (phase, effects) = run(events);
    assert_eq!(phase.as_str(), "launching");
    assert!(!effects.contains(&Effect::Admit));
}

fn exited() -> ExitReason {
    ExitReason::ContainerExited(MemberExit { code: 137, oom_killed: true })
}

fn after_launch(events: impl IntoIterator<Item = Event>) -> (Phase, Vec<Effect>) {
    let (phase, effects) = run(launched().into_iter().chain(events));
    (phase, effects[4..].to_vec())
}

#[test]
fn a_sidecar_that_ends_during_the_launch_ends_the_bottle_and_names_itself() {
    let (phase, effects) = run([Event::GroundReady, Event::MemberEnded(Role::Mitmproxy, exited())]);
    assert_eq!(phase, Phase::Closing(EndReason::MemberEnded(Role::Mitmproxy, exited())));
    assert_eq!(effects.last(), Some(&Effect::TearDown));
}

#[test]
fn a_dead_sidecar_of_a_ready_bottle_is_supervised_and_counts_again_after_the_probe() {
    let (phase, effects) = after_launch([Event::MemberEnded(Role::Mitmproxy, exited())]);
    assert_eq!(phase.as_str(), "degraded");
    assert!(phase.can_exec(), "the agent is not touched");
    assert_eq!(effects, [Effect::Supervise(Role::Mitmproxy, exited())]);
    let (phase, effects) = step(phase, Event::MemberReady(Role::Mitmproxy));
    assert_eq!((phase.as_str(), effects), ("degraded", vec![Effect::Probe]));
    let (phase, effects) = step(phase, Event::ProbePassed);
    assert_eq!((phase.as_str(), effects), ("ready", Vec::new()));
}

#[test]
fn a_restarted_agent_lets_nobody_in_before_it_is_provisioned() {
    let (phase, _) = after_launch([Event::MemberEnded(Role::Agent, exited())]);
    assert!(!phase.can_exec());
    let (phase, effects) = step(phase, Event::MemberReady(Role::Agent));
    assert_eq!(effects, [Effect::Provision]);
    assert!(!phase.can_exec());
    let (phase, _) = step(phase, Event::Provisioned);
    assert!(phase.can_exec() && phase.as_str() == "ready");
}

#[test]
fn an_agent_that_is_taken_over_is_not_provisioned_again() {
    let failed = ExitReason::Failed("panicked".into());
    let (phase, _) = after_launch([Event::MemberEnded(Role::Agent, failed)]);
    let (phase, effects) = step(phase, Event::MemberReady(Role::Agent));
    assert_eq!((phase.as_str(), effects), ("ready", Vec::new()));
}

#[test]
fn an_engine_that_comes_back_is_read_before_anything_counts() {
    let (phase, effects) = after_launch([Event::EngineLost]);
    assert_eq!((phase.as_str(), effects), ("suspended", vec![Effect::AwaitEngine]));
    assert!(!phase.can_exec());
    let (phase, effects) = step(phase, Event::EngineBack);
    assert_eq!((phase.as_str(), effects), ("degraded", vec![Effect::Reconcile]));
    let (phase, _) = step(phase, Event::MemberReady(Role::Agent));
    assert!(phase.can_exec());
    let (phase, _) = step(phase, Event::MemberReady(Role::Pipelock));
    let (phase, effects) = step(phase, Event::MemberReady(Role::Mitmproxy));
    assert_eq!(effects, [Effect::Probe]);
    assert_eq!(step(phase, Event::ProbePassed).0.as_str(), "ready");
}

#[test]
fn networks_are_made_again_once_and_then_everything_is_attached() {
    let (phase, effects) = after_launch([Event::GroundLost, Event::GroundLost]);
    assert_eq!((phase.as_str(), effects), ("degraded", vec![Effect::RebuildGround]));
    let (phase, effects) = step(phase, Event::GroundReady);
    assert_eq!((phase.as_str(), effects), ("degraded", vec![Effect::MendAll]));
    assert_eq!(step(phase, Event::ProbePassed).0.as_str(), "ready");
}

#[test]
fn an_escalation_keeps_what_is_known_before_it_tears_down() {
    let (phase, effects) = after_launch([Event::Escalated(Role::Pipelock, exited())]);
    assert_eq!(phase, Phase::Closing(EndReason::Escalated(Role::Pipelock, exited())));
    assert_eq!(effects, [Effect::PostMortem, Effect::TearDown]);
}

#[test]
fn a_failed_step_wins_over_the_deaths_its_teardown_causes() {
    let (phase, _) = run([
        Event::GroundReady,
        Event::StepFailed(Step::Member(Role::Agent)),
        Event::MemberEnded(Role::Pipelock, ExitReason::ContainerGone),
        Event::TornDown,
    ]);
    assert_eq!(phase, Phase::Gone(EndReason::LaunchFailed(Step::Member(Role::Agent))));
}

fn any_role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Pipelock), Just(Role::Mitmproxy), Just(Role::Agent)]
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::GroundReady),
        8 => any_role().prop_map(Event::MemberReady),
        4 => Just(Event::ProbePassed),
        4 => Just(Event::Provisioned),
        1 => any_role().prop_map(|role| Event::MemberEnded(role, ExitReason::Killed)),
        1 => any_role().prop_map(|role| Event::StepFailed(Step::Member(role))),
        1 => any::<u8>().prop_map(|n| Event::ChildFailed(n.to_string())),
        1 => any_role().prop_map(|role| Event::Escalated(role, ExitReason::Killed)),
        1 => Just(Event::AgentDone(ExitReason::ContainerGone)),
        2 => Just(Event::ProbeNeeded),
        1 => Just(Event::GroundLost),
        1 => Just(Event::GroundFailed("taken".into())),
        2 => Just(Event::EngineLost),
        2 => Just(Event::EngineBack),
        1 => Just(Event::CloseRequested),
        2 => Just(Event::TornDown),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_there_is_one_teardown_then_one_finish(
        events in prop::collection::vec(any_event(), 0..60),
    ) {
        let (phase, effects) = run(events);
        let count = |wanted: Effect| effects.iter().filter(|effect| **effect == wanted).count();
        for effect in [Effect::StartMembers, Effect::Admit, Effect::PostMortem] {
            prop_assert!(count(effect) <= 1);
        }
        let ending = matches!(phase, Phase::Closing(_) | Phase::Gone(_));
        prop_assert_eq!(count(Effect::TearDown), usize::from(ending));
        prop_assert_eq!(count(Effect::Finish), usize::from(matches!(phase, Phase::Gone(_))));
        let teardown = effects.iter().position(|effect| *effect == Effect::TearDown);
        let after = teardown.map_or(0, |at| effects.len() - at - 1);
        prop_assert!(after <= 1, "only the finish may follow a teardown");
    }

    #[test]
    fn an_admitted_bottle_is_ready_only_when_nothing_is_missing(
        events in prop::collection::vec(any_event(), 0..60),
    ) {
        let (phase, _) = after_launch(events);
        if let Some(lack) = phase.lack() {
            let whole = *lack == Lack::default();
            prop_assert_eq!(phase.as_str() == "ready", whole && matches!(phase, Phase::Up(_)));
            prop_assert!(!phase.can_exec() || !phase.lacks(Role::Agent));
            prop_assert_eq!(lack.describe().is_empty(), whole);
        }
    }
}
