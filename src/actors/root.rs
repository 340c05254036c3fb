//! The root: dynamic supervisor of bottles. It survives any bottle, and sweeps what one leaves when its
//! supervisor dies without a teardown (a panic or a kill): an owner outside the bottle's own tree.

use std::collections::HashMap;
use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::bottle::{BottleArgs, BottleSupervisor, teardown};
use crate::backend::Backend;
use crate::ids::{BottleId, Slug};
use crate::lease::Lease;
use crate::messages::{BottleMsg, BottleStatus, CloseReport, EndReason, RootMsg};

/// What the root is started with.
#[derive(Debug)]
pub struct RootArgs {
    /// Held as long as the root lives: what this process created is claimed.
    pub lease: Arc<Lease>,
}

/// State of the root.
#[derive(Debug)]
pub struct RootState {
    bottles: HashMap<ActorId, Entry>,
    /// Set by a shutdown: a launch that tries the next name must not outlive it.
    closing: bool,
    /// Sweeps under way; a shutdown waits for them.
    sweeps: TaskTracker,
    _lease: Arc<Lease>,
}

#[derive(Debug)]
struct Entry {
    actor: ActorRef<BottleMsg>,
    backend: Arc<dyn Backend>,
    bottle: BottleId,
    slug: Slug,
    status: watch::Sender<BottleStatus>,
}

/// The root supervisor.
#[derive(Debug)]
pub struct Root;

impl Actor for Root {
    type Msg = RootMsg;
    type State = RootState;
    type Arguments = RootArgs;

    async fn pre_start(
        &self,
        _myself: ActorRef<RootMsg>,
        args: RootArgs,
    ) -> Result<RootState, ActorProcessingErr> {
        Ok(RootState {
            bottles: HashMap::new(),
            closing: false,
            sweeps: TaskTracker::new(),
            _lease: args.lease,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<RootMsg>,
        message: RootMsg,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RootMsg::Spawn(args, reply) => {
                let spawned = spawn(&myself, state, *args).await;
                if let Err(ractor::MessagingErr::SendErr(Ok(orphan))) = reply.send(spawned) {
                    // The caller gave up meanwhile: nobody will ever close this bottle.
                    let _ = orphan.cast(BottleMsg::Close);
                }
            }
            RootMsg::Shutdown(reply) => {
                state.closing = true;
                let closing: Vec<_> = state.bottles.values().map(|entry| entry.close()).collect();
                let (sweeps, me) = (state.sweeps.clone(), myself.clone());
                tokio::spawn(async move {
                    let reports = futures::future::join_all(closing).await;
                    sweeps.close();
                    sweeps.wait().await;
                    let _ = reply.send(reports);
                    finish(&me);
                });
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<RootMsg>,
        event: SupervisionEvent,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
            SupervisionEvent::ActorTerminated(cell, _, _) => ended(state, &cell, "was killed"),
            SupervisionEvent::ActorFailed(cell, error) => ended(state, &cell, &error.to_string()),
        }
        Ok(())
    }
}

/// Ends the root, and with it the lease: every bottle is gone.
#[expect(clippy::disallowed_methods, reason = "its children have ended by themselves before")]
fn finish(root: &ActorRef<RootMsg>) {
    root.stop(None);
}

async fn spawn(
    myself: &ActorRef<RootMsg>,
    state: &mut RootState,
    args: BottleArgs,
) -> Result<ActorRef<BottleMsg>, String> {
    if state.closing {
        return Err("the runtime is shutting down".to_owned());
    }
    let (backend, status) = (Arc::clone(&args.backend), args.status.clone());
    let (bottle, slug) = (args.ownership.bottle.clone(), args.plan.slug().clone());
    let spawned = Actor::spawn_linked(None, BottleSupervisor, args, myself.get_cell()).await;
    let (actor, _) = spawned.map_err(|error| error.to_string())?;
    let entry = Entry { actor: actor.clone(), backend, bottle, slug, status };
    state.bottles.insert(actor.get_id(), entry);
    Ok(actor)
}

/// A bottle's supervisor has ended. If it had not finished its teardown, somebody else has to.
fn ended(state: &mut RootState, cell: &ActorCell, why: &str) {
    let Some(entry) = state.bottles.remove(&cell.get_id()) else { return };
    if entry.status.borrow().report.is_some() {
        return;
    }
    tracing::error!(bottle = %entry.slug, why, "bottle supervisor ended without a teardown; sweeping");
    let reason = EndReason::ActorFailed(format!("the bottle's supervisor {why}"));
    state.sweeps.spawn(async move {
        let mut report = teardown::sweep(entry.backend.as_ref(), &entry.bottle).await;
        report.reason = Some(reason);
        publish(&entry.status, report);
    });
}

fn publish(status: &watch::Sender<BottleStatus>, report: CloseReport) {
    status.send_modify(|status| {
        status.phase = "gone";
        status.report = Some(Arc::new(report));
    });
}

impl Entry {
    /// Asks the bottle to close; resolves when it is gone.
    fn close(&self) -> impl Future<Output = (Slug, Arc<CloseReport>)> + use<> {
        let _ = self.actor.cast(BottleMsg::Close);
        let (slug, mut status) = (self.slug.clone(), self.status.subscribe());
        async move {
            let report = match status.wait_for(|status| status.report.is_some()).await {
                Ok(status) => status.report.clone(),
                Err(_) => None,
            };
            (slug, report.unwrap_or_default())
        }
    }
}
