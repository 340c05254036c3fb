//! Whether the chain does what it should: the probe after each change, and the health probe now and then.
//!
//! Both are the same request to mitmproxy's addon, which sends one allowed and one denied request through the
//! real path. No answer means that mitmproxy hangs; a failed one tells by its checks who is to blame.

use std::time::Duration;

use ractor::ActorRef;
use tokio::time::Instant;

use super::effects::apply;
use super::phase::{Event, Phase, Step};
use super::{BottleState, audit, note};
use crate::actors::supervision::ExitReason;
use crate::ids::Role;
use crate::messages::{BottleEvent, BottleMsg, ChildState, ContainerMsg, ProbeFailure};
use crate::plan::launch_material;

/// Pause between two probes while the chain comes up.
const PROBE_PAUSE: Duration = Duration::from_millis(50);
/// Health probes in a row that may go wrong before somebody is replaced.
const MISSES: u32 = 2;

/// The probes of one bottle.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Number of the last probe sent.
    number: u64,
    /// When it was sent, until it is answered.
    sent: Option<Instant>,
    /// Probes in a row that were not answered or did not pass.
    misses: u32,
    /// When the probing after the last change began.
    probing_since: Option<Instant>,
    /// What the last failed probe said, for the message when a deadline passes.
    pub(super) last_failure: Option<String>,
}

/// The chain is new or has changed: probes until one passes.
pub(super) fn probe(state: &mut BottleState) {
    // A halted egress lets nothing pass, a probe neither.
    if !state.phase.wants_probe() || state.halted {
        return;
    }
    state.health.probing_since.get_or_insert_with(Instant::now);
    state.measures.begin(Step::Probe);
    for role in [Role::Pipelock, Role::Mitmproxy] {
        state.children.of(role).mark(ChildState::Probing, None);
    }
    let quiet = !matches!(state.phase, Phase::Launching(_));
    send(state, quiet);
}

fn send(state: &mut BottleState, quiet: bool) {
    state.health.number += 1;
    let number = state.health.number;
    let line =
        if quiet { launch_material::quiet_probe_line(number) } else { launch_material::probe_line(number) };
    if let (Some(mitmproxy), Ok(line)) = (state.children.member(Role::Mitmproxy), line) {
        let _ = mitmproxy.cast(ContainerMsg::Control(line));
        state.health.sent = Some(Instant::now());
    }
}

/// The pause between two probes is over; `number` is the probe that failed.
pub(super) fn probe_again(state: &mut BottleState, number: u64) {
    if number == state.health.number {
        probe(state);
    }
}

/// An answer. Those to earlier probes do not count: the chain may have changed since.
pub(super) async fn probed(
    myself: &ActorRef<BottleMsg>,
    state: &mut BottleState,
    number: u64,
    answer: Result<(), ProbeFailure>,
) {
    if number != state.health.number {
        return;
    }
    state.health.sent = None;
    match answer {
        Ok(()) => {
            state.health.misses = 0;
            state.health.probing_since = None;
            state.health.last_failure = None;
            if state.phase.wants_probe() {
                state.measures.done(Step::Probe);
                recovered(state);
                apply(myself, state, Event::ProbePassed).await;
            }
        }
        Err(failure) if state.phase.wants_probe() => {
            state.health.last_failure = Some(failure.detail.clone());
            let since = state.health.probing_since.map(|since| since.elapsed()).unwrap_or_default();
            if matches!(state.phase, Phase::Up(_)) && since > state.options.recovery_deadline {
                return blame(myself, state, &failure).await;
            }
            myself.send_after(PROBE_PAUSE, move || BottleMsg::ProbeAgain(number));
        }
        Err(failure) => {
            state.health.misses += 1;
            if state.health.misses >= MISSES {
                blame(myself, state, &failure).await;
            } else {
                send(state, true);
            }
        }
    }
}

/// The sidecars count as running again from here on.
fn recovered(state: &mut BottleState) {
    for role in [Role::Pipelock, Role::Mitmproxy] {
        let member = state.children.of(role);
        member.mark(ChildState::Running, None);
        if let Some(since) = member.down_since.take() {
            let down_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            note(state, BottleEvent::MemberRecovered { role, down_ms });
        }
    }
}

async fn blame(myself: &ActorRef<BottleMsg>, state: &mut BottleState, failure: &ProbeFailure) {
    let role = if failure.checks.gate_health { Role::Mitmproxy } else { Role::Pipelock };
    hung(myself, state, role, failure.detail.clone()).await;
}

async fn hung(myself: &ActorRef<BottleMsg>, state: &mut BottleState, role: Role, what: String) {
    state.health = Health { number: state.health.number, ..Health::default() };
    super::member_ended(myself, state, role, ExitReason::Hung(what), String::new()).await;
}

/// Time for a look at the chain. Comes again after the interval, for as long as the bottle is in use.
pub(super) async fn due(myself: &ActorRef<BottleMsg>, state: &mut BottleState) {
    if matches!(state.phase, Phase::Closing(_) | Phase::Gone(_)) {
        return;
    }
    myself.send_after(state.options.health_interval, || BottleMsg::HealthDue);
    if state.halted {
        audit::try_again(state);
        return;
    }
    if !matches!(state.phase, Phase::Up(_)) || state.phase.lacks(Role::Mitmproxy) {
        state.health.sent = None;
        return;
    }
    match state.health.sent {
        Some(sent) if sent.elapsed() < state.options.health_patience => {}
        Some(_) => {
            state.health.misses += 1;
            state.health.sent = None;
            if state.health.misses >= MISSES {
                hung(myself, state, Role::Mitmproxy, "a health probe".to_owned()).await;
            } else {
                send(state, true);
            }
        }
        None if state.phase.wants_probe() => probe(state),
        None => send(state, true),
    }
}
