//! Random specs, flags and events: the machine does what the model does, and keeps the rules of the world.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, TestCaseError, any, prop, prop_oneof, proptest};
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use super::super::Strategy as Touches;
use super::world::{KEYS, Seen, World};
use super::{
    AutoShutdown, Backoff, BudgetScope, ChildSpec, Duration, ExitReason, Flags, Input, Intensity,
    RestartType, SECOND, Shutdown,
};
use crate::plan::spec::MemberExit;

/// One thing that happens. A number picks among what is there.
#[derive(Clone, Debug)]
enum Happening {
    Answer(usize),
    StartFails(usize, ExitReason),
    Dies(usize, ExitReason),
    StopTimesOut(usize),
    /// An event that may be stale, early, or about nobody: kind, key and distance to the child's incarnation.
    Stray(u8, u8, i8, ExitReason),
    Passes(u64),
    Begin,
    Shutdown,
}

#[derive(Clone, Debug)]
struct Scenario {
    flags: Flags,
    specs: Vec<ChildSpec<u8>>,
    running: bool,
    happenings: Vec<Happening>,
    /// Faults stop and it comes to rest before it is shut down.
    rests: bool,
    seed: usize,
}

/// Exits as random events name them: by number.
fn exit(number: u32) -> ExitReason {
    let container = |code, oom_killed| ExitReason::ContainerExited(MemberExit { code, oom_killed });
    match number % 12 {
        0..=2 => ExitReason::Normal,
        3 => ExitReason::Shutdown,
        4..=6 => ExitReason::Killed,
        7 => ExitReason::Failed("no".into()),
        8 => container(0, false),
        9 => container(0, true),
        10 => container(1, false),
        _ => ExitReason::ContainerGone,
    }
}

/// Decodes one number: proptest makes and shrinks numbers much faster than trees of choices.
fn happening(number: u32) -> Happening {
    let (what, which) = (number % 52, (number / 52) as usize);
    let exit = exit(number >> 16);
    match what {
        0..24 => Happening::Answer(which),
        24..27 => Happening::StartFails(which, exit),
        27..35 => Happening::Dies(which, exit),
        35..40 => Happening::StopTimesOut(which),
        40..44 => {
            let key = KEYS.start + (which % KEYS.len()) as u8;
            Happening::Stray((number >> 12) as u8 % 4, key, (number >> 20) as i8 % 2, exit)
        }
        44..50 => Happening::Passes(which as u64 % 8),
        50 => Happening::Begin,
        _ => Happening::Shutdown,
    }
}

fn flags(strategy: Touches) -> impl Strategy<Value = Flags> {
    let limit = (prop_oneof![0u32..4, 0u32..20], 0u64..12)
        .prop_map(|(intensity, period)| Intensity { intensity, period: SECOND * period as u32 });
    let scope = prop_oneof![Just(BudgetScope::Supervisor), Just(BudgetScope::Child)];
    let auto_shutdown = prop_oneof![
        Just(AutoShutdown::Never),
        Just(AutoShutdown::AnySignificant),
        Just(AutoShutdown::AllSignificant),
    ];
    let backoff = prop_oneof![
        Just(Backoff::NONE),
        Just(Backoff { first: Duration::ZERO, base: SECOND, max: SECOND * 4, jitter: 0.0 }),
        Just(Backoff { first: SECOND, base: SECOND, max: SECOND * 4, jitter: 0.5 }),
        Just(Backoff { first: SECOND, base: Duration::ZERO, max: SECOND, jitter: 1.0 }),
    ];
    (limit, scope, auto_shutdown, backoff).prop_map(move |(limit, scope, auto_shutdown, backoff)| Flags {
        strategy,
        limit,
        scope,
        auto_shutdown,
        backoff,
    })
}

/// One to six children; the keys fall while the start order rises.
fn specs() -> impl Strategy<Value = Vec<ChildSpec<u8>>> {
    let restart = prop_oneof![3 => Just(RestartType::Permanent), 3 => Just(RestartType::Transient), 2 => Just(RestartType::Temporary)];
    let shutdown = prop_oneof![Just(Shutdown::Timeout(SECOND)), Just(Shutdown::BrutalKill)];
    vec((restart, shutdown, prop::bool::weighted(0.4)), 1..=6).prop_map(|children| {
        let specs = children.into_iter().zip((0..6).rev());
        specs
            .map(|((restart, shutdown, significant), key)| ChildSpec { key, restart, shutdown, significant })
            .collect()
    })
}

fn scenarios(strategy: Touches) -> impl Strategy<Value = Scenario> {
    (
        flags(strategy),
        specs(),
        any::<bool>(),
        vec(any::<u32>().prop_map(happening), 0..=60),
        any::<bool>(),
        any::<usize>(),
    )
        .prop_map(|(flags, specs, running, happenings, rests, seed)| Scenario {
            flags,
            specs,
            running,
            happenings,
            rests,
            seed,
        })
}

/// The event that a happening posts now, if there is anything it can happen to.
fn event(world: &World, happening: &Happening) -> Option<Input<u8>> {
    let nth = |lives: Vec<&super::world::Life>, which: usize| {
        (!lives.is_empty()).then(|| (lives[which % lives.len()].key, lives[which % lives.len()].incarnation))
    };
    match happening {
        Happening::Answer(which) => world.answer(|count| which % count),
        Happening::StartFails(which, exit) => {
            let starting = world.lives.iter().filter(|life| !life.up).collect();
            nth(starting, *which).map(|(key, incarnation)| Input::Ended(key, incarnation, exit.clone()))
        }
        Happening::Dies(which, exit) => {
            let all = world.lives.iter().collect();
            nth(all, *which).map(|(key, incarnation)| Input::Ended(key, incarnation, exit.clone()))
        }
        Happening::StopTimesOut(which) => {
            let asked = world.lives.iter().filter(|life| life.asked).collect();
            nth(asked, *which).map(|(key, incarnation)| Input::StopTimedOut(key, incarnation))
        }
        Happening::Stray(kind, key, distance, exit) => {
            let incarnation = world.machine.incarnation(*key).saturating_add_signed((*distance).into());
            Some(match kind {
                0 => Input::Started(*key, incarnation),
                1 => Input::Ended(*key, incarnation, exit.clone()),
                2 => Input::BackoffPassed(*key, incarnation),
                _ => Input::StopTimedOut(*key, incarnation),
            })
        }
        Happening::Passes(_) => None,
        Happening::Begin => Some(Input::Begin),
        Happening::Shutdown => Some(Input::Shutdown),
    }
}

fn play(scenario: &Scenario) -> Result<Seen, String> {
    let mut world = World::new(scenario.flags, scenario.specs.clone(), scenario.running);
    // Most begin at once; whatever comes before it finds nothing that lives.
    if !scenario.seed.is_multiple_of(8) {
        world.post(Input::Begin, 0.0)?;
    }
    for (number, happening) in scenario.happenings.iter().enumerate() {
        if let Happening::Passes(seconds) = happening {
            world.now += Duration::from_secs(*seconds);
        }
        if let Some(input) = event(&world, happening) {
            world.post(input, number as f64 * 0.37 % 1.0)?;
        }
    }
    let mut seed = scenario.seed;
    let mut pick = move |count: usize| {
        seed = seed.rotate_left(7) ^ 0x5bd1;
        seed % count
    };
    if scenario.rests {
        world.post(Input::Begin, 0.0)?;
        world.settle(&mut pick)?;
        if !world.machine.is_ending() && !world.is_whole() {
            return Err("a permanent child is down, and nothing is awaited".into());
        }
    }
    world.post(Input::Shutdown, 0.0)?;
    world.settle(&mut pick)?;
    if !world.finished {
        return Err("never finished".into());
    }
    let rest = [Input::Begin, Input::Shutdown, Input::Started(5, 1), Input::Ended(5, 1, ExitReason::Killed)];
    for input in rest {
        world.post(input, 0.0)?;
    }
    Ok(world.seen)
}

fn cases(cases: u32) -> Config {
    Config { cases, max_shrink_iters: 20_000, failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(cases(8_000))]

    #[test]
    fn one_for_one_does_what_the_model_does(scenario in scenarios(Touches::OneForOne)) {
        play(&scenario).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn rest_for_one_does_what_the_model_does(scenario in scenarios(Touches::RestForOne)) {
        play(&scenario).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn one_for_all_does_what_the_model_does(scenario in scenarios(Touches::OneForAll)) {
        play(&scenario).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn the_random_events_reach_what_is_rare() {
    for strategy in [Touches::OneForOne, Touches::RestForOne, Touches::OneForAll] {
        let mut all = Vec::new();
        let mut runner = TestRunner::deterministic();
        for _ in 0..600 {
            let scenario = scenarios(strategy).new_tree(&mut runner).expect("a scenario").current();
            all.push(play(&scenario).expect("the model agrees"));
        }
        let total = |of: fn(&Seen) -> u32| all.iter().map(of).sum::<u32>();
        let grouped = strategy != Touches::OneForOne;
        let counts = [
            ("restarts", total(|seen| seen.restarts), true),
            ("pauses", total(|seen| seen.pauses), true),
            ("failed starts survived", total(|seen| seen.failed_starts_survived), true),
            ("kills after a time-out", total(|seen| seen.kills_after_time_out), true),
            ("escalations", total(|seen| seen.escalated), true),
            ("auto-shutdowns", total(|seen| seen.auto_shut_down), true),
            ("deaths while it ends", total(|seen| seen.deaths_while_ending), true),
            ("stops of what is starting", total(|seen| seen.starting_stopped), true),
            ("group stops", total(|seen| seen.group_stops), grouped),
            ("deaths while others are stopped", total(|seen| seen.deaths_while_others_stop), grouped),
            ("dropped pauses", total(|seen| seen.dropped_pauses), grouped),
        ];
        for (what, count, possible) in counts {
            assert_eq!(count >= 15, possible, "{strategy:?}: {count} {what}");
        }
    }
}
