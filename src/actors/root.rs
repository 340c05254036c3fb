//! The root: dynamic supervisor of bottles. It survives any bottle, and sweeps what one leaves when its
//! supervisor dies without a teardown (a panic or a kill): an owner outside the bottle's own tree.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::watch;

use super::bottle::{BottleArgs, BottleSupervisor, teardown};
use super::engine_watch::{EngineWatch, EngineWatchArgs};
use crate::backend::{Backend, Happening};
use crate::ids::{BottleId, Slug};
use crate::lease::Lease;
use crate::messages::{BottleMsg, BottleStatus, CloseReport, EndReason, RootMsg};

/// Pauses before each look for what came late; an engine that is slower leaves it to a cleanup.
const LATE: [Duration; 4] =
    [Duration::from_secs(5), Duration::from_secs(25), Duration::from_secs(90), Duration::from_secs(600)];

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
    /// Bottles that are swept because their supervisor left them.
    swept: Vec<Entry>,
    /// Set by a shutdown: no new bottle.
    closing: bool,
    /// Hears the engine; there from the first bottle on.
    watch: Option<ActorCell>,
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
            swept: Vec::new(),
            closing: false,
            watch: None,
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
            RootMsg::Living(reply) => {
                let all = state.bottles.values().chain(&state.swept);
                let living = all.filter(|entry| entry.lives()).map(|entry| entry.bottle.clone()).collect();
                let _ = reply.send(living);
            }
            RootMsg::Spawn(_, reply) if state.closing => {
                let _ = reply.send(Err("the runtime is shutting down".to_owned()));
            }
            RootMsg::Spawn(args, reply) => {
                // When the caller gave up meanwhile, the bottle sees that nobody observes it.
                let _ = reply.send(spawn(&myself, state, *args).await);
            }
            RootMsg::News(news) => {
                if let Some(entry) = state.bottles.values().find(|entry| entry.bottle == news.bottle) {
                    let _ = entry.actor.cast(BottleMsg::Noticed(news.role, news.what));
                }
            }
            // What happened while nobody listened is found by a look at each bottle.
            RootMsg::EngineHeard => tell_all(state, || BottleMsg::Noticed(None, Happening::Disconnected)),
            RootMsg::EngineLost => tell_all(state, || BottleMsg::EngineLost),
            RootMsg::Shutdown(reply) => {
                let closed = close_all(state);
                tokio::spawn(async move {
                    let _ = reply.send(closed.await);
                });
            }
            RootMsg::Retire => {
                let (closed, me) = (close_all(state), myself.clone());
                tokio::spawn(async move {
                    closed.await;
                    stop(&me);
                });
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<RootMsg>,
        event: SupervisionEvent,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, why) = match event {
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => return Ok(()),
            SupervisionEvent::ActorTerminated(cell, _, _) => (cell, "was killed".to_owned()),
            SupervisionEvent::ActorFailed(cell, error) => (cell, error.to_string()),
        };
        if state.watch.as_ref().is_some_and(|watch| watch.get_id() == cell.get_id()) {
            state.watch = None;
            tracing::error!(why, "the watch of the engine ended; starting another");
            let backend = state.bottles.values().next().map(|entry| Arc::clone(&entry.backend));
            if let Some(backend) = backend {
                start_watch(&myself, state, backend).await;
            }
        } else {
            ended(state, &cell, &why);
        }
        Ok(())
    }
}

fn tell_all(state: &RootState, message: impl Fn() -> BottleMsg) {
    for entry in state.bottles.values() {
        let _ = entry.actor.cast(message());
    }
}

/// Without it a bottle is slower to notice things, and no less safe: so a failure is logged only.
async fn start_watch(myself: &ActorRef<RootMsg>, state: &mut RootState, backend: Arc<dyn Backend>) {
    let args = EngineWatchArgs { backend, root: myself.clone() };
    match Actor::spawn_linked(None, EngineWatch, args, myself.get_cell()).await {
        Ok((watch, _)) => state.watch = Some(watch.get_cell()),
        Err(error) => tracing::error!(%error, "the watch of the engine did not start"),
    }
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
    if state.watch.is_none() {
        start_watch(myself, state, Arc::clone(&backend)).await;
    }
    let spawned = Actor::spawn_linked(None, BottleSupervisor, args, myself.get_cell()).await;
    let (actor, _) = spawned.map_err(|error| error.to_string())?;
    let entry = Entry { actor: actor.clone(), backend, bottle, slug, status };
    state.bottles.insert(actor.get_id(), entry);
    Ok(actor)
}

fn close_all(state: &mut RootState) -> impl Future<Output = Vec<(Slug, Arc<CloseReport>)>> + use<> {
    state.closing = true;
    let all = state.bottles.values().chain(&state.swept);
    futures::future::join_all(all.map(Entry::close).collect::<Vec<_>>())
}

#[expect(clippy::disallowed_methods, reason = "all its bottles are gone")]
fn stop(root: &ActorRef<RootMsg>) {
    root.stop(None);
}

/// A bottle's supervisor has ended. If it had not finished its teardown, somebody else has to.
fn ended(state: &mut RootState, cell: &ActorCell, why: &str) {
    let Some(entry) = state.bottles.remove(&cell.get_id()) else { return };
    let (backend, bottle) = (Arc::clone(&entry.backend), entry.bottle.clone());
    if !entry.lives() {
        let status = entry.status.borrow();
        if status.report.as_ref().is_some_and(|report| !report.failed.is_empty()) {
            // The engine was away. Nothing is an orphan as long as this process lives.
            tokio::spawn(sweep_until_done(backend, bottle));
        } else if !status.was_ready {
            tokio::spawn(sweep_late(backend, bottle));
        }
        return;
    }
    tracing::error!(bottle = %entry.slug, why, "bottle supervisor ended without a teardown; sweeping");
    let reason = EndReason::ActorFailed(format!("the bottle's supervisor {why}"));
    let status = entry.status.clone();
    state.swept.retain(Entry::lives);
    state.swept.push(entry);
    tokio::spawn(async move {
        let mut report = teardown::sweep(backend.as_ref(), &bottle).await;
        report.reason = Some(reason);
        publish(&status, report);
        // Calls of its workers may still be under way: nobody waited for them.
        sweep_late(backend, bottle).await;
    });
}

/// Looks again, later and later, for what the engine has made after the call for it had been given up.
async fn sweep_late(backend: Arc<dyn Backend>, bottle: BottleId) {
    for pause in LATE {
        tokio::time::sleep(pause).await;
        let report = teardown::sweep(backend.as_ref(), &bottle).await;
        if !report.removed.is_empty() {
            tracing::warn!(%bottle, removed = ?report.removed, "made late by the engine, and removed");
        }
    }
}

/// Tries again until the engine has let go of everything.
async fn sweep_until_done(backend: Arc<dyn Backend>, bottle: BottleId) {
    let mut pause = LATE[0];
    loop {
        tokio::time::sleep(pause).await;
        let report = teardown::sweep(backend.as_ref(), &bottle).await;
        if report.failed.is_empty() {
            tracing::info!(%bottle, removed = ?report.removed, "removed what a teardown could not");
            return;
        }
        pause = (pause * 2).min(LATE[3]);
    }
}

fn publish(status: &watch::Sender<BottleStatus>, report: CloseReport) {
    status.send_modify(|status| {
        status.phase = "gone";
        status.report = Some(Arc::new(report));
    });
}

impl Entry {
    /// Whether its teardown has not come to its end.
    fn lives(&self) -> bool {
        self.status.borrow().report.is_none()
    }

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
