//! The connection and the one way through it: every call has an operation, a subject and a deadline.

use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;

use super::super::{BackendError, BackendErrorKind, BackendResult, Op, Subject};
use super::classify;
use super::deadline::{Deadlines, Elapsed};

/// A reachable engine.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) docker: Docker,
    /// Its address, for messages.
    pub(super) address: String,
    pub(super) deadlines: Deadlines,
    /// Whether bridges know `gateway_mode_ipv4=isolated` (engine 28 and later).
    pub(super) isolated_gateway: bool,
}

impl Engine {
    /// Runs one engine call under the deadline of `op`.
    ///
    /// # Errors
    /// What [`classify`] makes of the engine's answer; `Deadline` without one. The engine may still finish
    /// the work after either.
    pub(super) async fn call<T>(
        &self,
        op: Op,
        subject: Subject,
        call: impl Future<Output = Result<T, Error>>,
    ) -> BackendResult<T> {
        within(self.deadlines.of(op), op, subject.clone(), async {
            call.await.map_err(|error| classify::failed(op, subject, error))
        })
        .await
    }
}

/// Runs `call` under a deadline of its own.
pub(super) async fn within<T>(
    limit: Duration,
    op: Op,
    subject: Subject,
    call: impl Future<Output = BackendResult<T>>,
) -> BackendResult<T> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer,
        Err(_) => Err(BackendError::new(op, subject, BackendErrorKind::Deadline, Elapsed(limit))),
    }
}

/// Whether an error is only that the subject is missing.
pub(super) fn is_missing(error: &BackendError) -> bool {
    error.kind == BackendErrorKind::NotFound
}

/// What the engine meant by an error, where it came from the engine.
pub(super) fn meaning(error: &BackendError) -> Option<classify::Meaning> {
    error.source.as_deref().and_then(|source| source.downcast_ref::<Error>()).map(classify::meaning)
}
