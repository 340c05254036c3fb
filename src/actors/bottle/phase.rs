//! The bottle's life as a pure table: (phase, event) → (phase, effects).
//!
//! No state is undefined: every event is answered in every phase. A launch is all or nothing, so any end of a
//! part ends it; an admitted bottle hands the ends of its parts to its supervision core and lives on without
//! them, egress closed by topology. What leads to what is the table of `docs/architecture.md`.

use std::collections::BTreeSet;
use std::fmt;

use crate::actors::supervision::ExitReason;
use crate::ids::Role;

/// A step of a launch, named in errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// Networks and addresses.
    Ground,
    /// Create and start one container.
    Member(Role),
    /// One allowed and one denied request through the whole chain.
    Probe,
    /// Certificate into the trust store.
    ProvisionCa,
    /// The prompt file.
    ProvisionPrompt,
    /// Skill directories.
    ProvisionSkills,
    /// Keys and client configuration.
    ProvisionSsh,
    /// The working directory.
    ProvisionGit,
    /// The launch as a whole (its deadline).
    Launch,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Ground => f.write_str("networks"),
            Step::Member(role) => write!(f, "{role} container"),
            Step::Probe => f.write_str("egress probe"),
            Step::ProvisionCa => f.write_str("provisioning (ca)"),
            Step::ProvisionPrompt => f.write_str("provisioning (prompt)"),
            Step::ProvisionSkills => f.write_str("provisioning (skills)"),
            Step::ProvisionSsh => f.write_str("provisioning (ssh)"),
            Step::ProvisionGit => f.write_str("provisioning (git)"),
            Step::Launch => f.write_str("launch"),
        }
    }
}

/// Why a bottle ended or is ending.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// A handle asked, or the last handle was dropped.
    Closed,
    /// A launch step failed; the error itself is kept by the supervisor.
    LaunchFailed(Step),
    /// The agent's container ended.
    AgentEnded(ExitReason),
    /// A member ended during the launch; fail closed.
    MemberEnded(Role, ExitReason),
    /// A member was restarted too often; fail closed.
    Escalated(Role, ExitReason),
    /// The networks were removed by an outside hand and cannot be made again; fail closed.
    GroundLost(String),
    /// A child actor failed.
    ActorFailed(String),
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndReason::Closed => f.write_str("closed"),
            EndReason::LaunchFailed(step) => write!(f, "launch failed at: {step}"),
            EndReason::AgentEnded(exit) => write!(f, "the agent container {exit}"),
            EndReason::MemberEnded(role, exit) => write!(f, "the {role} container {exit}; failed closed"),
            EndReason::Escalated(role, exit) => {
                write!(f, "the {role} container was restarted too often, at last it {exit}; failed closed")
            }
            EndReason::GroundLost(why) => write!(f, "the networks are gone ({why}); failed closed"),
            EndReason::ActorFailed(what) => write!(f, "{what}; failed closed"),
        }
    }
}

/// Where a bottle is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// From the first create to the moment the caller gets the handle.
    Launching(Progress),
    /// In use, perhaps with a part missing.
    Up(Lack),
    /// The engine cannot be asked; what is known to be missing is remembered.
    Suspended(Lack),
    /// Being taken down.
    Closing(EndReason),
    /// Nothing is left (or the report says what is).
    Gone(EndReason),
}

/// What an admitted bottle lacks at the moment; nothing when it is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lack {
    /// Members that are down or not taken over yet.
    members: BTreeSet<Role>,
    /// The chain has changed and no probe has passed since.
    probe: bool,
    /// The agent runs, but has not been provisioned since its start.
    provisioning: bool,
    /// The networks are being made again.
    ground: bool,
}

impl Lack {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    fn chain_up(&self) -> bool {
        !self.ground && !self.members.contains(&Role::Pipelock) && !self.members.contains(&Role::Mitmproxy)
    }

    /// Whether the networks are missing: nothing can be started on them.
    pub fn ground_is_lost(&self) -> bool {
        self.ground
    }

    /// Whether the agent waits for its provisioning.
    pub fn wants_provisioning(&self) -> bool {
        self.provisioning
    }

    /// What is missing, for people.
    pub fn describe(&self) -> String {
        let mut parts: Vec<String> = self.members.iter().map(|role| format!("{role} is down")).collect();
        if self.ground {
            parts.push("the networks are being made again".to_owned());
        }
        if self.probe && self.chain_up() {
            parts.push("the chain is being probed".to_owned());
        }
        if self.provisioning && !self.members.contains(&Role::Agent) {
            parts.push("the agent is being provisioned".to_owned());
        }
        parts.join(", ")
    }
}

/// What a launch has reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    ground: bool,
    agent: bool,
    pipelock: bool,
    mitmproxy: bool,
    probed: bool,
    provisioned: bool,
}

impl Phase {
    /// The first phase.
    pub fn new() -> Self {
        Phase::Launching(Progress::default())
    }

    /// Whether commands may run in it.
    pub fn can_exec(&self) -> bool {
        matches!(self, Phase::Up(lack) if !lack.members.contains(&Role::Agent) && !lack.provisioning)
    }

    /// What is missing, while it is in use.
    pub fn lack(&self) -> Option<&Lack> {
        match self {
            Phase::Up(lack) | Phase::Suspended(lack) => Some(lack),
            Phase::Launching(_) | Phase::Closing(_) | Phase::Gone(_) => None,
        }
    }

    /// Whether the chain waits for a probe to pass.
    pub fn wants_probe(&self) -> bool {
        match self {
            Phase::Launching(progress) => progress.chain_up() && !progress.probed,
            Phase::Up(lack) => lack.probe && lack.chain_up(),
            Phase::Suspended(_) | Phase::Closing(_) | Phase::Gone(_) => false,
        }
    }

    /// Whether the member is counted as missing.
    pub fn lacks(&self, role: Role) -> bool {
        self.lack().is_some_and(|lack| lack.members.contains(&role))
    }

    /// The step that a launch waits for, in the order in which people think of them; `provisioning` is where
    /// the provisioner is. `None` when it is over.
    pub fn awaited(&self, provisioning: Step) -> Option<Step> {
        let Phase::Launching(progress) = self else { return None };
        Some(match progress {
            Progress { ground: false, .. } => Step::Ground,
            Progress { pipelock: false, .. } => Step::Member(Role::Pipelock),
            Progress { mitmproxy: false, .. } => Step::Member(Role::Mitmproxy),
            Progress { agent: false, .. } => Step::Member(Role::Agent),
            Progress { probed: false, .. } => Step::Probe,
            Progress { .. } => provisioning,
        })
    }

    /// One word for people and JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Phase::Launching(_) => "launching",
            Phase::Up(lack) if lack.is_nothing() => "ready",
            Phase::Up(_) => "degraded",
            Phase::Suspended(_) => "suspended",
            Phase::Closing(_) => "closing",
            Phase::Gone(_) => "gone",
        }
    }
}

impl Default for Phase {
    fn default() -> Self {
        Self::new()
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The networks exist (again).
    GroundReady,
    /// A member runs and is heard.
    MemberReady(Role),
    /// A member ended, hangs, or its worker failed.
    MemberEnded(Role, ExitReason),
    /// The agent ended and its restart type leaves it at that.
    AgentDone(ExitReason),
    /// The restart intensity of a member was exceeded.
    Escalated(Role, ExitReason),
    /// One allowed and one denied request went as they should.
    ProbePassed,
    /// Something touched the chain: it has to be probed before it counts as whole.
    ProbeNeeded,
    /// All provisioning steps are done.
    Provisioned,
    /// A launch step failed.
    StepFailed(Step),
    /// A child actor failed during the launch.
    ChildFailed(String),
    /// A network of the bottle is gone.
    GroundLost,
    /// It cannot be made again.
    GroundFailed(String),
    /// The engine cannot be asked.
    EngineLost,
    /// It can be asked again.
    EngineBack,
    /// Close.
    CloseRequested,
    /// The teardown has come to its end.
    TornDown,
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start the three container workers.
    StartMembers,
    /// Ask mitmproxy for the end-to-end probe.
    Probe,
    /// Start the provisioner.
    Provision,
    /// Let callers in; answer the launch.
    Admit,
    /// Ask the supervision core what follows from this end.
    Supervise(Role, ExitReason),
    /// Make the networks again, with their addresses.
    RebuildGround,
    /// Attach every member again.
    MendAll,
    /// Ask for the engine until it answers.
    AwaitEngine,
    /// Read reality: take over what runs, start again what does not.
    Reconcile,
    /// Keep what is known of the failure, before the teardown takes it away.
    PostMortem,
    /// Take everything down, agent first.
    TearDown,
    /// Publish the end and stop the supervisor.
    Finish,
}

/// The table.
pub fn step(phase: Phase, event: Event) -> (Phase, Vec<Effect>) {
    match phase {
        Phase::Launching(progress) => launching(progress, event),
        Phase::Up(lack) => up(lack, event),
        Phase::Suspended(lack) => suspended(lack, event),
        Phase::Closing(reason) => match event {
            Event::TornDown => (Phase::Gone(reason), vec![Effect::Finish]),
            // Deaths during a teardown are what a teardown is for; a second close waits for the first.
            _ => (Phase::Closing(reason), Vec::new()),
        },
        Phase::Gone(reason) => (Phase::Gone(reason), Vec::new()),
    }
}

fn closing(reason: EndReason) -> (Phase, Vec<Effect>) {
    let keep = matches!(reason, EndReason::Escalated(..) | EndReason::GroundLost(_));
    let effects = if keep { vec![Effect::PostMortem, Effect::TearDown] } else { vec![Effect::TearDown] };
    (Phase::Closing(reason), effects)
}

fn launching(mut progress: Progress, event: Event) -> (Phase, Vec<Effect>) {
    let before = progress;
    match event {
        Event::GroundReady => progress.ground = true,
        Event::MemberReady(Role::Agent) => progress.agent = true,
        Event::MemberReady(Role::Pipelock) => progress.pipelock = true,
        Event::MemberReady(Role::Mitmproxy) => progress.mitmproxy = true,
        Event::ProbePassed => progress.probed = true,
        Event::Provisioned => progress.provisioned = true,
        Event::MemberEnded(Role::Agent, exit) | Event::AgentDone(exit) => {
            return closing(EndReason::AgentEnded(exit));
        }
        Event::MemberEnded(role, exit) | Event::Escalated(role, exit) => {
            return closing(EndReason::MemberEnded(role, exit));
        }
        Event::StepFailed(step) => return closing(EndReason::LaunchFailed(step)),
        Event::GroundFailed(_) => return closing(EndReason::LaunchFailed(Step::Ground)),
        Event::ChildFailed(what) => return closing(EndReason::ActorFailed(what)),
        Event::CloseRequested => return closing(EndReason::Closed),
        // A launch has its own deadline and fails by the calls that fail.
        Event::EngineLost | Event::EngineBack | Event::GroundLost | Event::ProbeNeeded | Event::TornDown => {}
    }
    let mut effects = Vec::new();
    if progress.ground && !before.ground {
        effects.push(Effect::StartMembers);
    }
    if progress.agent && !before.agent {
        effects.push(Effect::Provision);
    }
    if progress.chain_up() && !before.chain_up() {
        effects.push(Effect::Probe);
    }
    if progress.probed && progress.provisioned {
        effects.push(Effect::Admit);
        return (Phase::Up(Lack::default()), effects);
    }
    (Phase::Launching(progress), effects)
}

impl Progress {
    fn chain_up(self) -> bool {
        self.pipelock && self.mitmproxy
    }
}

fn up(mut lack: Lack, event: Event) -> (Phase, Vec<Effect>) {
    let mut effects = Vec::new();
    match event {
        Event::EngineLost => return (Phase::Suspended(lack), vec![Effect::AwaitEngine]),
        Event::MemberReady(role) => {
            let was_down = lack.members.remove(&role);
            match role {
                Role::Agent if was_down && lack.provisioning => effects.push(Effect::Provision),
                Role::Pipelock | Role::Mitmproxy if was_down => {
                    lack.probe = true;
                    if lack.chain_up() {
                        effects.push(Effect::Probe);
                    }
                }
                _ => {}
            }
        }
        Event::ProbePassed if lack.chain_up() => lack.probe = false,
        Event::ProbeNeeded => {
            lack.probe = true;
            if lack.chain_up() {
                effects.push(Effect::Probe);
            }
        }
        Event::Provisioned => lack.provisioning = false,
        Event::GroundLost if !lack.ground => {
            lack.ground = true;
            effects.push(Effect::RebuildGround);
        }
        Event::GroundReady if lack.ground => {
            lack.ground = false;
            lack.probe = true;
            effects.push(Effect::MendAll);
        }
        event => return in_use(lack, event, Phase::Up),
    }
    (Phase::Up(lack), effects)
}

fn suspended(lack: Lack, event: Event) -> (Phase, Vec<Effect>) {
    match event {
        Event::EngineBack => {
            // Nothing is known until it has been read; a rebuild under way begins anew.
            let mut all = lack;
            all.members = Role::ALL.into();
            all.probe = true;
            let rebuild = all.ground.then_some(Effect::RebuildGround);
            (Phase::Up(all), rebuild.into_iter().chain([Effect::Reconcile]).collect())
        }
        event => in_use(lack, event, Phase::Suspended),
    }
}

/// What is the same with and without an engine.
fn in_use(mut lack: Lack, event: Event, stay: impl Fn(Lack) -> Phase) -> (Phase, Vec<Effect>) {
    match event {
        Event::MemberEnded(role, exit) => {
            lack.members.insert(role);
            if role == Role::Agent && ends_container(&exit) {
                lack.provisioning = true;
            }
            (stay(lack), vec![Effect::Supervise(role, exit)])
        }
        Event::AgentDone(exit) => closing(EndReason::AgentEnded(exit)),
        Event::Escalated(role, exit) => closing(EndReason::Escalated(role, exit)),
        Event::GroundFailed(why) => closing(EndReason::GroundLost(why)),
        Event::ChildFailed(what) => closing(EndReason::ActorFailed(what)),
        Event::CloseRequested => closing(EndReason::Closed),
        // Late news of a launch that is over, or of an engine that is known to be away.
        Event::GroundReady
        | Event::MemberReady(_)
        | Event::ProbePassed
        | Event::ProbeNeeded
        | Event::Provisioned
        | Event::StepFailed(_)
        | Event::GroundLost
        | Event::EngineLost
        | Event::EngineBack
        | Event::TornDown => (stay(lack), Vec::new()),
    }
}

/// Whether the container's processes are gone, not just its worker.
fn ends_container(exit: &ExitReason) -> bool {
    match exit {
        ExitReason::ContainerExited(_)
        | ExitReason::ContainerGone
        | ExitReason::Hung(_)
        | ExitReason::StartFailed(_) => true,
        ExitReason::Normal
        | ExitReason::Shutdown
        | ExitReason::Killed
        | ExitReason::Failed(_)
        | ExitReason::Unheard(_) => false,
    }
}

#[cfg(test)]
mod tests;
