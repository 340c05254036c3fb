//! Chaos: bottles under traffic while members, networks, the engine and the runtime's own process are killed,
//! stopped, stalled and removed.
//!
//! Runs on an engine of its own, in namespaces of its own, where Linux and root allow it. `BOTTLE_CHAOS_FAULTS`,
//! `BOTTLE_CHAOS_BOTTLES` and `BOTTLE_SEED` say how much and repeat a run; `BOTTLE_CHAOS_ENGINE=shared` uses the engine
//! that is there; `BOTTLE_TEST_ENGINE=none` leaves all of it out.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]
#![expect(dead_code, reason = "the suites that use all of it come next")]
#![expect(unreachable_pub, reason = "one crate, many modules")]

#[path = "../support/mod.rs"]
mod support;

mod engine;
mod farm;
mod place;
mod world;

#[test]
fn smoke() {
    farm::run(async |farm| {
        eprintln!("{}", farm.place.docker(&["ps", "-a"]));
    });
}
