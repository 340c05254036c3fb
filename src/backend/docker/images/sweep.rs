//! Removes build containers that nobody builds in any more.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use bollard::{
    Docker,
    models::ContainerSummaryStateEnum,
    query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder},
};

use super::{
    SetupError, SetupErrorKind, Step,
    build::BUILD_LABEL,
    call::{self, call},
};

/// Removes leftovers and returns how many there were. A build of another process is left alone.
pub(super) async fn sweep(engine: &Docker) -> Result<usize, SetupError> {
    let filters = HashMap::from([("label", vec![BUILD_LABEL])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let found =
        call(Step::Sweep, "build containers", call::SHORT, engine.list_containers(Some(options))).await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut swept = 0;
    for container in found {
        let age = now.saturating_sub(container.created.and_then(|at| u64::try_from(at).ok()).unwrap_or(now));
        let (Some(id), true) = (container.id, abandoned(container.state, age)) else { continue };
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match call(Step::Sweep, &id, call::SHORT, engine.remove_container(&id, Some(options))).await {
            Ok(()) => swept += 1,
            Err(error) if error.kind == SetupErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(swept)
}

/// No build in it any more: it has ended, or it is older than any build may get (clocks of two hosts may differ).
fn abandoned(state: Option<ContainerSummaryStateEnum>, age_seconds: u64) -> bool {
    matches!(state, Some(ContainerSummaryStateEnum::EXITED | ContainerSummaryStateEnum::DEAD))
        || age_seconds > 2 * call::BUILD.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_that_may_still_run_is_left_alone() {
        for state in [
            ContainerSummaryStateEnum::CREATED,
            ContainerSummaryStateEnum::RUNNING,
            ContainerSummaryStateEnum::PAUSED,
        ] {
            assert!(!abandoned(Some(state), 60));
            assert!(abandoned(Some(state), 24 * 3600));
        }
        assert!(abandoned(Some(ContainerSummaryStateEnum::EXITED), 0));
    }
}
