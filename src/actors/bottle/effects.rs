//! Carries out what the phase table decides. The only place where a bottle acts.

use std::sync::Arc;

use ractor::{Actor, ActorRef};
use tracing::Instrument as _;

use super::children::dismiss;
use super::phase::{self, Effect, EndReason, Event, Phase, Step};
use super::teardown::{self, TeardownJob};
use super::{BottleState, fail, health, mend, note, supervise, tree};
use crate::actors::provisioner::{Provisioner, ProvisionerArgs, Scope};
use crate::egress::BottleCa;
use crate::ids::Role;
use crate::messages::{BottleEvent, BottleMsg, ChildState, LaunchFailure, StepError};
use crate::plan::{launch_material, members};

/// Mints the certificate authority and asks for the ground.
pub(super) fn begin(myself: &ActorRef<BottleMsg>, state: &mut BottleState) {
    close_when_unobserved(myself, state);
    myself.send_after(state.launch_deadline, || BottleMsg::LaunchDeadlinePassed);
    match BottleCa::mint(&format!("bottle {}", state.plan.slug()), time::OffsetDateTime::now_utc()) {
        Ok(ca) => {
            let fingerprint = ca.fingerprint().clone();
            state.status.send_modify(|status| status.fingerprint = Some(fingerprint));
            state.ca = Some(ca);
        }
        Err(error) => {
            let me = myself.clone();
            state.failure = Some((Step::ProvisionCa, error.into()));
            let _ = me.cast(BottleMsg::Close);
            return;
        }
    }
    let (backend, me) = (Arc::clone(&state.backend), myself.clone());
    let spec = members::ground_spec(&state.plan, &state.ownership);
    let span = state.measures.begin(Step::Ground);
    let making = async move {
        let made = backend.ensure_ground(&spec).await;
        let _ = me.cast(BottleMsg::GroundMade(made));
    };
    state.tasks.spawn(making.instrument(span));
}

/// Closes the bottle when nobody holds its status any more: the future of its launch, then its handles. So
/// there is no moment, also not between a reply and its receipt, in which a bottle belongs to nobody.
fn close_when_unobserved(myself: &ActorRef<BottleMsg>, state: &BottleState) {
    let (me, status) = (myself.clone(), state.status.clone());
    tokio::spawn(async move {
        status.closed().await;
        let _ = me.cast(BottleMsg::Close);
    });
}

/// Asks the table, then acts.
pub(super) async fn apply(myself: &ActorRef<BottleMsg>, state: &mut BottleState, event: Event) {
    let before = state.phase.as_str();
    let (next, effects) = phase::step(std::mem::take(&mut state.phase), event);
    state.phase = next;
    let now = state.phase.as_str();
    if now != before {
        state.measures.phase(now);
        let why = tree::why_of(&state.phase);
        tracing::info!(bottle = %state.plan.slug(), phase = now, why, "phase");
        state.phase_since = tree::timestamp();
        note(state, BottleEvent::PhaseChanged { phase: now.to_owned(), why });
        if now != "gone" {
            state.status.send_modify(|status| {
                status.phase = now;
                status.was_ready |= state.phase.lack().is_some();
            });
        }
    }
    for effect in effects {
        match effect {
            Effect::StartMembers => start_members(myself, state).await,
            Effect::Probe => health::probe(state),
            Effect::Provision => provision(myself, state).await,
            Effect::Admit => admit(myself, state),
            Effect::Supervise(role, exit) => {
                Box::pin(supervise::supervise(myself, state, role, exit)).await;
            }
            Effect::RebuildGround => mend::rebuild_ground(myself, state),
            Effect::MendAll => {
                note(state, BottleEvent::GroundRebuilt);
                for role in std::mem::take(&mut state.waiting) {
                    supervise::start_worker(myself, state, role).await;
                }
                mend::mend_all(myself, state);
                health::probe(state);
            }
            Effect::AwaitEngine => mend::await_engine(myself, state),
            Effect::Reconcile => {
                note(state, BottleEvent::EngineBack);
                Box::pin(supervise::reconcile(myself, state)).await;
            }
            Effect::PostMortem => state.post_mortem = Some(tree::of(state)),
            Effect::TearDown => tear_down(myself, state),
            Effect::Finish => finish(myself, state),
        }
    }
}

async fn start_members(myself: &ActorRef<BottleMsg>, state: &mut BottleState) {
    let (Some(ground), Some(ca)) = (state.ground.as_ref(), state.ca.as_ref()) else { return };
    let rendered = launch_material::of(&state.plan, &state.material, ground, ca, &state.ownership.bottle);
    match rendered {
        Ok(material) => state.sidecar_material = Some(material),
        Err(error) => return Box::pin(fail(myself, state, Step::Ground, error.into())).await,
    }
    for role in Role::ALL {
        state.measures.begin(Step::Member(role));
        supervise::start_worker(myself, state, role).await;
    }
}

async fn provision(myself: &ActorRef<BottleMsg>, state: &mut BottleState) {
    let (Some(ground), Some(ca), Some(agent)) =
        (state.ground.as_ref(), state.ca.as_ref(), state.children.member_id(Role::Agent))
    else {
        return;
    };
    let args = ProvisionerArgs {
        backend: Arc::clone(&state.backend),
        agent: agent.clone(),
        plan: Arc::clone(&state.plan),
        material: Arc::clone(&state.material),
        certificate: ca.certificate_pem().to_owned(),
        proxy: ground.mitmproxy_int,
        scope: if state.agent_is_new { Scope::All } else { Scope::Again },
        bottle: myself.clone(),
        tasks: state.tasks.clone(),
    };
    // One archive holds certificate, prompt and skills.
    state.measures.begin(Step::ProvisionCa);
    state.provisionings += 1;
    state.provisioner_since = tree::timestamp();
    dismiss(state.children.take_provisioner());
    match Actor::spawn_linked(None, Provisioner, args, myself.get_cell()).await {
        Ok((worker, _)) => state.children.set_provisioner(worker.get_cell()),
        Err(error) => {
            let error = StepError::Actor(error.to_string());
            Box::pin(fail(myself, state, Step::ProvisionCa, error)).await;
        }
    }
}

fn admit(myself: &ActorRef<BottleMsg>, state: &mut BottleState) {
    state.permit = None;
    state.failure = None;
    for role in Role::ALL {
        state.children.of(role).mark(ChildState::Running, None);
    }
    myself.send_after(state.options.health_interval, || BottleMsg::HealthDue);
    if let Some(launched) = state.launched.take() {
        // A caller that went away is seen by `close_when_unobserved`.
        let _ = launched.send(Ok(()));
    }
}

fn tear_down(myself: &ActorRef<BottleMsg>, state: &mut BottleState) {
    state.permit = None;
    state.closing.cancel();
    for role in Role::ALL {
        state.children.of(role).mark(ChildState::Stopping, None);
    }
    let members =
        Role::ALL.into_iter().filter_map(|role| state.children.member_id(role).map(|id| (role, id.clone())));
    let job = TeardownJob {
        backend: Arc::clone(&state.backend),
        bottle: state.ownership.bottle.clone(),
        last_words_of: if state.post_mortem.is_some() { members.collect() } else { Vec::new() },
        children: state.children.take_in_stop_order(),
        tasks: state.tasks.clone(),
    };
    let me = myself.clone();
    tokio::spawn(async move {
        let (report, logs) = teardown::run(job).await;
        let _ = me.cast(BottleMsg::TornDown(report, logs));
    });
}

fn finish(myself: &ActorRef<BottleMsg>, state: &mut BottleState) {
    let mut report = std::mem::take(&mut state.report);
    if let Phase::Gone(reason) = &state.phase {
        report.reason = Some(reason.clone());
    }
    if let Some(launched) = state.launched.take() {
        let _ = launched.send(Err(failure_of(state)));
    }
    for role in Role::ALL {
        state.children.of(role).mark(ChildState::Ended, None);
    }
    tree::publish(state);
    state.journal.close();
    state.status.send_modify(|status| {
        status.phase = "gone";
        status.report = Some(Arc::new(report));
    });
    stop_self(myself);
}

fn failure_of(state: &mut BottleState) -> LaunchFailure {
    let (step, source) = state.failure.take().unwrap_or_else(|| match &state.phase {
        Phase::Gone(EndReason::LaunchFailed(step)) => (*step, StepError::Closed),
        _ => (Step::Launch, StepError::Closed),
    });
    LaunchFailure { slug: state.plan.slug().clone(), step, source }
}

#[expect(clippy::disallowed_methods, reason = "its children have been stopped in order by the teardown")]
fn stop_self(myself: &ActorRef<BottleMsg>) {
    myself.stop(None);
}
