//! What the suites of this binary share: an engine with the images and the outside world on it. They take turns, so
//! that the figures of one are not the noise of another; the last one proves that nothing is left.

use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use bottle::Config;
use bottle::backend::Backend as _;
use bottle::backend::docker::images::{Quiet, SetupRequest, setup};
use bottle::backend::docker::{Deadlines, DockerBackend};
use bottle::config::ImageConfig;
use bottle::ids::Role;
use futures::FutureExt as _;
use tokio::sync::Mutex;

use crate::place::Place;
use crate::support;
use crate::world::{FAKE_KEY, MARK, SINK_PORT, World};

/// One runtime for the whole process: connections of the engine's client outlive a single test.
static TOKIO: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap());
/// First part of every name that this process gives away.
pub static RUN: LazyLock<String> = LazyLock::new(|| support::unique("c"));
static SHARED: LazyLock<Mutex<Weak<Farm>>> = LazyLock::new(Mutex::default);
static TURN: Mutex<()> = Mutex::const_new(());

pub struct Farm {
    pub place: Place,
    pub backend: Arc<DockerBackend>,
    pub config: Config,
    pub world: World,
    _scratch: tempfile::TempDir,
}

/// Runs a suite when its turn comes, and proves that it leaves nothing.
pub fn run(suite: impl AsyncFnOnce(&Farm)) {
    if !support::wants_engine() {
        return;
    }
    TOKIO.block_on(async {
        let farm = join().await;
        let turn = TURN.lock().await;
        let outcome = AssertUnwindSafe(suite(&farm)).catch_unwind().await;
        let left = AssertUnwindSafe(nothing_left(&farm)).catch_unwind().await;
        if outcome.is_err() || left.is_err() {
            // Whoever has not joined yet gets another engine.
            *SHARED.lock().await = Weak::new();
        }
        drop(turn);
        let left_of_all = leave(farm).await;
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
        left.unwrap_or_else(|panic| resume_unwind(panic));
        assert!(left_of_all.is_empty(), "left: {left_of_all:?}");
    });
}

async fn join() -> Arc<Farm> {
    let mut shared = SHARED.lock().await;
    if let Some(farm) = shared.upgrade() {
        return farm;
    }
    let farm = Arc::new(Farm::make().await);
    *shared = Arc::downgrade(&farm);
    farm
}

/// Gives a suite's share back. The last one removes everything and returns what is left all the same.
async fn leave(farm: Arc<Farm>) -> Vec<String> {
    let _shared = SHARED.lock().await;
    let Ok(farm) = Arc::try_unwrap(farm) else { return Vec::new() };
    farm.world.stop(&farm.place).await;
    let removed = farm.backend.remove_shared(&farm.config.egress_network).await.unwrap();
    let mut left = farm.leftovers(&RUN);
    if !removed {
        left.push(format!("network {}", farm.config.egress_network));
    }
    left
}

/// Bottles of handles that a failed suite dropped close in the background.
async fn nothing_left(farm: &Farm) {
    support::eventually(Duration::from_secs(90), || async {
        let left = farm.leftovers("claude-bottle-");
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    let forbidden = farm.world.forbidden();
    assert!(forbidden.is_empty(), "arrived outside: {forbidden:?}");
    let telling = |line: &&String| [MARK, FAKE_KEY].iter().any(|mark| line.contains(mark));
    let arrivals = farm.world.arrivals();
    assert!(!arrivals.iter().any(|line| telling(&line)), "a marked request arrived");
}

impl Farm {
    async fn make() -> Self {
        let place = Place::choose().await;
        let mut config = images().await;
        if place.is_own() {
            copy_images(&config, &place);
        }
        let backend = DockerBackend::connect_to(&place.address, Deadlines::default()).await.unwrap();
        let scratch = tempfile::tempdir().unwrap();
        config.egress_network = format!("{}-egress", *RUN);
        config.address_pool = support::pool();
        let subnet = backend.ensure_shared(&config.egress_network, config.address_pool).await.unwrap();
        let address = Ipv4Addr::from(u32::from(subnet.network()) + 1);
        let image = config.images.mitmproxy.as_ref().unwrap().reference.to_string();
        let name = format!("{}-world", *RUN);
        let world = World::start(&place, &image, &name, address, scratch.path()).await;
        let farm = Self { place, backend: Arc::new(backend), config, world, _scratch: scratch };
        farm.control().await;
        farm
    }

    /// Proves that what must not arrive would be seen.
    async fn control(&self) {
        let strays = self.place.strays().await;
        let way = |to: &str| format!("/dev/{to}/{}/{SINK_PORT}", self.world.address);
        let script = format!(
            "echo {MARK} >{}; exec 3<>{}; echo {MARK} >&3; [ -z \"$1\" ] || echo stray >/dev/udp/198.51.100.7/9",
            way("udp"),
            way("tcp"),
        );
        let stray = if strays.is_some() { "stray" } else { "" };
        let status = self.place.inside("bash").await.args(["-c", &script, "_", stray]).status().unwrap();
        assert!(status.success());
        support::eventually(Duration::from_secs(10), || async {
            let seen = self.world.forbidden();
            if seen.len() >= 3 { Ok(()) } else { Err(seen) }
        })
        .await;
        assert_eq!(self.place.strays().await, strays.map(|count| count + 1), "a stray packet is counted");
        self.world.forget();
    }

    /// Containers and networks on the engine whose name holds `part`.
    pub fn leftovers(&self, part: &str) -> Vec<String> {
        // On an engine that others use, what is not of this run is not ours to judge.
        let part = if self.place.is_own() { part } else { &RUN };
        let filter = format!("name={part}");
        let list = |what: &[&str], name: &str| {
            self.place.docker(&[what, &["--filter", &filter, "--format", name]].concat())
        };
        let containers = list(&["ps", "-a"], "{{.Names}}");
        let networks = list(&["network", "ls"], "{{.Name}}");
        let own = [format!("{}-world", *RUN), self.config.egress_network.clone()];
        let all = containers.lines().chain(networks.lines()).map(str::to_owned);
        all.filter(|name| !own.contains(name)).collect()
    }
}

/// Makes or finds the images on the engine that is there.
async fn images() -> Config {
    let engine = Place::shared().await.docker;
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

fn copy_images(config: &Config, place: &Place) {
    let references = Role::ALL.map(|role| config.images.get(role).unwrap().reference.to_string());
    let save = Command::new("docker").arg("save").args(&references).stdout(Stdio::piped()).spawn();
    let mut save = save.expect("the docker command runs");
    let from = save.stdout.take().unwrap();
    let address = place.address.to_string();
    let load = Command::new("docker").args(["-H", &address, "load", "-q"]).stdin(from).output().unwrap();
    assert!(
        save.wait().unwrap().success() && load.status.success(),
        "the images could not be copied: {load:?}"
    );
}
