//! What is kept of a bottle that failed closed.

use super::BottleState;
use super::phase::Phase;
use super::tree::timestamp;
use crate::egress::AuditRecord;
use crate::messages::{LogTail, PostMortem};

/// Decisions kept in memory for a post-mortem.
const AUDITS_KEPT: usize = 50;
/// Events put into a post-mortem.
const EVENTS_KEPT: usize = 256;

/// Remembers a decision.
pub(super) fn remember(state: &mut BottleState, record: &AuditRecord) {
    if state.audits.len() == AUDITS_KEPT {
        state.audits.pop_front();
    }
    state.audits.push_back(record.clone());
}

/// Writes the bundle, if the end of the bottle asked for one; `logs` are its containers' last lines.
pub(super) fn keep(state: &mut BottleState, logs: Vec<LogTail>) {
    let Some(tree) = state.post_mortem.take() else { return };
    let reason = match &state.phase {
        Phase::Closing(reason) | Phase::Gone(reason) => reason.to_string(),
        Phase::Launching(_) | Phase::Up(_) | Phase::Suspended(_) => return,
    };
    let bundle = PostMortem {
        time: timestamp(),
        bottle: state.ownership.bottle.clone(),
        slug: state.plan.slug().clone(),
        reason,
        tree,
        events: state.journal.last_events(EVENTS_KEPT),
        exits: std::mem::take(&mut state.exits),
        logs,
        audit: std::mem::take(&mut state.audits).into(),
    };
    state.journal.post_mortem(&bundle);
}
