//! One test's own corner of the farm: names, home, working directory, state directory, runtime.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bottle::audit_log::AuditLog;
use bottle::backend::Backend;
use bottle::error::chain;
use bottle::{
    Bottle, BottleSpec, Config, ExecRequest, ExecResult, HostEnv, LaunchError, LaunchPlan, Material, NoPrompt,
    PrepareError, Runtime, RuntimeOptions,
};
use futures::FutureExt as _;
use serde_json::{Value, json};

use crate::farm::{self, Farm};
use crate::stub::{Arrival, HOSTS};
use crate::support;

/// Matches the form of an AWS access key and belongs to nobody.
pub const FAKE_KEY: &str = "AKIAQYLPMN5HFIQR7XYA";

pub struct Lab {
    pub farm: Arc<Farm>,
    /// The agent's name, and so the slug.
    pub agent: String,
    /// A directory of the test's own; holds `home`, `work` and `state`.
    pub dir: tempfile::TempDir,
}

/// What a test wants beyond the defaults.
#[derive(Default)]
pub struct Want {
    /// Keys of the manifest's bottle; `egress` is merged with the way to the stub.
    pub bottle: Value,
    /// Keys of the manifest's agent.
    pub agent: Value,
    /// Variables of the host.
    pub vars: Vec<(&'static str, String)>,
    /// Whether `work` is copied in.
    pub copy_cwd: bool,
    /// In place of the farm's configuration.
    pub config: Option<Config>,
    /// In place of the farm's backend.
    pub backend: Option<Arc<dyn Backend>>,
}

/// Runs a test that holds up to `bottles` bottles at once, and proves that it leaves nothing.
pub fn run(bottles: u32, test: impl AsyncFnOnce(&Lab)) {
    if !support::wants_engine() {
        return;
    }
    farm::TOKIO.block_on(async {
        let _turn = farm::IN_FLIGHT.acquire_many(bottles).await.unwrap();
        let lab = Lab::new(Farm::join().await);
        let agent = lab.agent.clone();
        let outcome = AssertUnwindSafe(test(&lab)).catch_unwind().await;
        // Handles dropped by a failed test close their bottles in the background.
        let left = support::eventually(Duration::from_secs(60), || async {
            let left = farm::leftovers(&agent);
            if left.is_empty() { Ok(left) } else { Err(left) }
        });
        let left = AssertUnwindSafe(left).catch_unwind().await;
        let Lab { farm, .. } = lab;
        let left_of_all = Farm::leave(farm).await;
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
        left.unwrap_or_else(|panic| resume_unwind(panic));
        assert!(left_of_all.is_empty(), "left: {left_of_all:?}");
    });
}

impl Lab {
    fn new(farm: Arc<Farm>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let agent = format!("{}-{:02x}x", *farm::RUN, NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = tempfile::tempdir().unwrap();
        for name in ["home", "work", "state"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { farm, agent, dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn host(&self, want: &Want) -> HostEnv {
        let vars: BTreeMap<_, _> =
            want.vars.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        HostEnv::new(vars, self.path("home"), self.path("work"))
    }

    pub async fn runtime(&self, want: &Want) -> Runtime {
        let config = want.config.clone().unwrap_or_else(|| self.farm.config.clone());
        let backend: Arc<dyn Backend> = match &want.backend {
            Some(backend) => Arc::clone(backend),
            None => Arc::clone(&self.farm.backend) as _,
        };
        let mut options = RuntimeOptions::new(backend, config, self.host(want));
        options.state_dir = self.path("state");
        Runtime::start(options).await.unwrap()
    }

    /// The manifest: a bottle whose way leads to the stub.
    pub fn manifest(&self, want: &Want) -> Value {
        let address = self.farm.stub.address.to_string();
        let hosts: BTreeMap<_, _> = HOSTS.iter().map(|host| (*host, address.clone())).collect();
        let mut bottle = json!({ "egress": {
            "extra_ca": self.farm.stub.ca_file, "extra_hosts": hosts, "private_hosts": HOSTS,
        } });
        merge(&mut bottle, &want.bottle);
        let mut agent = json!({ "bottle": "lab" });
        merge(&mut agent, &want.agent);
        json!({ "bottles": { "lab": bottle }, "agents": { &self.agent: agent } })
    }

    pub fn spec(&self, want: &Want) -> BottleSpec {
        let file = self.dir.path().join(format!("manifest-{:08x}.json", rand::random::<u32>()));
        std::fs::write(&file, self.manifest(want).to_string()).unwrap();
        let manifest = bottle::manifest::load(&self.host(want), Some(&file)).unwrap();
        let mut spec = BottleSpec::new(manifest, &self.agent, self.path("work"));
        spec.copy_cwd = want.copy_cwd;
        spec
    }

    pub async fn plan(&self, runtime: &Runtime, want: &Want) -> Result<LaunchPlan, PrepareError> {
        runtime.prepare(&self.spec(want), false).await
    }

    pub async fn try_launch(&self, runtime: &Runtime, want: &Want) -> Result<Bottle, LaunchError> {
        let plan = self.plan(runtime, want).await.unwrap_or_else(|error| panic!("{}", chain(&error)));
        let material = Material::gather(&plan, &self.host(want), &mut NoPrompt).await.unwrap();
        runtime.launch(plan, material).await
    }

    pub async fn launch(&self, runtime: &Runtime, want: &Want) -> Bottle {
        let bottle = self.try_launch(runtime, want).await;
        bottle.unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    /// Runs a test on one bottle; closes it and checks the report.
    pub async fn with_bottle(&self, want: Want, test: impl AsyncFnOnce(&Bottle)) {
        let runtime = self.runtime(&want).await;
        let bottle = self.launch(&runtime, &want).await;
        test(&bottle).await;
        let report = bottle.close().await;
        assert!(report.failed.is_empty(), "{report:?}");
        runtime.shutdown().await;
    }

    pub fn audit(&self, bottle: &Bottle) -> String {
        std::fs::read_to_string(AuditLog::path(&self.path("state"), bottle.id())).unwrap()
    }

    /// What has arrived at the stub for a path that only this test uses.
    pub async fn arrivals(&self, path: &str) -> Vec<Arrival> {
        let all = self.farm.stub.arrivals().await.unwrap();
        all.into_iter().filter(|arrival| arrival.path == path).collect()
    }

    /// A path on the stub's hosts that no other test uses.
    pub fn own_path(&self, name: &str) -> String {
        format!("/{}/{name}", self.agent)
    }
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (_, Value::Null) => {}
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) => into.extend(from.iter().cloned()),
        (into, from) => *into = from.clone(),
    }
}

/// A shell line as the agent user.
pub fn sh(script: &str) -> ExecRequest {
    ExecRequest::new(["bash", "-c", script]).timeout(Duration::from_secs(60))
}

/// Runs a shell line as the agent user.
pub async fn shell(bottle: &Bottle, script: &str) -> ExecResult {
    bottle.exec(sh(script)).await.unwrap_or_else(|error| panic!("{script}: {}", chain(&error)))
}

/// Runs a shell line that must succeed; gives what it prints, trimmed.
pub async fn says(bottle: &Bottle, script: &str) -> String {
    let result = shell(bottle, script).await;
    assert!(result.success(), "{script}: {} {}", result.code, printed(&result));
    String::from_utf8(result.stdout).unwrap().trim().to_owned()
}

/// Both streams as text.
pub fn printed(result: &ExecResult) -> String {
    String::from_utf8_lossy(&[result.stdout.as_slice(), result.stderr.as_slice()].concat()).into_owned()
}

/// One prompt through Claude Code, for real. The client insists on a key of its own; any text does.
pub fn claude(prompt: &str) -> ExecRequest {
    let argv = ["claude", "--dangerously-skip-permissions", "-p", prompt];
    let mut request = ExecRequest::new(argv).timeout(Duration::from_secs(240));
    request.env.push(("ANTHROPIC_API_KEY".to_owned(), "held-by-bottle".into()));
    request
}
