//! OTP's rules one by one, then what OTP leaves to us. Children are letters, `a2` is a's second incarnation.

use super::*;
use crate::plan::spec::MemberExit;

/// A child that is asked to stop. Capital letter of the restart type, then `!` when significant, `k` for brutal kill.
fn child(key: char, kind: &str) -> ChildSpec<char> {
    let restart = match &kind[..1] {
        "P" => RestartType::Permanent,
        "R" => RestartType::Transient,
        "T" => RestartType::Temporary,
        other => panic!("{other} is no restart type"),
    };
    let shutdown = if kind.contains('k') { Shutdown::BrutalKill } else { Shutdown::Timeout(SECOND) };
    ChildSpec { key, restart, shutdown, significant: kind.contains('!') }
}

/// Children a, b, c, ... of these kinds.
fn children(kinds: &[&str]) -> Vec<ChildSpec<char>> {
    ('a'..).zip(kinds).map(|(key, kind)| child(key, kind)).collect()
}

fn flags(strategy: Strategy) -> Flags {
    Flags {
        strategy,
        limit: Intensity { intensity: 3, period: 60 * SECOND },
        scope: BudgetScope::Supervisor,
        auto_shutdown: AutoShutdown::Never,
        backoff: Backoff::NONE,
    }
}

const SLOW: Backoff = Backoff { first: SECOND, base: SECOND, max: Duration::from_secs(8), jitter: 0.0 };

/// A supervisor and its clock.
struct Bench {
    supervisor: Supervisor<char>,
    now: Instant,
}

impl Bench {
    fn running(flags: Flags, kinds: &[&str]) -> Self {
        Self { supervisor: Supervisor::running(flags, children(kinds)), now: Instant::now() }
    }

    fn new(flags: Flags, kinds: &[&str]) -> Self {
        Self { supervisor: Supervisor::new(flags, children(kinds)), now: Instant::now() }
    }

    fn post(&mut self, input: Input<char>) -> String {
        let outputs = self.supervisor.step(input, self.now, 0.0);
        outputs.iter().map(said).collect::<Vec<_>>().join(", ")
    }

    fn started(&mut self, child: char) -> String {
        self.post(Input::Started(child, self.supervisor.incarnation(child)))
    }

    fn ended(&mut self, child: char, exit: ExitReason) -> String {
        self.post(Input::Ended(child, self.supervisor.incarnation(child), exit))
    }

    fn killed(&mut self, child: char) -> String {
        self.ended(child, ExitReason::Killed)
    }

    /// It has stopped as it was asked to.
    fn stopped(&mut self, child: char) -> String {
        self.ended(child, ExitReason::Shutdown)
    }

    fn pause_passed(&mut self, child: char) -> String {
        self.post(Input::BackoffPassed(child, self.supervisor.incarnation(child)))
    }

    fn stop_timed_out(&mut self, child: char) -> String {
        self.post(Input::StopTimedOut(child, self.supervisor.incarnation(child)))
    }
}

fn said(output: &Output<char>) -> String {
    let ending = |why: &Ending<char>| match why {
        Ending::Shutdown => "shutdown".to_owned(),
        Ending::AutoShutdown(child, exit) => format!("auto-shutdown, {child} {exit}"),
        Ending::Escalated(child, exit) => format!("escalated, {child} {exit}"),
    };
    match output {
        Output::Start { child, incarnation } => format!("start {child}{incarnation}"),
        Output::StartAfter { child, incarnation, pause, used, allowed } => {
            format!("start {child}{incarnation} after {pause:?} ({used} of {allowed})")
        }
        Output::Stop { child, incarnation, .. } => format!("stop {child}{incarnation}"),
        Output::Kill { child, incarnation } => format!("kill {child}{incarnation}"),
        Output::Ending(why) => format!("ending ({})", ending(why)),
        Output::Finished(why) => format!("finished ({})", ending(why)),
    }
}

fn container(code: i64) -> ExitReason {
    ExitReason::ContainerExited(MemberExit { code, oom_killed: false })
}

#[test]
fn children_are_started_in_order_each_after_the_one_before_it() {
    let mut bench = Bench::new(flags(Strategy::OneForOne), &["P", "T", "R"]);
    assert_eq!(bench.supervisor.state('a'), ChildPhase::Down);
    assert_eq!(bench.post(Input::Begin), "start a1");
    assert_eq!(bench.post(Input::Begin), "");
    assert_eq!(bench.supervisor.state('a'), ChildPhase::Starting);
    assert_eq!(bench.started('a'), "start b1");
    assert_eq!(bench.started('a'), "");
    assert_eq!(bench.started('b'), "start c1");
    assert_eq!(bench.started('c'), "");
    assert_eq!(bench.supervisor.state('c'), ChildPhase::Running);
}

#[test]
fn the_restart_type_and_the_exit_decide_whether_a_child_comes_back() {
    let oom = ExitReason::ContainerExited(MemberExit { code: 0, oom_killed: true });
    let failed = || ExitReason::Failed("no".into());
    // Exit, permanent, transient, temporary.
    let table = [
        (ExitReason::Normal, true, false, false),
        (ExitReason::Shutdown, true, false, false),
        (container(0), true, false, false),
        (container(1), true, true, false),
        (oom, true, true, false),
        (ExitReason::Killed, true, true, false),
        (failed(), true, true, false),
        (ExitReason::ContainerGone, true, true, false),
    ];
    for (exit, permanent, transient, temporary) in table {
        for (kind, comes_back, otherwise) in [
            ("P", permanent, ChildPhase::Down),
            ("R", transient, ChildPhase::Down),
            ("T", temporary, ChildPhase::Gone),
        ] {
            let mut bench = Bench::running(flags(Strategy::OneForOne), &[kind]);
            let expected = if comes_back { ("start a2", ChildPhase::Starting) } else { ("", otherwise) };
            let said = bench.ended('a', exit.clone());
            assert_eq!((said.as_str(), bench.supervisor.state('a')), expected, "{kind} {exit}");
        }
    }
}

#[test]
fn one_for_one_touches_no_sibling() {
    let mut bench = Bench::running(flags(Strategy::OneForOne), &["P", "P", "P"]);
    assert_eq!(bench.killed('b'), "start b2");
    assert_eq!(bench.started('b'), "");
    assert_eq!("ac".chars().map(|child| bench.supervisor.incarnation(child)).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn rest_for_one_stops_the_later_ones_in_reverse_and_starts_from_the_dead_one() {
    let mut bench = Bench::running(flags(Strategy::RestForOne), &["P", "P", "P", "P"]);
    assert_eq!(bench.killed('b'), "stop d1");
    assert_eq!(bench.stopped('d'), "stop c1");
    assert_eq!(bench.stopped('c'), "start b2");
    assert_eq!(bench.started('b'), "start c2");
    assert_eq!(bench.started('c'), "start d2");
    assert_eq!(bench.started('d'), "");
    assert_eq!(bench.supervisor.incarnation('a'), 1);
}

#[test]
fn one_for_all_stops_all_in_reverse_and_starts_all_in_order() {
    let mut bench = Bench::running(flags(Strategy::OneForAll), &["P", "P", "P"]);
    assert_eq!(bench.killed('b'), "stop c1");
    assert_eq!(bench.stopped('c'), "stop a1");
    assert_eq!(bench.stopped('a'), "start a2");
    assert_eq!(bench.started('a'), "start b2");
    assert_eq!(bench.started('b'), "start c2");
}

#[test]
fn a_group_restart_leaves_temporary_siblings_down_and_starts_finished_transient_ones() {
    let mut bench = Bench::running(flags(Strategy::OneForAll), &["P", "T", "R"]);
    assert_eq!(bench.ended('c', ExitReason::Normal), "");
    assert_eq!(bench.killed('a'), "stop b1");
    assert_eq!(bench.stopped('b'), "start a2");
    assert_eq!(bench.supervisor.state('b'), ChildPhase::Gone);
    assert_eq!(bench.started('a'), "start c2");
    assert_eq!(bench.started('c'), "");
}

#[test]
fn a_child_that_does_not_stop_in_time_is_killed_and_waited_for() {
    let mut bench = Bench::running(flags(Strategy::OneForAll), &["P", "P", "P"]);
    assert_eq!(bench.killed('a'), "stop c1");
    assert_eq!(bench.stop_timed_out('b'), "");
    assert_eq!(bench.stop_timed_out('c'), "kill c1");
    assert_eq!(bench.stop_timed_out('c'), "");
    assert_eq!(bench.supervisor.state('c'), ChildPhase::Killing);
    assert_eq!(bench.killed('c'), "stop b1");
}

#[test]
fn a_brutal_kill_asks_nobody() {
    let mut bench = Bench::running(flags(Strategy::OneForOne), &["Pk", "P", "Pk"]);
    assert_eq!(bench.post(Input::Shutdown), "ending (shutdown), kill c1");
    assert_eq!(bench.killed('c'), "stop b1");
    assert_eq!(bench.stopped('b'), "kill a1");
    assert_eq!(bench.killed('a'), "finished (shutdown)");
}

#[test]
fn one_restart_too_many_ends_the_supervisor_and_stops_the_rest_in_reverse() {
    let mut bench = Bench::running(flags(Strategy::OneForOne), &["P", "P", "P"]);
    for child in ['a', 'b', 'a'] {
        bench.killed(child);
        bench.started(child);
    }
    assert_eq!(bench.supervisor.used('c', bench.now), 3);
    assert_eq!(bench.killed('b'), "ending (escalated, b was killed), stop c1");
    assert!(bench.supervisor.is_ending());
    assert_eq!(bench.stopped('c'), "stop a3");
    assert_eq!(bench.stopped('a'), "finished (escalated, b was killed)");
    assert!(bench.supervisor.is_ending());
}

#[test]
fn restarts_that_have_left_the_window_do_not_count() {
    let mut bench = Bench::running(flags(Strategy::OneForOne), &["P"]);
    for number in 2..100 {
        assert_eq!(bench.killed('a'), format!("start a{number}"));
        bench.started('a');
        bench.now += 21 * SECOND;
    }
}

#[test]
fn with_a_window_of_its_own_a_child_does_not_pay_for_its_siblings() {
    let child_scope = Flags { scope: BudgetScope::Child, ..flags(Strategy::OneForOne) };
    let mut bench = Bench::running(child_scope, &["P", "P"]);
    for child in ['a', 'b', 'a', 'b', 'a', 'b'] {
        bench.killed(child);
        bench.started(child);
    }
    assert_eq!((bench.supervisor.used('a', bench.now), bench.supervisor.used('b', bench.now)), (3, 3));
    assert_eq!(bench.killed('a'), "ending (escalated, a was killed), stop b4");
}

#[test]
fn the_end_of_a_significant_child_ends_the_supervisor_if_otp_says_so() {
    // Kind, exit, ends with any_significant.
    let table = [
        ("T!", ExitReason::Normal, true),
        ("T!", ExitReason::Killed, true),
        ("R!", ExitReason::Normal, true),
        ("R!", ExitReason::Shutdown, true),
        ("R!", ExitReason::Killed, false),
        ("P!", ExitReason::Normal, false),
        ("P!", ExitReason::Killed, false),
        ("T", ExitReason::Normal, false),
        ("R", ExitReason::Normal, false),
    ];
    for (kind, exit, ends) in table {
        for auto_shutdown in [AutoShutdown::Never, AutoShutdown::AnySignificant, AutoShutdown::AllSignificant]
        {
            let mut bench =
                Bench::running(Flags { auto_shutdown, ..flags(Strategy::OneForOne) }, &["P", kind]);
            let said = bench.ended('b', exit.clone());
            let expected = ends && auto_shutdown != AutoShutdown::Never;
            assert_eq!(bench.supervisor.is_ending(), expected, "{kind} {exit} {auto_shutdown:?}: {said}");
            if expected {
                assert_eq!(said, format!("ending (auto-shutdown, b {exit}), stop a1"));
            }
        }
    }
}

#[test]
fn all_significant_waits_for_the_last_active_one() {
    let flags =
        Flags { auto_shutdown: AutoShutdown::AllSignificant, backoff: SLOW, ..flags(Strategy::OneForOne) };
    let mut bench = Bench::running(flags, &["T!", "R!", "P!", "R!"]);
    assert_eq!(bench.killed('a'), "");
    assert_eq!(bench.killed('b'), "start b2 after 1s (1 of 3)");
    // b waits for its restart, so it is active.
    assert_eq!(bench.ended('d', ExitReason::Normal), "");
    assert_eq!(bench.pause_passed('b'), "start b2");
    bench.started('b');
    let said = bench.ended('b', ExitReason::Normal);
    assert_eq!(said, "ending (auto-shutdown, b finished), stop c1");
}

#[test]
fn a_significant_child_that_was_stopped_ends_nothing() {
    let flags = Flags { auto_shutdown: AutoShutdown::AnySignificant, ..flags(Strategy::OneForAll) };
    let mut bench = Bench::running(flags, &["P", "R!", "T!", "T!"]);
    assert_eq!(bench.killed('a'), "stop d1");
    // c ends before it is asked to.
    assert_eq!(bench.ended('c', ExitReason::Normal), "");
    assert_eq!(bench.stopped('d'), "stop b1");
    assert_eq!(bench.ended('b', ExitReason::Normal), "start a2");
    assert_eq!(bench.started('a'), "start b2");
    assert_eq!(bench.started('b'), "");
}

#[test]
fn a_first_start_that_fails_ends_the_supervisor_whatever_the_child() {
    for (kind, exit) in [("P", ExitReason::Killed), ("R", ExitReason::Normal), ("T", ExitReason::Killed)] {
        let mut bench = Bench::new(flags(Strategy::OneForOne), &["P", "P", kind, "P"]);
        bench.post(Input::Begin);
        bench.started('a');
        assert_eq!(bench.started('b'), "start c1");
        let why = format!("(escalated, c {exit})");
        assert_eq!(bench.ended('c', exit), format!("ending {why}, stop b1"));
        assert_eq!(bench.stopped('b'), "stop a1");
        assert_eq!(bench.stopped('a'), format!("finished {why}"));
    }
}

#[test]
fn a_restart_that_fails_is_tried_again_and_counts() {
    let mut bench = Bench::running(flags(Strategy::OneForOne), &["R", "P"]);
    assert_eq!(bench.killed('a'), "start a2");
    // Any exit: it has not been up.
    assert_eq!(bench.ended('a', ExitReason::Normal), "start a3");
    assert_eq!(bench.killed('a'), "start a4");
    assert_eq!(bench.killed('a'), "ending (escalated, a was killed), stop b1");
}

#[test]
fn a_start_that_fails_in_a_group_restart_is_a_death_of_that_child() {
    let mut rest = Bench::running(flags(Strategy::RestForOne), &["P", "P", "P"]);
    rest.killed('a');
    rest.stopped('c');
    assert_eq!(rest.stopped('b'), "start a2");
    assert_eq!(rest.started('a'), "start b2");
    // a stays up, c has not been started yet.
    assert_eq!(rest.killed('b'), "start b3");
    assert_eq!(rest.started('b'), "start c2");

    let mut all = Bench::running(flags(Strategy::OneForAll), &["P", "P", "P"]);
    all.killed('a');
    all.stopped('c');
    assert_eq!(all.stopped('b'), "start a2");
    assert_eq!(all.started('a'), "start b2");
    assert_eq!(all.killed('b'), "stop a2");
    assert_eq!(all.stopped('a'), "start a3");
    assert_eq!(all.supervisor.used('a', all.now), 2);
}

#[test]
fn deaths_at_once_restart_each_with_one_for_one() {
    let mut bench = Bench::running(flags(Strategy::OneForOne), &["P", "P", "P"]);
    assert_eq!(bench.killed('c'), "start c2");
    assert_eq!(bench.killed('a'), "start a2");
    assert_eq!(bench.started('a'), "");
    assert_eq!(bench.started('c'), "");
    assert_eq!(bench.supervisor.used('b', bench.now), 2);
}

#[test]
fn a_death_while_the_group_is_stopped_costs_nothing_if_it_was_touched() {
    let mut bench = Bench::running(flags(Strategy::OneForAll), &["P", "P", "P"]);
    assert_eq!(bench.killed('b'), "stop c1");
    assert_eq!(bench.killed('a'), "");
    assert_eq!(bench.killed('c'), "start a2");
    assert_eq!(bench.supervisor.used('a', bench.now), 1);
}

#[test]
fn the_death_of_an_earlier_sibling_while_the_rest_is_stopped_makes_the_group_larger() {
    let mut bench = Bench::running(flags(Strategy::RestForOne), &["P", "P", "P", "P"]);
    assert_eq!(bench.killed('c'), "stop d1");
    assert_eq!(bench.killed('a'), "");
    assert_eq!(bench.stopped('d'), "stop b1");
    assert_eq!(bench.stopped('b'), "start a2");
    assert_eq!(bench.supervisor.used('a', bench.now), 2);
}

#[test]
fn a_death_while_the_group_is_started_brings_down_what_has_been_started() {
    let mut bench = Bench::running(flags(Strategy::RestForOne), &["P", "P", "P"]);
    assert_eq!(bench.killed('a'), "stop c1");
    bench.stopped('c');
    bench.stopped('b');
    assert_eq!(bench.started('a'), "start b2");
    // b is starting still; its answer comes too late.
    assert_eq!(bench.killed('a'), "stop b2");
    assert_eq!(bench.started('b'), "");
    assert_eq!(bench.supervisor.state('b'), ChildPhase::Stopping);
    assert_eq!(bench.stopped('b'), "start a3");
    assert_eq!(bench.started('a'), "start b3");
    assert_eq!(bench.started('b'), "start c2");
}

#[test]
fn a_death_while_children_are_started_for_the_first_time_is_a_death_like_any_other() {
    let mut one = Bench::new(flags(Strategy::OneForOne), &["P", "P", "P"]);
    one.post(Input::Begin);
    assert_eq!(one.started('a'), "start b1");
    assert_eq!(one.killed('a'), "start a2");
    assert_eq!(one.started('b'), "start c1");

    let mut all = Bench::new(flags(Strategy::OneForAll), &["P", "P", "T"]);
    all.post(Input::Begin);
    assert_eq!(all.started('a'), "start b1");
    assert_eq!(all.killed('a'), "stop b1");
    assert_eq!(all.stopped('b'), "start a2");
    assert_eq!(all.started('a'), "start b2");
    // c was never stopped, so it has its first start.
    assert_eq!(all.started('b'), "start c1");
}

#[test]
fn a_restart_waits_longer_each_time_and_without_a_pause_not_at_all() {
    let backoff = Backoff { first: Duration::ZERO, ..SLOW };
    let limit = Intensity { intensity: 4, period: 60 * SECOND };
    let mut bench = Bench::running(Flags { backoff, limit, ..flags(Strategy::OneForOne) }, &["P"]);
    assert_eq!(bench.killed('a'), "start a2");
    bench.started('a');
    for (number, pause) in [(3, "1s"), (4, "2s"), (5, "4s")] {
        let used = number - 1;
        assert_eq!(bench.killed('a'), format!("start a{number} after {pause} ({used} of 4)"));
        assert_eq!(bench.supervisor.state('a'), ChildPhase::BackingOff);
        assert_eq!(bench.supervisor.incarnation('a'), number);
        assert_eq!(bench.pause_passed('a'), format!("start a{number}"));
        assert_eq!(bench.pause_passed('a'), "");
        bench.started('a');
    }
}

#[test]
fn the_pause_is_taken_by_the_child_that_died_at_its_turn() {
    let mut bench = Bench::running(Flags { backoff: SLOW, ..flags(Strategy::OneForAll) }, &["P", "P", "P"]);
    assert_eq!(bench.killed('b'), "stop c1");
    bench.stopped('c');
    assert_eq!(bench.stopped('a'), "start a2");
    assert_eq!(bench.started('a'), "start b2 after 1s (1 of 3)");
    assert_eq!(bench.pause_passed('b'), "start b2");
    assert_eq!(bench.started('b'), "start c2");
}

#[test]
fn a_group_restart_in_between_makes_a_waiting_child_wait_again() {
    let mut bench = Bench::running(Flags { backoff: SLOW, ..flags(Strategy::RestForOne) }, &["P", "P"]);
    assert_eq!(bench.killed('b'), "start b2 after 1s (1 of 3)");
    assert_eq!(bench.killed('a'), "start a2 after 1s (2 of 3)");
    assert_eq!(bench.supervisor.state('b'), ChildPhase::Down);
    // b's first timer is of an old incarnation soon, and of nobody who waits now.
    assert_eq!(bench.pause_passed('b'), "");
    assert_eq!(bench.pause_passed('a'), "start a2");
    assert_eq!(bench.started('a'), "start b3 after 1s (1 of 3)");
    assert_eq!(bench.post(Input::BackoffPassed('b', 2)), "");
    assert_eq!(bench.pause_passed('b'), "start b3");
}

#[test]
fn a_shutdown_stops_what_starts_and_forgets_what_waits() {
    let mut bench = Bench::new(Flags { backoff: SLOW, ..flags(Strategy::OneForOne) }, &["P", "P", "P"]);
    bench.post(Input::Begin);
    bench.started('a');
    assert_eq!(bench.started('b'), "start c1");
    assert_eq!(bench.killed('a'), "start a2 after 1s (1 of 3)");
    assert_eq!(bench.post(Input::Shutdown), "ending (shutdown), stop c1");
    assert_eq!(bench.supervisor.state('a'), ChildPhase::Down);
    assert_eq!(bench.pause_passed('a'), "");
    assert_eq!(bench.started('c'), "");
    assert_eq!(bench.stop_timed_out('c'), "kill c1");
    assert_eq!(bench.killed('c'), "stop b1");
    assert_eq!(bench.stopped('b'), "finished (shutdown)");
}

#[test]
fn while_it_ends_deaths_are_only_noted_and_the_first_reason_stands() {
    let flags = Flags { auto_shutdown: AutoShutdown::AnySignificant, ..flags(Strategy::RestForOne) };
    let mut bench = Bench::running(flags, &["P", "P", "T!", "P"]);
    assert_eq!(bench.ended('c', ExitReason::Normal), "ending (auto-shutdown, c finished), stop d1");
    assert_eq!(bench.post(Input::Shutdown), "");
    assert_eq!(bench.killed('b'), "");
    assert_eq!(bench.stopped('d'), "stop a1");
    assert_eq!(bench.killed('a'), "finished (auto-shutdown, c finished)");
    for late in
        [Input::Shutdown, Input::Begin, Input::Started('a', 1), Input::Ended('a', 1, ExitReason::Normal)]
    {
        assert_eq!(bench.post(late), "");
    }
}

#[test]
fn a_shutdown_amid_a_group_restart_waits_for_the_stop_that_is_under_way() {
    let mut bench = Bench::running(flags(Strategy::RestForOne), &["P", "P", "P"]);
    assert_eq!(bench.killed('b'), "stop c1");
    assert_eq!(bench.post(Input::Shutdown), "ending (shutdown)");
    assert_eq!(bench.stopped('c'), "stop a1");
    assert_eq!(bench.stopped('a'), "finished (shutdown)");
}

#[test]
fn what_is_stale_or_unknown_changes_nothing() {
    let mut bench = Bench::running(flags(Strategy::OneForOne), &["P", "T"]);
    bench.killed('a');
    bench.started('a');
    bench.killed('b');
    let events = [
        Input::Ended('a', 1, ExitReason::Killed),
        Input::Ended('a', 3, ExitReason::Killed),
        Input::Ended('b', 1, ExitReason::Killed),
        Input::Ended('z', 1, ExitReason::Killed),
        Input::Ended('z', 0, ExitReason::Killed),
        Input::Started('a', 1),
        Input::Started('z', 0),
        Input::BackoffPassed('a', 2),
        Input::BackoffPassed('z', 0),
        Input::StopTimedOut('a', 2),
        Input::StopTimedOut('z', 0),
        Input::Begin,
    ];
    let before = format!("{:?}", bench.supervisor);
    for event in events {
        assert_eq!(bench.post(event.clone()), "", "{event:?}");
    }
    assert_eq!(format!("{:?}", bench.supervisor), before);
    assert_eq!((bench.supervisor.incarnation('z'), bench.supervisor.state('z')), (0, ChildPhase::Gone));
}

#[test]
fn what_never_began_ends_at_once() {
    let mut bench = Bench::new(flags(Strategy::OneForOne), &["P", "P"]);
    assert_eq!(bench.post(Input::Shutdown), "ending (shutdown), finished (shutdown)");
    assert_eq!(bench.post(Input::Begin), "");
    let mut childless = Bench::running(flags(Strategy::OneForAll), &[]);
    assert_eq!(childless.post(Input::Begin), "");
    assert_eq!(childless.post(Input::Shutdown), "ending (shutdown), finished (shutdown)");
}

#[test]
fn of_two_specs_with_one_key_the_second_is_ignored() {
    let specs = vec![child('a', "T"), child('b', "P"), child('a', "P")];
    let mut bench =
        Bench { supervisor: Supervisor::running(flags(Strategy::OneForOne), specs), now: Instant::now() };
    assert_eq!(bench.killed('a'), "");
    assert_eq!(bench.supervisor.state('a'), ChildPhase::Gone);
}
