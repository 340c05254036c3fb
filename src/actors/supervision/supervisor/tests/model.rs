//! The reference: a naive interpreter that keeps a history of facts and an agenda, and no state of a child.
//!
//! What a child is doing, which incarnation it has, how many restarts lie in the window and which pause is owed is
//! looked up in the history each time. What is to be done in order is a plain list that a death writes anew.

use super::*;

/// One thing that became true; a child is its place in the start order.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fact {
    Numbered(usize),
    Waits(usize),
    Dropped(usize),
    Launched(usize),
    Up(usize),
    Asked(usize),
    Killed(usize),
    Over(usize),
    Granted { child: usize, at: Instant, pause: Duration, used: u32 },
    Begun,
    Done,
}

/// One thing to do before the next one is begun.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Job {
    Stop(usize),
    Start(usize),
}

/// What the supervisor is expected to do.
#[derive(Debug)]
pub(super) struct Model {
    flags: Flags,
    specs: Vec<ChildSpec<u8>>,
    history: Vec<Fact>,
    agenda: Vec<Job>,
    ending: Option<Ending<u8>>,
    out: Vec<Output<u8>>,
}

impl Model {
    pub(super) fn new(flags: Flags, specs: &[ChildSpec<u8>], running: bool) -> Self {
        let mut history = Vec::new();
        if running {
            history.push(Fact::Begun);
            for child in 0..specs.len() {
                history.extend([Fact::Numbered(child), Fact::Launched(child), Fact::Up(child)]);
            }
        }
        Self { flags, specs: specs.to_vec(), history, agenda: Vec::new(), ending: None, out: Vec::new() }
    }

    pub(super) fn step(&mut self, input: &Input<u8>, now: Instant, random: f64) -> Vec<Output<u8>> {
        match input {
            Input::Begin => {
                if self.ending.is_none() && !self.history.contains(&Fact::Begun) {
                    self.history.push(Fact::Begun);
                    self.agenda = (0..self.specs.len()).map(Job::Start).collect();
                }
            }
            Input::Shutdown => {
                if self.ending.is_none() {
                    self.end(Ending::Shutdown);
                }
            }
            Input::Started(key, incarnation) => {
                if let Some((child, Fact::Launched(_))) = self.known(*key, *incarnation) {
                    self.history.push(Fact::Up(child));
                }
            }
            Input::BackoffPassed(key, incarnation) => {
                if let Some((child, Fact::Waits(_))) = self.known(*key, *incarnation) {
                    self.history.push(Fact::Launched(child));
                    self.out.push(Output::Start { child: *key, incarnation: *incarnation });
                }
            }
            Input::StopTimedOut(key, incarnation) => {
                if let Some((child, Fact::Asked(_))) = self.known(*key, *incarnation) {
                    self.kill(child);
                }
            }
            Input::Ended(key, incarnation, exit) => {
                if let Some((child, before)) = self.known(*key, *incarnation)
                    && self.lives(child)
                {
                    self.history.push(Fact::Over(child));
                    if self.ending.is_none() && !self.agenda.contains(&Job::Stop(child)) {
                        self.ended_by_itself(child, before, exit, now, random);
                    }
                }
            }
        }
        self.work();
        std::mem::take(&mut self.out)
    }

    pub(super) fn incarnation(&self, key: u8) -> Incarnation {
        let Some(child) = self.place(key) else { return 0 };
        self.history.iter().filter(|fact| **fact == Fact::Numbered(child)).count() as u32
    }

    pub(super) fn state(&self, key: u8) -> ChildPhase {
        let Some(child) = self.place(key) else { return ChildPhase::Gone };
        match self.last(child) {
            Some(Fact::Waits(_)) => ChildPhase::BackingOff,
            Some(Fact::Launched(_)) => ChildPhase::Starting,
            Some(Fact::Up(_)) => ChildPhase::Running,
            Some(Fact::Asked(_)) => ChildPhase::Stopping,
            Some(Fact::Killed(_)) => ChildPhase::Killing,
            Some(Fact::Over(_)) if self.specs[child].restart == RestartType::Temporary => ChildPhase::Gone,
            _ => ChildPhase::Down,
        }
    }

    pub(super) fn used(&self, key: u8, now: Instant) -> u32 {
        match (self.flags.scope, self.place(key)) {
            (BudgetScope::Child, None) => 0,
            (_, place) => self.restarts_in_window(place.unwrap_or(0), now),
        }
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    fn place(&self, key: u8) -> Option<usize> {
        self.specs.iter().position(|spec| spec.key == key)
    }

    /// The child, and the last that happened to it, if this is its incarnation.
    fn known(&self, key: u8, incarnation: Incarnation) -> Option<(usize, Fact)> {
        let child = self.place(key)?;
        let last = self.last(child)?;
        (self.incarnation(key) == incarnation).then_some((child, last))
    }

    /// The last that happened to a child, but for bookkeeping.
    fn last(&self, which: usize) -> Option<Fact> {
        let about = |fact: &Fact| match fact {
            Fact::Waits(child) | Fact::Dropped(child) | Fact::Launched(child) | Fact::Up(child) => {
                *child == which
            }
            Fact::Asked(child) | Fact::Killed(child) | Fact::Over(child) => *child == which,
            Fact::Numbered(_) | Fact::Granted { .. } | Fact::Begun | Fact::Done => false,
        };
        self.history.iter().rev().find(|fact| about(fact)).copied()
    }

    fn lives(&self, child: usize) -> bool {
        matches!(self.last(child), Some(Fact::Launched(_) | Fact::Up(_) | Fact::Asked(_) | Fact::Killed(_)))
    }

    fn restarts_in_window(&self, of: usize, now: Instant) -> u32 {
        let mut count = 0;
        for fact in &self.history {
            if let Fact::Granted { child, at, .. } = fact {
                let mine = self.flags.scope == BudgetScope::Supervisor || *child == of;
                if mine && now <= *at + self.flags.limit.period {
                    count += 1;
                }
            }
        }
        count
    }

    /// "A permanent child process is always restarted. A temporary child process is never restarted. A transient
    /// child process is restarted only if it terminates abnormally."
    fn comes_back(&self, child: usize, exit: &ExitReason) -> bool {
        let fine = match exit {
            ExitReason::Normal | ExitReason::Shutdown => true,
            ExitReason::ContainerExited(exit) => (exit.code, exit.oom_killed) == (0, false),
            _ => false,
        };
        match self.specs[child].restart {
            RestartType::Permanent => true,
            RestartType::Transient => !fine,
            RestartType::Temporary => false,
        }
    }

    fn ended_by_itself(&mut self, child: usize, before: Fact, exit: &ExitReason, now: Instant, random: f64) {
        let key = self.specs[child].key;
        let was_starting = before == Fact::Launched(child);
        if was_starting && !self.history.contains(&Fact::Up(child)) {
            return self.end(Ending::Escalated(key, exit.clone()));
        }
        if !was_starting && !self.comes_back(child, exit) {
            if self.shuts_down_after(child) {
                self.end(Ending::AutoShutdown(key, exit.clone()));
            }
            return;
        }
        let used = self.restarts_in_window(child, now) + 1;
        if used > self.flags.limit.intensity {
            return self.end(Ending::Escalated(key, exit.clone()));
        }
        let pause = self.flags.backoff.pause(used, random);
        self.history.push(Fact::Granted { child, at: now, pause, used });
        match self.flags.strategy {
            Strategy::OneForOne => self.launch(child),
            Strategy::RestForOne => self.restart_group((child..self.specs.len()).collect()),
            Strategy::OneForAll => self.restart_group((0..self.specs.len()).collect()),
        }
    }

    fn shuts_down_after(&self, child: usize) -> bool {
        let matters = |spec: &ChildSpec<u8>| {
            spec.significant && matches!(spec.restart, RestartType::Transient | RestartType::Temporary)
        };
        if !matters(&self.specs[child]) {
            return false;
        }
        match self.flags.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => (0..self.specs.len()).all(|other| {
                let waits = self.last(other) == Some(Fact::Waits(other));
                let active = self.lives(other) || waits || self.agenda.contains(&Job::Start(other));
                other == child || !matters(&self.specs[other]) || !active
            }),
        }
    }

    fn restart_group(&mut self, touched: Vec<usize>) {
        let mut agenda = Vec::new();
        for child in touched.iter().rev() {
            if self.lives(*child) {
                agenda.push(Job::Stop(*child));
            }
        }
        for child in 0..self.specs.len() {
            let again = touched.contains(&child) && self.specs[child].restart != RestartType::Temporary;
            let first = self.agenda.contains(&Job::Start(child)) && self.last(child).is_none();
            if again || first {
                agenda.push(Job::Start(child));
            }
        }
        for child in touched {
            if self.last(child) == Some(Fact::Waits(child)) {
                self.history.push(Fact::Dropped(child));
            }
        }
        self.agenda = agenda;
    }

    fn end(&mut self, why: Ending<u8>) {
        self.out.push(Output::Ending(why.clone()));
        self.ending = Some(why);
        self.agenda.clear();
        for child in (0..self.specs.len()).rev() {
            if self.lives(child) {
                self.agenda.push(Job::Stop(child));
            } else if self.last(child) == Some(Fact::Waits(child)) {
                self.history.push(Fact::Dropped(child));
            }
        }
    }

    /// Goes through the agenda until a job has to wait.
    fn work(&mut self) {
        while let Some(job) = self.agenda.first().copied() {
            match job {
                Job::Stop(child) if self.lives(child) => {
                    if !matches!(self.last(child), Some(Fact::Asked(_) | Fact::Killed(_))) {
                        self.bring_down(child);
                    }
                    return;
                }
                Job::Start(child) if self.last(child) != Some(Fact::Up(child)) => {
                    if !matches!(self.last(child), Some(Fact::Waits(_) | Fact::Launched(_))) {
                        self.launch(child);
                    }
                    return;
                }
                Job::Stop(_) | Job::Start(_) => drop(self.agenda.remove(0)),
            }
        }
        if let (Some(why), false) = (&self.ending, self.history.contains(&Fact::Done)) {
            self.out.push(Output::Finished(why.clone()));
            self.history.push(Fact::Done);
        }
    }

    fn launch(&mut self, child: usize) {
        self.history.push(Fact::Numbered(child));
        let key = self.specs[child].key;
        let incarnation = self.incarnation(key);
        // The pause of the last restart granted to it, unless it has been launched since.
        let owed = self.history.iter().rev().find_map(|fact| match fact {
            Fact::Launched(other) if *other == child => Some(None),
            Fact::Granted { child: other, pause, used, .. } if *other == child => Some(Some((*pause, *used))),
            _ => None,
        });
        match owed.flatten() {
            Some((pause, used)) if pause > Duration::ZERO => {
                self.history.push(Fact::Waits(child));
                let allowed = self.flags.limit.intensity;
                self.out.push(Output::StartAfter { child: key, incarnation, pause, used, allowed });
            }
            _ => {
                self.history.push(Fact::Launched(child));
                self.out.push(Output::Start { child: key, incarnation });
            }
        }
    }

    fn bring_down(&mut self, child: usize) {
        let ChildSpec { key, shutdown, .. } = self.specs[child];
        match shutdown {
            Shutdown::BrutalKill => self.kill(child),
            Shutdown::Timeout(_) => {
                self.history.push(Fact::Asked(child));
                let incarnation = self.incarnation(key);
                self.out.push(Output::Stop { child: key, incarnation, shutdown });
            }
        }
    }

    fn kill(&mut self, child: usize) {
        self.history.push(Fact::Killed(child));
        let key = self.specs[child].key;
        self.out.push(Output::Kill { child: key, incarnation: self.incarnation(key) });
    }
}
