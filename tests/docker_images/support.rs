//! Engine, requests and one-shot containers for these tests.

use std::{
    collections::HashMap,
    io::Write,
    path::PathBuf,
    sync::Mutex,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bollard::{
    Docker,
    container::LogOutput,
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{
        AttachContainerOptionsBuilder, CreateContainerOptions, ListContainersOptionsBuilder,
        RemoveContainerOptionsBuilder, RemoveImageOptions, StartContainerOptions,
    },
};
use bottle::backend::docker::images::{
    BUILD_LABEL, BuildFile, GateChoice, ProgressEvent, Quiet, Recipe, RecipeSet, SetupProgress, SetupReport,
    SetupRequest, setup,
};
use futures::StreamExt;
use tokio::sync::OnceCell;

/// The engine, or `None` when the run opted out.
pub(crate) async fn engine() -> Option<Docker> {
    if std::env::var("BOTTLE_TEST_ENGINE").as_deref() == Ok("none") {
        let _ = writeln!(std::io::stderr(), "skipped: BOTTLE_TEST_ENGINE=none");
        return None;
    }
    let engine = Docker::connect_with_local_defaults().expect("an engine is configured");
    engine.ping().await.expect("the engine answers; run scripts/engine.sh, or set BOTTLE_TEST_ENGINE=none");
    Some(engine)
}

/// What these tests ask for: the builtin gate, certificates of the surroundings.
pub(crate) fn request() -> SetupRequest {
    SetupRequest {
        gate: GateChoice::Builtin,
        ca_bundle: std::env::var_os("SSL_CERT_FILE").map(PathBuf::from),
        ..SetupRequest::default()
    }
}

/// The images, built once in this process where they are missing.
pub(crate) async fn ready(engine: &Docker) -> &'static SetupReport {
    static READY: OnceCell<SetupReport> = OnceCell::const_new();
    READY
        .get_or_init(|| async {
            match setup(engine, request(), &Quiet).await {
                Ok(report) => report,
                Err(error) => panic!("{error}\n{:#?}\nremedy: {}", error.log, error.remedy()),
            }
        })
        .await
}

/// Text that no other run uses.
pub(crate) fn unique() -> String {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("t{}-{nanos}", std::process::id())
}

/// The embedded recipes with another agent image: the given scripts on the real base.
pub(crate) fn recipes(name: &str, install: &str, finish: &str) -> RecipeSet {
    let text = format!("# {}\nname = {name:?}\nkind = 'container'\nbase = 'base'\n", unique());
    let file =
        |path: &str, text: &str| BuildFile { path: path.into(), bytes: text.as_bytes().to_vec().into() };
    let agent = Recipe::parse(&text, vec![file("install.sh", install), file("finish.sh", finish)]).unwrap();
    RecipeSet { agent, ..RecipeSet::embedded().unwrap() }
}

/// Removes a reference that a test made.
pub(crate) async fn forget(engine: &Docker, reference: &str) {
    engine.remove_image(reference, None::<RemoveImageOptions>, None).await.unwrap();
}

/// Containers on the engine that build the recipe with this hash.
pub(crate) async fn builders(engine: &Docker, hash: &str) -> usize {
    let filters = HashMap::from([("label", vec![format!("{BUILD_LABEL}={hash}")])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    engine.list_containers(Some(options)).await.unwrap().len()
}

/// Runs a command in an image: network none, read-only root, tmpfs on /tmp. Output and exit code.
pub(crate) async fn run(engine: &Docker, image: &str, user: Option<&str>, command: &[&str]) -> (String, i64) {
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        user: user.map(str::to_owned),
        entrypoint: Some(command.iter().map(|word| (*word).to_owned()).collect()),
        cmd: Some(Vec::new()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            readonly_rootfs: Some(true),
            tmpfs: Some(HashMap::from([("/tmp".to_owned(), String::new())])),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let id = engine.create_container(None::<CreateContainerOptions>, body).await.unwrap().id;
    let options = AttachContainerOptionsBuilder::default().stdout(true).stderr(true).stream(true).build();
    let mut output = engine.attach_container(&id, Some(options)).await.unwrap().output;
    engine.start_container(&id, None::<StartContainerOptions>).await.unwrap();
    let mut text = String::new();
    while let Some(Ok(chunk)) = output.next().await {
        let chunk: LogOutput = chunk;
        text.push_str(&String::from_utf8_lossy(&chunk.into_bytes()));
    }
    let code = loop {
        let state = engine.inspect_container(&id, None).await.unwrap().state.unwrap();
        if state.running != Some(true) {
            break state.exit_code.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    engine
        .remove_container(&id, Some(RemoveContainerOptionsBuilder::default().force(true).build()))
        .await
        .unwrap();
    (text, code)
}

/// Remembers the lines of output.
#[derive(Debug, Default)]
pub(crate) struct Recorder(pub(crate) Mutex<Vec<String>>);

impl SetupProgress for Recorder {
    fn report(&self, event: ProgressEvent<'_>) {
        if let ProgressEvent::Line { text, .. } = event {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }
}

/// Waits until a probe says yes.
pub(crate) async fn eventually(what: &str, deadline: Duration, mut probe: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !probe().await {
        assert!(begun.elapsed() < deadline, "{what}: not within {deadline:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
