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
    assert_eq!(phase, Phase::Ready);
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

#[test]
fn a_dead_sidecar_ends_the_bottle_and_names_itself() {
    let oom = ExitReason::ContainerExited(MemberExit { code: 137, oom_killed: true });
    let mut events = launched();
    events.push(Event::MemberEnded(Role::Mitmproxy, oom.clone()));
    let (phase, effects) = run(events);
    assert_eq!(phase, Phase::Closing(EndReason::SidecarEnded(Role::Mitmproxy, oom)));
    assert_eq!(effects.last(), Some(&Effect::TearDown));
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
        for effect in [Effect::StartMembers, Effect::Provision, Effect::Probe, Effect::Admit] {
            prop_assert!(count(effect) <= 1);
        }
        let ending = matches!(phase, Phase::Closing(_) | Phase::Gone(_));
        prop_assert_eq!(count(Effect::TearDown), usize::from(ending));
        prop_assert_eq!(count(Effect::Finish), usize::from(matches!(phase, Phase::Gone(_))));
        let teardown = effects.iter().position(|effect| *effect == Effect::TearDown);
        let after = teardown.map_or(0, |at| effects.len() - at - 1);
        prop_assert!(after <= 1, "only the finish may follow a teardown");
    }
}
