//! What the test binaries share: run ids, waiting, the real engine and its test image. No test logic.
#![expect(clippy::print_stderr, reason = "tests say what was not run")]

pub mod image;

use std::fmt::Debug;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A name part that no other test and no other process has.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{:08x}{number:02x}", rand::random::<u32>())
}

/// A /20 inside 10.0.0.0/8, different for each call with good odds; the engine skips what is in use.
pub fn pool() -> ipnet::Ipv4Net {
    let [high, low] = rand::random::<[u8; 2]>();
    format!("10.{}.{}.0/20", 64 + high % 128, low & 0xf0).parse().unwrap()
}

/// Probes until it succeeds; a failure shows the last observation.
pub async fn eventually<T, O: Debug, F: Future<Output = Result<T, O>>>(
    limit: Duration,
    mut probe: impl FnMut() -> F,
) -> T {
    let start = Instant::now();
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(seen) if start.elapsed() > limit => panic!("not within {limit:?}; last seen: {seen:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Whether tests on a real engine run. Without an engine they fail, unless that is asked for.
pub fn wants_engine() -> bool {
    if std::env::var("BOTTLE_TEST_ENGINE").as_deref() == Ok("none") {
        eprintln!("BOTTLE_TEST_ENGINE=none: NOT RUN on a real engine");
        return false;
    }
    true
}

/// Runs the `docker` command and returns what it prints.
pub fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("the docker command runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
