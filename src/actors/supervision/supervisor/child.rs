//! One child as its supervisor sees it.

use std::time::Duration;

use super::Incarnation;
use crate::actors::supervision::intensity::Budget;
use crate::actors::supervision::spec::{ChildSpec, RestartType};

/// Where a child is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildPhase {
    /// It does not run: not started yet, waiting for its turn in a group restart, or finished. A group restart that
    /// touches it starts it (OTP's child with an undefined pid).
    Down,
    /// It will be started when its pause has passed.
    BackingOff,
    /// Asked to start, no answer yet.
    Starting,
    /// It runs.
    Running,
    /// Asked to stop, not ended yet.
    Stopping,
    /// Killed, not ended yet.
    Killing,
    /// It ended and is never started again: a temporary child, or a key the supervisor does not know.
    Gone,
}

impl ChildPhase {
    /// Whether something of it may run, so that it has to be brought down before anything else takes its place.
    pub fn is_live(self) -> bool {
        match self {
            ChildPhase::Starting | ChildPhase::Running | ChildPhase::Stopping | ChildPhase::Killing => true,
            ChildPhase::Down | ChildPhase::BackingOff | ChildPhase::Gone => false,
        }
    }

    /// Whether its end has been asked for already.
    pub(super) fn is_going_down(self) -> bool {
        matches!(self, ChildPhase::Stopping | ChildPhase::Killing)
    }
}

/// The pause a child has earned by its last end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause {
    pub(super) length: Duration,
    /// Restarts in the window when it was granted; for people.
    pub(super) used: u32,
}

/// A child and what its supervisor remembers of it.
#[derive(Clone, Debug)]
pub(super) struct Child<K> {
    pub(super) spec: ChildSpec<K>,
    pub(super) phase: ChildPhase,
    /// The incarnation that lives or lived last; while it backs off, the one to come. 0 before the first start.
    pub(super) incarnation: Incarnation,
    /// Waits for its turn to be started in order.
    pub(super) due: bool,
    /// Lives, and has to end before anything is started: a group restart touches it.
    pub(super) doomed: bool,
    /// It has been up once. A child whose first start fails ends the supervisor, as OTP's `init` does.
    pub(super) ran: bool,
    /// Pause before its next start; taken by that start.
    pub(super) pause: Option<Pause>,
    /// Its own window, for [`BudgetScope::Child`](crate::actors::supervision::BudgetScope::Child).
    pub(super) budget: Budget,
}

impl<K> Child<K> {
    /// A child that has not been started.
    pub(super) fn down(spec: ChildSpec<K>) -> Self {
        Self {
            spec,
            phase: ChildPhase::Down,
            incarnation: 0,
            due: false,
            doomed: false,
            ran: false,
            pause: None,
            budget: Budget::default(),
        }
    }

    /// A child whose first incarnation runs already.
    pub(super) fn running(spec: ChildSpec<K>) -> Self {
        Self { phase: ChildPhase::Running, incarnation: 1, ran: true, ..Self::down(spec) }
    }

    /// Whether its end can end the supervisor. OTP refuses a permanent significant child; here it never counts.
    pub(super) fn is_significant(&self) -> bool {
        self.spec.significant && self.spec.restart != RestartType::Permanent
    }

    /// Whether it lives or is going to.
    pub(super) fn is_active(&self) -> bool {
        self.due || self.phase == ChildPhase::BackingOff || self.phase.is_live()
    }

    /// It has ended. A temporary child is forgotten, any other stays known.
    pub(super) fn went_down(&mut self) {
        self.doomed = false;
        self.phase = match self.spec.restart {
            RestartType::Temporary => ChildPhase::Gone,
            RestartType::Permanent | RestartType::Transient => ChildPhase::Down,
        };
    }

    /// A group restart touches it: what lives has to go, what may come back is due.
    ///
    /// A temporary child that has not had its first start yet keeps it; one that lives is not started again.
    pub(super) fn touch(&mut self) {
        if self.phase.is_live() {
            self.doomed = true;
        }
        if self.phase == ChildPhase::BackingOff {
            self.phase = ChildPhase::Down;
        }
        if self.spec.restart != RestartType::Temporary {
            self.due = true;
        }
    }
}
