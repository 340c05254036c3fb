//! A runtime on an engine of its own, with a host of its own. No test logic.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bottle::actors::bottle::BottleArgs;
use bottle::actors::root::{Root, RootArgs};
use bottle::actors::supervision::call;
use bottle::audit_log::AuditLog;
use bottle::backend::{Backend as _, Owned, OwnedBy, OwnedResource};
use bottle::config::ImageConfig;
use bottle::ids::{BottleId, ImageRef, MemberId, Role};
use bottle::lease::Lease;
use bottle::manifest::{self, Source};
use bottle::messages::{BottleEvent, BottleMsg, BottleStatus, CloseReport, RootMsg};
use bottle::plan::spec::{MemberSpec, Ownership, Resources, StdinMode};
use bottle::testing::MemoryBackend;
use bottle::{
    Bottle, BottleSpec, Config, ExecRequest, HostEnv, LaunchError, LaunchPlan, Material, NoPrompt, Runtime,
    RuntimeOptions,
};
use futures::StreamExt as _;
use ractor::ActorRef;
use tempfile::TempDir;
use tokio::sync::{broadcast, watch};

/// The bundle that the agent's image brings.
pub(crate) const BUNDLE: &str = "-----BEGIN CERTIFICATE-----\nof the image\n-----END CERTIFICATE-----\n";
/// A manifest that needs every provisioning step.
const FULL: &str = r#"{
  "bottles": { "dev": { "ssh": [
    { "Host": "git", "Hostname": "git.example.org", "User": "git", "IdentityFile": "~/.ssh/key" }
  ] } },
  "agents": { "coder": { "bottle": "dev", "skills": ["review"], "prompt": "Be careful." } }
}"#;
const MINIMAL: &str = r#"{ "bottles": { "dev": {} }, "agents": { "coder": { "bottle": "dev" } } }"#;

/// One host with one engine.
pub(crate) struct Farm {
    pub(crate) engine: MemoryBackend,
    pub(crate) runtime: Runtime,
    pub(crate) host: HostEnv,
    pub(crate) dir: TempDir,
}

pub(crate) fn image(role: Role) -> ImageRef {
    ImageRef::new(format!("bottle-{role}:1"))
}

impl Farm {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("home/.ssh/key", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n");
        write("home/.claude/skills/review/SKILL.md", "Look twice.\n");
        write("home/.claude/skills/review/run.sh", "#!/bin/sh\n");
        set_mode(&dir.path().join("home/.claude/skills/review/run.sh"), 0o755);
        write("project/src/main.rs", "fn main() {}\n");
        let host = HostEnv::new(BTreeMap::new(), dir.path().join("home"), dir.path().join("project"));
        let engine = MemoryBackend::new();
        engine.add_image_file(&image(Role::Agent), "/etc/ssl/certs/ca-certificates.crt", BUNDLE.as_bytes());
        // Loads a key: the model knows no ssh-agent.
        engine.set_hook(|_, argv| {
            let loads_key = argv.last().is_some_and(|script| script.contains("ssh-add"));
            loads_key.then(bottle::testing::ExecAnswer::default)
        });
        let runtime = start(&engine, &host).await;
        Self { engine, runtime, host, dir }
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.dir.path().join("home/.local/state/bottle")
    }

    /// Another process on the same host.
    pub(crate) async fn second_runtime(&self) -> Runtime {
        start(&self.engine, &self.host).await
    }

    pub(crate) async fn plan_of(&self, full: bool) -> (LaunchPlan, Material) {
        self.plan_from(if full { FULL } else { MINIMAL }, full).await
    }

    async fn plan_from(&self, text: &str, full: bool) -> (LaunchPlan, Material) {
        let manifest = manifest::parse(&[Source::new("claude-bottle.json", text)]).unwrap();
        let mut spec = BottleSpec::new(manifest, "coder", self.host.cwd());
        spec.copy_cwd = full;
        let plan = self.runtime.prepare(&spec, false).await.unwrap();
        let material = Material::gather(&plan, &self.host, &mut NoPrompt).await.unwrap();
        (plan, material)
    }

    /// Launches with every provisioning step.
    pub(crate) async fn try_launch(&self) -> Result<Bottle, LaunchError> {
        let (plan, material) = self.plan_of(true).await;
        self.runtime.launch(plan, material).await
    }

    pub(crate) async fn launch(&self) -> Bottle {
        let (plan, material) = self.plan_of(false).await;
        self.runtime.launch(plan, material).await.unwrap()
    }

    /// Launches a bottle whose agent has this restart type.
    pub(crate) async fn launch_with_restart(&self, restart: &str) -> Bottle {
        let text = MINIMAL.replace(r#""dev": {}"#, &format!(r#""dev": {{ "restart": "{restart}" }}"#));
        let (plan, material) = self.plan_from(&text, false).await;
        self.runtime.launch(plan, material).await.unwrap()
    }

    pub(crate) fn member(&self, bottle: &Bottle, role: Role) -> MemberId {
        self.engine.member_named(bottle.plan().names().member(role)).expect("the member exists")
    }

    /// Everything on the engine that carries our labels.
    pub(crate) async fn owned(&self) -> Vec<Owned> {
        self.engine.owned(&OwnedBy::Anyone).await.unwrap()
    }

    /// Names of what one bottle has.
    pub(crate) async fn names_of(&self, bottle: &BottleId) -> Vec<String> {
        names(&self.engine.owned(&OwnedBy::Bottle(bottle.clone())).await.unwrap())
    }

    /// Nothing is left, not even a shared network that somebody uses.
    pub(crate) async fn assert_nothing_left(&self) {
        assert_eq!(names(&self.owned().await), Vec::<String>::new());
    }
}

async fn start(engine: &MemoryBackend, host: &HostEnv) -> Runtime {
    let mut config = Config { launch_concurrency: 8, ..Config::default() };
    for role in Role::ALL {
        config.images.set(role, ImageConfig { reference: image(role), digest: None });
    }
    Runtime::start(RuntimeOptions::new(Arc::new(engine.clone()), config, host.clone())).await.unwrap()
}

pub(crate) fn names(owned: &[Owned]) -> Vec<String> {
    let name = |item: &Owned| match &item.resource {
        OwnedResource::Member { name, .. } | OwnedResource::Zone { name, .. } => name.clone(),
    };
    owned.iter().map(name).collect()
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn sh(script: &str) -> ExecRequest {
    ExecRequest::new(["sh", "-c", script])
}

/// Works as a bottle should.
pub(crate) async fn assert_works(bottle: &Bottle) {
    assert_eq!(bottle.phase(), "ready");
    let said = bottle.exec(sh("echo alive")).await.unwrap();
    assert_eq!((said.code, said.stdout.as_slice()), (0, b"alive\n".as_slice()));
}

/// One entry of an archive: mode, owner, kind and content.
pub(crate) type Entry = (u32, u64, tar::EntryType, Vec<u8>);

/// What a member has at a path, by path inside the archive.
pub(crate) async fn tree(engine: &MemoryBackend, id: &MemberId, path: &str) -> BTreeMap<String, Entry> {
    let mut stream = engine.get_archive(id, path).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece.unwrap());
    }
    let mut found = BTreeMap::new();
    for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_string_lossy().trim_end_matches('/').to_owned();
        let header = entry.header();
        let (mode, uid, kind) = (header.mode().unwrap(), header.uid().unwrap(), header.entry_type());
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        found.insert(name, (mode, uid, kind, content));
    }
    found
}

/// What mitmproxy's addon says to a probe.
pub(crate) fn probe_answer(id: u64, ok: bool, detail: &str) -> String {
    let checks = serde_json::json!({
        "gate_health": ok, "gate_refuses": true, "scan_denies": true, "proxy_denies": true, "proxy_allows": ok,
    });
    serde_json::json!({ "event": "probe", "id": id, "ok": ok, "detail": detail, "ms": 1, "checks": checks })
        .to_string()
}

/// The error and all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Lets `limit` of virtual time pass, and everything in it happen.
pub(crate) async fn pass(limit: Duration) {
    tokio::time::sleep(limit).await;
}

pub(crate) fn failed(report: &CloseReport) -> Vec<String> {
    report.failed.iter().map(|error| chain(error.as_ref())).collect()
}

/// A container that belongs to another bottle of another host.
pub(crate) fn foreign_member(name: &str) -> MemberSpec {
    MemberSpec {
        ownership: Ownership {
            bottle: "0123456789abcdef".into(),
            owner: "somebody".into(),
            slug: "theirs".into(),
            agent: "theirs".into(),
            plan_hash: String::new(),
            generation: 1,
            host: "elsewhere".into(),
            boot: String::new(),
            detached: false,
        },
        role: Role::Agent,
        name: name.to_owned(),
        image: image(Role::Agent),
        entrypoint: Vec::new(),
        argv: Vec::new(),
        env: BTreeMap::new(),
        user: None,
        workdir: None,
        endpoints: Vec::new(),
        resources: Resources { memory_bytes: 1 << 20, nano_cpus: None, pids: 8 },
        read_only: false,
        tmpfs: Vec::new(),
        extra_hosts: Vec::new(),
        resolver: false,
        stdin: StdinMode::Closed,
        init: false,
        runtime: None,
        stop_grace: Duration::ZERO,
    }
}

/// A bottle whose supervisor the test holds, below a root that the test holds.
pub(crate) struct Bare {
    pub(crate) actor: ActorRef<BottleMsg>,
    pub(crate) status: watch::Receiver<BottleStatus>,
    pub(crate) events: broadcast::Receiver<BottleEvent>,
    pub(crate) id: BottleId,
}

impl Farm {
    /// A root beside the runtime's.
    pub(crate) async fn root(&self) -> ActorRef<RootMsg> {
        let lease = Arc::new(Lease::acquire(&self.state_dir()).unwrap());
        ractor::Actor::spawn(None, Root, RootArgs { lease }).await.unwrap().0
    }

    /// Spawns a bottle of that id; it begins at once.
    pub(crate) async fn spawn(&self, root: &ActorRef<RootMsg>, id: &str) -> Bare {
        let (plan, material) = self.plan_of(false).await;
        let id = BottleId::from(id);
        let (status, seen) = watch::channel(BottleStatus {
            phase: "launching",
            tree: None,
            was_ready: false,
            report: None,
            fingerprint: None,
        });
        let (events, heard) = broadcast::channel(64);
        let mut ownership = foreign_member("").ownership;
        (ownership.bottle, ownership.slug) = (id.clone(), plan.slug().clone());
        let args = BottleArgs {
            backend: Arc::new(self.engine.clone()),
            plan: Arc::new(plan),
            material: Arc::new(material),
            ownership,
            audit: AuditLog::open(&self.state_dir(), &id).unwrap(),
            journal: bottle::journal::Journal::none(),
            options: bottle::SupervisionOptions::default(),
            launched: tokio::sync::oneshot::channel().0,
            status,
            events,
            launch_deadline: Duration::from_secs(120),
            permit: None,
        };
        let spawned = call(root, |reply| RootMsg::Spawn(Box::new(args), reply), Duration::from_secs(1)).await;
        Bare { actor: spawned.unwrap().unwrap(), status: seen, events: heard, id }
    }
}

impl Bare {
    pub(crate) async fn ready(&mut self) {
        self.status.wait_for(|status| status.phase == "ready").await.unwrap();
    }

    pub(crate) async fn report(&mut self) -> Arc<CloseReport> {
        let status = self.status.wait_for(|status| status.report.is_some()).await.unwrap();
        status.report.clone().unwrap()
    }
}
