//! Whole bottles on a real engine: the real gate or pipelock, the real mitmproxy, the real Claude Code, and a
//! stub of the Messages API behind the egress network.
//!
//! Each process has an egress network, an address pool and names of its own; the last test to end proves that
//! nothing of them is left. `BOTTLE_TEST_ENGINE=none` leaves all of it out, `BOTTLE_TEST_PIPELOCK_IMAGE` names
//! a real pipelock, `BOTTLE_SOAK` the number of interrupted launches.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]
#![expect(unreachable_pub, reason = "one crate, many modules")]

#[path = "../../demo/stub.rs"]
mod stub;
#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod chain;
mod commands;
mod copies;
mod credentials;
mod engine_loss;
mod farm;
mod full_disk;
mod interrupts;
mod isolation;
mod lab;
mod many;
mod provisioning;
mod proxy;
mod sidecars;
mod ssh;
mod sshd;
mod workspace;
