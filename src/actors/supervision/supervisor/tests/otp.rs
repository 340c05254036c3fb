//! What OTP's own supervisor did, as `otp/record.erl` recorded it, and that the machine does the same.
//!
//! The recording holds deaths one by one and at once, failed starts, stubborn children and shutdowns; each step ends
//! when nothing follows any more. Windows and pauses are not in it: the one needs a clock, the other OTP does not have.

use std::collections::{BTreeMap, VecDeque};

use super::*;

const RECORDED: &str = include_str!("otp/recorded.txt");

/// How a child ends when it is to: as asked, only when it is killed, killed without being asked.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    Asked,
    Stubborn,
    Brutal,
}

/// Children that obey at once, in the order in which they are told.
struct Replay {
    supervisor: Supervisor<char>,
    ends: BTreeMap<char, Ends>,
    live: BTreeMap<char, Incarnation>,
    /// Starts that will fail.
    failing: BTreeMap<char, u32>,
    told: VecDeque<Output<char>>,
    journal: Vec<String>,
    now: Instant,
}

impl Replay {
    /// `strategy intensity auto_shutdown: kinds of a, b, c, ...`
    fn new(header: &str) -> Self {
        let (flags, kinds) = header.split_once(": ").expect("flags: kinds");
        let [strategy, intensity, auto_shutdown] = flags.split(' ').collect::<Vec<_>>()[..] else {
            panic!("three flags in {header}");
        };
        let flags = Flags {
            strategy: match strategy {
                "one_for_one" => Strategy::OneForOne,
                "rest_for_one" => Strategy::RestForOne,
                "one_for_all" => Strategy::OneForAll,
                other => panic!("{other}?"),
            },
            limit: Intensity { intensity: intensity.parse().expect("a number"), period: SECOND },
            scope: BudgetScope::Supervisor,
            auto_shutdown: match auto_shutdown {
                "never" => AutoShutdown::Never,
                "any_significant" => AutoShutdown::AnySignificant,
                "all_significant" => AutoShutdown::AllSignificant,
                other => panic!("{other}?"),
            },
            backoff: Backoff::NONE,
        };
        let children: Vec<_> = ('a'..).zip(kinds.split(' ')).collect();
        Self {
            supervisor: Supervisor::new(flags, children.iter().map(|(key, kind)| spec(*key, kind)).collect()),
            ends: children.iter().map(|(key, kind)| (*key, ends(kind))).collect(),
            live: BTreeMap::new(),
            failing: BTreeMap::new(),
            told: VecDeque::new(),
            journal: Vec::new(),
            now: Instant::now(),
        }
    }

    /// What is done in one step, as `fail a 2, b killed, c normal`; returns what follows.
    fn step(&mut self, done: &str) -> String {
        for action in done.split(", ") {
            match action.split(' ').collect::<Vec<_>>()[..] {
                ["fail", child, times] => {
                    self.failing.insert(key(child), times.parse().expect("a number"));
                }
                ["begin"] => self.post(Input::Begin),
                ["shutdown"] => self.post(Input::Shutdown),
                [child, exit] => {
                    let incarnation = self.live.remove(&key(child)).expect("it lives");
                    let exit = match exit {
                        "normal" => ExitReason::Normal,
                        "shutdown" => ExitReason::Shutdown,
                        "killed" => ExitReason::Killed,
                        "failed" => ExitReason::Failed("no".into()),
                        other => panic!("{other}?"),
                    };
                    self.post(Input::Ended(key(child), incarnation, exit));
                }
                _ => panic!("{action}?"),
            }
        }
        while let Some(output) = self.told.pop_front() {
            self.obey(&output);
        }
        std::mem::take(&mut self.journal).join(" ")
    }

    fn post(&mut self, input: Input<char>) {
        self.told.extend(self.supervisor.step(input, self.now, 0.0));
    }

    fn obey(&mut self, output: &Output<char>) {
        match *output {
            Output::Start { child, incarnation } => {
                if let Some(left) = self.failing.get_mut(&child).filter(|left| **left > 0) {
                    *left -= 1;
                    self.journal.push(format!("!{child}"));
                    return self.post(Input::Ended(child, incarnation, ExitReason::Failed("no".into())));
                }
                self.journal.push(format!("+{child}"));
                self.live.insert(child, incarnation);
                self.post(Input::Started(child, incarnation));
            }
            // What does not live has died before it could be told; that event is on its way.
            Output::Stop { child, incarnation, .. } if self.live.get(&child) == Some(&incarnation) => {
                if self.ends[&child] == Ends::Stubborn {
                    return self.post(Input::StopTimedOut(child, incarnation));
                }
                self.journal.push(format!("-{child}"));
                self.live.remove(&child);
                self.post(Input::Ended(child, incarnation, ExitReason::Shutdown));
            }
            Output::Kill { child, incarnation } if self.live.get(&child) == Some(&incarnation) => {
                self.journal.push(format!("x{child}"));
                self.live.remove(&child);
                self.post(Input::Ended(child, incarnation, ExitReason::Killed));
            }
            Output::Finished(_) => self.journal.push(".".into()),
            Output::Stop { .. } | Output::Kill { .. } | Output::Ending(_) => {}
            Output::StartAfter { .. } => panic!("a pause, though none was asked for"),
        }
    }
}

fn key(child: &str) -> char {
    child.chars().next().expect("a letter")
}

fn ends(kind: &str) -> Ends {
    match kind.as_bytes()[1] {
        b't' => Ends::Asked,
        b's' => Ends::Stubborn,
        b'k' => Ends::Brutal,
        _ => panic!("{kind}?"),
    }
}

fn spec(key: char, kind: &str) -> ChildSpec<char> {
    let restart = match kind.as_bytes()[0] {
        b'P' => RestartType::Permanent,
        b'R' => RestartType::Transient,
        b'T' => RestartType::Temporary,
        _ => panic!("{kind}?"),
    };
    let brutal = ends(kind) == Ends::Brutal;
    let shutdown = if brutal { Shutdown::BrutalKill } else { Shutdown::Timeout(SECOND) };
    ChildSpec { key, restart, shutdown, significant: kind.ends_with('!') }
}

#[test]
fn the_machine_does_what_otp_did() {
    let mut scenarios = 0;
    for scenario in RECORDED.split("\n\n").skip(1) {
        let mut lines = scenario.lines();
        let mut replay = Replay::new(lines.next().expect("a header"));
        for line in lines {
            let (done, followed) = line.split_once(" ->").expect("done -> followed");
            assert_eq!(replay.step(done), followed.trim_start(), "{done}, in:\n{scenario}");
        }
        scenarios += 1;
    }
    assert_eq!(scenarios, 400, "the recording is not whole");
}
