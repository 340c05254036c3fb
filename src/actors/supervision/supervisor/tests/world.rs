//! A world of children that obey a supervisor slowly and in any order, and that checks what it is asked to do.
//!
//! It feeds the machine and the model alike, compares them after each event, and holds every output against rules that
//! need neither.

use super::model::Model;
use super::*;

/// Fails a check; proptest shrinks the case then.
macro_rules! ensure {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err(format!($($why)+));
        }
    };
}

/// What the world knows of one incarnation that was asked to start and has not ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Life {
    pub(super) key: u8,
    pub(super) incarnation: Incarnation,
    pub(super) up: bool,
    pub(super) asked: bool,
    pub(super) killed: bool,
}

/// How often each interesting thing has happened; a test of the tests looks at it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) restarts: u32,
    pub(super) pauses: u32,
    pub(super) group_stops: u32,
    pub(super) starting_stopped: u32,
    pub(super) deaths_while_others_stop: u32,
    pub(super) failed_starts_survived: u32,
    pub(super) kills_after_time_out: u32,
    pub(super) dropped_pauses: u32,
    pub(super) escalated: u32,
    pub(super) auto_shut_down: u32,
    pub(super) deaths_while_ending: u32,
}

#[derive(Debug)]
pub(super) struct World {
    flags: Flags,
    specs: Vec<ChildSpec<u8>>,
    pub(super) machine: Supervisor<u8>,
    model: Model,
    pub(super) now: Instant,
    pub(super) lives: Vec<Life>,
    pub(super) timers: Vec<(u8, Incarnation)>,
    highest: Vec<Incarnation>,
    /// Moments at which a restart was granted, of each child; known from the outputs alone for one_for_one.
    granted: Vec<(usize, Instant)>,
    ending: Option<Ending<u8>>,
    pub(super) finished: bool,
    pub(super) seen: Seen,
}

/// Keys that random events name: those of the children, and two that nobody has.
pub(super) const KEYS: std::ops::Range<u8> = 0..8;

impl World {
    pub(super) fn new(flags: Flags, specs: Vec<ChildSpec<u8>>, running: bool) -> Self {
        let up = |spec: &ChildSpec<u8>| Life {
            key: spec.key,
            incarnation: 1,
            up: true,
            asked: false,
            killed: false,
        };
        let lives = if running { specs.iter().map(up).collect() } else { Vec::new() };
        let make = if running { Supervisor::running } else { Supervisor::new };
        Self {
            flags,
            machine: make(flags, specs.clone()),
            model: Model::new(flags, &specs, running),
            now: Instant::now(),
            lives,
            timers: Vec::new(),
            highest: vec![u32::from(running); specs.len()],
            specs,
            granted: Vec::new(),
            ending: None,
            finished: false,
            seen: Seen::default(),
        }
    }

    /// Posts one event to the machine and the model, compares them, and obeys.
    pub(super) fn post(&mut self, input: Input<u8>, random: f64) -> Result<(), String> {
        let before = self.lives.clone();
        self.take_in(&input);
        let expected = self.model.step(&input, self.now, random);
        let outputs = self.machine.step(input.clone(), self.now, random);
        ensure!(outputs == expected, "after {input:?}: did {outputs:?}, expected {expected:?}");
        for key in KEYS {
            let machine =
                (self.machine.state(key), self.machine.incarnation(key), self.machine.used(key, self.now));
            let model = (self.model.state(key), self.model.incarnation(key), self.model.used(key, self.now));
            ensure!(machine == model, "after {input:?}: child {key} is {machine:?}, expected {model:?}");
            ensure!(machine.2 <= self.flags.limit.intensity, "child {key} used {} restarts", machine.2);
        }
        ensure!(self.machine.is_ending() == self.model.is_ending(), "after {input:?}: ending?");
        self.count(&input, &before, &outputs);
        for output in outputs {
            self.obey(&output, &input).map_err(|why| format!("after {input:?}, {output:?}: {why}"))?;
        }
        self.check()
    }

    /// What the event says about the world; a stale one says nothing.
    fn take_in(&mut self, input: &Input<u8>) {
        match input {
            Input::Started(key, incarnation) => {
                if let Some(life) = self.life(*key, *incarnation) {
                    life.up = true;
                }
            }
            Input::Ended(key, incarnation, _) => {
                self.lives.retain(|life| (life.key, life.incarnation) != (*key, *incarnation));
            }
            Input::BackoffPassed(key, incarnation) => {
                self.timers.retain(|timer| *timer != (*key, *incarnation));
            }
            Input::Begin | Input::StopTimedOut(..) | Input::Shutdown => {}
        }
    }

    fn life(&mut self, key: u8, incarnation: Incarnation) -> Option<&mut Life> {
        self.lives.iter_mut().find(|life| (life.key, life.incarnation) == (key, incarnation))
    }

    fn place(&self, key: u8) -> Result<usize, String> {
        self.specs.iter().position(|spec| spec.key == key).ok_or(format!("{key} is nobody's key"))
    }

    /// Does what it is told, if that may be told.
    fn obey(&mut self, output: &Output<u8>, input: &Input<u8>) -> Result<(), String> {
        ensure!(!self.finished, "it had finished");
        match *output {
            Output::Start { child, incarnation } => {
                let place = self.place(child)?;
                ensure!(self.ending.is_none(), "a start after the decision to end");
                ensure!(self.lives.iter().all(|life| life.key != child), "two incarnations live");
                if *input != Input::BackoffPassed(child, incarnation) {
                    self.number(place, incarnation)?;
                }
                self.lives.push(Life { key: child, incarnation, up: false, asked: false, killed: false });
            }
            Output::StartAfter { child, incarnation, pause, used, allowed } => {
                let place = self.place(child)?;
                ensure!(self.ending.is_none(), "a start after the decision to end");
                ensure!(!pause.is_zero(), "a pause of nothing");
                ensure!(used >= 1 && used <= allowed, "more restarts than allowed");
                self.number(place, incarnation)?;
                self.timers.push((child, incarnation));
            }
            Output::Stop { child, incarnation, shutdown } => {
                ensure!(matches!(shutdown, Shutdown::Timeout(_)), "a polite brutal kill");
                ensure!(shutdown == self.specs[self.place(child)?].shutdown, "another's time-out");
                self.first_notice(child, incarnation)?;
            }
            Output::Kill { child, incarnation } => {
                if *input != Input::StopTimedOut(child, incarnation) {
                    ensure!(
                        self.specs[self.place(child)?].shutdown == Shutdown::BrutalKill,
                        "not asked first"
                    );
                    self.first_notice(child, incarnation)?;
                }
                let life = self.life(child, incarnation).ok_or("a kill of what does not live")?;
                ensure!(!life.killed && life.asked, "killed twice, or not its turn");
                life.killed = true;
            }
            Output::Ending(ref why) => {
                ensure!(self.ending.is_none(), "two endings");
                self.ending = Some(why.clone());
            }
            Output::Finished(ref why) => {
                ensure!(self.ending.as_ref() == Some(why), "it finishes for another reason");
                ensure!(self.lives.is_empty(), "something lives still");
                self.finished = true;
            }
        }
        Ok(())
    }

    fn number(&mut self, place: usize, incarnation: Incarnation) -> Result<(), String> {
        ensure!(incarnation == self.highest[place] + 1, "incarnations do not count up");
        let first = incarnation == 1;
        ensure!(first || self.specs[place].restart != RestartType::Temporary, "a temporary child comes back");
        self.highest[place] = incarnation;
        if self.flags.strategy == Strategy::OneForOne && !first {
            self.granted.push((place, self.now));
        }
        Ok(())
    }

    /// A child is told to go: the last started that lives, and nobody else is going.
    fn first_notice(&mut self, key: u8, incarnation: Incarnation) -> Result<(), String> {
        let place = self.place(key)?;
        let grouped = self.flags.strategy != Strategy::OneForOne;
        ensure!(grouped || self.ending.is_some(), "one_for_one stops a sibling");
        for life in self.lives.clone() {
            let other = self.place(life.key)?;
            ensure!(other <= place, "child {} was started later and lives still", life.key);
            ensure!(!life.asked, "child {} has been asked and lives still", life.key);
        }
        let life = self.life(key, incarnation).ok_or("a stop of what does not live")?;
        life.asked = true;
        Ok(())
    }

    /// What holds after every event.
    fn check(&self) -> Result<(), String> {
        let starting = self.lives.iter().filter(|life| !life.up && !life.asked).count();
        let backing_off = KEYS.filter(|key| self.machine.state(*key) == ChildPhase::BackingOff).count();
        let grouped = self.flags.strategy != Strategy::OneForOne;
        ensure!(!grouped || starting + backing_off <= 1, "{starting} start and {backing_off} wait at once");
        ensure!(self.ending.is_none() || backing_off == 0, "a pause outlives the decision to end");
        ensure!(self.ending.is_some() == self.machine.is_ending(), "is_ending does not say so");
        ensure!(self.finished == (self.ending.is_some() && self.lives.is_empty()), "finished too late");
        let limit = self.flags.limit;
        for (child, _) in &self.granted {
            let inside = self.granted.iter().filter(|(other, at)| {
                let mine = self.flags.scope == BudgetScope::Supervisor || other == child;
                mine && self.now.duration_since(*at) <= limit.period
            });
            ensure!(inside.count() <= limit.intensity as usize, "more restarts than the intensity");
        }
        Ok(())
    }

    /// Answers what is asked, any order, until nothing is awaited. `pick` chooses among so many.
    pub(super) fn settle(&mut self, mut pick: impl FnMut(usize) -> usize) -> Result<(), String> {
        for _ in 0..8 * self.specs.len() + 8 {
            let Some(answer) = self.answer(&mut pick) else { return Ok(()) };
            self.post(answer, 0.5)?;
        }
        Err("does not come to rest".into())
    }

    /// One answer that is awaited.
    pub(super) fn answer(&self, pick: impl FnOnce(usize) -> usize) -> Option<Input<u8>> {
        let mut answers: Vec<Input<u8>> =
            self.timers.iter().map(|(key, incarnation)| Input::BackoffPassed(*key, *incarnation)).collect();
        for life in &self.lives {
            match life {
                Life { killed: true, .. } => {
                    answers.push(Input::Ended(life.key, life.incarnation, ExitReason::Killed));
                }
                Life { asked: true, .. } => {
                    answers.push(Input::Ended(life.key, life.incarnation, ExitReason::Shutdown));
                }
                Life { up: false, .. } => answers.push(Input::Started(life.key, life.incarnation)),
                Life { .. } => {}
            }
        }
        (!answers.is_empty()).then(|| answers.swap_remove(pick(answers.len())))
    }

    /// With no more faults a supervisor that goes on has all its permanent children running.
    pub(super) fn is_whole(&self) -> bool {
        let permanent = self.specs.iter().filter(|spec| spec.restart == RestartType::Permanent);
        permanent.map(|spec| self.machine.state(spec.key)).all(|state| state == ChildPhase::Running)
    }

    fn count(&mut self, input: &Input<u8>, before: &[Life], outputs: &[Output<u8>]) {
        let seen = &mut self.seen;
        let ends_now = outputs.iter().any(|output| matches!(output, Output::Ending(_)));
        if let Input::Ended(key, incarnation, _) = input
            && let Some(life) =
                before.iter().find(|life| (life.key, life.incarnation) == (*key, *incarnation))
        {
            let others_stop = before.iter().any(|other| other.asked && other.key != *key);
            seen.deaths_while_others_stop += u32::from(others_stop && !life.asked && self.ending.is_none());
            seen.deaths_while_ending += u32::from(!life.asked && self.ending.is_some());
            let failed = !life.up && !life.asked && self.ending.is_none();
            seen.failed_starts_survived += u32::from(failed && !ends_now);
        }
        for output in outputs {
            match output {
                Output::Start { incarnation, .. } => seen.restarts += u32::from(*incarnation > 1),
                Output::StartAfter { .. } => seen.pauses += 1,
                Output::Stop { child, .. } => {
                    let up = before.iter().any(|life| life.key == *child && life.up);
                    seen.starting_stopped += u32::from(!up);
                    seen.group_stops += u32::from(self.ending.is_none() && !ends_now);
                }
                Output::Kill { .. } => {
                    seen.kills_after_time_out += u32::from(matches!(input, Input::StopTimedOut(..)));
                }
                Output::Ending(Ending::Escalated(..)) => seen.escalated += 1,
                Output::Ending(Ending::AutoShutdown(..)) => seen.auto_shut_down += 1,
                Output::Ending(Ending::Shutdown) | Output::Finished(_) => {}
            }
        }
        let waits = |key| self.machine.state(key) == ChildPhase::BackingOff;
        let dropped = self.timers.iter().any(|(key, _)| !waits(*key));
        seen.dropped_pauses += u32::from(dropped && self.ending.is_none() && !ends_now);
    }
}
