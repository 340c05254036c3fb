//! The `bottle` command as people and scripts meet it: help, errors, exit codes, questions, documents; and, on a
//! real engine, dry runs, launches and interrupts.

#![expect(clippy::unwrap_used, unreachable_pub, reason = "tests; a test ends at the first surprise")]

mod documents;
mod engine;
mod errors;
mod files;
mod help;
mod home;
mod journal_files;
mod journals;
mod launch;
mod questions;
#[path = "../../demo/stub.rs"]
#[expect(dead_code, reason = "these tests do not look at what arrived")]
mod stub;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "each test binary uses its part of what is shared")]
mod support;
