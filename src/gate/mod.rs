//! The built-in gate engine: a destination lock with the contract of pipelock 2.3.0.
//!
//! One process, two listeners. The *main listener* answers `CONNECT` and `/health`; the *scan listener* answers
//! `POST /api/v1/scan`. Both judge by one [`policy::Policy`], built from pipelock's YAML file and swapped whole on
//! `SIGHUP`; a file that does not load leaves the last good policy in force. Whatever is unclear is refused.
//!
//! Decisions are pure (`host`, `address`, `allowlist`, `url_verdict`, `first_bytes`, `dlp`); effects sit in
//! `dial`, `tunnel`, `server`, `scan_api` and `log`. Every connection is a task of its server's `JoinSet`, so
//! dropping a server ends its connections.
//!
//! Deliberately stricter than pipelock 2.3.0, each marked in the conformance suite: a tunnel carries TLS with the
//! `CONNECT` host as SNI or SSH-2 and nothing else; the reserved ranges include NAT64, 6to4 and Teredo; the
//! addresses judged are the addresses dialled; configuration that would loosen the gate is an error.

pub mod address;
pub mod allowlist;
pub mod client_hello;
pub mod command;
pub mod config;
mod dial;
pub mod dlp;
pub mod duration;
pub mod error;
pub mod first_bytes;
pub mod health;
pub mod host;
mod kill_switch;
mod log;
mod main_listener;
pub mod policy;
mod rate;
pub mod scan_api;
pub mod scan_message;
mod server;
mod tunnel;
pub mod url_verdict;

/// What this engine calls itself in `/health`, `engine_version` and `bottle-gate version`.
pub const ENGINE_VERSION: &str = concat!("builtin-", env!("CARGO_PKG_VERSION"));
