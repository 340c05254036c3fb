//! The bottle supervisor: one bottle, its three containers, its provisioner and its commands.
//!
//! Restart type temporary; owner: the root. It decides by [`phase::step`] alone and carries effects out in
//! `effects.rs`. It never waits for an engine in a handler: work runs in children or tracked tasks that post
//! their outcome here. Children are found by role in its own table, matched by actor id.

mod audit;
mod children;
mod effects;
mod health;
mod measure;
mod mend;
mod operations;
mod options;
pub mod phase;
mod post_mortem;
mod supervise;
pub mod teardown;
mod tree;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::{OwnedSemaphorePermit, broadcast, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::options::SupervisionOptions;

use self::children::{ChildKey, Children};
use self::health::Health;
use self::measure::Measures;
use self::phase::{Event, Phase, Step};
use crate::actors::supervision::{ExitReason, Input, Supervisor};
use crate::audit_log::AuditLog;
use crate::backend::{Backend, BackendErrorKind};
use crate::egress::{AuditRecord, BottleCa};
use crate::ids::Role;
use crate::journal::Journal;
use crate::messages::{
    BottleEvent, BottleMsg, BottleStatus, BottleTree, ChildState, CloseReport, ExitNote, LaunchFailure,
    MemberEvent, StepError,
};
use crate::metrics;
use crate::plan::launch_material::LaunchMaterial;
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
    /// Where events and the tree are written to.
    pub journal: Journal,
    /// Intensity, backoff, health checks.
    pub options: SupervisionOptions,
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
    options: SupervisionOptions,
    /// Decides on restarts once the bottle is admitted.
    core: Supervisor<Role>,
    /// What the sidecars are told at each start.
    sidecar_material: Option<LaunchMaterial>,
    health: Health,
    /// Workers that are wanted as soon as there is an engine and ground.
    waiting: BTreeSet<Role>,
    /// Members that are looked at after the engine's return: how they are found is nobody's failure.
    reconciling: BTreeSet<Role>,
    /// Members that are being mended; `true` = once more.
    mending: BTreeMap<Role, bool>,
    /// Whether the agent's container has never been provisioned: it gets its workspace too.
    agent_is_new: bool,
    provisionings: u32,
    provisioner_since: String,
    /// The cause behind a failed launch, until the caller gets it.
    failure: Option<(Step, StepError)>,
    /// Where the provisioner is, for the message when the deadline passes.
    provision_step: Step,
    phase_since: String,
    /// The tree as it was published last.
    tree: Option<Arc<BottleTree>>,
    journal: Journal,
    measures: Measures,
    /// The last end of each member, as it was and not as the core sees it.
    last_exit: BTreeMap<Role, ExitReason>,
    /// For a post-mortem: ends, decisions, and the tree at the moment of the failure.
    exits: Vec<ExitNote>,
    audits: VecDeque<AuditRecord>,
    post_mortem: Option<BottleTree>,
    /// Set when the teardown begins: copies under way give up.
    closing: CancellationToken,
    /// Whether the egress was halted because a decision could not be kept.
    halted: bool,
    /// What could not be kept, oldest first.
    unkept: Vec<AuditRecord>,
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
            plan: Arc::clone(&args.plan),
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
            core: supervise::core(&args.options, args.plan.restart()),
            options: args.options,
            sidecar_material: None,
            health: Health::default(),
            waiting: BTreeSet::new(),
            reconciling: BTreeSet::new(),
            mending: BTreeMap::new(),
            agent_is_new: true,
            provisionings: 0,
            provisioner_since: tree::timestamp(),
            failure: None,
            provision_step: Step::ProvisionCa,
            phase_since: tree::timestamp(),
            tree: None,
            journal: args.journal,
            measures: Measures::new(args.plan.slug(), Phase::new().as_str()),
            last_exit: BTreeMap::new(),
            exits: Vec::new(),
            audits: VecDeque::new(),
            post_mortem: None,
            closing: CancellationToken::new(),
            halted: false,
            unkept: Vec::new(),
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
            BottleMsg::GroundMade(made) => ground_made(&myself, state, made).await,
            BottleMsg::Member(role, serial, event) if state.children.is_current(role, serial) => {
                member(&myself, state, role, event).await;
            }
            // Of a worker that was replaced. Its decisions were made all the same.
            BottleMsg::Member(_, _, MemberEvent::Audited(record)) => {
                let _ = audit::keep(state, *record);
            }
            BottleMsg::Member(..) => {}
            BottleMsg::ProvisionReached(step) => {
                state.measures.done(state.provision_step);
                state.measures.begin(step);
                state.provision_step = step;
            }
            BottleMsg::Provisioned(Ok(())) => {
                state.measures.done(state.provision_step);
                state.agent_is_new = false;
                children::dismiss(state.children.take_provisioner());
                agent_recovered(state);
                effects::apply(&myself, state, Event::Provisioned).await;
            }
            BottleMsg::Provisioned(Err((step, error))) => {
                provisioning_failed(&myself, state, step, error).await;
            }
            BottleMsg::ProbeAgain(number) => health::probe_again(state, number),
            BottleMsg::HealthDue => health::due(&myself, state).await,
            BottleMsg::BackoffPassed(role, incarnation) => {
                supervise::feed(&myself, state, Input::BackoffPassed(role, incarnation)).await;
            }
            BottleMsg::Noticed(role, what) => mend::noticed(&myself, state, role, what),
            BottleMsg::Mended(role, outcome) => mend::mended(&myself, state, role, outcome).await,
            BottleMsg::EngineLost => effects::apply(&myself, state, Event::EngineLost).await,
            BottleMsg::EngineBack => effects::apply(&myself, state, Event::EngineBack).await,
            BottleMsg::LaunchDeadlinePassed => deadline_passed(&myself, state).await,
            BottleMsg::Close => {
                if matches!(state.phase, Phase::Launching(_)) {
                    state.failure.get_or_insert((Step::Launch, StepError::Closed));
                }
                effects::apply(&myself, state, Event::CloseRequested).await;
            }
            BottleMsg::TornDown(report, logs) => {
                post_mortem::keep(state, logs);
                state.report = report;
                effects::apply(&myself, state, Event::TornDown).await;
            }
            BottleMsg::Exec(request, reply) => operations::exec(&myself, state, request, reply).await,
            BottleMsg::CpIn(request, reply) => operations::cp_in(state, request, reply),
            BottleMsg::CpOut(request, reply) => operations::cp_out(state, request, reply),
            BottleMsg::Logs(role, options, reply) => operations::logs(state, role, options, reply),
            BottleMsg::Stats(role, reply) => operations::stats(state, role, reply),
        }
        tree::publish(state);
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
            child_failed(&myself, state, child, why).await;
            tree::publish(state);
        }
        Ok(())
    }
}

/// Tells embedders and the journal what happened.
fn note(state: &mut BottleState, event: BottleEvent) {
    match &event {
        BottleEvent::RestartScheduled { role, .. } => metrics::restart(*role),
        BottleEvent::MemberRecovered { role, down_ms } => {
            metrics::sidecar_recovered(*role, *down_ms as f64 / 1000.0);
        }
        BottleEvent::Audited(record) => metrics::denied(record),
        _ => {}
    }
    state.journal.event(&event);
    let _ = state.events.send(event);
}

async fn fail(myself: &ActorRef<BottleMsg>, state: &mut BottleState, step: Step, error: StepError) {
    state.failure.get_or_insert((step, error));
    effects::apply(myself, state, Event::StepFailed(step)).await;
}

/// A worker or the provisioner panicked, failed or was killed. During a launch that ends it; later the
/// container is taken over by the next worker.
async fn child_failed(myself: &ActorRef<BottleMsg>, state: &mut BottleState, child: ChildKey, why: String) {
    note(state, BottleEvent::WorkerFailed { child: child.to_string(), why: why.clone() });
    if matches!(state.phase, Phase::Launching(_)) {
        let what = format!("the {child} actor failed ({why})");
        state.failure.get_or_insert((Step::Launch, StepError::Actor(what.clone())));
        return effects::apply(myself, state, Event::ChildFailed(what)).await;
    }
    let role = match child {
        ChildKey::Member(role) => role,
        // The agent is taken over anew, and provisioned by that.
        ChildKey::Provisioner => Role::Agent,
    };
    effects::apply(myself, state, Event::MemberEnded(role, ExitReason::Failed(why))).await;
}

async fn ground_made(
    myself: &ActorRef<BottleMsg>,
    state: &mut BottleState,
    made: Result<Ground, crate::backend::BackendError>,
) {
    match made {
        Ok(ground) => {
            state.measures.done(Step::Ground);
            state.ground = Some(ground);
            effects::apply(myself, state, Event::GroundReady).await;
        }
        Err(error) if matches!(state.phase, Phase::Launching(_)) => {
            fail(myself, state, Step::Ground, error.into()).await;
        }
        // A rebuild is begun again when the engine is back.
        Err(error) if error.kind == BackendErrorKind::Unreachable => {
            effects::apply(myself, state, Event::EngineLost).await;
        }
        Err(error) => {
            let why = crate::error::chain(&error);
            effects::apply(myself, state, Event::GroundFailed(why)).await;
        }
    }
}

/// A restarted agent could not be provisioned: it must not be used as it is.
async fn provisioning_failed(
    myself: &ActorRef<BottleMsg>,
    state: &mut BottleState,
    step: Step,
    error: StepError,
) {
    if state.phase.lack().is_none() {
        return fail(myself, state, step, error).await;
    }
    if let StepError::Backend(backend) = &error
        && backend.kind == BackendErrorKind::Unreachable
    {
        return effects::apply(myself, state, Event::EngineLost).await;
    }
    if !state.phase.lacks(Role::Agent) {
        let why = format!("{step}: {}", crate::error::chain(&error));
        member_ended(myself, state, Role::Agent, ExitReason::Hung(why), String::new()).await;
    }
}

async fn deadline_passed(myself: &ActorRef<BottleMsg>, state: &mut BottleState) {
    let Some(awaited) = state.phase.awaited(state.provision_step) else { return };
    match state.health.last_failure.take() {
        Some(detail) if awaited == Step::Probe => {
            fail(myself, state, awaited, StepError::ProbeRefused(detail)).await;
        }
        _ => fail(myself, state, awaited, StepError::Deadline(state.launch_deadline)).await,
    }
}

/// A member's end, whoever found it out.
async fn member_ended(
    myself: &ActorRef<BottleMsg>,
    state: &mut BottleState,
    role: Role,
    exit: ExitReason,
    tail: String,
) {
    let incarnation = state.children.of(role).incarnation;
    let event = BottleEvent::MemberEnded { role, incarnation, exit: exit.to_string(), tail: tail.clone() };
    note(state, event);
    if matches!(state.phase, Phase::Launching(_)) {
        let error = StepError::MemberEnded { role, exit: exit.clone(), tail };
        state.failure.get_or_insert((Step::Member(role), error));
    }
    effects::apply(myself, state, Event::MemberEnded(role, exit)).await;
}

async fn member(myself: &ActorRef<BottleMsg>, state: &mut BottleState, role: Role, event: MemberEvent) {
    match event {
        MemberEvent::Created(id) => {
            let replaced = state.children.created(role, id);
            state.agent_is_new |= replaced && role == Role::Agent;
        }
        MemberEvent::Ready { adopted } => ready(myself, state, role, adopted).await,
        MemberEvent::Failed(error) if matches!(state.phase, Phase::Launching(_)) => {
            fail(myself, state, Step::Member(role), error).await;
        }
        MemberEvent::Failed(StepError::Backend(error)) if mend::is_ground(&error) => {
            state.waiting.insert(role);
            effects::apply(myself, state, Event::GroundLost).await;
        }
        MemberEvent::Failed(StepError::MemberEnded { exit, tail, .. }) => {
            member_ended(myself, state, role, exit, tail).await;
        }
        MemberEvent::Failed(error) => {
            let exit = ExitReason::StartFailed(crate::error::chain(&error));
            member_ended(myself, state, role, exit, String::new()).await;
        }
        MemberEvent::Ended(exit, tail) => member_ended(myself, state, role, exit, tail).await,
        MemberEvent::EngineLost(error) if matches!(state.phase, Phase::Launching(_)) => {
            fail(myself, state, Step::Member(role), error.into()).await;
        }
        MemberEvent::EngineLost(_) => effects::apply(myself, state, Event::EngineLost).await,
        MemberEvent::Probed(number, answer) => health::probed(myself, state, number, answer).await,
        MemberEvent::Audited(record) => {
            if let Err(source) = audit::keep(state, *record)
                && matches!(state.phase, Phase::Launching(_))
            {
                fail(myself, state, Step::Probe, StepError::Audit(source)).await;
            }
        }
    }
}

async fn ready(myself: &ActorRef<BottleMsg>, state: &mut BottleState, role: Role, adopted: bool) {
    let member = state.children.of(role);
    member.mark(ChildState::Running, None);
    let incarnation = member.incarnation;
    note(state, BottleEvent::MemberStarted { role, incarnation, adopted });
    state.measures.done(Step::Member(role));
    state.reconciling.remove(&role);
    if role == Role::Mitmproxy && state.halted {
        audit::halt(state);
    }
    if state.phase.lack().is_some() {
        let incarnation = state.core.incarnation(role);
        supervise::feed(myself, state, Input::Started(role, incarnation)).await;
    }
    effects::apply(myself, state, Event::MemberReady(role)).await;
    if role == Role::Agent && !state.phase.lack().is_some_and(phase::Lack::wants_provisioning) {
        agent_recovered(state);
    }
}

/// The agent can be used again.
fn agent_recovered(state: &mut BottleState) {
    if let Some(since) = state.children.of(Role::Agent).down_since.take()
        && state.phase.lack().is_some()
    {
        let down_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        note(state, BottleEvent::MemberRecovered { role: Role::Agent, down_ms });
    }
}
