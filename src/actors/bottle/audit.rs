//! Every decision is kept. One that cannot be kept closes the egress until it can: no traffic without a trace.

use std::sync::Arc;

use super::{BottleState, note, post_mortem};
use crate::egress::AuditRecord;
use crate::ids::Role;
use crate::messages::{BottleEvent, ContainerMsg};
use crate::plan::launch_material;

/// Decisions kept in memory until the disk takes them; a halted egress makes few more.
const UNKEPT: usize = 1024;

/// Keeps a decision.
///
/// # Errors
/// It could not be written: a launch cannot succeed any more.
pub(super) fn keep(state: &mut BottleState, record: AuditRecord) -> std::io::Result<()> {
    let kept = state.audit.append(&record);
    post_mortem::remember(state, &record);
    if let Err(error) = &kept {
        if state.unkept.len() < UNKEPT {
            state.unkept.push(record.clone());
        }
        // Once is enough: a halt stays in force.
        if !state.halted {
            tracing::error!(bottle = %state.plan.slug(), %error, "audit line not kept; egress halted");
            state.halted = true;
            halt(state);
        }
    }
    note(state, BottleEvent::Audited(Arc::new(record)));
    kept
}

/// Closes the egress. A mitmproxy that was started again has to be told again.
pub(super) fn halt(state: &BottleState) {
    if let (Some(mitmproxy), Ok(line)) =
        (state.children.member(Role::Mitmproxy), launch_material::halt_line())
    {
        let _ = mitmproxy.cast(ContainerMsg::Control(line));
    }
}

/// Tries to keep what could not be kept, and opens the egress again when all of it is.
pub(super) fn try_again(state: &mut BottleState) {
    while let Some(record) = state.unkept.first() {
        if state.audit.append(record).is_err() {
            return;
        }
        state.unkept.remove(0);
    }
    if let (Some(mitmproxy), Ok(line)) =
        (state.children.member(Role::Mitmproxy), launch_material::resume_line())
    {
        tracing::info!(bottle = %state.plan.slug(), "audit lines are kept again; egress open");
        state.halted = false;
        let _ = mitmproxy.cast(ContainerMsg::Control(line));
    }
}
