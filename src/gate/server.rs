//! The process: reads the policy, binds the listeners, serves, reloads on `SIGHUP`, ends on `SIGTERM`.
//!
//! The scan listener is bound before the main one, so that an answer of `/health` means both are there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::config::{self, Source};
use super::error::RunError;
use super::kill_switch::KillSwitch;
use super::log::Log;
use super::policy::Policy;
use super::{ENGINE_VERSION, main_listener, scan_api};

/// Tunnels at once, as in pipelock.
const MAX_TUNNELS: usize = 1024;

/// Connections at once on the main listener: tunnels, and requests on their way to one.
const MAX_MAIN_CONNECTIONS: usize = MAX_TUNNELS + 256;

/// How long running requests may take to end after `SIGTERM`.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// What every connection sees.
#[derive(Debug)]
pub(super) struct Gate {
    policy: watch::Sender<Arc<Policy>>,
    pub(super) kill: KillSwitch,
    pub(super) log: Log,
    pub(super) started: Instant,
    pub(super) tunnels: Arc<Semaphore>,
    /// One permit a core: scans of long texts run on the blocking pool and must not starve the tunnels.
    pub(super) scans: Arc<Semaphore>,
    requests: AtomicU64,
}

impl Gate {
    /// The policy in force. Take it once a request: a reload must not change a verdict half-way.
    pub(super) fn policy(&self) -> Arc<Policy> {
        self.policy.borrow().clone()
    }

    /// Tells of changes of the policy and of the kill switch's signal.
    pub(super) fn changes(&self) -> watch::Receiver<Arc<Policy>> {
        self.policy.subscribe()
    }

    /// True when everything is to be denied.
    pub(super) fn is_killed(&self, policy: &Policy) -> bool {
        self.kill.is_active(&policy.kill)
    }

    /// A process-local number for the log, `req-17`.
    pub(super) fn next_request_id(&self) -> String {
        format!("req-{}", self.requests.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Serves until `SIGTERM` or `SIGINT`.
///
/// # Errors
/// [`RunError`] when the configuration is not valid, a listener cannot be bound or signals cannot be handled.
pub(super) async fn run(source: Source) -> Result<(), RunError> {
    let policy = Arc::new(config::read(&source)?);
    let log = Log::start().map_err(RunError::Runtime)?;
    let mut terminate = listen_for(SignalKind::terminate())?;
    let mut interrupt = listen_for(SignalKind::interrupt())?;
    let mut hangup = listen_for(SignalKind::hangup())?;
    let mut user = listen_for(SignalKind::user_defined1())?;

    let scan_listener = match &policy.scan {
        Some(scan) => Some((bind(scan.listen).await?, scan.connection_limit)),
        None => None,
    };
    let main_listener = bind(policy.main_listen).await?;
    log.info(
        "startup",
        "gate started",
        json!({
            "version": ENGINE_VERSION, "mode": "strict", "config_hash": policy.config_hash,
            "listen": local(&main_listener), "scan_listen": scan_listener.as_ref().map(|(listener, _)| local(listener)),
        }),
    );
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let gate = Arc::new(Gate {
        policy: watch::Sender::new(policy),
        kill: KillSwitch::default(),
        log,
        started: Instant::now(),
        tunnels: Arc::new(Semaphore::new(MAX_TUNNELS)),
        scans: Arc::new(Semaphore::new(cores)),
        requests: AtomicU64::new(0),
    });

    let (stop, stopped) = watch::channel(());
    let mut servers = JoinSet::new();
    servers.spawn(serve(
        main_listener,
        MAX_MAIN_CONNECTIONS,
        gate.clone(),
        stopped.clone(),
        main_listener::handle,
    ));
    if let Some((listener, limit)) = scan_listener {
        servers.spawn(serve(listener, limit, gate.clone(), stopped, scan_api::handle));
    }
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(&gate, &source),
            _ = user.recv() => {
                let active = gate.kill.toggle();
                gate.policy.send_modify(|_| ());
                gate.log.warn("kill_switch", "kill switch toggled by signal", json!({"active": active}));
            }
        }
    }
    drop(stop);
    while servers.join_next().await.is_some() {}
    gate.log.info("shutdown", "gate stopped", json!({}));
    Ok(())
}

fn listen_for(kind: SignalKind) -> Result<Signal, RunError> {
    signal(kind).map_err(RunError::Runtime)
}

async fn bind(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|source| RunError::Bind { address, source })
}

fn local(listener: &TcpListener) -> Option<String> {
    listener.local_addr().ok().map(|address| address.to_string())
}

/// Puts a new policy in force if the file is valid, else keeps the one that is. Listeners stay where they are.
fn reload(gate: &Gate, source: &Source) {
    if !source.can_reload() {
        let facts = json!({"status": "ignored", "detail": "the configuration came on standard input"});
        gate.log.warn("config_reload", "configuration kept", facts);
        return;
    }
    match config::read(source) {
        Ok(policy) => {
            let old = gate.policy();
            let hash = policy.config_hash.clone();
            let moved = policy.main_listen != old.main_listen
                || policy.scan.as_ref().map(|scan| (scan.listen, scan.connection_limit))
                    != old.scan.as_ref().map(|scan| (scan.listen, scan.connection_limit));
            gate.policy.send_replace(Arc::new(policy));
            let facts = json!({
                "status": "success", "detail": "mode=strict", "config_hash": hash, "restart_needed": moved,
            });
            gate.log.info("config_reload", "configuration reloaded", facts);
        }
        Err(error) => {
            let facts = json!({
                "status": "failed", "detail": super::command::chain(&error), "config_hash": gate.policy().config_hash,
            });
            gate.log.warn("config_reload", "configuration rejected, last good one kept", facts);
        }
    }
}

/// Accepts connections until `stopped`, each in a task of this function's own set.
async fn serve<H, F>(
    listener: TcpListener,
    limit: usize,
    gate: Arc<Gate>,
    mut stopped: watch::Receiver<()>,
    handle: H,
) where
    H: Fn(Arc<Gate>, TcpStream, SocketAddr) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(limit));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accept = async {
            // Waits before accepting, as pipelock does: beyond the limit, clients queue in the kernel.
            let permit = permits.clone().acquire_owned().await.ok()?;
            Some((permit, listener.accept().await))
        };
        let accepted = tokio::select! {
            accepted = accept => accepted,
            _ = stopped.changed() => break,
        };
        match accepted {
            Some((permit, Ok((stream, peer)))) => {
                let connection = handle(gate.clone(), stream, peer);
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            // Out of descriptors or a connection that died in the queue: neither ends the listener.
            Some((_, Err(_))) => tokio::time::sleep(Duration::from_millis(20)).await,
            None => break,
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(SHUTDOWN_GRACE, drained).await;
}
