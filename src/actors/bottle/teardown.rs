//! Takes one bottle down: children, agent, mitmproxy and pipelock, networks; by labels, until nothing is left.
//!
//! Idempotent and safe to repeat; also used by the root for what a dead supervisor left, and by cleanup.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use ractor::ActorCell;
use tokio_util::task::TaskTracker;

use crate::actors::supervision::{Shutdown, shutdown};
use crate::backend::{Backend, BackendError, LogOptions, Output, Owned, OwnedBy, OwnedResource};
use crate::ids::{BottleId, MemberId, Role};
use crate::messages::{CloseReport, LogTail};

/// How often the engine is asked whether something is left.
const ROUNDS: u32 = 5;
/// Pause before the next round, doubled each time: what failed or came late needs a moment.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Lines of each container that a post-mortem keeps, and their bytes.
const LAST_LINES: usize = 50;
const LAST_WORDS_BYTES: usize = 256 * 1024;
/// How long reading them may hold up the teardown.
const LAST_WORDS_PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait for calls that were under way when the teardown began; each has its own deadline.
const IN_FLIGHT_PATIENCE: Duration = Duration::from_secs(180);

/// What to take down.
#[derive(Debug)]
pub struct TeardownJob {
    /// Where.
    pub backend: Arc<dyn Backend>,
    /// Which bottle.
    pub bottle: BottleId,
    /// Containers whose last lines are wanted before they go.
    pub last_words_of: Vec<(Role, MemberId)>,
    /// Its child actors in stop order.
    pub children: Vec<(ActorCell, Shutdown)>,
    /// Tasks that may be inside an engine call.
    pub tasks: TaskTracker,
}

/// Runs a teardown to its end. Never fails; the report says what could not be removed.
pub async fn run(job: TeardownJob) -> (CloseReport, Vec<LogTail>) {
    shutdown::stop_in_order(job.children).await;
    let logs = last_words(job.backend.as_ref(), &job.last_words_of).await;
    let mut report = CloseReport::default();
    // The agent dies first, before anything else is waited for: fail closed.
    let _ = sweep_round(job.backend.as_ref(), &job.bottle, &mut report).await;
    job.tasks.close();
    let _ = tokio::time::timeout(IN_FLIGHT_PATIENCE, job.tasks.wait()).await;
    sweep_into(job.backend.as_ref(), &job.bottle, &mut report).await;
    (report, logs)
}

/// The last lines of each container. The agent is stopped before anything is read: a bottle that failed must
/// not go on while its logs are collected.
async fn last_words(backend: &dyn Backend, of: &[(Role, MemberId)]) -> Vec<LogTail> {
    for (_, id) in of.iter().filter(|(role, _)| *role == Role::Agent) {
        let _ = backend.stop_member(id, Duration::ZERO).await;
    }
    let read = of.iter().map(|(role, id)| async move {
        let lines = tokio::time::timeout(LAST_WORDS_PATIENCE, lines_of(backend, id)).await;
        LogTail { role: *role, lines: lines.unwrap_or_default() }
    });
    join_all(read).await
}

async fn lines_of(backend: &dyn Backend, id: &MemberId) -> Vec<String> {
    let options = LogOptions { tail: Some(LAST_LINES), ..LogOptions::default() };
    let Ok(mut stream) = backend.logs(id, options).await else { return Vec::new() };
    let mut bytes = Vec::new();
    while let Some(Ok(Output::Stdout(piece) | Output::Stderr(piece) | Output::Console(piece))) =
        stream.next().await
    {
        bytes.extend_from_slice(&piece);
        if bytes.len() > LAST_WORDS_BYTES {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).lines().map(|line| line.chars().take(400).collect()).collect()
}

/// Removes everything that carries the bottle's id.
pub async fn sweep(backend: &dyn Backend, bottle: &BottleId) -> CloseReport {
    let mut report = CloseReport::default();
    sweep_into(backend, bottle, &mut report).await;
    report
}

async fn sweep_into(backend: &dyn Backend, bottle: &BottleId, report: &mut CloseReport) {
    let mut pause = FIRST_PAUSE;
    for round in 1..=ROUNDS {
        let failed = match sweep_round(backend, bottle, report).await {
            Ok(true) => return,
            Ok(false) => continue,
            Err(failed) => failed,
        };
        if round == ROUNDS {
            report.failed.extend(failed.into_iter().map(Arc::new));
            return;
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

/// One round: lists and removes. `Ok(true)` when there was nothing left.
async fn sweep_round(
    backend: &dyn Backend,
    bottle: &BottleId,
    report: &mut CloseReport,
) -> Result<bool, Vec<BackendError>> {
    let owned = backend.owned(&OwnedBy::Bottle(bottle.clone())).await.map_err(|error| vec![error])?;
    if owned.is_empty() {
        return Ok(true);
    }
    let mut failed = Vec::new();
    let is_agent = |item: &&Owned| matches!(item.resource, OwnedResource::Member { role: Role::Agent, .. });
    let (agents, others): (Vec<_>, Vec<_>) = owned.iter().partition(is_agent);
    for group in [agents, others] {
        let removals = group.into_iter().filter_map(|item| match &item.resource {
            OwnedResource::Member { id, name, .. } => {
                Some(async move { (name.clone(), backend.remove_member(id).await) })
            }
            OwnedResource::Zone { .. } => None,
        });
        for (name, outcome) in join_all(removals).await {
            record(report, &mut failed, name, outcome);
        }
    }
    let zones: Vec<_> = owned
        .iter()
        .filter_map(|item| match &item.resource {
            OwnedResource::Zone { name, .. } => Some(name.clone()),
            OwnedResource::Member { .. } => None,
        })
        .collect();
    if !zones.is_empty() {
        match backend.remove_ground(bottle).await {
            Ok(()) => report.removed.extend(zones),
            Err(error) => failed.push(error),
        }
    }
    if failed.is_empty() { Ok(false) } else { Err(failed) }
}

fn record(
    report: &mut CloseReport,
    failed: &mut Vec<BackendError>,
    name: String,
    outcome: Result<(), BackendError>,
) {
    match outcome {
        Ok(()) => report.removed.push(name),
        Err(error) => failed.push(error),
    }
}
