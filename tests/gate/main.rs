//! Conformance of the gate engines: the process as a bottle uses it, over real sockets, against loopback upstreams.
//!
//! Every case runs on `bottle-gate`. With `BOTTLE_TEST_PIPELOCK_BIN` set to a pipelock 2.3.0 binary, every case
//! that is part of the common contract runs on that too; cases where this engine is stricter say so by
//! [`engine::Engine::is_builtin`]. Traffic goes only to loopback sockets that the test bound itself.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise, with a trace")]

mod connect;
mod engine;
mod process;
mod robustness;
mod scan;

use engine::Engine;

/// The engines at hand. Says loudly when the real one is not.
fn engines() -> Vec<Engine> {
    let mut engines = vec![Engine::Builtin];
    match std::env::var_os("BOTTLE_TEST_PIPELOCK_BIN") {
        Some(path) => engines.push(Engine::Pipelock(path.into())),
        None => {
            use std::io::Write;
            let _ =
                writeln!(std::io::stderr(), "skipped: no real pipelock at hand (BOTTLE_TEST_PIPELOCK_BIN)");
        }
    }
    engines
}
