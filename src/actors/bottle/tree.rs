//! The bottle's tree as others see it: built from the supervisor's state, published when it has changed.

use std::sync::Arc;

use tokio::time::Instant;

use super::BottleState;
use super::phase::Phase;
use crate::ids::Role;
use crate::messages::{BottleTree, ChildState, ChildTree};

/// Now, as all our documents have it: RFC 3339, UTC, milliseconds.
pub(super) fn timestamp() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// The tree now.
pub(super) fn of(state: &BottleState) -> BottleTree {
    let limit = state.core.limit();
    let now = Instant::now();
    let child = |(role, member): (Role, &super::children::Member)| ChildTree {
        child: role.to_string(),
        state: member.state,
        incarnation: member.incarnation,
        restarts_used: state.core.used(role, now),
        restarts_allowed: limit.intensity,
        period_s: limit.period.as_secs(),
        since: member.since.clone(),
        why: member.why.clone(),
    };
    let mut children: Vec<ChildTree> = state.children.all().map(child).collect();
    let (provisioner, why) = match &state.phase {
        Phase::Launching(_) => (ChildState::Starting, Some(state.provision_step.to_string())),
        Phase::Up(lack) | Phase::Suspended(lack) if lack.wants_provisioning() => (ChildState::Starting, None),
        _ => (ChildState::Ended, None),
    };
    children.push(ChildTree {
        child: "provisioner".to_owned(),
        state: provisioner,
        incarnation: state.provisionings,
        restarts_used: 0,
        restarts_allowed: limit.intensity,
        period_s: limit.period.as_secs(),
        since: state.provisioner_since.clone(),
        why,
    });
    BottleTree {
        bottle: state.ownership.bottle.clone(),
        slug: state.plan.slug().clone(),
        agent: state.plan.agent().to_owned(),
        owner: state.ownership.owner.clone(),
        phase: state.phase.as_str().to_owned(),
        since: state.phase_since.clone(),
        why: why_of(&state.phase),
        children,
        execs: state.children.execs(),
    }
}

/// Why the bottle is in its phase, where that is not plain.
pub(super) fn why_of(phase: &Phase) -> Option<String> {
    match phase {
        Phase::Launching(_) => None,
        Phase::Up(lack) => Some(lack.describe()).filter(|why| !why.is_empty()),
        Phase::Suspended(_) => Some("the container engine cannot be reached".to_owned()),
        Phase::Closing(reason) | Phase::Gone(reason) => Some(reason.to_string()),
    }
}

/// Tells observers and the journal, if it has changed.
pub(super) fn publish(state: &mut BottleState) {
    let tree = Arc::new(of(state));
    if state.tree.as_ref() == Some(&tree) {
        return;
    }
    state.journal.tree(&tree);
    state.tree = Some(Arc::clone(&tree));
    state.status.send_modify(|status| status.tree = Some(tree));
}
