//! A farm in one process: four bottles of two agents, work sent to them as messages, results gathered, one
//! bottle killed on purpose while the others go on.
//!
//! With `CLAUDE_BOTTLE_OAUTH_TOKEN` set it talks to the real API; else a stub of the Messages API answers.
#![expect(clippy::print_stdout, reason = "a demonstration talks to its terminal")]

#[path = "../demo/stub.rs"]
mod stub;

use std::error::Error;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bottle::backend::docker::DockerBackend;
use bottle::backend::docker::images::{ProgressEvent, SetupProgress, SetupRequest, setup};
use bottle::backend::{Backend, OwnedBy, OwnedResource};
use bottle::config::ImageConfig;
use bottle::ids::Role;
use bottle::{
    Bottle, BottleSpec, ClaudeOptions, Config, ExecRequest, HostEnv, Material, NoPrompt, Runtime,
    RuntimeOptions,
};
use futures::future::{join_all, try_join_all};
use tokio::sync::{mpsc, oneshot};

const NETWORK: &str = "claude-bottle-farm-egress";
const STUB: &str = "claude-bottle-farm-stub";
const AGENTS: [&str; 2] = ["farm-writer", "farm-reviewer"];

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Work for one bottle: a prompt, and where the answer goes.
struct Task {
    prompt: String,
    answer: oneshot::Sender<Result<String, String>>,
}

struct Quiet;

impl SetupProgress for Quiet {
    fn report(&self, _event: ProgressEvent<'_>) {}
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let scratch = std::env::temp_dir().join(format!("bottle-farm-{:08x}", rand::random::<u32>()));
    std::fs::create_dir(&scratch)?;
    let backend = DockerBackend::connect().await?;
    let outcome = tokio::select! {
        outcome = farm(&backend, &scratch) => outcome,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    };
    let left = clean_up(&backend, &scratch).await?;
    outcome?;
    if !left.is_empty() {
        return Err(format!("left behind: {}", left.join(", ")).into());
    }
    println!("\nnothing is left");
    Ok(())
}

async fn farm(backend: &DockerBackend, scratch: &Path) -> Outcome<()> {
    let config = configure().await?;
    let host = HostEnv::from_process()?;
    let real = host.var_non_empty("CLAUDE_BOTTLE_OAUTH_TOKEN").is_some();
    let stub = if real { None } else { Some(start_stub(backend, &config, scratch).await?) };
    let mut options = RuntimeOptions::new(Arc::new(backend.clone()), config, host.clone());
    options.state_dir = scratch.join("state");
    let runtime = Runtime::start(options).await?;
    let outcome = season(&runtime, &host, scratch, stub.as_ref()).await;
    for (slug, report) in runtime.shutdown().await {
        println!("closed   {slug}: {} resources removed", report.removed.len());
    }
    if let Some(stub) = &stub {
        stub.stop().await;
    }
    outcome
}

async fn season(runtime: &Runtime, host: &HostEnv, scratch: &Path, stub: Option<&stub::Stub>) -> Outcome<()> {
    let file = scratch.join("claude-bottle.json");
    std::fs::write(&file, manifest(stub))?;
    let manifest = bottle::manifest::load(host, Some(&file))?;
    let began = Instant::now();
    let launch = async |agent: &str| -> Outcome<Bottle> {
        let plan = runtime.prepare(&BottleSpec::new(manifest.clone(), agent, scratch), false).await?;
        let material = Material::gather(&plan, host, &mut NoPrompt).await?;
        Ok(runtime.launch(plan, material).await?)
    };
    let wanted = AGENTS.iter().flat_map(|agent| [*agent, *agent]);
    let bottles = try_join_all(wanted.map(launch)).await?;
    println!("launched {} bottles in {:.1} s", bottles.len(), began.elapsed().as_secs_f64());

    let began = Instant::now();
    let mailboxes: Vec<_> = bottles.iter().map(|bottle| work(bottle.clone())).collect();
    let answers = send(&mailboxes, "Say which field you plough").await?;
    println!("answers  in {:.1} s", began.elapsed().as_secs_f64());
    for (bottle, answer) in bottles.iter().zip(answers) {
        println!("         {}: {}", bottle.slug(), answer?);
    }

    let [killed, others @ ..] = bottles.as_slice() else { return Ok(()) };
    let engine = bollard::Docker::connect_with_local_defaults()?;
    engine.kill_container(killed.plan().names().member(Role::Agent), None).await?;
    let report = killed.wait().await;
    let reason = report.reason.as_ref().map_or("no reason".to_owned(), ToString::to_string);
    println!("killed   {}: {reason}", killed.slug());

    for (bottle, answer) in bottles.iter().zip(send(&mailboxes, "Say that you go on").await?) {
        match answer {
            Ok(text) => println!("         {}: {text}", bottle.slug()),
            Err(why) => println!("         {}: (no answer) {why}", bottle.slug()),
        }
    }
    for bottle in others {
        let alive = bottle.exec(ExecRequest::new(["true"])).await?;
        if !alive.success() {
            return Err(format!("{} should be unaffected", bottle.slug()).into());
        }
    }
    Ok(())
}

/// One worker a bottle: takes tasks from its mailbox until nobody can send any more.
fn work(bottle: Bottle) -> mpsc::Sender<Task> {
    let (mailbox, mut tasks) = mpsc::channel::<Task>(8);
    tokio::spawn(async move {
        while let Some(task) = tasks.recv().await {
            let _ = task.answer.send(ask(&bottle, task.prompt).await.map_err(|error| error.to_string()));
        }
    });
    mailbox
}

async fn ask(bottle: &Bottle, prompt: String) -> Result<String, bottle::messages::OperationError> {
    let args = vec!["-p".to_owned(), prompt];
    let mut session = bottle.exec_claude(args, ClaudeOptions::default()).await?;
    let mut text = Vec::new();
    while let Some(piece) = session.next_output().await {
        if let bottle::backend::Output::Stdout(bytes) = piece {
            text.extend_from_slice(&bytes);
        }
    }
    session.wait().await?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

/// Sends the same prompt to all at once and waits for all answers.
async fn send(mailboxes: &[mpsc::Sender<Task>], prompt: &str) -> Outcome<Vec<Result<String, String>>> {
    let asked = mailboxes.iter().enumerate().map(async |(number, mailbox)| {
        let (answer, answered) = oneshot::channel();
        let task = Task { prompt: format!("{prompt}, number {number}."), answer };
        mailbox.send(task).await.map_err(|_| "its worker has ended")?;
        tokio::time::timeout(Duration::from_secs(300), answered)
            .await
            .map_err(|_| "no answer in time")?
            .map_err(|_| "its worker has ended")
    });
    Ok(join_all(asked)
        .await
        .into_iter()
        .map(|answer| answer.unwrap_or_else(|why: &str| Err(why.into())))
        .collect())
}

async fn configure() -> Outcome<Config> {
    let engine = bollard::Docker::connect_with_local_defaults()?;
    let ca_bundle = std::env::var_os("BOTTLE_CA_BUNDLE").map(Into::into);
    let report = setup(&engine, SetupRequest { ca_bundle, ..SetupRequest::default() }, &Quiet).await?;
    let egress_network = NETWORK.to_owned();
    let mut config = Config { engine: report.gate.into(), egress_network, ..Config::default() };
    for role in Role::ALL {
        let image = report.image(role).ok_or("an image is missing from the report")?;
        config.images.set(role, ImageConfig { reference: image.reference.clone(), digest: None });
    }
    Ok(config)
}

async fn start_stub(backend: &DockerBackend, config: &Config, scratch: &Path) -> Outcome<stub::Stub> {
    let subnet = backend.ensure_shared(NETWORK, config.address_pool).await?;
    let address = Ipv4Addr::from(u32::from(subnet.network()) + 1);
    let image = config.images.mitmproxy.as_ref().ok_or("no mitmproxy image")?.reference.to_string();
    let stub =
        stub::Stub::start(&image, STUB, ("bottle.demo", "stub"), address, scratch.join("ca.pem")).await?;
    println!("stub     at {}:443 (set CLAUDE_BOTTLE_OAUTH_TOKEN for the real API)", stub.address);
    Ok(stub)
}

/// With the stub the client gets a key of its own: it insists on one, the stub does not look at it.
fn manifest(stub: Option<&stub::Stub>) -> String {
    let (mut env, mut egress) = (serde_json::json!({}), serde_json::json!({}));
    if let Some(stub) = stub {
        let address = stub.address.to_string();
        let hosts: std::collections::BTreeMap<_, _> =
            stub::HOSTS.iter().map(|host| (host, &address)).collect();
        env = serde_json::json!({ "ANTHROPIC_API_KEY": "held-by-bottle" });
        egress = serde_json::json!({
            "extra_ca": stub.ca_file, "extra_hosts": hosts, "private_hosts": stub::HOSTS,
        });
    }
    let agents: std::collections::BTreeMap<_, _> = AGENTS
        .iter()
        .map(|name| (name, serde_json::json!({ "bottle": "field", "prompt": format!("You are {name}.") })))
        .collect();
    serde_json::json!({ "bottles": { "field": { "env": env, "egress": egress } }, "agents": agents })
        .to_string()
}

/// Removes what the farm made beside its bottles, then looks for anything that is left.
async fn clean_up(backend: &DockerBackend, scratch: &Path) -> Outcome<Vec<String>> {
    let engine = bollard::Docker::connect_with_local_defaults()?;
    let force = bollard::query_parameters::RemoveContainerOptionsBuilder::default().force(true).build();
    let _ = engine.remove_container(STUB, Some(force)).await;
    let owned = backend.owned(&OwnedBy::Anyone).await?;
    let ours = owned.into_iter().filter(|item| AGENTS.contains(&item.ownership.agent.as_str()));
    let mut left: Vec<_> = ours
        .map(|item| match item.resource {
            OwnedResource::Member { name, .. } | OwnedResource::Zone { name, .. } => name,
        })
        .collect();
    if !backend.remove_shared(NETWORK).await? {
        left.push(NETWORK.to_owned());
    }
    std::fs::remove_dir_all(scratch)?;
    Ok(left)
}
