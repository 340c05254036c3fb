//! A bottle of another process: found on the engine by name, used without its supervisor.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::actors::copy;
use crate::actors::exec::{ExecArgs, run};
use crate::backend::{Backend, BackendError, LogOptions, MemberStats, Output, Owned, OwnedBy, OwnedResource};
use crate::handle::{ExecResult, ExecSession};
use crate::ids::{BottleId, MemberId, OwnerId, Role, Slug};
use crate::messages::{CopyRequest, ExecRequest, OperationError};

/// A bottle as the engine shows it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ActiveBottle {
    /// Visible name.
    pub slug: Slug,
    /// Its id.
    pub bottle: BottleId,
    /// Agent of the manifest.
    pub agent: String,
    /// Who owns it.
    pub owner: OwnerId,
    /// Name of the agent container.
    pub container: String,
    /// The agent container's id.
    pub member: MemberId,
    /// Whether the agent container runs.
    pub running: bool,
    /// The engine's own words ("Up 3 minutes").
    pub status: String,
    /// Creation time, seconds since the epoch.
    pub created_at: i64,
}

impl ActiveBottle {
    /// Reads one from an agent container; `None` for anything else.
    pub(super) fn of(owned: &Owned) -> Option<Self> {
        let OwnedResource::Member { id, name, role: Role::Agent, running, status, created_at } =
            &owned.resource
        else {
            return None;
        };
        Some(Self {
            slug: owned.ownership.slug.clone(),
            bottle: owned.ownership.bottle.clone(),
            agent: owned.ownership.agent.clone(),
            owner: owned.ownership.owner.clone(),
            container: name.clone(),
            member: id.clone(),
            running: *running,
            status: status.clone(),
            created_at: *created_at,
        })
    }
}

/// No bottle of that name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// None.
    #[error("find a bottle named {name:?}; running: {}", known(running))]
    NotFound {
        /// What was asked for.
        name: String,
        /// What there is.
        running: Vec<Slug>,
    },
    /// The engine cannot be asked.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

fn known(running: &[Slug]) -> String {
    if running.is_empty() {
        return "none".to_owned();
    }
    running.iter().map(Slug::as_str).collect::<Vec<_>>().join(", ")
}

/// A bottle of any process. Dropping it changes nothing, except that commands it started are killed.
#[derive(Debug)]
pub struct AttachedBottle {
    backend: Arc<dyn Backend>,
    bottle: ActiveBottle,
    members: Vec<(Role, MemberId)>,
    cancel: CancellationToken,
    _ends_commands: DropGuard,
}

impl AttachedBottle {
    /// Finds one by visible name, container name or bottle id.
    ///
    /// # Errors
    /// [`AttachError::NotFound`] with what there is.
    pub async fn find(backend: Arc<dyn Backend>, name: &str) -> Result<Self, AttachError> {
        let owned = backend.owned(&OwnedBy::Anyone).await?;
        let active: Vec<_> = owned.iter().filter_map(ActiveBottle::of).collect();
        let matches = |bottle: &&ActiveBottle| {
            bottle.slug.as_str() == name || bottle.container == name || bottle.bottle.as_str() == name
        };
        let Some(bottle) = active.iter().find(matches).cloned() else {
            let running = active.into_iter().map(|bottle| bottle.slug).collect();
            return Err(AttachError::NotFound { name: name.to_owned(), running });
        };
        let members = owned
            .iter()
            .filter(|item| item.ownership.bottle == bottle.bottle)
            .filter_map(|item| match &item.resource {
                OwnedResource::Member { id, role, .. } => Some((*role, id.clone())),
                OwnedResource::Zone { .. } => None,
            })
            .collect();
        let cancel = CancellationToken::new();
        let ends_commands = cancel.clone().drop_guard();
        Ok(Self { backend, bottle, members, cancel, _ends_commands: ends_commands })
    }

    /// What the engine shows of it.
    pub fn bottle(&self) -> &ActiveBottle {
        &self.bottle
    }

    /// Starts a command. Variables that came from the launching host's environment or prompt are known to
    /// the launching process only and are not set here.
    ///
    /// # Errors
    /// `Backend` when the engine refuses.
    pub async fn exec_stream(&self, request: ExecRequest) -> Result<ExecSession, OperationError> {
        let (reply, streams) = ractor::concurrency::oneshot();
        let args = ExecArgs {
            backend: Arc::clone(&self.backend),
            member: self.bottle.member.clone(),
            timeout: request.timeout,
            spec: request.into_spec([]),
            reply: reply.into(),
        };
        tokio::spawn(run(args, self.cancel.child_token()));
        let closed = |_| OperationError::Closed(self.bottle.slug.clone());
        Ok(ExecSession::new(streams.await.map_err(closed)??, self.bottle.slug.clone()))
    }

    /// Runs a command and collects its output.
    ///
    /// # Errors
    /// As [`AttachedBottle::exec_stream`], and `TimedOut`.
    pub async fn exec(&self, request: ExecRequest) -> Result<ExecResult, OperationError> {
        let timeout = request.timeout;
        self.exec_stream(request).await?.collect(timeout).await
    }

    /// As [`Bottle::cp_in`](crate::Bottle::cp_in).
    ///
    /// # Errors
    /// `Host`, `Backend`.
    pub async fn cp_in(&self, host: impl AsRef<Path>, inside: &str) -> Result<(), OperationError> {
        let request = CopyRequest { host: host.as_ref().to_owned(), inside: inside.to_owned() };
        copy::into_member(self.backend.as_ref(), &self.bottle.member, &request).await
    }

    /// As [`Bottle::cp_out`](crate::Bottle::cp_out).
    ///
    /// # Errors
    /// `Host`, `Backend`.
    pub async fn cp_out(&self, inside: &str, host: impl AsRef<Path>) -> Result<(), OperationError> {
        let request = CopyRequest { host: host.as_ref().to_owned(), inside: inside.to_owned() };
        copy::out_of_member(self.backend.as_ref(), &self.bottle.member, &request).await
    }

    /// As [`Bottle::logs`](crate::Bottle::logs).
    ///
    /// # Errors
    /// `Backend`.
    pub async fn logs(
        &self,
        role: Role,
        options: LogOptions,
    ) -> Result<mpsc::Receiver<Output>, OperationError> {
        let mut stream = self.backend.logs(self.member(role)?, options).await?;
        let (to, from) = mpsc::channel(64);
        tokio::spawn(async move {
            while let Some(Ok(piece)) = stream.next().await {
                if to.send(piece).await.is_err() {
                    return;
                }
            }
        });
        Ok(from)
    }

    /// As [`Bottle::stats`](crate::Bottle::stats).
    ///
    /// # Errors
    /// `Backend`.
    pub async fn stats(&self, role: Role) -> Result<MemberStats, OperationError> {
        Ok(self.backend.stats(self.member(role)?).await?)
    }

    /// Stops the agent. Its owner sees that and takes the bottle down.
    ///
    /// # Errors
    /// `Backend`.
    pub async fn stop(&self, grace: Duration) -> Result<(), OperationError> {
        Ok(self.backend.stop_member(&self.bottle.member, grace).await?)
    }

    fn member(&self, role: Role) -> Result<&MemberId, OperationError> {
        let found = self.members.iter().find(|(of, _)| *of == role).map(|(_, id)| id);
        found.ok_or_else(|| OperationError::NotReady { slug: self.bottle.slug.clone(), phase: "incomplete" })
    }
}
