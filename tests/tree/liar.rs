//! A backend whose one bottle answers every copy out of it with an archive of the test's making.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bottle::backend::{
    Backend, BackendFacts, BackendResult, ByteStream, ExecIo, ExecSpec, ImageFacts, LogOptions, MemberIo,
    MemberStats, Mended, NewsStream, Owned, OwnedBy, OwnedResource, streams::OutputStream,
};
use bottle::ids::{BottleId, ImageRef, MemberId, Role, Secret, Slug};
use bottle::plan::spec::{Ground, GroundSpec, MemberExit, MemberSpec, MemberStatus, Ownership};
use bottle::runtime::AttachedBottle;
use futures::stream;

/// The backend.
#[derive(Debug)]
pub(crate) struct Liar {
    archive: Vec<u8>,
}

impl Liar {
    pub(crate) fn new(archive: Vec<u8>) -> Self {
        Self { archive }
    }
}

pub(crate) async fn attach(engine: Arc<Liar>) -> AttachedBottle {
    AttachedBottle::find(engine, "coder").await.unwrap()
}

#[async_trait]
impl Backend for Liar {
    fn name(&self) -> &'static str {
        "liar"
    }

    async fn get_archive(&self, _: &MemberId, _: &str) -> BackendResult<ByteStream> {
        let pieces: Vec<_> = self.archive.chunks(700).map(|piece| Ok(piece.to_vec().into())).collect();
        Ok(Box::pin(stream::iter(pieces)))
    }

    async fn owned(&self, _: &OwnedBy) -> BackendResult<Vec<Owned>> {
        let ownership = Ownership {
            bottle: "b".into(),
            owner: "o".into(),
            slug: Slug::from("coder"),
            agent: "coder".into(),
            plan_hash: String::new(),
            generation: 1,
            host: String::new(),
            boot: String::new(),
            detached: false,
        };
        let resource = OwnedResource::Member {
            id: "m".into(),
            name: "claude-bottle-coder".into(),
            role: Role::Agent,
            running: true,
            status: "Up".into(),
            created_at: 0,
        };
        Ok(vec![Owned { ownership, resource }])
    }

    async fn facts(&self) -> BackendResult<BackendFacts> {
        unreachable!("copies only")
    }
    async fn image(&self, _: &ImageRef) -> BackendResult<ImageFacts> {
        unreachable!("copies only")
    }
    async fn ensure_ground(&self, _: &GroundSpec) -> BackendResult<Ground> {
        unreachable!("copies only")
    }
    async fn remove_ground(&self, _: &BottleId) -> BackendResult<()> {
        unreachable!("copies only")
    }
    async fn ensure_member(&self, _: &MemberSpec) -> BackendResult<MemberId> {
        unreachable!("copies only")
    }
    async fn start_member(&self, _: &MemberId, _: Option<Secret<String>>) -> BackendResult<MemberIo> {
        unreachable!("copies only")
    }
    async fn attach_member(&self, _: &MemberId) -> BackendResult<MemberIo> {
        unreachable!("copies only")
    }
    async fn inspect_member(&self, _: &MemberId) -> BackendResult<MemberStatus> {
        unreachable!("copies only")
    }
    async fn wait_member(&self, _: &MemberId) -> BackendResult<MemberExit> {
        unreachable!("copies only")
    }
    async fn mend_member(&self, _: &MemberId, _: &MemberSpec) -> BackendResult<Mended> {
        unreachable!("copies only")
    }
    async fn watch(&self) -> BackendResult<NewsStream> {
        unreachable!("copies only")
    }
    async fn stop_member(&self, _: &MemberId, _: Duration) -> BackendResult<()> {
        unreachable!("copies only")
    }
    async fn remove_member(&self, _: &MemberId) -> BackendResult<()> {
        unreachable!("copies only")
    }
    async fn exec(&self, _: &MemberId, _: ExecSpec) -> BackendResult<ExecIo> {
        unreachable!("copies only")
    }
    async fn put_archive(&self, _: &MemberId, _: &str, _: ByteStream) -> BackendResult<()> {
        unreachable!("copies only")
    }
    async fn logs(&self, _: &MemberId, _: LogOptions) -> BackendResult<OutputStream> {
        unreachable!("copies only")
    }
    async fn stats(&self, _: &MemberId) -> BackendResult<MemberStats> {
        unreachable!("copies only")
    }
    async fn remove_shared(&self, _: &str) -> BackendResult<bool> {
        unreachable!("copies only")
    }
}
