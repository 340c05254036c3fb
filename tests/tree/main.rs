//! The supervision tree on the in-memory backend: paused time, scripted faults, hostile neighbours.
//!
//! What a bottle owns is asked of the engine by label, never of the actors.
#![expect(clippy::unwrap_used, reason = "tests")]

mod audit;
mod close;
mod copies;
mod deaths;
mod execs;
mod farm;
mod launch;
mod liar;
mod matrix;
mod measures;
mod names;
mod orphans;
mod provisioning;
mod restarts;
mod supervisors;
