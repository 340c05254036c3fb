//! Where a suite runs: an engine of its own, or the engine that is there.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use bottle::backend::docker::{Address, Surroundings, choose};
use rustix::process::Signal;
use tokio::sync::Mutex;

use crate::engine::{self, PrivateEngine, Restore};
use crate::support;

pub struct Place {
    pub address: Address,
    pub docker: Docker,
    /// Processes by the ids that the engine gives.
    pub proc: PathBuf,
    own: Option<Mutex<PrivateEngine>>,
}

impl Place {
    /// The engine that is there: the one the `docker` command would use.
    pub async fn shared() -> Self {
        let address = choose(&Surroundings::of_process()).expect("an engine's address");
        let docker = open(&address).await;
        Self { address, docker, proc: PathBuf::from("/proc"), own: None }
    }

    /// An engine of the test's own.
    pub async fn private() -> Self {
        let mut engine = PrivateEngine::new(&support::unique("chaos")).unwrap();
        engine.boot(Restore::Live).await;
        let address = Address::Unix(engine.socket());
        let docker = open(&address).await;
        Self { address, docker, proc: engine.proc(), own: Some(Mutex::new(engine)) }
    }

    /// An own engine where that is possible and wanted; says so where it is not.
    pub async fn choose() -> Self {
        if std::env::var("BOTTLE_CHAOS_ENGINE").as_deref() == Ok("shared") {
            eprintln!("BOTTLE_CHAOS_ENGINE=shared: faults of the engine itself are NOT RUN");
            return Self::shared().await;
        }
        match engine::why_not() {
            None => Self::private().await,
            Some(why) => {
                eprintln!("no engine of its own ({why}): faults of the engine itself are NOT RUN");
                Self::shared().await
            }
        }
    }

    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// The `docker` command on this engine; gives what it prints.
    pub fn docker(&self, arguments: &[&str]) -> String {
        let address = self.address.to_string();
        support::docker(&[&["-H", &address], arguments].concat())
    }

    /// Lets the engine stand still for a while. Only of an own engine.
    pub async fn stall(&self, pause: Duration) {
        let engine = self.engine().lock().await;
        engine.signal(Signal::STOP);
        tokio::time::sleep(pause).await;
        engine.signal(Signal::CONT);
    }

    /// Ends the engine. Gives how long it took.
    pub async fn end(&self, signal: Signal) -> Duration {
        self.engine().lock().await.end(signal).await
    }

    /// Starts it again. Gives how long it took to answer.
    pub async fn boot(&self, restore: Restore) -> Duration {
        self.engine().lock().await.boot(restore).await
    }

    /// Packets that tried to leave for where nobody is; `None` where nobody counts them.
    pub async fn strays(&self) -> Option<u64> {
        Some(self.own.as_ref()?.lock().await.strays())
    }

    /// A command where the engine's networks are.
    pub async fn inside(&self, program: &str) -> Command {
        match &self.own {
            Some(engine) => engine.lock().await.inside(program),
            None => Command::new(program),
        }
    }

    fn engine(&self) -> &Mutex<PrivateEngine> {
        self.own.as_ref().expect("an engine of the test's own")
    }
}

async fn open(address: &Address) -> Docker {
    const SECONDS: u64 = 120;
    let docker = match address {
        Address::Unix(path) => {
            Docker::connect_with_unix(&path.to_string_lossy(), SECONDS, API_DEFAULT_VERSION)
        }
        Address::Tcp(at) => Docker::connect_with_http(&format!("tcp://{at}"), SECONDS, API_DEFAULT_VERSION),
    };
    docker.unwrap().negotiate_version().await.expect("a reachable engine (BOTTLE_TEST_ENGINE=none opts out)")
}
