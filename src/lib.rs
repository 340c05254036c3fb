//! `bottle`: an actor runtime that launches coding agents in isolated containers.

pub mod gate;
pub mod ids;

#[cfg(feature = "runtime")]
pub mod actors;
#[cfg(feature = "runtime")]
pub mod backend;
#[cfg(feature = "runtime")]
pub mod config;
#[cfg(feature = "runtime")]
pub mod egress;
#[cfg(feature = "runtime")]
pub mod error;
#[cfg(feature = "runtime")]
pub mod handle;
#[cfg(feature = "runtime")]
pub mod manifest;
#[cfg(feature = "runtime")]
pub mod messages;
#[cfg(feature = "runtime")]
pub mod plan;
#[cfg(feature = "runtime")]
pub mod runtime;
#[cfg(feature = "testing")]
pub mod testing;
