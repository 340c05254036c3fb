//! Running processes of the model: a member's first process and commands inside it.
//!
//! Each process is one task: the modelled process itself, ended with its member or command.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::streams::{ExecControl, ExecIo, ExecSpec, InputSink, MemberIo, Output, OutputStream};
use super::super::{BackendErrorKind, BackendResult, Op, Subject};
use super::book::Inner;
use super::line::Connection;
use super::model::{Member, refused};
use super::program::{self, Context, World};
use super::script::{Emit, Input, MemberScript, ScriptIo};
use crate::ids::{MemberId, Secret};
use crate::plan::spec::{ExecUser, MemberExit, MemberState, StdinMode, TtySize};

/// Standard input that ends on shutdown.
struct Sink {
    pieces: Option<mpsc::UnboundedSender<Bytes>>,
    connection: Connection,
}

fn sink(pieces: mpsc::UnboundedSender<Bytes>, connection: Connection) -> InputSink {
    Box::pin(Sink { pieces: Some(pieces), connection })
}

impl AsyncWrite for Sink {
    fn poll_write(self: Pin<&mut Self>, _: &mut TaskContext<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let pieces = self.pieces.as_ref().filter(|_| !self.connection.is_lost());
        let sent = pieces.map(|pieces| pieces.send(Bytes::copy_from_slice(bytes)).is_ok());
        Poll::Ready(if sent == Some(true) { Ok(bytes.len()) } else { Err(io::ErrorKind::BrokenPipe.into()) })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        self.pieces = None;
        Poll::Ready(Ok(()))
    }
}

/// Ends when the process ends or the connection is lost; says nothing while the engine hangs.
fn stream_of(pieces: mpsc::UnboundedReceiver<Output>, connection: Connection) -> OutputStream {
    Box::pin(stream::unfold((pieces, connection), |(mut pieces, connection)| async move {
        let next = async {
            let piece = pieces.recv().await;
            connection.answers().await;
            piece
        };
        let piece = tokio::select! {
            biased;
            () = connection.lost() => None,
            piece = next => piece,
        };
        piece.map(|piece| (Ok(piece), (pieces, connection)))
    }))
}

struct MemberWorld {
    inner: Arc<Inner>,
    id: MemberId,
}

impl MemberWorld {
    fn with<T>(&self, read: impl FnOnce(&mut Member) -> T) -> Option<T> {
        self.inner.model().members.get_mut(&self.id).map(read)
    }
}

struct Listed {
    inner: Arc<Inner>,
    id: MemberId,
    pid: i64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        if let Some(member) = self.inner.model().members.get_mut(&self.id) {
            member.processes.remove(&self.pid);
        }
    }
}

impl World for MemberWorld {
    fn processes(&self) -> Vec<(i64, String)> {
        self.with(|member| member.processes.clone().into_iter().collect()).unwrap_or_default()
    }

    fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.with(|member| member.files.read(path)).flatten()
    }

    fn touch(&self, path: &str) -> bool {
        self.with(|member| member.files.touch(path)).unwrap_or_default()
    }

    fn addresses(&self) -> String {
        let all = self.with(|member| member.attached.clone()).unwrap_or_default();
        all.iter().map(|one| format!("    inet {}/29\n", one.address)).collect()
    }

    fn enter(&self, command: &str) -> Box<dyn Send> {
        let pid = i64::try_from(self.inner.model().next()).unwrap_or(i64::MAX);
        self.with(|member| member.processes.insert(pid, command.to_owned()));
        Box::new(Listed { inner: self.inner.clone(), id: self.id.clone(), pid })
    }
}

/// What a member prints from now on.
pub(super) fn listen(member: &mut Member, connection: Connection) -> OutputStream {
    let (sender, receiver) = mpsc::unbounded_channel();
    member.listeners.push(sender);
    stream_of(receiver, connection)
}

fn attach(member: &mut Member, connection: Connection, found_running: bool) -> MemberIo {
    let output = listen(member, connection.clone());
    let open = member.spec.stdin == StdinMode::Open;
    let stdin = member.stdin.clone().filter(|_| open);
    MemberIo { stdin: stdin.map(|pieces| sink(pieces, connection)), output, found_running }
}

pub(super) fn attach_member(inner: &Arc<Inner>, id: &MemberId) -> BackendResult<MemberIo> {
    let connection = inner.line.open();
    inner.model().running(Op::AttachMember, id).map(|member| attach(member, connection, true))
}

pub(super) fn start_member(
    inner: &Arc<Inner>,
    id: &MemberId,
    material: Option<Secret<String>>,
) -> BackendResult<MemberIo> {
    let subject = || Subject::Container(id.to_string());
    let refuse = |kind, why| Err(refused(Op::StartMember, subject(), kind, why));
    let connection = inner.line.open();
    let mut model = inner.model();
    let has_networks = model.has_networks(id);
    let pid = i64::try_from(model.next()).unwrap_or(i64::MAX);
    let member = model.member(Op::StartMember, id)?;
    match member.state {
        MemberState::Running => return Ok(attach(member, connection, true)),
        MemberState::Paused => return refuse(BackendErrorKind::NotRunning, "the container is paused"),
        _ if !has_networks => {
            let subject = Subject::Network(format!("of {id}"));
            return Err(refused(Op::StartMember, subject, BackendErrorKind::NotFound, "network not found"));
        }
        _ if material.is_some() && member.spec.stdin == StdinMode::Closed => {
            return refuse(BackendErrorKind::Denied, "the container has no standard input");
        }
        _ => {}
    }
    let (stdin, pieces) = mpsc::unbounded_channel();
    if let Some(material) = material {
        let _ = stdin.send(Bytes::copy_from_slice(material.expose_secret().as_bytes()));
    }
    member.stdin = (member.spec.stdin == StdinMode::Open).then_some(stdin);
    member.run += 1;
    member.pid = pid;
    member.state = MemberState::Running;
    member.started_at = Some(jiff::Timestamp::now().to_string());
    member.term = CancellationToken::new();
    member.kill = CancellationToken::new();
    member.ignores_term = Arc::new(AtomicBool::new(false));
    member.changed.send_modify(|version| *version += 1);
    let fresh: Vec<String> = member.spec.tmpfs.iter().map(|fs| fs.path.clone()).collect();
    fresh.iter().for_each(|path| member.files.empty(path));
    let io = attach(member, connection, false);
    let run = Run {
        inner: inner.clone(),
        id: id.clone(),
        number: member.run,
        term: member.term.clone(),
        kill: member.kill.clone(),
        ignores_term: member.ignores_term.clone(),
    };
    let spec = member.spec.clone();
    drop(model);
    let argv: Vec<String> = spec.entrypoint.iter().chain(&spec.argv).cloned().collect();
    let emit = run.emit();
    let input = Input::new(pieces);
    let process = if argv.first().is_some_and(|program| program::is_known(program)) {
        let user = spec.user.as_deref().map_or(0, uid);
        let world = Arc::new(MemberWorld { inner: inner.clone(), id: id.clone() });
        let context = Context {
            world,
            env: spec.env.clone(),
            uid: user,
            cwd: spec.workdir.clone().unwrap_or_else(|| "/".into()),
            emit,
            tty: Arc::default(),
            ignores_term: run.ignores_term.clone(),
            kill: run.kill.clone(),
        };
        program::run(argv, context, input)
    } else {
        inner.script(spec.role).unwrap_or_else(MemberScript::idle).run(ScriptIo { spec, input, emit })
    };
    tokio::spawn(run.finish(process));
    Ok(io)
}

/// One run of a member's first process.
struct Run {
    inner: Arc<Inner>,
    id: MemberId,
    number: u64,
    term: CancellationToken,
    kill: CancellationToken,
    ignores_term: Arc<AtomicBool>,
}

impl Run {
    fn emit(&self) -> Emit {
        let (inner, id, number) = (self.inner.clone(), self.id.clone(), self.number);
        Arc::new(move |output| {
            if let Some(member) = inner.model().members.get_mut(&id).filter(|member| member.run == number) {
                member.print(output);
            }
        })
    }

    async fn finish(self, process: super::script::Process) {
        let terminated = async {
            self.term.cancelled().await;
            if self.ignores_term.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        let code = tokio::select! {
            biased;
            () = self.kill.cancelled() => 137,
            code = process => code,
            () = terminated => 143,
        };
        let mut model = self.inner.model();
        if model.members.get(&self.id).is_some_and(|member| member.run == self.number) {
            model.end_member(&self.id, MemberExit { code, oom_killed: false });
        }
    }
}

/// Users of the model: root, and 1000 for every other name.
fn uid(user: &str) -> u32 {
    let name = user.split(':').next().unwrap_or_default();
    if name == "root" { 0 } else { name.parse().unwrap_or(1000) }
}

pub(super) fn exec(inner: &Arc<Inner>, id: &MemberId, spec: ExecSpec) -> BackendResult<ExecIo> {
    let connection = inner.line.open();
    let mut model = inner.model();
    let member = model.running(Op::Exec, id)?;
    let kill = member.kill.child_token();
    let own = member.spec.clone();
    drop(model);
    let (sender, receiver) = mpsc::unbounded_channel();
    let tty = Arc::new(Mutex::new(spec.tty));
    let is_tty = spec.tty.is_some();
    let emit: Emit = Arc::new(move |output| {
        let output = match output {
            Output::Stdout(bytes) | Output::Stderr(bytes) if is_tty => Output::Console(bytes),
            output => output,
        };
        let _ = sender.send(output);
    });
    let mut env: BTreeMap<String, String> = own.env.clone();
    env.extend(spec.env.iter().map(|(key, value)| (key.clone(), value.expose_secret().clone())));
    let user = match &spec.user {
        ExecUser::Agent => own.user.as_deref().map_or(0, uid),
        ExecUser::Root => 0,
        ExecUser::Named(name) => uid(name),
    };
    let (stdin, pieces) = mpsc::unbounded_channel();
    let code = Arc::new(Mutex::new(None));
    let known = spec.argv.first().is_some_and(|program| program::is_known(program));
    let answer = inner.hook().and_then(|hook| hook(&own, &spec.argv));
    let context = Context {
        world: Arc::new(MemberWorld { inner: inner.clone(), id: id.clone() }),
        env,
        uid: user,
        cwd: spec.cwd.clone().or(own.workdir).unwrap_or_else(|| "/".into()),
        emit: emit.clone(),
        tty: tty.clone(),
        ignores_term: Arc::default(),
        kill: kill.clone(),
    };
    let (argv, killed, result) = (spec.argv, kill.clone(), code.clone());
    tokio::spawn(async move {
        let process: super::script::Process = match answer {
            Some(answer) => {
                emit(Output::Stdout(answer.stdout.into()));
                emit(Output::Stderr(answer.stderr.into()));
                Box::pin(std::future::ready(answer.code))
            }
            None if known => program::run(argv, context, Input::new(pieces)),
            None => Box::pin(std::future::ready(program::UNKNOWN)),
        };
        let ended = killed.run_until_cancelled(process).await.unwrap_or(137);
        *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
        drop(emit);
    });
    let stdin = spec.stdin.then(|| sink(stdin, connection.clone()));
    let control = Control { inner: inner.clone(), id: id.clone(), tty, is_tty, kill, code };
    Ok(ExecIo { stdin, output: stream_of(receiver, connection), control: Box::new(control) })
}

struct Control {
    inner: Arc<Inner>,
    id: MemberId,
    tty: Arc<Mutex<Option<TtySize>>>,
    is_tty: bool,
    kill: CancellationToken,
    code: Arc<Mutex<Option<i64>>>,
}

impl Control {
    fn reach(&self) -> BackendResult<()> {
        if self.inner.line.is_down() {
            let subject = Subject::Container(self.id.to_string());
            return Err(refused(Op::Exec, subject, BackendErrorKind::Unreachable, "the engine is down"));
        }
        Ok(())
    }
}

#[async_trait]
impl ExecControl for Control {
    async fn resize(&self, size: TtySize) -> BackendResult<()> {
        self.reach()?;
        if !self.is_tty {
            let subject = Subject::Container(self.id.to_string());
            let why = "the command has no terminal";
            return Err(refused(Op::Exec, subject, BackendErrorKind::Denied, why));
        }
        *self.tty.lock().unwrap_or_else(PoisonError::into_inner) = Some(size);
        Ok(())
    }

    async fn kill(&self) -> BackendResult<()> {
        self.reach()?;
        self.kill.cancel();
        // The killed tasks take their entries off the process table as they are dropped.
        tokio::task::yield_now().await;
        while self.code.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        Ok(())
    }

    async fn exit_code(&self) -> BackendResult<Option<i64>> {
        self.reach()?;
        Ok(*self.code.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
