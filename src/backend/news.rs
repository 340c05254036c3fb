//! What an outside hand does to members and ground, and what was put right.

use std::pin::Pin;

use futures::Stream;
use serde::{Deserialize, Serialize};

use super::BackendResult;
use crate::ids::{BottleId, Role};
use crate::plan::spec::{MemberState, Zone};

/// News in the order in which they happened; never ends while the place can be heard. To be read without pause:
/// a place may drop what a slow reader leaves lying.
pub type NewsStream = Pin<Box<dyn Stream<Item = BackendResult<News>> + Send>>;

/// Something happened to a part of a bottle. A hint to look, not a fact to act on: it may be outdated when read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Whose.
    pub bottle: BottleId,
    /// Which member; `None` = the ground.
    pub role: Option<Role>,
    /// What.
    pub what: Happening,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Happening {
    /// The member ended.
    Ended,
    /// The kernel killed a process of the member for memory.
    OutOfMemory,
    /// Paused.
    Paused,
    /// Goes on after a pause.
    Resumed,
    /// Has another name.
    Renamed,
    /// The member or network is gone.
    Removed,
    /// The running member lost an attachment; what an end takes from it is not told.
    Disconnected,
    /// The running member got an attachment, from an outside hand or by a repair; those of a start are not told.
    Connected,
}

/// What [`mend_member`](super::Backend::mend_member) found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mended {
    /// All is as specified.
    Intact,
    /// These were put right.
    Repaired(Vec<Repair>),
    /// It does not run, so there is nothing to mend.
    NotRunning(MemberState),
}

/// One thing put right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repair {
    /// It has its name again.
    Renamed,
    /// It is attached to this zone again, at its fixed address.
    Reconnected(Zone),
    /// It is off a network that its specification does not have: a way around the gate.
    Disconnected,
    /// It runs again after a pause.
    Resumed,
}
