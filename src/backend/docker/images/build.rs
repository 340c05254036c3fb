//! `install.sh` in a build container, committed as an image.
//!
//! The container's main process is `cat` on an attached standard input. Whatever ends this process or drops the future
//! closes that stream; `cat` ends, and the engine removes the container, remote engines included.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use bollard::{
    Docker,
    container::LogOutput,
    exec::{StartExecOptions, StartExecResults},
    models::{ContainerConfig, ContainerCreateBody, ExecConfig, HostConfig},
    query_parameters::{
        AttachContainerOptionsBuilder, CommitContainerOptionsBuilder, CreateContainerOptions,
        InspectContainerOptions, RemoveContainerOptionsBuilder, StartContainerOptions,
        UploadToContainerOptionsBuilder,
    },
};
use futures::StreamExt;
use tokio::time::timeout;

use super::{
    ImageName, ProgressEvent, Recipe, SetupError, SetupErrorKind, SetupProgress, Step,
    call::{self, call, classify},
    certificates, import,
};
use crate::ids::{ImageRef, MemberId, Secret};

/// On every build container, with the recipe's hash; images made here keep it as the record of their recipe.
pub const BUILD_LABEL: &str = "bottle.build";

/// Where build material lies in a build container; gone before the commit.
const BUILD_DIR: &str = "/bottle-build";

/// How many last lines of a script an error carries.
const LOG_LINES: usize = 30;

/// What build steps get from the host.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) ca_bundle: Option<Vec<u8>>,
    pub(super) env: Vec<(String, Secret)>,
    pub(super) network: Option<String>,
}

/// One build: everything that names it.
#[derive(Debug)]
pub(super) struct Build<'a> {
    pub(super) image: ImageName,
    pub(super) recipe: &'a Recipe,
    /// Reference of the image below.
    pub(super) base: &'a ImageRef,
    pub(super) hash: &'a str,
    pub(super) reference: &'a ImageRef,
}

/// Builds, commits and tags; the build container is gone afterwards, whatever happened. Returns the image id.
pub(super) async fn build(
    engine: &Docker,
    build: &Build<'_>,
    surroundings: &Surroundings,
    progress: &dyn SetupProgress,
) -> Result<String, SetupError> {
    progress.report(ProgressEvent::Started { image: build.image, step: Step::Create });
    let body = container(build, surroundings);
    let create = engine.create_container(None::<CreateContainerOptions>, body);
    let id = MemberId::new(call(Step::Create, build.image, call::SHORT, create).await?.id);
    let options = AttachContainerOptionsBuilder::default().stdin(true).stream(true).build();
    let attach = engine.attach_container(id.as_str(), Some(options));
    // Held until the removal is done: its fall ends the container too, and two removals at once hinder each other.
    let lifeline = call(Step::Create, build.image, call::SHORT, attach).await;
    let result = match &lifeline {
        Ok(_) => fill(engine, build, surroundings, progress, &id).await,
        Err(_) => Ok(String::new()),
    };
    if let Err(error) = remove(engine, build.image, &id).await {
        // The engine removes it by itself once its standard input is closed; the next setup sweeps.
        tracing::warn!(container = id.as_str(), %error, "build container could not be removed");
    }
    lifeline.and(result)
}

/// Removes the build container and returns when it is gone.
async fn remove(engine: &Docker, image: ImageName, id: &MemberId) -> Result<(), SetupError> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    let removal = engine.remove_container(id.as_str(), Some(options));
    let Err(refused) = call(Step::Sweep, image, call::SHORT, removal).await else { return Ok(()) };
    // The container has ended by itself and the engine's own removal is under way: wait for that one.
    for _ in 0..300 {
        let look = engine.inspect_container(id.as_str(), None::<InspectContainerOptions>);
        match call(Step::Sweep, image, call::SHORT, look).await {
            Err(error) if error.kind == SetupErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
            Ok(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    Err(refused)
}

fn container(build: &Build<'_>, surroundings: &Surroundings) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(build.base.to_string()),
        user: Some("0:0".to_owned()),
        working_dir: Some("/".to_owned()),
        entrypoint: Some(vec!["cat".to_owned()]),
        cmd: Some(Vec::new()),
        open_stdin: Some(true),
        stdin_once: Some(true),
        attach_stdin: Some(true),
        labels: Some(HashMap::from([(BUILD_LABEL.to_owned(), build.hash.to_owned())])),
        host_config: Some(HostConfig {
            auto_remove: Some(true),
            network_mode: surroundings.network.clone(),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

async fn fill(
    engine: &Docker,
    build: &Build<'_>,
    surroundings: &Surroundings,
    progress: &dyn SetupProgress,
    id: &MemberId,
) -> Result<String, SetupError> {
    let image = build.image;
    let start = engine.start_container(id.as_str(), None::<StartContainerOptions>);
    call(Step::Create, image, call::SHORT, start).await?;

    progress.report(ProgressEvent::Started { image, step: Step::Upload });
    let archive = material(build.recipe, surroundings)
        .map_err(|error| SetupError::new(Step::Upload, image, SetupErrorKind::Engine).because(error))?;
    let options = UploadToContainerOptionsBuilder::default().path("/").build();
    let upload = engine.upload_to_container(id.as_str(), Some(options), bollard::body_full(archive.into()));
    call(Step::Upload, image, call::LONG, upload).await?;

    progress.report(ProgressEvent::Started { image, step: Step::Install });
    match timeout(call::BUILD, install(engine, build, surroundings, progress, id)).await {
        Ok(result) => result?,
        Err(_) => {
            return Err(SetupError::new(
                Step::Install,
                image,
                SetupErrorKind::Deadline { after: call::BUILD },
            ));
        }
    }

    progress.report(ProgressEvent::Started { image, step: Step::Verify });
    let changes = call(Step::Verify, image, call::LONG, engine.container_changes(id.as_str())).await?;
    if let Some(left) = changes.into_iter().flatten().find(|change| change.path.starts_with(BUILD_DIR)) {
        return Err(SetupError::new(Step::Verify, image, SetupErrorKind::Leftover { path: left.path }));
    }

    progress.report(ProgressEvent::Started { image, step: Step::Commit });
    let (repo, tag) = import::split(build.reference);
    let options = CommitContainerOptionsBuilder::default()
        .container(id.as_str())
        .repo(repo)
        .tag(tag)
        .pause(true)
        .build();
    let committed =
        call(Step::Commit, image, call::LONG, engine.commit_container(options, configuration(build))).await?;
    Ok(committed.id)
}

/// The build directory as one archive: recipe files, certificates, apt's configuration.
fn material(recipe: &Recipe, surroundings: &Surroundings) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |path: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1);
        archive.append_data(&mut header, format!("{}/{path}", BUILD_DIR.trim_start_matches('/')), bytes)
    };
    for file in &recipe.files {
        add(&file.path, &file.bytes)?;
    }
    let mut apt = String::from(
        "APT::Install-Recommends \"false\";\nAcquire::Languages \"none\";\nAcquire::Retries \"3\";\n",
    );
    apt.push_str("Dpkg::Use-Pty \"false\";\nDpkg::Options { \"--force-confold\"; };\n");
    for path in ["man", "doc", "locale"] {
        apt.push_str(&format!("Dpkg::Options {{ \"--path-exclude=/usr/share/{path}/*\"; }};\n"));
    }
    apt.push_str("Dpkg::Options { \"--path-include=/usr/share/doc/*/copyright\"; };\n");
    if let Some(bundle) = &surroundings.ca_bundle {
        add("ca.crt", bundle)?;
        apt.push_str(&format!("Acquire::https::CAInfo \"{BUILD_DIR}/ca.crt\";\n"));
    }
    add("apt.conf", apt.as_bytes())?;
    archive.into_inner()
}

/// Environment of the script. It belongs to the exec, not to the container: a commit would copy the container's.
fn script_env(recipe: &Recipe, surroundings: &Surroundings) -> Vec<String> {
    let mut env = vec![
        format!("BUILD={BUILD_DIR}"),
        format!("PACKAGES={}", recipe.spec.packages.join(" ")),
        format!("APT_CONFIG={BUILD_DIR}/apt.conf"),
        "DEBIAN_FRONTEND=noninteractive".to_owned(),
        "PIP_DISABLE_PIP_VERSION_CHECK=1".to_owned(),
        "NPM_CONFIG_UPDATE_NOTIFIER=false".to_owned(),
    ];
    env.extend(recipe.spec.inputs.iter().map(|(name, value)| format!("{}={value}", name.to_uppercase())));
    if surroundings.ca_bundle.is_some() {
        env.extend(certificates::variables(&format!("{BUILD_DIR}/ca.crt")));
    }
    env.extend(surroundings.env.iter().map(|(name, value)| format!("{name}={}", value.expose_secret())));
    env
}

async fn install(
    engine: &Docker,
    build: &Build<'_>,
    surroundings: &Surroundings,
    progress: &dyn SetupProgress,
    id: &MemberId,
) -> Result<(), SetupError> {
    let image = build.image;
    // One pipe for both streams: the engine does not keep the order of two.
    let script = format!("exec 2>&1; sh {BUILD_DIR}/install.sh && sh {BUILD_DIR}/finish.sh");
    let config = ExecConfig {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        env: Some(script_env(build.recipe, surroundings)),
        cmd: Some(vec!["/bin/sh".to_owned(), "-c".to_owned(), script]),
        user: Some("0:0".to_owned()),
        ..ExecConfig::default()
    };
    let exec = call(Step::Install, image, call::SHORT, engine.create_exec(id.as_str(), config)).await?.id;
    let started =
        call(Step::Install, image, call::SHORT, engine.start_exec(&exec, None::<StartExecOptions>)).await?;
    let mut tail = VecDeque::new();
    if let StartExecResults::Attached { mut output, .. } = started {
        let mut lines = Lines::default();
        while let Some(chunk) = output.next().await {
            let chunk: LogOutput = chunk
                .map_err(|error| SetupError::new(Step::Install, image, classify(&error)).because(error))?;
            for text in lines.push(&chunk.into_bytes()) {
                progress.report(ProgressEvent::Line { image, text: &text });
                keep(&mut tail, text);
            }
        }
        if let Some(text) = lines.rest() {
            progress.report(ProgressEvent::Line { image, text: &text });
            keep(&mut tail, text);
        }
    }
    let fail = |kind, tail| Err(SetupError::new(Step::Install, image, kind).with_log(tail));
    match call(Step::Install, image, call::SHORT, engine.inspect_exec(&exec)).await {
        Ok(state) => match state.exit_code {
            Some(0) => Ok(()),
            Some(code) => fail(SetupErrorKind::Failed { status: format!("exit code {code}") }, tail),
            None => fail(SetupErrorKind::Interrupted, tail),
        },
        // The exec goes with its container.
        Err(error) if error.kind == SetupErrorKind::NotFound => fail(SetupErrorKind::Interrupted, tail),
        Err(error) => Err(error.with_log(tail)),
    }
}

/// The image's configuration. What is not named here, the engine copies from the build container.
fn configuration(build: &Build<'_>) -> ContainerConfig {
    let spec = &build.recipe.spec;
    let mut labels: HashMap<_, _> = spec.labels.clone().into_iter().collect();
    labels.insert(BUILD_LABEL.to_owned(), build.hash.to_owned());
    ContainerConfig {
        user: spec.user.clone(),
        working_dir: Some(spec.workdir.clone().unwrap_or_else(|| "/".to_owned())),
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        // Absent would mean the build container's own entrypoint; empty means none.
        entrypoint: Some(spec.entrypoint.clone()),
        cmd: Some(spec.cmd.clone()),
        labels: Some(labels),
        ..ContainerConfig::default()
    }
}

/// Appends to the lines an error will carry.
pub(super) fn keep(tail: &mut VecDeque<String>, line: String) {
    if tail.len() == LOG_LINES {
        tail.pop_front();
    }
    tail.push_back(line);
}

/// Cuts chunks of output into lines; a line without end is cut at 4 KiB, so that memory stays bounded.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    const LIMIT: usize = 4096;

    fn push(&mut self, chunk: &[u8]) -> Vec<String> {
        let mut done = Vec::new();
        for &byte in chunk {
            if matches!(byte, b'\n' | b'\r') {
                done.extend(self.rest());
            } else {
                self.0.push(byte);
                if self.0.len() >= Self::LIMIT {
                    done.extend(self.rest());
                }
            }
        }
        done
    }

    fn rest(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.0);
        (!line.is_empty()).then(|| String::from_utf8_lossy(&line).into_owned())
    }
}
