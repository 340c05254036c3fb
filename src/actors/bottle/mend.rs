//! What an outside hand did to a bottle, put right: a name, an attachment, a pause, the networks; and the wait
//! for an engine that is away.

use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;

use super::effects::apply;
use super::phase::{Event, Phase};
use super::{BottleState, note};
use crate::actors::supervision::ExitReason;
use crate::backend::{BackendError, BackendErrorKind, Happening, Mended, OwnedBy, Repair, Subject};
use crate::ids::Role;
use crate::messages::{BottleEvent, BottleMsg, ChildState};
use crate::plan::members;
use crate::plan::spec::MemberState;

/// First pause between two questions to an engine that is away, doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long one such question may take: an engine that hangs is away too.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// Pause before an agent is mended again that could not be.
const MEND_PAUSE: Duration = Duration::from_secs(1);

/// News from the engine. They may be old, so the member itself is looked at.
pub(super) fn noticed(
    myself: &ActorRef<BottleMsg>,
    state: &mut BottleState,
    role: Option<Role>,
    what: Happening,
) {
    match (role, what) {
        // Its worker waits for its end and reports it with its exit code.
        (Some(_), Happening::Ended | Happening::OutOfMemory | Happening::Removed) => {}
        (Some(role), Happening::Paused | Happening::Resumed) => {
            let (from, to) = match what {
                Happening::Paused => (ChildState::Running, ChildState::Paused),
                _ => (ChildState::Paused, ChildState::Running),
            };
            let member = state.children.of(role);
            if member.state == from {
                member.mark(to, (to == ChildState::Paused).then(|| "paused by an outside hand".to_owned()));
            }
            mend(myself, state, role);
        }
        (Some(role), Happening::Renamed | Happening::Connected | Happening::Disconnected) => {
            mend(myself, state, role)
        }
        (None, _) => mend_all(myself, state),
    }
}

/// Looks at every member that should run.
pub(super) fn mend_all(myself: &ActorRef<BottleMsg>, state: &mut BottleState) {
    for role in Role::ALL {
        mend(myself, state, role);
    }
}

/// Looks at a member and puts right what can be without ending it. One look at a time; news during one ask for
/// another.
pub(super) fn mend(myself: &ActorRef<BottleMsg>, state: &mut BottleState, role: Role) {
    if !matches!(state.phase, Phase::Up(_)) {
        return;
    }
    let (Some(ground), Some(id)) = (&state.ground, state.children.member_id(role).cloned()) else { return };
    if let Some(again) = state.mending.get_mut(&role) {
        *again = true;
        return;
    }
    state.mending.insert(role, false);
    let spec = members::member(role, &state.plan, ground, &state.ownership);
    let (backend, me) = (Arc::clone(&state.backend), myself.clone());
    state.tasks.spawn(async move {
        let mended = backend.mend_member(&id, &spec).await;
        let _ = me.cast(BottleMsg::Mended(role, mended));
    });
}

/// The outcome of a look.
pub(super) async fn mended(
    myself: &ActorRef<BottleMsg>,
    state: &mut BottleState,
    role: Role,
    outcome: Result<Mended, BackendError>,
) {
    let again = state.mending.remove(&role).unwrap_or(false);
    match outcome {
        Ok(Mended::Intact) => {}
        Ok(Mended::Repaired(repairs)) => {
            let member = state.children.of(role);
            if repairs.contains(&Repair::Resumed) && member.state == ChildState::Paused {
                member.mark(ChildState::Running, None);
            }
            let touched = repairs.iter().any(|repair| *repair != Repair::Renamed);
            note(state, BottleEvent::MemberMended { role, repairs });
            if touched {
                apply(myself, state, Event::ProbeNeeded).await;
            }
        }
        // Its worker reports it; a paused agent is left alone.
        Ok(Mended::NotRunning(MemberState::Paused)) if role == Role::Agent => {
            let why = Some("paused by an outside hand".to_owned());
            state.children.of(role).mark(ChildState::Paused, why);
        }
        Ok(Mended::NotRunning(_)) => {}
        Err(error) if is_ground(&error) => apply(myself, state, Event::GroundLost).await,
        Err(error) if error.kind == BackendErrorKind::Unreachable => {
            apply(myself, state, Event::EngineLost).await;
        }
        Err(error) if role == Role::Agent => {
            tracing::warn!(error = crate::error::chain(&error), "the agent could not be mended");
            myself.send_after(MEND_PAUSE, || BottleMsg::Noticed(Some(Role::Agent), Happening::Renamed));
        }
        Err(error) => {
            let exit = ExitReason::Hung(crate::error::chain(&error));
            super::member_ended(myself, state, role, exit, String::new()).await;
        }
    }
    if again {
        mend(myself, state, role);
    }
}

/// Whether an error says that a network is gone.
pub(super) fn is_ground(error: &BackendError) -> bool {
    error.kind == BackendErrorKind::NotFound && matches!(error.subject, Subject::Network(_))
}

/// Makes the networks again: what runs knows their addresses, so they get the same.
pub(super) fn rebuild_ground(myself: &ActorRef<BottleMsg>, state: &mut BottleState) {
    let Some(ground) = &state.ground else { return };
    let mut spec = members::ground_spec(&state.plan, &state.ownership);
    spec.subnets = Some(ground.subnets());
    let (backend, me) = (Arc::clone(&state.backend), myself.clone());
    note(state, BottleEvent::GroundLost);
    state.tasks.spawn(async move {
        let made = backend.ensure_ground(&spec).await;
        let _ = me.cast(BottleMsg::GroundMade(made));
    });
}

/// Asks for the engine until it answers.
pub(super) fn await_engine(myself: &ActorRef<BottleMsg>, state: &mut BottleState) {
    note(state, BottleEvent::EngineLost);
    for role in Role::ALL {
        state.children.of(role).mark(ChildState::Unheard, None);
    }
    let (backend, me, closing) = (Arc::clone(&state.backend), myself.clone(), state.closing.clone());
    let bottle = state.ownership.bottle.clone();
    tokio::spawn(async move {
        let mut pause = FIRST_PAUSE;
        loop {
            let asked = OwnedBy::Bottle(bottle.clone());
            let answer = tokio::time::timeout(ANSWER_PATIENCE, backend.owned(&asked)).await;
            if matches!(answer, Ok(Ok(_))) {
                let _ = me.cast(BottleMsg::EngineBack);
                return;
            }
            // Not all at once when many bottles wait for one engine.
            let jittered = pause.mul_f64(1.0 + rand::random::<f64>() / 2.0);
            tokio::select! {
                () = closing.cancelled() => return,
                () = tokio::time::sleep(jittered) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    });
}
