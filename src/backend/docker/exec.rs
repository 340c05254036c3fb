//! Commands inside a member: run, resize, kill, exit code.
//!
//! The engine has no call that ends a command. So each one carries a random mark in its environment, which
//! everything it starts inherits; a kill runs a second command as the same user that sends `KILL` to every
//! process with the mark until none is left. It needs `sh` and `tr` in the image. A process that wiped its own
//! environment escapes; the in-bottle helper has no such gap.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use futures::StreamExt as _;

use super::super::streams::{ExecControl, ExecIo, ExecSpec};
use super::super::{BackendError, BackendErrorKind, BackendResult, Op};
use super::container::subject;
use super::engine::{Engine, within};
use super::io::output;
use crate::ids::MemberId;
use crate::plan::spec::{ExecUser, TtySize};

/// The variable that marks a command and its descendants.
const MARK: &str = "BOTTLE_EXEC_ID";
/// Largest piece of output.
const OUTPUT_CAPACITY: usize = 64 * 1024;
/// `$1` is the mark. Rounds are bounded; a fork bomb is also held by the member's process limit.
const KILL_SCRIPT: &str = include_str!("kill_marked.sh");
const RESIZE_ATTEMPTS: u32 = 20;
const RESIZE_PAUSE: Duration = Duration::from_millis(50);

/// Why a command could not be handled.
#[derive(Debug, thiserror::Error)]
enum ExecError {
    #[error("the command has no terminal")]
    NoTerminal,
    #[error("the engine did not attach to the command")]
    NotAttached,
    #[error("processes of the command survived (the kill ended with {0:?})")]
    Survived(Option<i64>),
}

/// Runs a command. (Docker API: `POST /containers/{id}/exec`, `POST /exec/{id}/start`.)
///
/// Dropping the streams does not end the command; [`ExecControl::kill`] does.
///
/// # Errors
/// `NotFound`, `NotRunning` (also paused). A missing program is exit code 126 or 127, not an error.
pub(super) async fn exec(engine: &Arc<Engine>, id: &MemberId, spec: ExecSpec) -> BackendResult<ExecIo> {
    let mark = format!("{:032x}", rand::random::<u128>());
    let run = start(engine, id, &spec, Some(&mark)).await?;
    let control = Control {
        engine: engine.clone(),
        member: id.clone(),
        exec: run.exec,
        mark,
        user: spec.user,
        tty: spec.tty.is_some(),
    };
    if let Some(size) = spec.tty {
        control.resize(size).await?;
    }
    let stdin = spec.stdin.then_some(run.input);
    Ok(ExecIo { stdin, output: output(Op::Exec, id, run.output), control: Box::new(control) })
}

struct Run {
    exec: String,
    output: std::pin::Pin<
        Box<dyn futures::Stream<Item = Result<bollard::container::LogOutput, bollard::errors::Error>> + Send>,
    >,
    input: super::super::streams::InputSink,
}

async fn start(engine: &Engine, id: &MemberId, spec: &ExecSpec, mark: Option<&str>) -> BackendResult<Run> {
    let mut env: Vec<String> =
        spec.env.iter().map(|(key, value)| format!("{key}={}", value.expose_secret())).collect();
    env.extend(mark.map(|mark| format!("{MARK}={mark}")));
    let tty = spec.tty.is_some();
    let options = CreateExecOptions {
        attach_stdin: Some(spec.stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(tty),
        env: Some(env),
        cmd: Some(sized(&spec.argv, spec.tty)),
        privileged: Some(false),
        user: user(&spec.user),
        working_dir: spec.cwd.clone(),
        detach_keys: None,
    };
    let created =
        engine.call(Op::Exec, subject(id.as_str()), engine.docker.create_exec(id.as_str(), options)).await?;
    let options = StartExecOptions { detach: false, tty, output_capacity: Some(OUTPUT_CAPACITY) };
    let call = engine.docker.start_exec(&created.id, Some(options));
    match engine.call(Op::Exec, subject(id.as_str()), call).await? {
        StartExecResults::Attached { output, input } => Ok(Run { exec: created.id, output, input }),
        StartExecResults::Detached => Err(refused(id, BackendErrorKind::Protocol, ExecError::NotAttached)),
    }
}

/// Gives a terminal its size before the command looks at it: engines before API 1.42 open it with no size, and
/// the resize that follows comes too late for a program that asks at once. A shell and `stty` are in every image
/// with a terminal to speak of; without `stty` the resize still comes.
fn sized(argv: &[String], tty: Option<TtySize>) -> Vec<String> {
    let Some(TtySize { rows, cols }) = tty else { return argv.to_vec() };
    let script = r#"stty rows "$1" cols "$2" 2>/dev/null; shift 2; exec "$@""#;
    let fixed = ["sh", "-c", script, "sh"].map(str::to_owned);
    fixed.into_iter().chain([rows.to_string(), cols.to_string()]).chain(argv.iter().cloned()).collect()
}

/// The agent's user is the one the member was created with.
fn user(user: &ExecUser) -> Option<String> {
    match user {
        ExecUser::Agent => None,
        ExecUser::Root => Some("0:0".into()),
        ExecUser::Named(name) => Some(name.clone()),
    }
}

fn refused(id: &MemberId, kind: BackendErrorKind, why: ExecError) -> BackendError {
    BackendError::new(Op::Exec, subject(id.as_str()), kind, why)
}

struct Control {
    engine: Arc<Engine>,
    member: MemberId,
    exec: String,
    mark: String,
    user: ExecUser,
    tty: bool,
}

impl Control {
    async fn inspect(&self, exec: &str) -> BackendResult<Option<i64>> {
        let call = self.engine.docker.inspect_exec(exec);
        let found = self.engine.call(Op::Exec, subject(self.member.as_str()), call).await?;
        Ok(if found.running == Some(true) { None } else { found.exit_code })
    }
}

#[async_trait]
impl ExecControl for Control {
    async fn resize(&self, size: TtySize) -> BackendResult<()> {
        if !self.tty {
            return Err(refused(&self.member, BackendErrorKind::Denied, ExecError::NoTerminal));
        }
        let mut attempt = 0;
        loop {
            attempt += 1;
            let options = ResizeExecOptions { height: size.rows, width: size.cols };
            let call = self.engine.docker.resize_exec(&self.exec, options);
            match self.engine.call(Op::Exec, subject(self.member.as_str()), call).await {
                Ok(()) => return Ok(()),
                // The engine refuses until the process runs; one that has ended needs no size.
                Err(_) if self.inspect(&self.exec).await?.is_some() => return Ok(()),
                Err(error) if attempt == RESIZE_ATTEMPTS => return Err(error),
                Err(_) => tokio::time::sleep(RESIZE_PAUSE).await,
            }
        }
    }

    async fn kill(&self) -> BackendResult<()> {
        let mark = format!("{MARK}={}", self.mark);
        let mut spec = ExecSpec::new(["sh", "-c", KILL_SCRIPT, "kill-marked", mark.as_str()]);
        spec.user = self.user.clone();
        let limit = self.engine.deadlines.of(Op::Exec);
        within(limit, Op::Exec, subject(self.member.as_str()), async {
            let mut run = match start(&self.engine, &self.member, &spec, None).await {
                Ok(run) => run,
                // A member that is not running has no processes.
                Err(error)
                    if matches!(error.kind, BackendErrorKind::NotRunning | BackendErrorKind::NotFound) =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            while run.output.next().await.is_some() {}
            match self.inspect(&run.exec).await? {
                Some(0) => Ok(()),
                code => Err(refused(&self.member, BackendErrorKind::Protocol, ExecError::Survived(code))),
            }
        })
        .await
    }

    async fn exit_code(&self) -> BackendResult<Option<i64>> {
        self.inspect(&self.exec).await
    }
}
