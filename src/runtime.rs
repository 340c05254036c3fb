//! [`Runtime`]: prepare → launch → [`Bottle`]; list, cleanup, shutdown. Root of the supervision tree.

mod attached;
mod error;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorRef};
use tokio::sync::{Semaphore, broadcast, oneshot, watch};
use tokio::time::Instant;

pub use attached::{ActiveBottle, AttachError, AttachedBottle};
pub use error::{LaunchError, PrepareError, RuntimeError};

use crate::actors::bottle::{BottleArgs, SupervisionOptions, teardown};
use crate::actors::root::{Root, RootArgs};
use crate::actors::supervision::call;
use crate::audit_log::AuditLog;
use crate::backend::{Backend, BackendError, OwnedBy};
use crate::config::{Config, HostEnv, Paths};
use crate::handle::Bottle;
use crate::ids::{BottleId, OwnerId, Slug};
use crate::journal::Journal;
use crate::lease::{self, Lease};
use crate::messages::{BottleStatus, CloseReport, LaunchFailure, RootMsg};
use crate::metrics;
use crate::plan::names::numbered;
use crate::plan::spec::Ownership;
use crate::plan::{BottleSpec, CleanupPlan, HostFacts, LaunchPlan, LivingOwners, Material, Orphan, resolve};

/// Names tried before a launch gives up (`coder`, `coder-2`, …).
const NAMES_TRIED: u32 = 100;
/// Events kept for a slow observer.
const EVENT_QUEUE: usize = 1024;
/// From a spawn request to the supervisor's existence.
const SPAWN_DEADLINE: Duration = Duration::from_secs(10);
/// From the request to close everything to the last report.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(600);

/// What a runtime is started with.
#[derive(Clone, Debug)]
pub struct RuntimeOptions {
    /// Where bottles live.
    pub backend: Arc<dyn Backend>,
    /// Images, gate, addresses.
    pub config: Config,
    /// Surroundings: variables, home, working directory.
    pub host: HostEnv,
    /// Leases and audit files; default `$XDG_STATE_HOME/bottle`.
    pub state_dir: PathBuf,
    /// From the first create to ready; default 120 s.
    pub launch_deadline: Duration,
    /// Restart intensity, backoff and health checks of each bottle.
    pub supervision: SupervisionOptions,
}

impl RuntimeOptions {
    /// The defaults for these surroundings.
    pub fn new(backend: Arc<dyn Backend>, config: Config, host: HostEnv) -> Self {
        let state_dir = Paths::resolve(&host).state_dir;
        let (launch_deadline, supervision) = (Duration::from_secs(120), SupervisionOptions::default());
        Self { backend, config, host, state_dir, launch_deadline, supervision }
    }
}

/// The root of everything: cheap to clone, owns the supervision tree and this process's lease.
#[derive(Clone, Debug)]
pub struct Runtime {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: ActorRef<RootMsg>,
    options: RuntimeOptions,
    lease: Arc<Lease>,
    launches: Arc<Semaphore>,
}

impl Runtime {
    /// Takes the lease and starts the root. Talks to no engine.
    ///
    /// # Errors
    /// The state directory cannot be written.
    pub async fn start(options: RuntimeOptions) -> Result<Self, RuntimeError> {
        metrics::describe();
        let lease = Lease::acquire(&options.state_dir)
            .map_err(|source| RuntimeError::State { dir: options.state_dir.clone(), source })?;
        let lease = Arc::new(lease);
        let spawned = Actor::spawn(None, Root, RootArgs { lease: Arc::clone(&lease) }).await;
        let (root, _) = spawned.map_err(|error| RuntimeError::Root(error.to_string()))?;
        let launches = Arc::new(Semaphore::new(options.config.launch_concurrency.max(1)));
        Ok(Self { inner: Arc::new(Inner { root, options, lease, launches }) })
    }

    /// Validates a wish and resolves it to a plan. Reads host files and the engine; creates nothing.
    ///
    /// `terminal` says whether somebody can be asked for `?prompt` values.
    ///
    /// # Errors
    /// Every problem of the wish at once, or the engine cannot be asked.
    pub async fn prepare(&self, spec: &BottleSpec, terminal: bool) -> Result<LaunchPlan, PrepareError> {
        let Inner { options, .. } = &*self.inner;
        prepare(spec, &options.config, &options.host, terminal, options.backend.as_ref()).await
    }

    /// Launches a plan: networks, containers, probe, provisioning. Returns when the bottle is ready.
    ///
    /// A name taken meanwhile is answered by the next number. A failed step rolls everything back.
    /// Dropping the future closes what was begun, in the background.
    ///
    /// # Errors
    /// The failed step with its cause, and what could not be removed.
    pub async fn launch(&self, plan: LaunchPlan, material: Material) -> Result<Bottle, LaunchError> {
        let began = Instant::now();
        let outcome = self.launch_named(plan, Arc::new(material)).await;
        metrics::launch_finished(began.elapsed().as_secs_f64(), outcome.is_ok());
        outcome
    }

    async fn launch_named(
        &self,
        mut plan: LaunchPlan,
        material: Arc<Material>,
    ) -> Result<Bottle, LaunchError> {
        for n in 2..=NAMES_TRIED {
            match self.launch_once(Arc::new(plan.clone()), Arc::clone(&material)).await {
                Err(error) if error.failure.is_name_conflict() && error.teardown.is_empty() => {
                    let next = numbered(plan.base_slug(), n);
                    tracing::info!(taken = %plan.slug(), %next, "name taken");
                    plan = plan.with_slug(next);
                }
                outcome => return outcome,
            }
        }
        self.launch_once(Arc::new(plan), material).await
    }

    async fn launch_once(
        &self,
        plan: Arc<LaunchPlan>,
        material: Arc<Material>,
    ) -> Result<Bottle, LaunchError> {
        let Inner { options, lease, launches, root } = &*self.inner;
        let slug = plan.slug().clone();
        let permit = Arc::clone(launches).acquire_owned().await.ok();
        let id = BottleId::new(format!("{:016x}", rand::random::<u64>()));
        let audit = AuditLog::open(&options.state_dir, &id).map_err(|source| {
            let path = AuditLog::path(&options.state_dir, &id);
            LaunchError::host(slug.clone(), path, source)
        })?;
        let (launched, outcome) = oneshot::channel();
        let status = BottleStatus {
            phase: "launching",
            tree: None,
            was_ready: false,
            report: None,
            fingerprint: None,
        };
        let (status, seen) = watch::channel(status);
        let (events, _) = broadcast::channel(EVENT_QUEUE);
        let ownership = self.ownership(&plan, &id, lease);
        let args = BottleArgs {
            backend: Arc::clone(&options.backend),
            journal: Journal::open(&options.state_dir, &ownership),
            options: options.supervision,
            ownership,
            plan: Arc::clone(&plan),
            material,
            audit,
            launched,
            status,
            events: events.clone(),
            launch_deadline: options.launch_deadline,
            permit,
        };
        let spawned = call(root, |reply| RootMsg::Spawn(Box::new(args), reply), SPAWN_DEADLINE).await;
        let actor = match spawned {
            Ok(Ok(actor)) => actor,
            Ok(Err(why)) => return Err(LaunchError::actor(slug, why)),
            Err(error) => return Err(LaunchError::actor(slug, error.to_string())),
        };
        let bottle = Bottle::new(actor, plan, id.clone(), seen, events);
        match outcome.await {
            Ok(Ok(())) => Ok(bottle),
            Ok(Err(failure)) => Err(self.rolled_back(bottle, failure, &id).await),
            Err(_) => {
                let failure = LaunchError::actor(slug, "the bottle's supervisor ended".to_owned()).failure;
                Err(self.rolled_back(bottle, failure, &id).await)
            }
        }
    }

    /// A failed launch leaves no audit file without a line in it.
    async fn rolled_back(&self, bottle: Bottle, failure: LaunchFailure, id: &BottleId) -> LaunchError {
        let report = bottle.wait().await;
        let path = AuditLog::path(&self.inner.options.state_dir, id);
        if std::fs::metadata(&path).is_ok_and(|meta| meta.len() == 0) {
            let _ = std::fs::remove_file(path);
        }
        LaunchError { failure, teardown: report.failed.clone() }
    }

    fn ownership(&self, plan: &LaunchPlan, id: &BottleId, lease: &Lease) -> Ownership {
        Ownership {
            bottle: id.clone(),
            owner: lease.owner().clone(),
            slug: plan.slug().clone(),
            agent: plan.agent().to_owned(),
            plan_hash: plan.hash(),
            generation: 1,
            host: lease::host_id(&self.inner.options.state_dir),
            boot: lease::boot_id(),
            detached: plan.detach(),
        }
    }

    /// The bottles on the engine whose agent runs, of all owners.
    ///
    /// # Errors
    /// The engine cannot be asked.
    pub async fn list_active(&self) -> Result<Vec<ActiveBottle>, BackendError> {
        list_active(self.inner.options.backend.as_ref()).await
    }

    /// What no living owner claims, and what closed bottles of this runtime have left. Creates and removes
    /// nothing.
    ///
    /// # Errors
    /// The engine cannot be asked, or the leases cannot be read: then nothing is called an orphan.
    pub async fn prepare_cleanup(&self, with_detached: bool) -> Result<CleanupPlan, PrepareError> {
        let Inner { options, lease, .. } = &*self.inner;
        let mut owned = options.backend.owned(&OwnedBy::Anyone).await?;
        let mut owners = living_owners(&options.state_dir)?;
        // Of its own bottles this runtime knows more than its lease tells.
        let living = self.living().await;
        let own = lease.owner();
        if let Some(living) = living {
            owned.retain(|item| item.ownership.owner != *own || !living.contains(&item.ownership.bottle));
            owners.alive.remove(own);
        }
        Ok(CleanupPlan::of(&owned, &owners, with_detached))
    }

    /// Removes what the plan names. Whose owner came alive meanwhile is left alone.
    pub async fn cleanup(&self, plan: &CleanupPlan) -> Vec<(Slug, CloseReport)> {
        let Inner { options, lease, .. } = &*self.inner;
        let living = self.living().await;
        let claimed = |orphan: &Orphan| match &living {
            Some(living) if orphan.owner == *lease.owner() => living.contains(&orphan.bottle),
            _ => is_claimed(&options.state_dir, &orphan.owner),
        };
        sweep(options.backend.as_ref(), plan, claimed).await
    }

    /// The bottles of this runtime that a supervisor cares for; `None` when nobody can tell.
    async fn living(&self) -> Option<BTreeSet<BottleId>> {
        call(&self.inner.root, RootMsg::Living, SPAWN_DEADLINE).await.ok()
    }

    /// Finds a running bottle of any process by its visible name or its agent container's name.
    ///
    /// # Errors
    /// None or several of that name; the engine cannot be asked.
    pub async fn attach(&self, name: &str) -> Result<AttachedBottle, AttachError> {
        AttachedBottle::find(Arc::clone(&self.inner.options.backend), name).await
    }

    /// Closes every bottle of this runtime and waits for their reports. Idempotent.
    pub async fn shutdown(&self) -> Vec<(Slug, Arc<CloseReport>)> {
        call(&self.inner.root, RootMsg::Shutdown, SHUTDOWN_DEADLINE).await.unwrap_or_default()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Closes what is left in the background; the root keeps the lease until that is done.
        let _ = self.root.cast(RootMsg::Retire);
    }
}

/// [`Runtime::prepare`] without a runtime: for a dry run, which takes no lease and writes nothing.
///
/// # Errors
/// As [`Runtime::prepare`].
pub async fn prepare(
    spec: &BottleSpec,
    config: &Config,
    host: &HostEnv,
    terminal: bool,
    backend: &dyn Backend,
) -> Result<LaunchPlan, PrepareError> {
    let facts = HostFacts::gather(spec, config, host, terminal, backend).await?;
    Ok(resolve(spec, config, &facts)?)
}

/// [`Runtime::list_active`] without a runtime.
///
/// # Errors
/// As [`Runtime::list_active`].
pub async fn list_active(backend: &dyn Backend) -> Result<Vec<ActiveBottle>, BackendError> {
    let owned = backend.owned(&OwnedBy::Anyone).await?;
    Ok(owned.iter().filter_map(ActiveBottle::of).filter(|bottle| bottle.running).collect())
}

/// [`Runtime::prepare_cleanup`] without a runtime.
///
/// # Errors
/// As [`Runtime::prepare_cleanup`].
pub async fn prepare_cleanup(
    backend: &dyn Backend,
    state_dir: &Path,
    with_detached: bool,
) -> Result<CleanupPlan, PrepareError> {
    // The engine first: a lease is taken before the first create, so a bottle seen here that has a living
    // owner has a visible lease.
    let owned = backend.owned(&OwnedBy::Anyone).await?;
    Ok(CleanupPlan::of(&owned, &living_owners(state_dir)?, with_detached))
}

fn living_owners(state_dir: &Path) -> Result<LivingOwners, PrepareError> {
    let alive = lease::alive(state_dir)
        .map_err(|source| PrepareError::State { dir: state_dir.to_owned(), source })?;
    Ok(LivingOwners { host: lease::host_id(state_dir), alive })
}

/// Whether an owner lives. When nobody can tell, it does.
fn is_claimed(state_dir: &Path, owner: &OwnerId) -> bool {
    lease::alive(state_dir).map_or(true, |alive| alive.contains(owner))
}

/// [`Runtime::cleanup`] without a runtime.
pub async fn cleanup(
    backend: &dyn Backend,
    state_dir: &Path,
    plan: &CleanupPlan,
) -> Vec<(Slug, CloseReport)> {
    sweep(backend, plan, |orphan| is_claimed(state_dir, &orphan.owner)).await
}

async fn sweep(
    backend: &dyn Backend,
    plan: &CleanupPlan,
    claimed: impl Fn(&Orphan) -> bool,
) -> Vec<(Slug, CloseReport)> {
    let mut done = Vec::new();
    for orphan in plan.orphans.iter().filter(|orphan| !claimed(orphan)) {
        done.push((orphan.slug.clone(), teardown::sweep(backend, &orphan.bottle).await));
    }
    done
}
