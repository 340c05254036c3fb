//! Debian root file system by mmdebstrap on this host, streamed into the engine without touching the disk twice.

use std::{collections::VecDeque, io::ErrorKind, process::Stdio};

use bollard::Docker;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};
use tokio_util::io::ReaderStream;

use super::{
    ImageName, ProgressEvent, Recipe, SetupError, SetupErrorKind, SetupProgress, Step,
    build::keep,
    call,
    import::{discard, import, tag},
};
use crate::ids::ImageRef;

const PROGRAM: &str = "mmdebstrap";

/// Ends mmdebstrap when the setup is dropped: by SIGTERM, so that it removes its temporary directory itself.
struct Bootstrap(Child);

impl Drop for Bootstrap {
    fn drop(&mut self) {
        let pid = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // An error means that it is gone already.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

/// The command line; part of the image's hash, because it decides what is in the image.
pub(super) fn arguments(recipe: &Recipe) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "--variant=minbase",
        "--format=tar",
        "--aptopt=Acquire::Languages \"none\"",
        "--aptopt=APT::Install-Recommends \"false\"",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        "--customize-hook=find \"$1\" -xdev -type f -perm /6000 -exec chmod u-s,g-s {} +",
    ]
    .map(str::to_owned)
    .into();
    if !recipe.spec.packages.is_empty() {
        arguments.push(format!("--include={}", recipe.spec.packages.join(",")));
    }
    arguments.extend(recipe.spec.suite.clone());
    arguments.push("-".to_owned());
    arguments
}

/// Makes the image and tags it. Dropping the future ends mmdebstrap; an archive cut short gives no tagged image.
pub(super) async fn bootstrap(
    engine: &Docker,
    recipe: &Recipe,
    hash: &str,
    reference: &ImageRef,
    progress: &dyn SetupProgress,
) -> Result<String, SetupError> {
    let image = ImageName::Base;
    let fail = |kind| SetupError::new(Step::Bootstrap, image, kind);
    progress.report(ProgressEvent::Started { image, step: Step::Bootstrap });
    let mut command = Command::new(PROGRAM);
    command.args(arguments(recipe)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Bootstrap(command.spawn().map_err(|error| {
        let kind = match error.kind() {
            ErrorKind::NotFound => SetupErrorKind::MissingProgram { program: PROGRAM },
            _ => SetupErrorKind::Failed { status: "no start".to_owned() },
        };
        fail(kind).because(error)
    })?);
    let (Some(stdout), Some(stderr)) = (child.0.stdout.take(), child.0.stderr.take()) else {
        return Err(fail(SetupErrorKind::Interrupted));
    };
    let log = async {
        let mut tail = VecDeque::new();
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            progress.report(ProgressEvent::Line { image, text: &line });
            keep(&mut tail, line);
        }
        tail
    };
    let archive = ReaderStream::with_capacity(stdout, 256 * 1024);
    let work =
        async { tokio::join!(import(engine, image, &recipe.spec, hash, archive), log, child.0.wait()) };
    let (imported, tail, status) = timeout(call::BUILD, work)
        .await
        .map_err(|_| fail(SetupErrorKind::Deadline { after: call::BUILD }))?;
    let status = status.map_err(|error| fail(SetupErrorKind::Interrupted).because(error))?;
    // An import of an archive cut short may well succeed: mmdebstrap's own word comes first.
    if !status.success() {
        if let Ok(id) = imported {
            discard(engine, &id).await;
        }
        return Err(fail(SetupErrorKind::Failed { status: status.to_string() }).with_log(tail));
    }
    let id = imported?;
    if let Err(error) = tag(engine, image, &id, reference).await {
        discard(engine, &id).await;
        return Err(error);
    }
    Ok(id)
}
