//! The supervision tree.
//!
//! ```text
//! root                     dynamic supervisor; survives any bottle
//! ├─ engine watch          permanent; news of the engine for the bottles
//! └─ bottle × N            temporary
//!      ├─ pipelock         container worker
//!      ├─ mitmproxy        container worker
//!      ├─ agent            container worker, significant
//!      ├─ provisioner      transient
//!      └─ exec × M         temporary
//! ```
//!
//! Everything a handler starts is a child or a tracked task; no supervisor waits for an engine.

pub mod bottle;
pub mod container;
pub(crate) mod copy;
pub mod engine_watch;
pub mod exec;
mod interpreter;
pub mod provisioner;
pub mod root;
pub mod supervision;
