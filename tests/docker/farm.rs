//! What the tests of one process share: images, an egress network with the stub behind it, and the proof at
//! the end. It lives as long as any test does; the last one takes it down.

use std::net::Ipv4Addr;
use std::sync::{Arc, LazyLock, Weak};

use bottle::Config;
use bottle::backend::Backend;
use bottle::backend::docker::DockerBackend;
use bottle::backend::docker::images::{ProgressEvent, SetupProgress, SetupRequest, setup};
use bottle::config::{Engine, ImageConfig};
use bottle::ids::Role;
use tokio::sync::{Mutex, Semaphore};

use crate::stub::Stub;
use crate::support;

/// Bottles in flight at once: a small machine has to carry them.
pub const BOTTLES_AT_ONCE: u32 = 8;

/// One runtime for the whole process: connections of the engine's client outlive a single test.
pub static TOKIO: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap());
pub static IN_FLIGHT: Semaphore = Semaphore::const_new(BOTTLES_AT_ONCE as usize);
/// First part of every name that this process gives away.
pub static RUN: LazyLock<String> = LazyLock::new(|| support::unique("t"));

static SHARED: LazyLock<Mutex<Weak<Farm>>> = LazyLock::new(Mutex::default);

pub struct Farm {
    pub backend: Arc<DockerBackend>,
    pub config: Config,
    pub stub: Stub,
    _scratch: tempfile::TempDir,
}

struct Quiet;

impl SetupProgress for Quiet {
    fn report(&self, _event: ProgressEvent<'_>) {}
}

impl Farm {
    /// The farm of this process; made by the first test that asks.
    pub async fn join() -> Arc<Self> {
        let mut shared = SHARED.lock().await;
        if let Some(farm) = shared.upgrade() {
            return farm;
        }
        let farm = Arc::new(Self::make().await);
        *shared = Arc::downgrade(&farm);
        farm
    }

    /// Gives a test's share back. The last one removes everything and returns what is left all the same.
    pub async fn leave(farm: Arc<Self>) -> Vec<String> {
        let _shared = SHARED.lock().await;
        let Ok(farm) = Arc::try_unwrap(farm) else { return Vec::new() };
        farm.stub.stop().await;
        let network = farm.config.egress_network.clone();
        let removed = farm.backend.remove_shared(&network).await.unwrap();
        let mut left = leftovers(&RUN);
        if !removed {
            left.push(format!("network {network}"));
        }
        left
    }

    async fn make() -> Self {
        let backend =
            DockerBackend::connect().await.expect("a reachable engine (BOTTLE_TEST_ENGINE=none opts out)");
        let scratch = tempfile::tempdir().unwrap();
        let mut config = configure().await;
        config.egress_network = format!("{}-egress", *RUN);
        config.address_pool = support::pool();
        let subnet = backend.ensure_shared(&config.egress_network, config.address_pool).await.unwrap();
        let address = Ipv4Addr::from(u32::from(subnet.network()) + 1);
        let image = config.images.mitmproxy.as_ref().unwrap().reference.to_string();
        let name = format!("{}-stub", *RUN);
        let ca = scratch.path().join("stub-ca.pem");
        let stub = Stub::start(&image, &name, ("bottle-test", &RUN), address, ca).await.unwrap();
        Self { backend: Arc::new(backend), config, stub, _scratch: scratch }
    }
}

async fn configure() -> Config {
    let engine = bollard::Docker::connect_with_local_defaults().unwrap();
    let ca_bundle = std::env::var_os("BOTTLE_CA_BUNDLE").map(Into::into);
    let request = SetupRequest { ca_bundle, ..SetupRequest::default() };
    let report = setup(&engine, request, &Quiet).await.expect("the images can be made");
    let mut config = Config { engine: report.gate.into(), launch_concurrency: 8, ..Config::default() };
    for role in Role::ALL {
        let reference = report.image(role).unwrap().reference.clone();
        config.images.set(role, ImageConfig { reference, digest: None });
    }
    config
}

/// The configuration with a real pipelock, when one is at hand.
pub fn with_real_pipelock(config: &Config) -> Option<Config> {
    let Some(image) = std::env::var("BOTTLE_TEST_PIPELOCK_IMAGE").ok().filter(|name| !name.is_empty()) else {
        eprintln!("skipped: no real pipelock at hand (set BOTTLE_TEST_PIPELOCK_IMAGE)");
        return None;
    };
    let mut config = Config { engine: Engine::Pipelock, ..config.clone() };
    config.images.set(Role::Pipelock, ImageConfig { reference: image.as_str().into(), digest: None });
    Some(config)
}

/// Containers and networks on the engine whose name holds `part`.
pub fn leftovers(part: &str) -> Vec<String> {
    let filter = format!("name={part}");
    let containers = support::docker(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]);
    let networks = support::docker(&["network", "ls", "--filter", &filter, "--format", "{{.Name}}"]);
    containers.lines().chain(networks.lines()).map(str::to_owned).collect()
}
