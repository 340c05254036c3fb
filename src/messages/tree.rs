//! A bottle's supervision tree at one moment: what `bottle tree` shows and embedders watch.

use serde::{Deserialize, Serialize};

use crate::ids::{BottleId, OwnerId, Slug};

/// One bottle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BottleTree {
    /// Its id.
    pub bottle: BottleId,
    /// Its visible name.
    pub slug: Slug,
    /// Agent of the manifest.
    pub agent: String,
    /// Whose it is.
    pub owner: OwnerId,
    /// Phase word: launching, ready, degraded, suspended, closing, gone.
    pub phase: String,
    /// Since when (RFC 3339, UTC, milliseconds).
    pub since: String,
    /// Why, where it is not plain.
    pub why: Option<String>,
    /// In start order; commands under way are counted, not listed.
    pub children: Vec<ChildTree>,
    /// Commands and copies under way.
    pub execs: usize,
}

/// One child of a bottle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChildTree {
    /// pipelock, mitmproxy, agent or provisioner.
    pub child: String,
    /// What it is doing.
    pub state: ChildState,
    /// The how-manieth, from 1; 0 before the first.
    pub incarnation: u32,
    /// Restarts within the window.
    pub restarts_used: u32,
    /// Restarts allowed in the window.
    pub restarts_allowed: u32,
    /// The window, in seconds.
    pub period_s: u64,
    /// Since when it is in this state (RFC 3339, UTC, milliseconds).
    pub since: String,
    /// Why, where it is not plain: the last exit, the pause.
    pub why: Option<String>,
}

/// What a child is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildState {
    /// Not begun.
    Waiting,
    /// Being started or taken over.
    Starting,
    /// Running; for a sidecar also probed.
    Running,
    /// Runs, but the probe has not passed yet.
    Probing,
    /// Down until its backoff has passed.
    BackingOff,
    /// Paused by an outside hand.
    Paused,
    /// Runs as far as anybody knows, but the engine cannot be asked.
    Unheard,
    /// Being stopped.
    Stopping,
    /// Ended for good, or its work is done.
    Ended,
}
