//! The first process of the agent's container: holds it, reaps in it, and ends it when nobody is heard any more.
//!
//! # Theory of operation
//!
//! One thread, one loop. It waits for the earliest of: a signal, bytes on standard input, the next look at the
//! [`Switch`](switch::Switch). Each turn reaps, obeys a signal, reads, answers, and looks, in this order. So what
//! already waits on standard input is always heard before silence is judged.
//!
//! *Silence.* Each heartbeat arms the time-out again. It is counted in running time on the monotonic clock: while the
//! container is paused or starved, nothing is counted. End of file and garbage are no heartbeats, and no commands.
//!
//! *The end.* Everything that may be signalled gets `SIGTERM` and the grace to obey it; then this process exits, and
//! the kernel ends whatever is left in the pid namespace. Without `CAP_KILL`, which the container does not have, that
//! is every process of another user: they get no warning.
//!
//! *Never blocked.* Standard output and error are non-blocking: what cannot be written is dropped. No lock, no thread,
//! no allocation that a peer controls beyond one frame.
//!
//! Safe code only, on `rustix` and `signal-hook`. Design: `docs/design/2026-11-23-dead-mans-switch.md`.

mod arguments;
mod first;
mod namespace;
mod signals;
mod stdio;
mod switch;

use std::ffi::OsString;
use std::io::{self, Write};

use arguments::{Command, USAGE};
use first::First;

/// Exit code after the orphan time-out.
pub const EXIT_ORPHANED: u8 = 75;
/// Exit code of a command line that is not understood, and of a process that is not the first of its namespace.
pub const EXIT_USAGE: u8 = 64;
/// Exit code when the kernel refuses what is needed at the start.
pub const EXIT_SYSTEM: u8 = 71;
/// Exit code when the given program cannot be executed.
pub const EXIT_NOT_EXECUTABLE: u8 = 126;
/// Exit code when the given program does not exist.
pub const EXIT_NOT_FOUND: u8 = 127;
/// Added to a signal's number: the exit code after that signal.
pub const EXIT_SIGNAL: u8 = 128;

/// Runs `bottle-init` with the arguments behind its name, and returns its exit code.
///
/// Ends every process of its pid namespace when it returns, by being the first of it. Refuses to begin otherwise.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let say = |text: &dyn std::fmt::Display| {
        // Nobody to tell when this fails.
        let _ = writeln!(io::stderr(), "bottle-init: {text}");
    };
    match arguments::parse(arguments) {
        Ok(Command::Help) => {
            let _ = writeln!(io::stdout(), "{USAGE}");
            0
        }
        Ok(Command::Version) => {
            let _ = writeln!(io::stdout(), "bottle-init {}", env!("CARGO_PKG_VERSION"));
            0
        }
        Ok(Command::Run(options)) => match First::begin(&options) {
            Ok(first) => first.run(),
            Err(error) => {
                say(&error);
                error.exit_code()
            }
        },
        Err(error) => {
            say(&error);
            say(&USAGE);
            EXIT_USAGE
        }
    }
}
