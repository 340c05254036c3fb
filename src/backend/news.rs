//! What an outside hand does to members and ground, and what was put right.

use std::pin::Pin;

use futures::Stream;
use serde::{Deserialize, Serialize};

use super::BackendResult;
use crate::ids::{BottleId, Role};
use crate::plan::spec::{MemberState, Zone};

/// News in the order in which they happened; never ends while the place can be heard.
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
    /// The member lost an attachment, or the network a member.
    Disconnected,
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
    /// It is attached to this zone again.
    Reconnected(Zone),
    /// It runs again after a pause.
    Resumed,
}
