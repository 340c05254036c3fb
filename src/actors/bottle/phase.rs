//! The bottle's life as a pure table: (phase, event) → (phase, effects).
//!
//! No state is undefined: every event is answered in every phase. What a death leads to is the table of
//! `docs/architecture.md`; in this version any member's end ends the bottle, fail closed.

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
    /// A sidecar ended; fail closed.
    SidecarEnded(Role, ExitReason),
    /// A child actor failed.
    ActorFailed(String),
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndReason::Closed => f.write_str("closed"),
            EndReason::LaunchFailed(step) => write!(f, "launch failed at: {step}"),
            EndReason::AgentEnded(exit) => write!(f, "the agent container {exit}"),
            EndReason::SidecarEnded(role, exit) => write!(f, "the {role} container {exit}; failed closed"),
            EndReason::ActorFailed(what) => write!(f, "{what}; failed closed"),
        }
    }
}

/// Where a bottle is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// From the first create to the moment the caller gets the handle.
    Launching(Progress),
    /// In use.
    Ready,
    /// Being taken down.
    Closing(EndReason),
    /// Nothing is left (or the report says what is).
    Gone(EndReason),
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
        matches!(self, Phase::Ready)
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
            Phase::Ready => "ready",
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
    /// The networks exist.
    GroundReady,
    /// A container runs; for mitmproxy: its addon listens.
    MemberReady(Role),
    /// A container ended.
    MemberEnded(Role, ExitReason),
    /// One allowed and one denied request went through the chain as they should.
    ProbePassed,
    /// Everything is in place inside the agent.
    Provisioned,
    /// A step failed or the launch's deadline passed.
    StepFailed(Step),
    /// A child actor panicked, failed or was killed.
    ChildFailed(String),
    /// Somebody wants it closed.
    CloseRequested,
    /// The teardown has come to its end.
    TornDown,
}

/// What to do about it. Carried out in one place (`actors::bottle`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Create and start the three members.
    StartMembers,
    /// Ask mitmproxy for the end-to-end probe.
    Probe,
    /// Run the provisioning steps.
    Provision,
    /// Hand the bottle to its caller.
    Admit,
    /// Take everything down, in reverse order.
    TearDown,
    /// Publish the end and stop the supervisor.
    Finish,
}

/// The table.
pub fn step(phase: Phase, event: Event) -> (Phase, Vec<Effect>) {
    match phase {
        Phase::Launching(progress) => launching(progress, event),
        Phase::Ready => match end_of(&event) {
            Some(reason) => (Phase::Closing(reason), vec![Effect::TearDown]),
            // Late news of a launch that is over: nothing to do.
            None => (Phase::Ready, Vec::new()),
        },
        Phase::Closing(reason) => match event {
            Event::TornDown => (Phase::Gone(reason), vec![Effect::Finish]),
            // Deaths during a teardown are what a teardown is for; a second close waits for the first.
            Event::GroundReady
            | Event::MemberReady(_)
            | Event::MemberEnded(..)
            | Event::ProbePassed
            | Event::Provisioned
            | Event::StepFailed(_)
            | Event::ChildFailed(_)
            | Event::CloseRequested => (Phase::Closing(reason), Vec::new()),
        },
        Phase::Gone(reason) => (Phase::Gone(reason), Vec::new()),
    }
}

fn launching(mut progress: Progress, event: Event) -> (Phase, Vec<Effect>) {
    if let Some(reason) = end_of(&event) {
        return (Phase::Closing(reason), vec![Effect::TearDown]);
    }
    let before = progress;
    match event {
        Event::GroundReady => progress.ground = true,
        Event::MemberReady(Role::Agent) => progress.agent = true,
        Event::MemberReady(Role::Pipelock) => progress.pipelock = true,
        Event::MemberReady(Role::Mitmproxy) => progress.mitmproxy = true,
        Event::ProbePassed => progress.probed = true,
        Event::Provisioned => progress.provisioned = true,
        Event::MemberEnded(..)
        | Event::StepFailed(_)
        | Event::ChildFailed(_)
        | Event::CloseRequested
        | Event::TornDown => {}
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
        return (Phase::Ready, effects);
    }
    (Phase::Launching(progress), effects)
}

impl Progress {
    fn chain_up(self) -> bool {
        self.pipelock && self.mitmproxy
    }
}

/// The end that an event means while the bottle lives.
fn end_of(event: &Event) -> Option<EndReason> {
    match event {
        Event::MemberEnded(Role::Agent, exit) => Some(EndReason::AgentEnded(exit.clone())),
        Event::MemberEnded(role, exit) => Some(EndReason::SidecarEnded(*role, exit.clone())),
        Event::StepFailed(step) => Some(EndReason::LaunchFailed(*step)),
        Event::ChildFailed(what) => Some(EndReason::ActorFailed(what.clone())),
        Event::CloseRequested => Some(EndReason::Closed),
        Event::GroundReady
        | Event::MemberReady(_)
        | Event::ProbePassed
        | Event::Provisioned
        | Event::TornDown => None,
    }
}

#[cfg(test)]
mod tests;
