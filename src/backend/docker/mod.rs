//! [`DockerBackend`]: bottles on a Docker engine. The only module that names the Docker client.
//!
//! Needs engine 20.10 (API 1.41) or later. Every call goes through `engine.rs`, which gives it a deadline and a
//! typed error; nothing is remembered between calls, so that any process sees the same truth.

mod archive;
mod classify;
mod connect;
mod container;
mod deadline;
mod engine;
mod ensure;
mod exec;
mod facts;
mod ground;
mod hardening;
pub mod images;
mod io;
mod mend;
mod network;
mod news;
mod owned;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use connect::{Address, AddressError, Surroundings, choose};
pub use deadline::Deadlines;

use self::engine::Engine;
use super::streams::{ByteStream, ExecIo, ExecSpec, LogOptions, MemberIo, OutputStream};
use super::{
    Backend, BackendError, BackendErrorKind, BackendFacts, BackendResult, ImageFacts, MemberStats, Mended,
    NewsStream, Op, Owned, OwnedBy, Subject,
};
use crate::ids::{BottleId, ImageRef, MemberId, Secret};
use crate::plan::spec::{Ground, GroundSpec, MemberExit, MemberSpec, MemberStatus};

/// A Docker engine. Cheap to clone; clones share one connection pool.
#[derive(Clone, Debug)]
pub struct DockerBackend {
    engine: Arc<Engine>,
}

impl DockerBackend {
    /// Connects to the engine that the `docker` command would use.
    ///
    /// # Errors
    /// `Unreachable`, `Deadline`, or `Denied` when the address cannot be used or the engine is too old.
    pub async fn connect() -> BackendResult<Self> {
        let address = choose(&Surroundings::of_process()).map_err(|error| {
            let subject = Subject::Engine("the configured address".into());
            BackendError::new(Op::Connect, subject, BackendErrorKind::Denied, error)
        })?;
        Self::connect_to(&address, Deadlines::default()).await
    }

    /// Connects to the engine at `address`.
    ///
    /// # Errors
    /// As [`DockerBackend::connect`].
    pub async fn connect_to(address: &Address, deadlines: Deadlines) -> BackendResult<Self> {
        let docker = connect::open(address, deadlines).await?;
        let mut engine = Engine { docker, address: address.to_string(), deadlines, isolated_gateway: false };
        let subject = Subject::Engine(engine.address.clone());
        let version = engine.call(Op::Connect, subject, engine.docker.version()).await?;
        engine.isolated_gateway = facts::parts(&version.version.unwrap_or_default()) >= (28, 0, 0);
        Ok(Self { engine: Arc::new(engine) })
    }

    /// Makes or finds the shared egress network and gives its subnet. A launch does it too; whoever puts a
    /// service behind that network needs it earlier. Idempotent.
    ///
    /// # Errors
    /// `NameConflict`, `NoAddressSpace`, or the engine's.
    pub async fn ensure_shared(&self, name: &str, pool: ipnet::Ipv4Net) -> BackendResult<ipnet::Ipv4Net> {
        ground::ensure_shared(&self.engine, name, pool).await
    }
}

#[async_trait]
impl Backend for DockerBackend {
    fn name(&self) -> &'static str {
        "docker"
    }

    async fn facts(&self) -> BackendResult<BackendFacts> {
        facts::ask(&self.engine).await
    }

    async fn image(&self, reference: &ImageRef) -> BackendResult<ImageFacts> {
        let call = self.engine.docker.inspect_image(reference.as_str());
        let found = self.engine.call(Op::FindImage, Subject::Image(reference.to_string()), call).await?;
        let registry = found.repo_digests.unwrap_or_default().into_iter().next();
        let registry = registry.and_then(|text| text.split_once('@').map(|(_, digest)| digest.to_owned()));
        let digest = registry.or(found.id).unwrap_or_default();
        Ok(ImageFacts { reference: reference.clone(), digest })
    }

    async fn ensure_ground(&self, spec: &GroundSpec) -> BackendResult<Ground> {
        ground::ensure_ground(&self.engine, spec).await
    }

    async fn remove_ground(&self, bottle: &BottleId) -> BackendResult<()> {
        network::remove_ground(&self.engine, bottle).await
    }

    async fn ensure_member(&self, spec: &MemberSpec) -> BackendResult<MemberId> {
        ensure::ensure(&self.engine, spec).await
    }

    async fn start_member(&self, id: &MemberId, material: Option<Secret<String>>) -> BackendResult<MemberIo> {
        io::start(&self.engine, id, material).await
    }

    async fn attach_member(&self, id: &MemberId) -> BackendResult<MemberIo> {
        io::attach(&self.engine, id).await
    }

    async fn inspect_member(&self, id: &MemberId) -> BackendResult<MemberStatus> {
        container::inspect(&self.engine, id).await
    }

    async fn wait_member(&self, id: &MemberId) -> BackendResult<MemberExit> {
        container::wait(&self.engine, id).await
    }

    async fn mend_member(&self, id: &MemberId, spec: &MemberSpec) -> BackendResult<Mended> {
        mend::mend(&self.engine, id, spec).await
    }

    async fn watch(&self) -> BackendResult<NewsStream> {
        news::watch(&self.engine).await
    }

    async fn stop_member(&self, id: &MemberId, grace: Duration) -> BackendResult<()> {
        container::stop(&self.engine, id, grace).await
    }

    async fn remove_member(&self, id: &MemberId) -> BackendResult<()> {
        container::remove(&self.engine, id).await
    }

    async fn exec(&self, id: &MemberId, spec: ExecSpec) -> BackendResult<ExecIo> {
        exec::exec(&self.engine, id, spec).await
    }

    async fn put_archive(&self, id: &MemberId, path: &str, archive: ByteStream) -> BackendResult<()> {
        archive::put(&self.engine, id, path, archive).await
    }

    async fn get_archive(&self, id: &MemberId, path: &str) -> BackendResult<ByteStream> {
        archive::get(&self.engine, id, path).await
    }

    async fn logs(&self, id: &MemberId, options: LogOptions) -> BackendResult<OutputStream> {
        io::logs(&self.engine, id, options).await
    }

    async fn stats(&self, id: &MemberId) -> BackendResult<MemberStats> {
        owned::stats(&self.engine, id).await
    }

    async fn owned(&self, by: &OwnedBy) -> BackendResult<Vec<Owned>> {
        owned::list_owned(&self.engine, by).await
    }

    async fn remove_shared(&self, egress_name: &str) -> BackendResult<bool> {
        network::remove_shared(&self.engine, egress_name).await
    }
}
