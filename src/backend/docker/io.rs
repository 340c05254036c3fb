//! A member's own streams: attach, start, logs.

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error;
use bollard::query_parameters::{AttachContainerOptionsBuilder, LogsOptionsBuilder, StartContainerOptions};
use futures::{Stream, StreamExt as _};
use tokio::io::AsyncWriteExt as _;

use super::super::streams::{InputSink, LogOptions, MemberIo, Output, OutputStream};
use super::super::{BackendError, BackendErrorKind, BackendResult, Op, Subject};
use super::classify::{self, Meaning};
use super::container::{inspect_raw, state_of, subject};
use super::engine::{Engine, meaning, within};
use crate::ids::{MemberId, Secret};
use crate::plan::spec::{MemberState, StdinMode};

/// How often a start is tried again while a network's name is ambiguous.
const START_ATTEMPTS: u32 = 50;
const START_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Why streams could not be had.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("it is paused")]
    Paused,
    #[error("it is not running")]
    NotRunning,
    #[error("it has no standard input to take the material")]
    NoInput,
}

/// Starts a member with its streams attached beforehand. (Docker API: `POST /containers/{id}/attach`,
/// `POST /containers/{id}/start`.)
///
/// A running member is attached to and the material is not written again. Dropped half-way the member may run
/// without having got its material: callers remove it or start it again after a stop.
pub(super) async fn start(
    engine: &Engine,
    id: &MemberId,
    material: Option<Secret<String>>,
) -> BackendResult<MemberIo> {
    let (state, mode) = state_and_mode(engine, Op::StartMember, id).await?;
    let refuse = |kind, why| Err(refused(Op::StartMember, id, kind, why));
    match state {
        MemberState::Running => {
            return attach_to(engine, id, mode == StdinMode::Open).await.map(|io| into(id, io, mode, true));
        }
        MemberState::Paused => return refuse(BackendErrorKind::NotRunning, StreamError::Paused),
        _ if material.is_some() && mode == StdinMode::Closed => {
            return refuse(BackendErrorKind::Denied, StreamError::NoInput);
        }
        _ => {}
    }
    let mut io = start_attached(engine, id, mode != StdinMode::Closed).await?;
    if mode != StdinMode::Closed {
        let limit = engine.deadlines.of(Op::AttachMember);
        within(limit, Op::StartMember, subject(id.as_str()), async {
            feed(&mut io.input, material.as_ref(), mode).await.map_err(|err| {
                classify::failed(Op::StartMember, subject(id.as_str()), Error::IOError { err })
            })
        })
        .await?;
    }
    Ok(into(id, io, mode, false))
}

/// Attaches, then starts.
///
/// The engine resolves a member's networks by name. While a concurrent launch of the same name has made a
/// second one, which it removes in a moment, the name is ambiguous to it. A refused start cuts what was
/// attached, so both are done again.
async fn start_attached(
    engine: &Engine,
    id: &MemberId,
    stdin: bool,
) -> BackendResult<AttachContainerResults> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let io = attach_to(engine, id, stdin).await?;
        let call = engine.docker.start_container(id.as_str(), None::<StartContainerOptions>);
        let Err(error) = engine.call(Op::StartMember, subject(id.as_str()), call).await else {
            return Ok(io);
        };
        match meaning(&error) {
            Some(Meaning::Ambiguous) if attempt < START_ATTEMPTS => tokio::time::sleep(START_PAUSE).await,
            Some(Meaning::NoNetwork) => {
                return Err(BackendError { subject: Subject::Network(format!("of {id}")), ..error });
            }
            _ => return Err(error),
        }
    }
}

/// Writes the material; a member that takes it once gets its end of file.
async fn feed(
    input: &mut InputSink,
    material: Option<&Secret<String>>,
    mode: StdinMode,
) -> std::io::Result<()> {
    if let Some(material) = material {
        input.write_all(material.expose_secret().as_bytes()).await?;
        input.flush().await?;
    }
    if mode == StdinMode::Once { input.shutdown().await } else { Ok(()) }
}

/// Attaches to a running member; the engine refuses a paused one.
///
/// # Errors
/// `NotFound`, `NotRunning`.
pub(super) async fn attach(engine: &Engine, id: &MemberId) -> BackendResult<MemberIo> {
    let (state, mode) = state_and_mode(engine, Op::AttachMember, id).await?;
    if state != MemberState::Running {
        let why = if state == MemberState::Paused { StreamError::Paused } else { StreamError::NotRunning };
        return Err(refused(Op::AttachMember, id, BackendErrorKind::NotRunning, why));
    }
    attach_to(engine, id, mode == StdinMode::Open).await.map(|io| into(id, io, mode, true))
}

async fn state_and_mode(engine: &Engine, op: Op, id: &MemberId) -> BackendResult<(MemberState, StdinMode)> {
    let found = inspect_raw(engine, op, id.as_str()).await?;
    let config = found.config.unwrap_or_default();
    let mode = match (config.open_stdin, config.stdin_once) {
        (Some(true), Some(true)) => StdinMode::Once,
        (Some(true), _) => StdinMode::Open,
        _ => StdinMode::Closed,
    };
    Ok((state_of(&found.state.unwrap_or_default()), mode))
}

async fn attach_to(engine: &Engine, id: &MemberId, stdin: bool) -> BackendResult<AttachContainerResults> {
    let options =
        AttachContainerOptionsBuilder::new().stream(true).stdout(true).stderr(true).stdin(stdin).build();
    let call = engine.docker.attach_container(id.as_str(), Some(options));
    engine.call(Op::AttachMember, subject(id.as_str()), call).await
}

fn into(id: &MemberId, io: AttachContainerResults, mode: StdinMode, found_running: bool) -> MemberIo {
    MemberIo {
        stdin: (mode == StdinMode::Open).then_some(io.input),
        output: output(Op::AttachMember, id, io.output),
        found_running,
    }
}

/// What a member's first process printed. (Docker API: `GET /containers/{id}/logs`.)
pub(super) async fn logs(engine: &Engine, id: &MemberId, options: LogOptions) -> BackendResult<OutputStream> {
    // The stream itself reports a missing member only when it is read.
    inspect_raw(engine, Op::Logs, id.as_str()).await?;
    let tail = options.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
    let query = LogsOptionsBuilder::new()
        .stdout(true)
        .stderr(true)
        .follow(options.follow)
        .timestamps(options.timestamps)
        .tail(&tail)
        .build();
    Ok(output(Op::Logs, id, Box::pin(engine.docker.logs(id.as_str(), Some(query)))))
}

/// The client's output as the backend's; ends after the first error.
pub(super) fn output(
    op: Op,
    id: &MemberId,
    stream: impl Stream<Item = Result<LogOutput, Error>> + Send + 'static,
) -> OutputStream {
    let subject = subject(id.as_str());
    Box::pin(stream.filter_map(move |item| {
        let item = match item {
            Ok(LogOutput::StdOut { message }) => Some(Ok(Output::Stdout(message))),
            Ok(LogOutput::StdErr { message }) => Some(Ok(Output::Stderr(message))),
            Ok(LogOutput::Console { message }) => Some(Ok(Output::Console(message))),
            Ok(LogOutput::StdIn { .. }) => None,
            Err(error) => Some(Err(classify::failed(op, subject.clone(), error))),
        };
        std::future::ready(item)
    }))
}

fn refused(op: Op, id: &MemberId, kind: BackendErrorKind, why: StreamError) -> BackendError {
    BackendError::new(op, subject(id.as_str()), kind, why)
}
