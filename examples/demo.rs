//! `make demo`: from a bare engine to a bottle with the real Claude Code in it, one blocked leak, and nothing left.
//!
//! With `CLAUDE_BOTTLE_OAUTH_TOKEN` set it talks to the real API; else a stub of the Messages API answers.
#![expect(clippy::print_stdout, reason = "a demonstration talks to its terminal")]

#[path = "../demo/stub.rs"]
mod stub;

use std::error::Error;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bottle::audit_log::AuditLog;
use bottle::backend::docker::DockerBackend;
use bottle::backend::docker::images::{ProgressEvent, SetupProgress, SetupRequest, setup};
use bottle::backend::{Backend, OwnedBy};
use bottle::config::{Engine, ImageConfig};
use bottle::ids::{ImageRef, Role};
use bottle::{
    Bottle, BottleSpec, Config, ExecRequest, ExecResult, HostEnv, Material, NoPrompt, Runtime, RuntimeOptions,
};

/// Matches the form of an AWS access key and belongs to nobody.
const FAKE_KEY: &str = "AKIAQYLPMN5HFIQR7XYA";
const NETWORK: &str = "claude-bottle-demo-egress";

type Outcome<T> = Result<T, Box<dyn Error>>;

fn step(text: &str) {
    println!("\n\u{1b}[1m▸ {text}\u{1b}[0m");
}

fn show(text: &str) {
    for line in text.lines() {
        println!("    {line}");
    }
}

struct Lines;

impl SetupProgress for Lines {
    fn report(&self, event: ProgressEvent<'_>) {
        match event {
            ProgressEvent::Started { image, step } => println!("    {image}: {step}"),
            ProgressEvent::Finished { image, outcome } => println!("    {image}: {outcome:?}"),
            _ => {}
        }
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let began = Instant::now();
    let scratch = std::env::temp_dir().join(format!("bottle-demo-{:08x}", rand::random::<u32>()));
    std::fs::create_dir(&scratch)?;
    let backend = DockerBackend::connect().await?;
    let outcome = tokio::select! {
        outcome = demo(&backend, &scratch) => outcome,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    };
    let left = clean_up(&backend, &scratch).await?;
    outcome?;
    if !left.is_empty() {
        return Err(format!("left behind: {}", left.join(", ")).into());
    }
    println!(
        "\nNothing is left: 0 containers, 0 networks, 0 files of this demonstration ({:.1} s).",
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

async fn demo(backend: &DockerBackend, scratch: &Path) -> Outcome<()> {
    step("Engine: what is there, and what weakens isolation on it");
    let facts = backend.facts().await?;
    show(&format!("{} (API {})", facts.version, facts.api_version));
    for weakness in &facts.weaknesses {
        show(&format!("note: {weakness}"));
    }

    step("Images: built from Debian, PyPI and npm packages once, found again by the hash of their recipe");
    let mut config = images().await?;
    config.egress_network = NETWORK.to_owned();

    let host = HostEnv::from_process()?;
    let real = host.var_non_empty("CLAUDE_BOTTLE_OAUTH_TOKEN").is_some();
    let stub = if real { None } else { Some(start_stub(backend, &config, scratch).await?) };
    let outcome = in_a_bottle(backend, config, host, scratch, stub.as_ref()).await;
    if let Some(stub) = &stub {
        stub.stop().await;
    }
    outcome
}

async fn images() -> Outcome<Config> {
    let engine = bollard::Docker::connect_with_local_defaults()?;
    let ca_bundle = std::env::var_os("BOTTLE_CA_BUNDLE").map(Into::into);
    let report = setup(&engine, SetupRequest { ca_bundle, ..SetupRequest::default() }, &Lines).await?;
    let mut config = Config { engine: report.gate.into(), ..Config::default() };
    for role in Role::ALL {
        let image = report.image(role).ok_or("an image is missing from the report")?;
        config.images.set(role, ImageConfig { reference: image.reference.clone(), digest: None });
    }
    // The official image in the gate's place, where it is at hand.
    if let Some(image) = std::env::var_os("BOTTLE_TEST_PIPELOCK_IMAGE") {
        let reference = ImageRef::new(image.to_string_lossy());
        config.engine = Engine::Pipelock;
        config.images.set(Role::Pipelock, ImageConfig { reference, digest: None });
    }
    Ok(config)
}

async fn start_stub(backend: &DockerBackend, config: &Config, scratch: &Path) -> Outcome<stub::Stub> {
    step(
        "Upstream: a stub of the Messages API behind the egress network (set CLAUDE_BOTTLE_OAUTH_TOKEN for the real one)",
    );
    let subnet = backend.ensure_shared(NETWORK, config.address_pool).await?;
    let address = Ipv4Addr::from(u32::from(subnet.network()) + 1);
    let image = config.images.mitmproxy.as_ref().ok_or("no mitmproxy image")?.reference.to_string();
    let ca = scratch.join("stub-ca.pem");
    let stub =
        stub::Stub::start(&image, "claude-bottle-demo-stub", ("bottle.demo", "stub"), address, ca).await?;
    show(&format!("listening on {}:443, with a certificate authority of its own", stub.address));
    Ok(stub)
}

fn manifest(stub: Option<&stub::Stub>) -> String {
    let upstream = stub.map_or(String::new(), |stub| {
        let hosts: Vec<_> =
            stub::HOSTS.iter().map(|host| format!("\"{host}\": \"{}\"", stub.address)).collect();
        let names: Vec<_> = stub::HOSTS.iter().map(|host| format!("\"{host}\"")).collect();
        format!(
            r#""extra_ca": "{}", "extra_hosts": {{ {} }}, "private_hosts": [ {} ]"#,
            stub.ca_file.display(),
            hosts.join(", "),
            names.join(", ")
        )
    });
    format!(
        r#"{{
  // What may leave: the default hosts of Claude Code; everything else is refused.
  "bottles": {{ "demo": {{ "env": {{ "DISABLE_AUTOUPDATER": "1" }}, "egress": {{ {upstream} }} }} }},
  "agents": {{ "demo": {{ "bottle": "demo", "prompt": "You are a polite demonstration." }} }}
}}"#
    )
}

async fn in_a_bottle(
    backend: &DockerBackend,
    config: Config,
    host: HostEnv,
    scratch: &Path,
    stub: Option<&stub::Stub>,
) -> Outcome<()> {
    step("Plan: what will be launched (nothing has been created yet)");
    let file = scratch.join("claude-bottle.json");
    std::fs::write(&file, manifest(stub))?;
    let manifest = bottle::manifest::load(&host, Some(&file))?;
    let mut options = RuntimeOptions::new(Arc::new(backend.clone()), config, host.clone());
    options.state_dir = scratch.join("state");
    let state = options.state_dir.clone();
    let runtime = Runtime::start(options).await?;
    let plan = runtime.prepare(&BottleSpec::new(manifest, "demo", scratch), false).await?;
    show(&plan.print());

    step(
        "Launch: networks, three containers, certificate, provisioning, and a probe through the whole chain",
    );
    let material = Material::gather(&plan, &host, &mut NoPrompt).await?;
    let began = Instant::now();
    let bottle = runtime.launch(plan, material).await?;
    show(&format!("ready in {:.2} s", began.elapsed().as_secs_f64()));
    if let Some(fingerprint) = bottle.fingerprint() {
        show(&format!("certificate authority {fingerprint}"));
    }
    show(&tree(&bottle));

    let outcome = scenes(&bottle, stub).await;

    step("Audit: every decision, one line each, kept on the host");
    let audit = std::fs::read_to_string(AuditLog::path(&state, bottle.id()))?;
    for line in audit.lines().filter(|line| line.contains("\"deny\"")) {
        show(line);
    }
    show(&format!("({} decisions in all)", audit.lines().count()));

    step("Teardown: agent first, then the sidecars, then the networks");
    let report = bottle.close().await;
    show(&report.removed.join(", "));
    runtime.shutdown().await;
    outcome
}

async fn scenes(bottle: &Bottle, stub: Option<&stub::Stub>) -> Outcome<()> {
    step("Claude Code, for real, answers one prompt through the chain");
    let prompt = "Say hello to the bottle.";
    let claude = ["claude", "--dangerously-skip-permissions", "-p", prompt];
    // Without a token the client insists on a key of its own; any text does, the stub does not look at it.
    let mut request = ExecRequest::new(claude).timeout(std::time::Duration::from_secs(120));
    if stub.is_some() {
        request.env.push(("ANTHROPIC_API_KEY".to_owned(), "held-by-bottle".into()));
    }
    let answer = bottle.exec(request).await?;
    show(&printed(&answer));
    if !answer.success() || answer.stdout.is_empty() {
        return Err("Claude Code did not answer".into());
    }

    step("A leak: a (fake) AWS key in a request to an allowed host");
    let body = format!("{{\"note\": \"{FAKE_KEY}\"}}");
    let leak = curl(bottle, &["-d", &body, "https://api.anthropic.com/v1/messages"]).await?;
    expect_denied(&leak, "AWS")?;

    step("A detour: a host outside the list");
    let detour = curl(bottle, &["https://exfiltration.example.com/"]).await?;
    expect_denied(&detour, "allowlist")
}

async fn curl(bottle: &Bottle, args: &[&str]) -> Outcome<ExecResult> {
    let fixed = ["curl", "-sS", "-i", "--max-time", "30"];
    let argv: Vec<_> = fixed.iter().chain(args).copied().collect();
    show(&format!("$ {}", argv.join(" ")));
    let result = bottle.exec(ExecRequest::new(argv)).await?;
    show(&printed(&result));
    Ok(result)
}

fn printed(result: &ExecResult) -> String {
    String::from_utf8_lossy(&[result.stdout.as_slice(), result.stderr.as_slice()].concat()).into_owned()
}

fn expect_denied(result: &ExecResult, rule: &str) -> Outcome<()> {
    let text = printed(result);
    // curl shows the answer to a refused CONNECT as its own error, with the status.
    if text.contains("403") && (text.contains(rule) || text.contains("x-bottle-verdict: deny")) {
        show("→ blocked");
        return Ok(());
    }
    Err("this request should have been blocked".into())
}

fn tree(bottle: &Bottle) -> String {
    let names = bottle.plan().names();
    format!(
        "bottle {}  {}\n├─ pipelock   {}\n├─ mitmproxy  {}\n└─ agent      {}",
        bottle.slug(),
        bottle.phase(),
        names.member(Role::Pipelock),
        names.member(Role::Mitmproxy),
        names.member(Role::Agent)
    )
}

/// Removes what the demonstration made beside the bottle, then looks for anything that is left.
async fn clean_up(backend: &DockerBackend, scratch: &Path) -> Outcome<Vec<String>> {
    let engine = bollard::Docker::connect_with_local_defaults()?;
    let force = bollard::query_parameters::RemoveContainerOptionsBuilder::default().force(true).build();
    let _ = engine.remove_container("claude-bottle-demo-stub", Some(force)).await;
    let mut left = Vec::new();
    for owned in backend.owned(&OwnedBy::Anyone).await? {
        if owned.ownership.agent == "demo" {
            left.push(format!("{:?}", owned.resource));
        }
    }
    if !backend.remove_shared(NETWORK).await? {
        left.push(format!("network {NETWORK}"));
    }
    std::fs::remove_dir_all(scratch)?;
    Ok(left)
}
