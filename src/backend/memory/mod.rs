//! [`MemoryBackend`]: a model of an engine with scripted processes, faults and events, for tests.
//!
//! It keeps the promises of [`Backend`] (one contract suite runs on it and on Docker), waits only on
//! `tokio::time`, so that paused time works, and writes down every call.

mod book;
mod control;
mod fault;
mod files;
mod ground;
mod line;
mod mend;
mod model;
mod news;
mod process;
mod program;
mod script;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt as _, stream};

pub use fault::{Call, Fault, FaultRule};
pub use script::{CommandHook, ExecAnswer, MemberScript, ScriptIo};

use self::book::Inner;
use self::model::refused;
use super::streams::{ByteStream, ExecIo, ExecSpec, LogOptions, MemberIo, Output, OutputStream};
use super::{
    Backend, BackendErrorKind, BackendFacts, BackendResult, ImageFacts, MemberStats, Mended, NewsStream, Op,
    Owned, OwnedBy, Subject,
};
use crate::ids::{BottleId, ImageRef, MemberId, Secret};
use crate::plan::spec::{Ground, GroundSpec, MemberExit, MemberSpec, MemberState, MemberStatus};

/// How long a call without an answer takes.
const DEADLINE: Duration = Duration::from_secs(30);
/// Pieces of an archive on its way out.
const PIECE: usize = 64 * 1024;

/// A modelled engine. Clones are the same engine.
#[derive(Clone)]
pub struct MemoryBackend {
    inner: Arc<Inner>,
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackend").field("calls", &self.inner.script_book().journal.len()).finish()
    }
}

#[async_trait]
impl Backend for MemoryBackend {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn facts(&self) -> BackendResult<BackendFacts> {
        let facts = BackendFacts {
            version: "memory".into(),
            api_version: "1".into(),
            runtimes: vec!["runc".into()],
            weaknesses: Vec::new(),
        };
        let subject = Subject::Engine("memory".into());
        self.call(Op::Connect, subject, None, move |_| Ok(facts)).await.map(|(facts, _)| facts)
    }

    async fn image(&self, reference: &ImageRef) -> BackendResult<ImageFacts> {
        let subject = Subject::Image(reference.to_string());
        let (reference, missing) = (reference.clone(), subject.clone());
        let effect = move |inner: &Arc<Inner>| {
            if inner.model().absent_images.contains(&reference) {
                return Err(refused(Op::FindImage, missing, BackendErrorKind::NotFound, "no such image"));
            }
            Ok(ImageFacts { digest: format!("sha256:{}", "0".repeat(64)), reference })
        };
        self.call(Op::FindImage, subject, None, effect).await.map(|(facts, _)| facts)
    }

    async fn ensure_ground(&self, spec: &GroundSpec) -> BackendResult<Ground> {
        let subject = Subject::Network(spec.int_name.clone());
        let spec = spec.clone();
        let effect = move |inner: &Arc<Inner>| inner.model().ensure_ground(&spec);
        self.call(Op::CreateZone, subject, None, effect).await.map(|(ground, _)| ground)
    }

    async fn remove_ground(&self, bottle: &BottleId) -> BackendResult<()> {
        let subject = Subject::Network(format!("of {bottle}"));
        let bottle = bottle.clone();
        let effect = move |inner: &Arc<Inner>| inner.model().remove_ground(&bottle);
        self.call(Op::RemoveZone, subject, None, effect).await.map(|_| ())
    }

    async fn ensure_member(&self, spec: &MemberSpec) -> BackendResult<MemberId> {
        let (subject, role) = (Subject::Container(spec.name.clone()), spec.role);
        let spec = spec.clone();
        let effect = move |inner: &Arc<Inner>| inner.model().ensure_member(&spec);
        self.call(Op::CreateMember, subject, Some(role), effect).await.map(|(id, _)| id)
    }

    async fn start_member(&self, id: &MemberId, material: Option<Secret<String>>) -> BackendResult<MemberIo> {
        let effect = |inner: &Arc<Inner>, id: &MemberId| process::start_member(inner, id, material);
        let (io, half) = self.member(Op::StartMember, id, effect).await?;
        Ok(MemberIo { output: cut(io.output, half), ..io })
    }

    async fn attach_member(&self, id: &MemberId) -> BackendResult<MemberIo> {
        let (io, half) = self.member(Op::AttachMember, id, process::attach_member).await?;
        Ok(MemberIo { output: cut(io.output, half), ..io })
    }

    async fn inspect_member(&self, id: &MemberId) -> BackendResult<MemberStatus> {
        let effect = |inner: &Arc<Inner>, id: &MemberId| {
            let model = inner.model();
            Ok(model.members.get(id).map_or(
                MemberStatus { state: MemberState::Gone, started_at: None, pid: 0 },
                |member| MemberStatus {
                    state: member.state.clone(),
                    started_at: member.started_at.clone(),
                    pid: member.pid,
                },
            ))
        };
        self.member(Op::InspectMember, id, effect).await.map(|(status, _)| status)
    }

    async fn wait_member(&self, id: &MemberId) -> BackendResult<MemberExit> {
        let effect = |inner: &Arc<Inner>, id: &MemberId| {
            let mut model = inner.model();
            let member = model.member(Op::WaitMember, id)?;
            Ok((member.changed.subscribe(), member.run, inner.line.open()))
        };
        let ((mut changed, run, connection), _) = self.member(Op::WaitMember, id, effect).await?;
        let end = async {
            loop {
                let seen =
                    self.inner.model().members.get(id).map(|one| (one.state.clone(), one.run, one.last_end));
                let refuse =
                    |kind, why| Err(refused(Op::WaitMember, Subject::Container(id.to_string()), kind, why));
                match seen {
                    None => return refuse(BackendErrorKind::NotFound, "no such container"),
                    Some((MemberState::Exited(exit), ..)) => return Ok(exit),
                    Some((MemberState::Created, ..)) => {
                        return refuse(BackendErrorKind::NotRunning, "the container was never started");
                    }
                    // It has ended and was started again before this was polled.
                    Some((_, now, Some(exit))) if now != run => return Ok(exit),
                    Some(_) => {}
                }
                // A removed member drops the sender: the loop then finds it missing.
                let _ = changed.changed().await;
            }
        };
        self.waiting(Op::WaitMember, id, &connection, end).await
    }

    async fn mend_member(&self, id: &MemberId, spec: &MemberSpec) -> BackendResult<Mended> {
        let (id, spec, role) = (id.clone(), spec.clone(), spec.role);
        let subject = Subject::Container(spec.name.clone());
        let effect = move |inner: &Arc<Inner>| inner.model().mend_member(&id, &spec);
        self.call(Op::MendMember, subject, Some(role), effect).await.map(|(mended, _)| mended)
    }

    async fn watch(&self) -> BackendResult<NewsStream> {
        let effect = |inner: &Arc<Inner>| Ok(news::listen(inner));
        let (stream, half) = self.call(Op::Watch, Subject::Engine("memory".into()), None, effect).await?;
        Ok(if half { Box::pin(stream::empty()) } else { stream })
    }

    async fn stop_member(&self, id: &MemberId, grace: Duration) -> BackendResult<()> {
        let effect = |inner: &Arc<Inner>, id: &MemberId| {
            let mut model = inner.model();
            // A paused process cannot end: an engine lets it go on first.
            model.swap_state(id, &MemberState::Paused, MemberState::Running);
            let member = model.members.get(id).filter(|member| member.is_alive());
            let connection = inner.line.open();
            Ok(member.map(|member| {
                (member.term.clone(), member.kill.clone(), member.changed.subscribe(), connection)
            }))
        };
        let (running, _) = self.member(Op::StopMember, id, effect).await?;
        let Some((term, kill, mut changed, connection)) = running else { return Ok(()) };
        let alive = || self.inner.model().members.get(id).is_some_and(model::Member::is_alive);
        let mut ended = async || {
            while alive() {
                let _ = changed.changed().await;
            }
        };
        let stop = async {
            term.cancel();
            if tokio::time::timeout(grace.max(Duration::from_millis(1)), ended()).await.is_err() {
                kill.cancel();
                ended().await;
            }
            Ok(())
        };
        self.waiting(Op::StopMember, id, &connection, stop).await
    }

    async fn remove_member(&self, id: &MemberId) -> BackendResult<()> {
        let effect = |inner: &Arc<Inner>, id: &MemberId| {
            inner.model().remove_member(id);
            Ok(())
        };
        self.member(Op::RemoveMember, id, effect).await.map(|_| ())
    }

    async fn exec(&self, id: &MemberId, spec: ExecSpec) -> BackendResult<ExecIo> {
        let effect = |inner: &Arc<Inner>, id: &MemberId| process::exec(inner, id, spec);
        let (io, half) = self.member(Op::Exec, id, effect).await?;
        Ok(ExecIo { output: cut(io.output, half), ..io })
    }

    async fn put_archive(&self, id: &MemberId, path: &str, mut archive: ByteStream) -> BackendResult<()> {
        let subject = Subject::Path { container: id.to_string(), path: path.to_owned() };
        let mut bytes = Vec::new();
        while let Some(piece) = archive.next().await {
            let failed = |error| {
                super::BackendError::new(Op::PutArchive, subject.clone(), BackendErrorKind::Protocol, error)
            };
            bytes.extend_from_slice(&piece.map_err(failed)?);
        }
        let path = path.to_owned();
        let effect = move |inner: &Arc<Inner>, id: &MemberId| {
            let mut model = inner.model();
            let member = model.member(Op::PutArchive, id)?;
            if member.spec.read_only {
                return Err(refused(
                    Op::PutArchive,
                    subject,
                    BackendErrorKind::Denied,
                    "the root is read-only",
                ));
            }
            if !member.files.has_directory(&path) {
                return Err(refused(
                    Op::PutArchive,
                    subject,
                    BackendErrorKind::NotFound,
                    "no such directory",
                ));
            }
            member.files.unpack(&path, &bytes).map_err(|error| {
                super::BackendError::new(Op::PutArchive, subject, BackendErrorKind::Denied, error)
            })
        };
        self.member(Op::PutArchive, id, effect).await.map(|_| ())
    }

    async fn get_archive(&self, id: &MemberId, path: &str) -> BackendResult<ByteStream> {
        let path = path.to_owned();
        let effect = move |inner: &Arc<Inner>, id: &MemberId| {
            let subject = Subject::Path { container: id.to_string(), path: path.clone() };
            let mut model = inner.model();
            let packed = model.member(Op::GetArchive, id)?.files.pack(&path).map_err(|error| {
                super::BackendError::new(Op::GetArchive, subject.clone(), BackendErrorKind::Protocol, error)
            })?;
            packed.ok_or_else(|| refused(Op::GetArchive, subject, BackendErrorKind::NotFound, "no such file"))
        };
        let (bytes, half) = self.member(Op::GetArchive, id, effect).await?;
        let pieces = if half { 1 } else { usize::MAX };
        let pieces: Vec<_> =
            bytes.chunks(PIECE).take(pieces).map(|piece| Ok(piece.to_vec().into())).collect();
        Ok(Box::pin(stream::iter(pieces)))
    }

    async fn logs(&self, id: &MemberId, options: LogOptions) -> BackendResult<OutputStream> {
        let effect = move |inner: &Arc<Inner>, id: &MemberId| {
            let mut model = inner.model();
            let member = model.member(Op::Logs, id)?;
            let skip = options.tail.map_or(0, |tail| member.log.len().saturating_sub(tail));
            let lines: Vec<Output> = member.log[skip..]
                .iter()
                .map(|(at, output)| if options.timestamps { stamped(at, output) } else { output.clone() })
                .collect();
            let more =
                (options.follow && member.is_alive()).then(|| process::listen(member, inner.line.open()));
            Ok((lines, more))
        };
        let ((lines, more), half) = self.member(Op::Logs, id, effect).await?;
        let lines = stream::iter(lines.into_iter().map(Ok));
        let whole: OutputStream = match more {
            Some(more) => Box::pin(lines.chain(more)),
            None => Box::pin(lines),
        };
        Ok(cut(whole, half))
    }

    async fn stats(&self, id: &MemberId) -> BackendResult<MemberStats> {
        let effect = |inner: &Arc<Inner>, id: &MemberId| {
            let mut model = inner.model();
            let member = model.running(Op::Stats, id)?;
            Ok(MemberStats {
                memory_bytes: 1 << 20,
                memory_limit_bytes: member.spec.resources.memory_bytes,
                cpu_ns: 0,
                pids: member.processes.len().max(1) as u64,
            })
        };
        self.member(Op::Stats, id, effect).await.map(|(stats, _)| stats)
    }

    async fn owned(&self, by: &OwnedBy) -> BackendResult<Vec<Owned>> {
        let by = by.clone();
        let effect = move |inner: &Arc<Inner>| Ok(inner.model().owned(&by));
        self.call(Op::ListOwned, Subject::Engine("memory".into()), None, effect).await.map(|(owned, _)| owned)
    }

    async fn remove_shared(&self, egress_name: &str) -> BackendResult<bool> {
        let name = egress_name.to_owned();
        let effect = move |inner: &Arc<Inner>| Ok(inner.model().remove_shared(&name));
        let subject = Subject::Network(egress_name.to_owned());
        self.call(Op::RemoveZone, subject, None, effect).await.map(|(gone, _)| gone)
    }
}

/// A half-closed stream ends at once; what fed it goes on.
fn cut(output: OutputStream, half: bool) -> OutputStream {
    if half { Box::pin(stream::empty()) } else { output }
}

fn stamped(at: &str, output: &Output) -> Output {
    let stamp = |bytes: &bytes::Bytes| bytes::Bytes::from([at.as_bytes(), b" ", bytes].concat());
    match output {
        Output::Stdout(bytes) => Output::Stdout(stamp(bytes)),
        Output::Stderr(bytes) => Output::Stderr(stamp(bytes)),
        Output::Console(bytes) => Output::Console(stamp(bytes)),
    }
}
