//! The way into the model: every call is written down, delayed, made to fail as scripted, or carried out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::super::{BackendErrorKind, BackendResult, Op, Subject};
use super::fault::{Call, Fault, FaultRule};
use super::line::{Connection, Line};
use super::model::{Model, refused};
use super::script::{CommandHook, MemberScript};
use super::{DEADLINE, MemoryBackend};
use crate::ids::{MemberId, Role};

/// The model, and the script of what happens to calls.
#[derive(Default)]
pub(super) struct Inner {
    model: Mutex<Model>,
    book: Mutex<Book>,
    pub(super) line: Line,
}

/// What happens to calls.
pub(super) struct Book {
    pub(super) journal: Vec<Call>,
    pub(super) rules: Vec<FaultRule>,
    pub(super) latency: Duration,
    pub(super) latency_of: HashMap<Op, Duration>,
    jitter: Option<(Duration, StdRng)>,
    pub(super) deadline: Duration,
    pub(super) scripts: HashMap<Role, MemberScript>,
    pub(super) hook: Option<CommandHook>,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            journal: Vec::new(),
            rules: Vec::new(),
            latency: Duration::ZERO,
            latency_of: HashMap::new(),
            jitter: None,
            deadline: DEADLINE,
            scripts: HashMap::from([(Role::Mitmproxy, MemberScript::mitmproxy())]),
            hook: None,
        }
    }
}

impl Book {
    pub(super) fn set_jitter(&mut self, most: Duration, seed: u64) {
        self.jitter = (!most.is_zero()).then(|| (most, StdRng::seed_from_u64(seed)));
    }

    fn latency(&mut self, op: Op) -> Duration {
        let more = self.jitter.as_mut().map(|(most, dice)| dice.random_range(Duration::ZERO..=*most));
        self.latency_of.get(&op).copied().unwrap_or(self.latency) + more.unwrap_or_default()
    }
}

impl Inner {
    pub(super) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn script_book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn script(&self, role: Role) -> Option<MemberScript> {
        self.script_book().scripts.get(&role).cloned()
    }

    pub(super) fn hook(&self) -> Option<CommandHook> {
        self.script_book().hook.clone()
    }

    /// Writes the call down and tells what shall go wrong with it.
    fn enter(&self, call: Call) -> (Option<Fault>, Duration, Duration) {
        let mut book = self.script_book();
        let latency = book.latency(call.op);
        let hits: Vec<Fault> = book.rules.iter_mut().filter_map(|rule| rule.hit(&call)).collect();
        // The journal's places are the numbers of `FaultRule::nth_call`, which leaves these out.
        if call.op != Op::Watch {
            book.journal.push(call);
        }
        (hits.into_iter().next(), latency, book.deadline)
    }
}

impl MemoryBackend {
    /// One call: journal, latency, fault, effect. The effect never waits.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        op: Op,
        subject: Subject,
        role: Option<Role>,
        effect: impl FnOnce(&Arc<Inner>) -> BackendResult<T> + Send + 'static,
    ) -> BackendResult<(T, bool)> {
        let (fault, latency, deadline) = self.inner.enter(Call { op, subject: subject.clone(), role });
        let connection = self.inner.line.open();
        let refuse = |kind, why| Err(refused(op, subject.clone(), kind, why));
        let work = async {
            if !latency.is_zero() {
                tokio::time::sleep(latency).await;
            }
            if tokio::time::timeout(deadline, connection.answers()).await.is_err() {
                return refuse(BackendErrorKind::Deadline, "the engine does not answer");
            }
            match fault {
                None => effect(&self.inner).map(|value| (value, false)),
                Some(Fault::HalfClosed) => effect(&self.inner).map(|value| (value, true)),
                Some(Fault::Error(kind)) => refuse(kind, "a scripted fault"),
                Some(Fault::Timeout) => {
                    tokio::time::sleep(deadline).await;
                    refuse(BackendErrorKind::Deadline, "a scripted silence")
                }
                Some(Fault::LateSuccess(delay)) => {
                    let inner = self.inner.clone();
                    // The engine's own work, which goes on after the caller has given up.
                    tokio::spawn(async move {
                        tokio::time::sleep(delay).await;
                        effect(&inner).is_ok()
                    });
                    refuse(BackendErrorKind::Deadline, "a scripted late success")
                }
                Some(Fault::LostAnswer) => {
                    let _ = effect(&self.inner);
                    refuse(BackendErrorKind::Unreachable, "a scripted lost answer")
                }
            }
        };
        tokio::select! {
            biased;
            () = connection.lost() => refuse(BackendErrorKind::Unreachable, "the engine is down"),
            answer = work => answer,
        }
    }

    /// A call about one member.
    pub(super) async fn member<T: Send + 'static>(
        &self,
        op: Op,
        id: &MemberId,
        effect: impl FnOnce(&Arc<Inner>, &MemberId) -> BackendResult<T> + Send + 'static,
    ) -> BackendResult<(T, bool)> {
        let role = self.inner.model().members.get(id).map(|member| member.spec.role);
        let own = id.clone();
        self.call(op, Subject::Container(id.to_string()), role, move |inner| effect(inner, &own)).await
    }

    /// The end of a call that waits for something to happen: `Unreachable` when the engine is lost meanwhile, and
    /// no answer while it hangs.
    pub(super) async fn waiting<T>(
        &self,
        op: Op,
        id: &MemberId,
        connection: &Connection,
        work: impl Future<Output = BackendResult<T>>,
    ) -> BackendResult<T> {
        let answer = async {
            let answer = work.await;
            connection.answers().await;
            answer
        };
        let subject = Subject::Container(id.to_string());
        tokio::select! {
            biased;
            () = connection.lost() =>
                Err(refused(op, subject, BackendErrorKind::Unreachable, "the engine is down")),
            answer = answer => answer,
        }
    }
}
