//! The supervision core: a state machine with the semantics of OTP's `supervisor`, and nothing else.
//!
//! No clock, no actor, no randomness inside: [`Supervisor::step`] takes what happened, the time and a random number,
//! and returns what to do. The source of every rule is the documentation of OTP's `supervisor` module and its design
//! principles ("Supervisor Behaviour"). Because starts and stops take time here and a restart may wait for its
//! [`Backoff`](super::backoff::Backoff), while OTP's supervisor blocks until they are done, these are ours:
//!
//! - A death is acted on at once, not after the group restart in progress. A group restart absorbs it: what the death
//!   touches is stopped too, then everything due is started in start order. Each child that ended by itself costs its
//!   own restart.
//! - The end of a child that a group restart is about to stop, or has asked to stop, costs nothing and triggers
//!   nothing, whatever its reason (OTP flushes that exit signal).
//! - The pause belongs to the child that died and is taken at its turn in the start order. A group restart that comes
//!   in between takes the whole pause again.
//! - An end before [`Input::Started`] is a failed start, whatever its reason: it costs a restart (OTP tries again). In a
//!   child's first start it ends the supervisor, as a failed `init` does.
//! - A significant child that is due to be started counts as active for [`AutoShutdown::AllSignificant`].
//!
//! Design: `docs/design/2026-11-23-supervision-core.md`.

mod child;
mod types;

use std::fmt::Debug;

use tokio::time::Instant;

pub use self::child::ChildPhase;
use self::child::{Child, Pause};
pub use self::types::{AutoShutdown, Ending, Flags, Incarnation, Input, Output};
use super::exit::ExitReason;
use super::intensity::{Budget, BudgetScope, Intensity};
use super::spec::{ChildSpec, Shutdown};
use super::strategy::Strategy;

/// A supervisor's whole state. Children are known by key and stand in start order.
#[derive(Clone, Debug)]
pub struct Supervisor<K> {
    flags: Flags,
    children: Vec<Child<K>>,
    /// The window of [`BudgetScope::Supervisor`].
    budget: Budget,
    begun: bool,
    /// The child that is being started in order; the next one due waits for it.
    current: Option<usize>,
    ending: Option<Ending<K>>,
    finished: bool,
}

impl<K: Copy + Eq + Debug> Supervisor<K> {
    /// A supervisor that has started nothing yet; [`Input::Begin`] starts the children in the order of `specs`.
    ///
    /// Of two specs with the same key the second is ignored (OTP refuses them).
    pub fn new(flags: Flags, specs: Vec<ChildSpec<K>>) -> Self {
        Self::with_children(flags, specs, Child::down, false)
    }

    /// A supervisor whose children all run already, incarnation 1 each; [`Input::Begin`] does nothing.
    ///
    /// Of two specs with the same key the second is ignored.
    pub fn running(flags: Flags, specs: Vec<ChildSpec<K>>) -> Self {
        Self::with_children(flags, specs, Child::running, true)
    }

    fn with_children(
        flags: Flags,
        specs: Vec<ChildSpec<K>>,
        child: fn(ChildSpec<K>) -> Child<K>,
        begun: bool,
    ) -> Self {
        let mut children: Vec<Child<K>> = Vec::with_capacity(specs.len());
        for spec in specs {
            if children.iter().all(|known| known.spec.key != spec.key) {
                children.push(child(spec));
            }
        }
        let budget = Budget::default();
        Self { flags, children, budget, begun, current: None, ending: None, finished: false }
    }

    /// Takes one event and returns what to do about it, in order.
    ///
    /// `random` lies in 0.0..1.0 and is used for the jitter of a pause. An event that fits nothing (an old
    /// incarnation, an unknown child, an answer nobody waits for) changes nothing. Never panics.
    pub fn step(&mut self, input: Input<K>, now: Instant, random: f64) -> Vec<Output<K>> {
        let mut out = Vec::new();
        match input {
            Input::Begin => self.begin(),
            Input::Started(key, incarnation) => self.started(key, incarnation),
            Input::Ended(key, incarnation, exit) => {
                self.ended(key, incarnation, exit, now, random, &mut out);
            }
            Input::BackoffPassed(key, incarnation) => self.backoff_passed(key, incarnation, &mut out),
            Input::StopTimedOut(key, incarnation) => self.stop_timed_out(key, incarnation, &mut out),
            Input::Shutdown => self.end(Ending::Shutdown, &mut out),
        }
        self.advance(&mut out);
        out
    }

    /// The child's incarnation: the one that lives or lived last, or, while it backs off, the one to come. 0 when it
    /// was never started or is unknown.
    pub fn incarnation(&self, child: K) -> Incarnation {
        self.find(child).map_or(0, |at| self.children[at].incarnation)
    }

    /// Restarts granted in the window that ends at `now`: the child's own or all, as [`Flags::scope`] says.
    pub fn used(&self, child: K, now: Instant) -> u32 {
        let budget = match (self.flags.scope, self.find(child)) {
            (BudgetScope::Supervisor, _) => &self.budget,
            (BudgetScope::Child, Some(at)) => &self.children[at].budget,
            (BudgetScope::Child, None) => return 0,
        };
        budget.used(self.flags.limit, now)
    }

    /// The limit it was made with.
    pub fn limit(&self) -> Intensity {
        self.flags.limit
    }

    /// Where the child is in its life.
    pub fn state(&self, child: K) -> ChildPhase {
        self.find(child).map_or(ChildPhase::Gone, |at| self.children[at].phase)
    }

    /// Whether it has decided to end; still true when it has finished.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    fn find(&self, key: K) -> Option<usize> {
        self.children.iter().position(|child| child.spec.key == key)
    }

    /// The child in this very incarnation; an event of any other is stale.
    fn find_incarnation(&self, key: K, incarnation: Incarnation) -> Option<usize> {
        self.find(key).filter(|at| self.children[*at].incarnation == incarnation)
    }

    fn begin(&mut self) {
        if !self.begun && self.ending.is_none() {
            self.begun = true;
            self.children.iter_mut().for_each(|child| child.due = true);
        }
    }

    fn started(&mut self, key: K, incarnation: Incarnation) {
        let Some(at) = self.find_incarnation(key, incarnation) else { return };
        if self.children[at].phase != ChildPhase::Starting {
            return;
        }
        self.children[at].phase = ChildPhase::Running;
        self.children[at].ran = true;
        if self.current == Some(at) {
            self.current = None;
        }
    }

    fn backoff_passed(&mut self, key: K, incarnation: Incarnation, out: &mut Vec<Output<K>>) {
        let Some(at) = self.find_incarnation(key, incarnation) else { return };
        let child = &mut self.children[at];
        if child.phase == ChildPhase::BackingOff {
            child.phase = ChildPhase::Starting;
            child.pause = None;
            out.push(Output::Start { child: key, incarnation });
        }
    }

    fn stop_timed_out(&mut self, key: K, incarnation: Incarnation, out: &mut Vec<Output<K>>) {
        let Some(at) = self.find_incarnation(key, incarnation) else { return };
        if self.children[at].phase == ChildPhase::Stopping {
            self.children[at].phase = ChildPhase::Killing;
            out.push(Output::Kill { child: key, incarnation });
        }
    }

    fn ended(
        &mut self,
        key: K,
        incarnation: Incarnation,
        exit: ExitReason,
        now: Instant,
        random: f64,
        out: &mut Vec<Output<K>>,
    ) {
        let Some(at) = self.find_incarnation(key, incarnation) else { return };
        let child = &mut self.children[at];
        let (phase, expected) = (child.phase, child.doomed || child.phase.is_going_down());
        if !phase.is_live() {
            return;
        }
        child.went_down();
        if expected || self.ending.is_some() {
            return;
        }
        let start_failed = phase == ChildPhase::Starting;
        if start_failed && !child.ran {
            self.end(Ending::Escalated(key, exit), out);
        } else if start_failed || child.spec.restart.restarts_after(&exit) {
            self.restart(at, exit, now, random, out);
        } else if self.ends_with(at) {
            self.end(Ending::AutoShutdown(key, exit), out);
        }
    }

    /// Whether the end of this child, by itself and for good, ends the supervisor.
    fn ends_with(&self, at: usize) -> bool {
        let significant = self.children[at].is_significant();
        match self.flags.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => significant,
            AutoShutdown::AllSignificant => {
                significant && !self.children.iter().any(|child| child.is_significant() && child.is_active())
            }
        }
    }

    /// The child has ended by itself and has to be started again, with the siblings its end touches.
    fn restart(&mut self, at: usize, exit: ExitReason, now: Instant, random: f64, out: &mut Vec<Output<K>>) {
        let limit = self.flags.limit;
        let child = &mut self.children[at];
        let budget = match self.flags.scope {
            BudgetScope::Supervisor => &mut self.budget,
            BudgetScope::Child => &mut child.budget,
        };
        if !budget.spend(limit, now) {
            let key = child.spec.key;
            return self.end(Ending::Escalated(key, exit), out);
        }
        let used = budget.used(limit, now);
        child.pause = Some(Pause { length: self.flags.backoff.pause(used, random), used });
        let first = match self.flags.strategy {
            Strategy::OneForOne => return self.start(at, out),
            Strategy::RestForOne => at,
            Strategy::OneForAll => 0,
        };
        self.children.iter_mut().skip(first).for_each(Child::touch);
        // Whoever was being started is touched too, or waits behind the one that died.
        self.current = None;
    }

    /// Starts a child in a new incarnation, after its pause if it has one.
    fn start(&mut self, at: usize, out: &mut Vec<Output<K>>) {
        let child = &mut self.children[at];
        child.due = false;
        child.incarnation = child.incarnation.saturating_add(1);
        let (key, incarnation) = (child.spec.key, child.incarnation);
        match child.pause {
            Some(Pause { length, used }) if !length.is_zero() => {
                child.phase = ChildPhase::BackingOff;
                let allowed = self.flags.limit.intensity;
                out.push(Output::StartAfter { child: key, incarnation, pause: length, used, allowed });
            }
            _ => {
                child.pause = None;
                child.phase = ChildPhase::Starting;
                out.push(Output::Start { child: key, incarnation });
            }
        }
    }

    /// Decides to end. The first decision stands.
    fn end(&mut self, why: Ending<K>, out: &mut Vec<Output<K>>) {
        if self.ending.is_some() {
            return;
        }
        for child in &mut self.children {
            child.due = false;
            if child.phase == ChildPhase::BackingOff {
                child.phase = ChildPhase::Down;
            }
        }
        self.current = None;
        self.ending = Some(why.clone());
        out.push(Output::Ending(why));
    }

    /// Does what is next: bring one child down, or start one, or nothing while an answer is awaited.
    fn advance(&mut self, out: &mut Vec<Output<K>>) {
        if self.finished {
            return;
        }
        let ending = self.ending.is_some();
        let to_stop = self.children.iter().rposition(|child| {
            child.phase.is_live() && (ending || child.doomed || child.phase.is_going_down())
        });
        match (to_stop, &self.ending) {
            (Some(at), _) => self.stop(at, out),
            (None, Some(why)) => {
                out.push(Output::Finished(why.clone()));
                self.finished = true;
            }
            (None, None) => {
                if let (None, Some(at)) = (self.current, self.children.iter().position(|child| child.due)) {
                    self.current = Some(at);
                    self.start(at, out);
                }
            }
        }
    }

    /// Asks a child to stop, or kills it, as its spec says; once.
    fn stop(&mut self, at: usize, out: &mut Vec<Output<K>>) {
        let child = &mut self.children[at];
        if child.phase.is_going_down() {
            return;
        }
        let (key, incarnation, shutdown) = (child.spec.key, child.incarnation, child.spec.shutdown);
        match shutdown {
            Shutdown::Timeout(_) => {
                child.phase = ChildPhase::Stopping;
                out.push(Output::Stop { child: key, incarnation, shutdown });
            }
            Shutdown::BrutalKill => {
                child.phase = ChildPhase::Killing;
                out.push(Output::Kill { child: key, incarnation });
            }
        }
    }
}

#[cfg(test)]
mod tests;
