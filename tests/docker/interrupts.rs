//! The command line, interrupted at random moments of a start: whatever was under way, nothing is left.
//!
//! `BOTTLE_SOAK` sets how many starts, `BOTTLE_SEED` repeats the moments of an earlier run.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use bottle::config::Paths;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;

use crate::farm::leftovers;
use crate::lab::{self, Lab, Want};
use crate::support::eventually;

/// A start takes one to two seconds on an idle machine; the last moments fall into the agent's life.
const LATEST: Duration = Duration::from_millis(2500);
const STARTS: u32 = 8;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn prepare(lab: &Lab) -> Command {
    let want = Want { bottle: json!({ "command": ["sleep", "600"] }), ..Want::default() };
    std::fs::write(lab.path("manifest.json"), lab.manifest(&want).to_string()).unwrap();
    lab.farm.config.write(&Paths::resolve(&lab.host(&want)).config_file).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bottle"));
    command.args(["start", &lab.agent, "--yes", "--manifest"]).arg(lab.path("manifest.json"));
    command.env_remove("XDG_CONFIG_HOME").env_remove("XDG_STATE_HOME").env("HOME", lab.path("home"));
    command.current_dir(lab.path("work")).stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
    command
}

/// Starts, signals after `moment`, waits for the end. Gives its status and what it said.
async fn cut_short(lab: &Lab, moment: Duration, signal: Signal) -> (ExitStatus, String) {
    let said = lab.path("said");
    let mut command = prepare(lab);
    command.stderr(std::fs::File::create(&said).unwrap());
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
    let group = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    tokio::time::sleep(moment).await;
    kill_process_group(group, signal).unwrap();
    let status =
        tokio::time::timeout(Duration::from_secs(120), child.wait()).await.expect("it ends").unwrap();
    (status, std::fs::read_to_string(said).unwrap())
}

#[test]
fn a_start_interrupted_at_any_moment_leaves_nothing() {
    lab::run(1, async |lab| {
        let seed = number("BOTTLE_SEED").unwrap_or_else(rand::random);
        let starts = number("BOTTLE_SOAK").unwrap_or(STARTS.into());
        eprintln!("{starts} interrupted starts, BOTTLE_SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut slowest = Duration::ZERO;
        let mut phases = std::collections::BTreeMap::<&str, u32>::new();
        for number in 0..starts {
            let moment = random.random_range(Duration::ZERO..LATEST);
            let signal = if random.random_bool(0.25) { Signal::TERM } else { Signal::INT };
            let began = Instant::now();
            let (status, said) = cut_short(lab, moment, signal).await;
            slowest = slowest.max(began.elapsed() - moment);
            let left = leftovers(&lab.agent);
            let context = format!("start {number}, {signal:?} after {moment:?}: {status}: {said}");
            assert!(left.is_empty(), "{left:?} left; {context}");
            let ours = status.code() == Some(128 + signal.as_raw());
            // Before the process listens, the signal ends it as any other.
            assert!(ours || (status.signal() == Some(signal.as_raw()) && said.is_empty()), "{context}");
            let phase = match said {
                said if said.contains(" is ready") => "with its agent running",
                said if said.contains("launching") => "while launching",
                _ => "while planning",
            };
            *phases.entry(phase).or_default() += 1;
        }
        eprintln!("interrupted {phases:?}; the slowest end took {:.2} s", slowest.as_secs_f64());
    });
}

#[test]
fn what_a_killed_start_leaves_is_removed_by_cleanup() {
    lab::run(1, async |lab| {
        let want = Want::default();
        let state = Paths::resolve(&lab.host(&want)).state_dir;
        let backend = &*lab.farm.backend;
        for moment in [900, 1500, 2500].map(Duration::from_millis) {
            let (status, _) = cut_short(lab, moment, Signal::KILL).await;
            assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
            // A create that was under way is finished by the engine, so one look may be too early.
            eventually(Duration::from_secs(30), || async {
                let mut plan = bottle::runtime::prepare_cleanup(backend, &state, false).await.unwrap();
                plan.orphans.retain(|orphan| orphan.agent == lab.agent);
                bottle::runtime::cleanup(backend, &state, &plan).await;
                let left = leftovers(&lab.agent);
                if left.is_empty() { Ok(()) } else { Err(left) }
            })
            .await;
        }
    });
}
