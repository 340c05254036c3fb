//! What happens in a bottle, typed: for embedders, for the journal and for `bottle events`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::backend::Repair;
use crate::egress::AuditRecord;
use crate::ids::{BottleId, Role, Slug};

/// Something that happened in a bottle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum BottleEvent {
    /// The phase changed.
    PhaseChanged {
        /// The new phase: launching, ready, degraded, suspended, closing, gone.
        phase: String,
        /// Why, for people.
        why: Option<String>,
    },
    /// A member runs and is heard.
    MemberStarted {
        /// Which.
        role: Role,
        /// The how-manieth worker cares for it, from 1.
        incarnation: u32,
        /// It ran already and was taken over as it was.
        adopted: bool,
    },
    /// A member ended, hangs, or is gone.
    MemberEnded {
        /// Which.
        role: Role,
        /// Whose worker said so.
        incarnation: u32,
        /// How, for people.
        exit: String,
        /// The last lines it printed.
        tail: String,
    },
    /// A member will be started again.
    RestartScheduled {
        /// Which.
        role: Role,
        /// After this pause, in milliseconds.
        after_ms: u64,
        /// Restarts in the window, this one included.
        used: u32,
        /// Restarts allowed in the window.
        allowed: u32,
    },
    /// A sidecar's worker or the agent is back and the chain has been probed.
    MemberRecovered {
        /// Which.
        role: Role,
        /// From the news of its end to the passed probe, in milliseconds.
        down_ms: u64,
    },
    /// What an outside hand had changed was put right.
    MemberMended {
        /// Which.
        role: Role,
        /// What was put right.
        repairs: Vec<Repair>,
    },
    /// A worker actor failed; a new one takes its container over.
    WorkerFailed {
        /// Which child.
        child: String,
        /// Why, for people.
        why: String,
    },
    /// A network of the bottle was removed by an outside hand.
    GroundLost,
    /// The networks were made again, with their addresses.
    GroundRebuilt,
    /// The engine cannot be reached.
    EngineLost,
    /// The engine can be reached again; reality is read and reconciled.
    EngineBack,
    /// The restart intensity was exceeded: the bottle fails closed and keeps a post-mortem.
    Escalated {
        /// Whose restarts were too many.
        role: Role,
        /// Its last end, for people.
        exit: String,
    },
    /// An egress decision. In JSON it is nested under `decision`: it has a time and a bottle of its own.
    Audited(#[serde(with = "nested")] Arc<AuditRecord>),
}

/// An egress decision under a key of its own, because its keys are also keys of [`EventRecord`].
mod nested {
    use std::borrow::Cow;
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::egress::AuditRecord;

    #[derive(Serialize, Deserialize)]
    struct Nested<'a> {
        decision: Cow<'a, AuditRecord>,
    }

    pub(super) fn serialize<S: Serializer>(record: &Arc<AuditRecord>, to: S) -> Result<S::Ok, S::Error> {
        Nested { decision: Cow::Borrowed(record) }.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<AuditRecord>, D::Error> {
        Nested::deserialize(from).map(|nested| Arc::new(nested.decision.into_owned()))
    }
}

/// An event with its time and place: one line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    /// RFC 3339, UTC, milliseconds.
    pub time: String,
    /// Counts the events of a bottle from 1.
    pub seq: u64,
    /// Which bottle.
    pub bottle: BottleId,
    /// Its visible name.
    pub slug: Slug,
    /// What.
    #[serde(flatten)]
    pub event: BottleEvent,
}
