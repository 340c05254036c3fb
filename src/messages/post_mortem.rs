//! What is kept of a bottle that failed: enough to find out why without having been there.

use serde::{Deserialize, Serialize};

use super::{BottleTree, EventRecord};
use crate::egress::AuditRecord;
use crate::ids::{BottleId, Role, Slug};

/// The bundle. Holds no secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PostMortem {
    /// RFC 3339, UTC, milliseconds.
    pub time: String,
    /// Which bottle.
    pub bottle: BottleId,
    /// Its visible name.
    pub slug: Slug,
    /// Why it ended.
    pub reason: String,
    /// The tree when it failed.
    pub tree: BottleTree,
    /// The last events, oldest first.
    pub events: Vec<EventRecord>,
    /// The ends of each child, oldest first.
    pub exits: Vec<ExitNote>,
    /// The last lines of each container.
    pub logs: Vec<LogTail>,
    /// The last egress decisions, oldest first.
    pub audit: Vec<AuditRecord>,
}

/// One end of a child.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExitNote {
    /// When (RFC 3339, UTC, milliseconds).
    pub time: String,
    /// Which child.
    pub child: String,
    /// Its incarnation.
    pub incarnation: u32,
    /// How it ended, for people.
    pub exit: String,
}

/// The end of a container's output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogTail {
    /// Which container.
    pub role: Role,
    /// Its last lines, oldest first.
    pub lines: Vec<String>,
}
