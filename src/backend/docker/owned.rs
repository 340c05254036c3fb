//! What carries our labels, read from the engine; statistics of one member.

use bollard::models::{ContainerStatsResponse, ContainerSummary, ContainerSummaryStateEnum, Network};
use bollard::query_parameters::{ListContainersOptions, StatsOptionsBuilder};
use futures::StreamExt as _;

use super::super::{
    BackendError, BackendErrorKind, BackendResult, MemberStats, Op, Owned, OwnedBy, OwnedResource, Subject,
    labels,
};
use super::classify;
use super::container::subject;
use super::engine::{Engine, within};
use super::network::{created_nanos, filter, list};
use crate::ids::{MemberId, Role};

/// Lists what carries our labels, oldest first. (Docker API: `GET /containers/json`, `GET /networks`.)
pub(super) async fn list_owned(engine: &Engine, by: &OwnedBy) -> BackendResult<Vec<Owned>> {
    let label = match by {
        OwnedBy::Anyone => labels::BOTTLE.to_owned(),
        OwnedBy::Bottle(bottle) => format!("{}={bottle}", labels::BOTTLE),
        OwnedBy::Owner(owner) => format!("{}={owner}", labels::OWNER),
    };
    let options = ListContainersOptions {
        all: true,
        filters: Some(filter("label", &label)),
        ..ListContainersOptions::default()
    };
    let engine_subject = Subject::Engine(engine.address.clone());
    let containers = engine.call(Op::ListOwned, engine_subject, engine.docker.list_containers(Some(options)));
    let (containers, networks) = futures::join!(containers, list(engine, filter("label", &label)));
    let mut found: Vec<(i128, Owned)> = containers?.into_iter().filter_map(member).collect();
    found.extend(networks?.into_iter().filter_map(zone));
    found.sort_by_key(|(created, _)| *created);
    Ok(found.into_iter().map(|(_, owned)| owned).collect())
}

fn member(summary: ContainerSummary) -> Option<(i128, Owned)> {
    let labels = summary.labels.unwrap_or_default();
    let ownership = labels::parse(&labels)?;
    // A broken role label must not hide the container from a cleanup.
    let role = labels.get(labels::ROLE).and_then(|text| labels::parse_role(text)).unwrap_or(Role::Agent);
    let name = summary.names.unwrap_or_default().into_iter().next().unwrap_or_default();
    let created_at = summary.created.unwrap_or(0);
    let running =
        matches!(summary.state, Some(ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::PAUSED));
    let resource = OwnedResource::Member {
        id: MemberId::new(summary.id.unwrap_or_default()),
        name: name.trim_start_matches('/').to_owned(),
        role,
        running,
        status: summary.status.unwrap_or_default(),
        created_at,
    };
    // Containers come with whole seconds: the end of the second, so that a bottle's networks stay before them.
    Some((i128::from(created_at) * 1_000_000_000 + 999_999_999, Owned { ownership, resource }))
}

fn zone(network: Network) -> Option<(i128, Owned)> {
    let created = created_nanos(&network);
    let ownership = labels::parse(&network.labels.unwrap_or_default())?;
    let resource =
        OwnedResource::Zone { id: network.id.unwrap_or_default(), name: network.name.unwrap_or_default() };
    Some((created, Owned { ownership, resource }))
}

/// One reading of a member's use. (Docker API: `GET /containers/{id}/stats?stream=0&one-shot=1`.)
///
/// # Errors
/// `NotFound`, `NotRunning`.
pub(super) async fn stats(engine: &Engine, id: &MemberId) -> BackendResult<MemberStats> {
    let failed = |error| classify::failed(Op::Stats, subject(id.as_str()), error);
    let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
    let reading = within(engine.deadlines.of(Op::Stats), Op::Stats, subject(id.as_str()), async {
        let mut readings = std::pin::pin!(engine.docker.stats(id.as_str(), Some(options)));
        readings.next().await.transpose().map_err(failed)
    })
    .await?;
    reading.and_then(|reading| figures(&reading)).ok_or_else(|| BackendError {
        op: Op::Stats,
        subject: subject(id.as_str()),
        kind: BackendErrorKind::NotRunning,
        source: None,
    })
}

/// `None` for the empty reading that the engine gives of a member that is not running.
fn figures(reading: &ContainerStatsResponse) -> Option<MemberStats> {
    let memory = reading.memory_stats.as_ref()?;
    let used = memory.usage?;
    let stat = |key: &str| memory.stats.as_ref().and_then(|stats| stats.get(key)).copied();
    // The first name is that of cgroup v1, the second that of v2.
    let cache = stat("total_inactive_file").or_else(|| stat("inactive_file")).unwrap_or(0);
    let cpu = reading.cpu_stats.as_ref().and_then(|cpu| cpu.cpu_usage.as_ref());
    Some(MemberStats {
        memory_bytes: used.saturating_sub(cache),
        memory_limit_bytes: memory.limit.unwrap_or(0),
        cpu_ns: cpu.and_then(|cpu| cpu.total_usage).unwrap_or(0),
        pids: reading.pids_stats.as_ref().and_then(|pids| pids.current).unwrap_or(0),
    })
}
