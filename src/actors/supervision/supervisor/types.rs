//! The words between a supervisor and whoever drives it: data only.

use std::time::Duration;

use crate::actors::supervision::backoff::Backoff;
use crate::actors::supervision::exit::ExitReason;
use crate::actors::supervision::intensity::{BudgetScope, Intensity};
use crate::actors::supervision::spec::Shutdown;
use crate::actors::supervision::strategy::Strategy;

/// Which life of a child, from 1. Every start is a new one, and every event names the one it is about.
pub type Incarnation = u32;

/// When the end of significant children ends the supervisor (OTP `auto_shutdown`).
///
/// Only an end by itself and for good counts: any of a temporary child, a normal one of a transient child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoShutdown {
    /// Never.
    Never,
    /// As soon as one of them has ended.
    AnySignificant,
    /// When the last active one of them has ended.
    AllSignificant,
}

/// How a supervisor behaves (OTP `supervisor:sup_flags()`, and the pause that OTP does not have).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flags {
    /// Which siblings a death touches.
    pub strategy: Strategy,
    /// Restarts that are tolerated.
    pub limit: Intensity,
    /// Whose restarts share one window.
    pub scope: BudgetScope,
    /// When significant children end the supervisor.
    pub auto_shutdown: AutoShutdown,
    /// The pause before a restart.
    pub backoff: Backoff,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<K> {
    /// Start the children in order (OTP `init`). Repeating it changes nothing.
    Begin,
    /// The start that was asked for has succeeded.
    Started(K, Incarnation),
    /// It ended by itself, or was stopped, or its start failed.
    Ended(K, Incarnation, ExitReason),
    /// The pause of [`Output::StartAfter`] has passed.
    BackoffPassed(K, Incarnation),
    /// The time-out of [`Output::Stop`] has passed.
    StopTimedOut(K, Incarnation),
    /// Ordered shutdown of everything. Repeating it changes nothing.
    Shutdown,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<K> {
    /// Start it; post [`Input::Started`], or [`Input::Ended`] when the start fails.
    Start {
        /// Which child.
        child: K,
        /// The incarnation to start.
        incarnation: Incarnation,
    },
    /// A timer: post [`Input::BackoffPassed`] after it.
    StartAfter {
        /// Which child.
        child: K,
        /// The incarnation that will be started.
        incarnation: Incarnation,
        /// The pause, never zero.
        pause: Duration,
        /// Restarts in the window, this one included; for people.
        used: u32,
        /// Restarts that the window tolerates; for people.
        allowed: u32,
    },
    /// Ask it to stop; post [`Input::Ended`] when it has, [`Input::StopTimedOut`] after the time-out. It may be
    /// starting still.
    Stop {
        /// Which child.
        child: K,
        /// The incarnation that lives.
        incarnation: Incarnation,
        /// Always [`Shutdown::Timeout`]; the other kind is an [`Output::Kill`].
        shutdown: Shutdown,
    },
    /// Kill it; post [`Input::Ended`] when it is gone. It may be starting still.
    Kill {
        /// Which child.
        child: K,
        /// The incarnation that lives.
        incarnation: Incarnation,
    },
    /// Decided to end, before the ordered stop of the rest begins: why. Nothing is started after it.
    Ending(Ending<K>),
    /// Nothing runs any more. The last output, once.
    Finished(Ending<K>),
}

/// Why a supervisor ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending<K> {
    /// It was told to.
    Shutdown,
    /// This significant child ended, so its work is done.
    AutoShutdown(K, ExitReason),
    /// This child's end was one too many, or its first start failed.
    Escalated(K, ExitReason),
}
