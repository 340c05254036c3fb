//! The bottle supervisor: one bottle, its three containers, its provisioner and its commands.
//!
//! Restart type temporary; owner: the root. It decides by [`phase::step`] alone and carries effects out in
//! `effects.rs`. It never waits for an engine in a handler: work runs in children or tracked tasks that post
//! their outcome here. Children are found by role in its own table, matched by actor id.

mod children;
mod effects;
mod operations;
pub mod phase;
pub mod teardown;

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::{OwnedSemaphorePermit, broadcast, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::children::Children;
use self::phase::{Event, Phase, Step};
use crate::audit_log::AuditLog;
use crate::backend::Backend;
use crate::egress::BottleCa;
use crate::messages::{
    BottleEvent, BottleMsg, BottleStatus, CloseReport, LaunchFailure, MemberEvent, StepError,
};
use crate::plan::spec::{Ground, Ownership};
use crate::plan::{LaunchPlan, Material};

/// What a bottle supervisor is started with.
#[derive(Debug)]
pub struct BottleArgs {
    /// Where the bottle lives.
    pub backend: Arc<dyn Backend>,
    /// What to launch.
    pub plan: Arc<LaunchPlan>,
    /// Secret values.
    pub material: Arc<Material>,
    /// Labels of everything it creates.
    pub ownership: Ownership,
    /// Where decisions are written to.
    pub audit: AuditLog,
    /// Told once: ready, or why not.
    pub launched: oneshot::Sender<Result<(), LaunchFailure>>,
    /// What observers see.
    pub status: watch::Sender<BottleStatus>,
    /// What happens, for embedders.
    pub events: broadcast::Sender<BottleEvent>,
    /// From the first create to ready.
    pub launch_deadline: Duration,
    /// Given back when the launch has ended, one way or the other.
    pub permit: Option<OwnedSemaphorePermit>,
}

/// State of a bottle supervisor.
#[derive(Debug)]
pub struct BottleState {
    backend: Arc<dyn Backend>,
    plan: Arc<LaunchPlan>,
    material: Arc<Material>,
    ownership: Ownership,
    audit: AuditLog,
    launched: Option<oneshot::Sender<Result<(), LaunchFailure>>>,
    status: watch::Sender<BottleStatus>,
    events: broadcast::Sender<BottleEvent>,
    launch_deadline: Duration,
    permit: Option<OwnedSemaphorePermit>,
    phase: Phase,
    ca: Option<BottleCa>,
    ground: Option<Ground>,
    children: Children,
    /// The cause behind a failed launch, until the caller gets it.
    failure: Option<(Step, StepError)>,
    /// What the last probe said, for the message when the deadline passes.
    last_probe: Option<String>,
    probes: u64,
    /// Where the provisioner is, for the same message.
    provision_step: Step,
    /// Set when the teardown begins: copies under way give up.
    closing: CancellationToken,
    /// Whether the egress was halted because a decision could not be kept.
    halted: bool,
    report: CloseReport,
    /// All tasks that may be inside an engine call; a teardown waits for them before it lists what is left.
    tasks: TaskTracker,
}

/// The supervisor.
#[derive(Debug)]
pub struct BottleSupervisor;

impl Actor for BottleSupervisor {
    type Msg = BottleMsg;
    type State = BottleState;
    type Arguments = BottleArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<BottleMsg>,
        args: BottleArgs,
    ) -> Result<BottleState, ActorProcessingErr> {
        myself.cast(BottleMsg::Launch)?;
        Ok(BottleState {
            backend: args.backend,
            plan: args.plan,
            material: args.material,
            ownership: args.ownership,
            audit: args.audit,
            launched: Some(args.launched),
            status: args.status,
            events: args.events,
            launch_deadline: args.launch_deadline,
            permit: args.permit,
            phase: Phase::new(),
            ca: None,
            ground: None,
            children: Children::default(),
            failure: None,
            last_probe: None,
            probes: 0,
            provision_step: Step::ProvisionCa,
            closing: CancellationToken::new(),
            halted: false,
            report: CloseReport::default(),
            tasks: TaskTracker::new(),
        })
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<BottleMsg>,
        state: &mut BottleState,
    ) -> Result<(), ActorProcessingErr> {
        state.children.stop_all().await;
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<BottleMsg>,
        message: BottleMsg,
        state: &mut BottleState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            BottleMsg::Launch => effects::begin(&myself, state),
            BottleMsg::GroundMade(Ok(ground)) => {
                state.ground = Some(ground);
                effects::apply(&myself, state, Event::GroundReady).await;
            }
            BottleMsg::GroundMade(Err(error)) => fail(&myself, state, Step::Ground, error.into()).await,
            BottleMsg::Member(role, event) => member(&myself, state, role, event).await,
            BottleMsg::ProvisionReached(step) => state.provision_step = step,
            BottleMsg::Provisioned(Ok(())) => effects::apply(&myself, state, Event::Provisioned).await,
            BottleMsg::Provisioned(Err((step, error))) => fail(&myself, state, step, error).await,
            BottleMsg::ProbeAgain => effects::probe(state),
            BottleMsg::LaunchDeadlinePassed => deadline_passed(&myself, state).await,
            BottleMsg::Close => {
                if matches!(state.phase, Phase::Launching(_)) {
                    state.failure.get_or_insert((Step::Launch, StepError::Closed));
                }
                effects::apply(&myself, state, Event::CloseRequested).await;
            }
            BottleMsg::TornDown(report) => {
                state.report = report;
                effects::apply(&myself, state, Event::TornDown).await;
            }
            BottleMsg::Exec(request, reply) => operations::exec(&myself, state, request, reply).await,
            BottleMsg::CpIn(request, reply) => operations::cp_in(state, request, reply),
            BottleMsg::CpOut(request, reply) => operations::cp_out(state, request, reply),
            BottleMsg::Logs(role, options, reply) => operations::logs(state, role, options, reply),
            BottleMsg::Stats(role, reply) => operations::stats(state, role, reply),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<BottleMsg>,
        event: SupervisionEvent,
        state: &mut BottleState,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, failure) = match event {
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => return Ok(()),
            SupervisionEvent::ActorFailed(cell, error) => (cell, Some(error.to_string())),
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                (cell, reason.filter(|reason| reason == "killed" || reason == "actor_task_cancelled"))
            }
        };
        // A command's worker is temporary: its end is its caller's business.
        let Some(child) = state.children.forget(&cell) else { return Ok(()) };
        if let Some(why) = failure {
            let what = format!("the {child} actor failed ({why})");
            state.failure.get_or_insert((Step::Launch, StepError::Actor(what.clone())));
            effects::apply(&myself, state, Event::ChildFailed(what)).await;
        }
        Ok(())
    }
}

async fn fail(myself: &ActorRef<BottleMsg>, state: &mut BottleState, step: Step, error: StepError) {
    state.failure.get_or_insert((step, error));
    effects::apply(myself, state, Event::StepFailed(step)).await;
}

async fn deadline_passed(myself: &ActorRef<BottleMsg>, state: &mut BottleState) {
    let Some(awaited) = state.phase.awaited(state.provision_step) else { return };
    match state.last_probe.take() {
        Some(detail) if awaited == Step::Probe => {
            fail(myself, state, awaited, StepError::ProbeRefused(detail)).await;
        }
        _ => fail(myself, state, awaited, StepError::Deadline(state.launch_deadline)).await,
    }
}

async fn member(
    myself: &ActorRef<BottleMsg>,
    state: &mut BottleState,
    role: crate::ids::Role,
    event: MemberEvent,
) {
    match event {
        MemberEvent::Created(id) => state.children.created(role, id),
        MemberEvent::Ready => {
            let _ = state.events.send(BottleEvent::MemberStarted { role, incarnation: 1, adopted: false });
            effects::apply(myself, state, Event::MemberReady(role)).await;
        }
        MemberEvent::Failed(error) => fail(myself, state, Step::Member(role), error).await,
        MemberEvent::Ended(exit, tail) => {
            let event =
                BottleEvent::MemberEnded { role, incarnation: 1, exit: exit.to_string(), tail: tail.clone() };
            let _ = state.events.send(event);
            if matches!(state.phase, Phase::Launching(_)) {
                let error = StepError::MemberEnded { role, exit: exit.clone(), tail };
                state.failure.get_or_insert((Step::Member(role), error));
            }
            effects::apply(myself, state, Event::MemberEnded(role, exit)).await;
        }
        MemberEvent::Probed(Ok(())) => effects::apply(myself, state, Event::ProbePassed).await,
        MemberEvent::Probed(Err(detail)) => effects::probe_later(myself, state, detail),
        MemberEvent::Audited(record) => {
            if let Err(source) = operations::audit(state, *record)
                && matches!(state.phase, Phase::Launching(_))
            {
                fail(myself, state, Step::Probe, StepError::Audit(source)).await;
            }
        }
    }
}
