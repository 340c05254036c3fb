//! From the end of a member to what follows: asks the supervision core and carries out what it says.

use std::sync::Arc;

use ractor::{Actor, ActorRef};
use tokio::time::Instant;

use super::children::dismiss;
use super::effects::apply;
use super::phase::{Event, Phase};
use super::{BottleState, note};
use crate::actors::container::{Container, ContainerArgs, Entry};
use crate::actors::supervision::{
    AutoShutdown, BudgetScope, ChildPhase, ChildSpec, Ending, ExitReason, Flags, Input, Output, RestartType,
    Shutdown, Strategy, Supervisor,
};
use crate::ids::{MemberId, Role};
use crate::manifest::Restart;
use crate::messages::{BottleEvent, BottleMsg, ChildState, ExitNote, MemberEvent, StepError};
use crate::plan::members;

use super::options::SupervisionOptions;
use super::tree::timestamp;

/// Ends remembered for a post-mortem.
const EXITS_KEPT: usize = 64;

/// The members as children of the core. Sidecars always come back. The agent's worker comes back after any
/// failure of its own; whether the agent's *container* does is the manifest's word, see [`as_child`].
pub(super) fn core(options: &SupervisionOptions, restart: Restart) -> Supervisor<Role> {
    let flags = Flags {
        strategy: Strategy::OneForOne,
        limit: options.intensity,
        scope: BudgetScope::Child,
        auto_shutdown: AutoShutdown::AnySignificant,
        backoff: options.backoff,
    };
    let spec = |role| ChildSpec {
        key: role,
        restart: match (role, restart) {
            (Role::Agent, Restart::Temporary | Restart::Transient) => RestartType::Transient,
            _ => RestartType::Permanent,
        },
        shutdown: Shutdown::BrutalKill,
        significant: role == Role::Agent,
    };
    Supervisor::running(flags, Role::ALL.map(spec).to_vec())
}

/// The end as the core sees it: a temporary agent's end, however it came, is the end of its work.
fn as_child(role: Role, restart: Restart, exit: &ExitReason) -> ExitReason {
    let container = matches!(exit, ExitReason::ContainerExited(_) | ExitReason::ContainerGone);
    if role == Role::Agent && restart == Restart::Temporary && container {
        return ExitReason::Normal;
    }
    exit.clone()
}

/// How the next worker comes to the container.
fn entry_after(exit: &ExitReason, id: Option<&MemberId>) -> Entry {
    match (exit, id) {
        (ExitReason::Hung(_), Some(id)) => Entry::Replace(id.clone()),
        (ExitReason::Failed(_) | ExitReason::Killed | ExitReason::Unheard(_), Some(id)) => {
            Entry::Adopt(id.clone())
        }
        _ => Entry::Start,
    }
}

/// A member ended, hangs, or lost its worker.
pub(super) async fn supervise(
    myself: &ActorRef<BottleMsg>,
    state: &mut BottleState,
    role: Role,
    exit: ExitReason,
) {
    let id = state.children.member_id(role).cloned();
    dismiss(state.children.take_worker(role));
    let member = state.children.of(role);
    member.entry = entry_after(&exit, id.as_ref());
    member.down_since.get_or_insert_with(Instant::now);
    member.mark(ChildState::BackingOff, Some(exit.to_string()));
    let incarnation = member.incarnation;
    if state.exits.len() == EXITS_KEPT {
        state.exits.remove(0);
    }
    let note = ExitNote { time: timestamp(), child: role.to_string(), incarnation, exit: exit.to_string() };
    state.exits.push(note);
    state.last_exit.insert(role, exit.clone());
    // What the engine's own end took down is not the member's failure.
    let restarts = !matches!(as_child(role, state.plan.restart(), &exit), ExitReason::Normal);
    if state.reconciling.remove(&role) && restarts && !matches!(exit, ExitReason::Failed(_)) {
        return start_worker(myself, state, role).await;
    }
    let seen = as_child(role, state.plan.restart(), &exit);
    let incarnation = state.core.incarnation(role);
    feed(myself, state, Input::Ended(role, incarnation, seen)).await;
}

/// Tells the core, does what it says.
pub(super) async fn feed(myself: &ActorRef<BottleMsg>, state: &mut BottleState, input: Input<Role>) {
    for output in state.core.step(input, Instant::now(), rand::random()) {
        match output {
            Output::Start { child, .. } => {
                let used = state.core.used(child, Instant::now());
                if used > 0 {
                    scheduled(state, child, 0, used);
                }
                start_worker(myself, state, child).await;
            }
            Output::StartAfter { child, incarnation, pause, used, .. } => {
                scheduled(state, child, u64::try_from(pause.as_millis()).unwrap_or(u64::MAX), used);
                myself.send_after(pause, move || BottleMsg::BackoffPassed(child, incarnation));
            }
            Output::Ending(ending) => Box::pin(end(myself, state, ending)).await,
            // From its decision to end on, the teardown stops everything, in the same order.
            Output::Stop { .. } | Output::Kill { .. } | Output::Finished(_) => {}
        }
    }
}

fn scheduled(state: &mut BottleState, role: Role, after_ms: u64, used: u32) {
    let allowed = state.core.limit().intensity;
    note(state, BottleEvent::RestartScheduled { role, after_ms, used, allowed });
}

async fn end(myself: &ActorRef<BottleMsg>, state: &mut BottleState, ending: Ending<Role>) {
    let last = |state: &BottleState, role, seen| state.last_exit.get(&role).cloned().unwrap_or(seen);
    match ending {
        Ending::AutoShutdown(role, seen) => {
            let exit = last(state, role, seen);
            apply(myself, state, Event::AgentDone(exit)).await;
        }
        Ending::Escalated(role, seen) => {
            let exit = last(state, role, seen);
            note(state, BottleEvent::Escalated { role, exit: exit.to_string() });
            apply(myself, state, Event::Escalated(role, exit)).await;
        }
        Ending::Shutdown => {}
    }
}

/// Starts the next worker of a member, or remembers that it is wanted once there is an engine and ground.
pub(super) async fn start_worker(myself: &ActorRef<BottleMsg>, state: &mut BottleState, role: Role) {
    let can = match &state.phase {
        Phase::Launching(_) => true,
        Phase::Up(lack) => !lack.ground_is_lost(),
        Phase::Suspended(_) => false,
        Phase::Closing(_) | Phase::Gone(_) => return,
    };
    if !can {
        state.waiting.insert(role);
        return;
    }
    let (Some(ground), Some(material)) = (&state.ground, &state.sidecar_material) else { return };
    dismiss(state.children.take_worker(role));
    let serial = state.children.next_worker(role);
    let args = ContainerArgs {
        entry: std::mem::replace(&mut state.children.of(role).entry, Entry::Start),
        serial,
        backend: Arc::clone(&state.backend),
        spec: members::member(role, &state.plan, ground, &state.ownership),
        material: material.for_role(role),
        bottle: myself.clone(),
        tasks: state.tasks.clone(),
    };
    state.children.of(role).mark(ChildState::Starting, None);
    match Actor::spawn_linked(None, Container, args, myself.get_cell()).await {
        Ok((worker, _)) => state.children.set_worker(role, worker),
        Err(error) => {
            let failed = MemberEvent::Failed(StepError::Actor(error.to_string()));
            let _ = myself.cast(BottleMsg::Member(role, serial, failed));
        }
    }
}

/// The engine is back: every member is looked at anew.
pub(super) async fn reconcile(myself: &ActorRef<BottleMsg>, state: &mut BottleState) {
    for role in Role::ALL {
        let wanted = state.waiting.remove(&role);
        if !wanted && state.core.state(role) == ChildPhase::BackingOff {
            // Its timer starts it.
            continue;
        }
        if let (false, Some(id)) = (wanted, state.children.member_id(role).cloned()) {
            state.children.of(role).entry = Entry::Adopt(id);
        }
        state.reconciling.insert(role);
        start_worker(myself, state, role).await;
    }
}
