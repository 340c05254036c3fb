//! [`Backend`]: what the actor tree needs of a place that runs bottles, in the bottle's own words.
//!
//! No Docker word in its signatures: a pod-based backend has to fit behind it unchanged. Every call has a
//! deadline and a typed error; `ensure_*` and `remove_*` are idempotent. A create is not cancel-safe (the
//! place may finish it after the future was dropped), so teardown goes by [`Backend::owned`], never by what
//! a caller remembers. Design: `docs/architecture.md`.

pub mod docker;
pub mod error;
pub mod labels;
#[cfg(feature = "testing")]
pub mod memory;
pub mod news;
pub mod streams;
mod subnets;

use async_trait::async_trait;
use std::fmt::Debug;
use std::time::Duration;

pub use error::{BackendError, BackendErrorKind, Op, Subject};
pub use news::{Happening, Mended, News, NewsStream, Repair};
pub use streams::{ByteStream, ExecControl, ExecIo, ExecOutput, ExecSpec, LogOptions, MemberIo, Output};

use crate::ids::{BottleId, ImageRef, MemberId, Secret};
use crate::plan::spec::{Ground, GroundSpec, MemberExit, MemberSpec, MemberStatus, Ownership};

/// Shorthand for what every call returns.
pub type BackendResult<T> = Result<T, BackendError>;

/// What kind of place this is, and what weakens isolation on it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BackendFacts {
    /// Name of the place and its version, for people.
    pub version: String,
    /// Protocol version in use.
    pub api_version: String,
    /// Runtimes it offers (`runc`, `runsc`).
    pub runtimes: Vec<String>,
    /// Things that weaken isolation or durability here, each a sentence with its remedy.
    pub weaknesses: Vec<String>,
}

/// An image that is at hand.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ImageFacts {
    /// The reference that was asked for.
    pub reference: ImageRef,
    /// Content digest (`sha256:…`): the registry's where known, else the image id.
    pub digest: String,
}

/// Something on the engine that carries our labels.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Owned {
    /// Whose it is.
    pub ownership: Ownership,
    /// What it is.
    pub resource: OwnedResource,
}

/// The kinds of resources a bottle leaves on a backend.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum OwnedResource {
    /// A container of a bottle.
    Member {
        /// The engine's id.
        id: MemberId,
        /// Its name.
        name: String,
        /// Its role.
        role: crate::ids::Role,
        /// Running now.
        running: bool,
        /// The engine's own status words ("Up 3 minutes").
        status: String,
        /// Creation time, seconds since the epoch.
        created_at: i64,
    },
    /// A zone of a bottle's ground.
    Zone {
        /// The engine's id.
        id: String,
        /// Its name.
        name: String,
    },
}

/// Which owned things to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedBy {
    /// All that carry our labels.
    Anyone,
    /// One bottle's.
    Bottle(BottleId),
    /// One runtime's.
    Owner(crate::ids::OwnerId),
}

/// CPU and memory of a running member.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct MemberStats {
    /// Memory in use, bytes, page cache left out.
    pub memory_bytes: u64,
    /// Memory limit, bytes.
    pub memory_limit_bytes: u64,
    /// CPU time used since start, nanoseconds.
    pub cpu_ns: u64,
    /// Processes and threads.
    pub pids: u64,
}

/// A place that runs bottles.
#[async_trait]
pub trait Backend: Send + Sync + Debug + 'static {
    /// The name that `CLAUDE_BOTTLE_BACKEND` knows it by.
    fn name(&self) -> &'static str;

    /// Asks the place what it is. Also the reachability check.
    async fn facts(&self) -> BackendResult<BackendFacts>;

    /// Looks an image up. Never pulls. `NotFound` when it is not at hand.
    async fn image(&self, reference: &ImageRef) -> BackendResult<ImageFacts>;

    /// Makes the networks of a bottle, or finds those of the same bottle again.
    ///
    /// Subnets come from the pool; one that overlaps something else is skipped. With
    /// [`GroundSpec::subnets`] a missing zone gets exactly that subnet. `NameConflict` when a zone of that name
    /// belongs to somebody else; `NoAddressSpace` when the pool is used up or the subnet asked for is taken;
    /// `Denied` when a zone of this bottle has another subnet than the one asked for: it stays as it is.
    async fn ensure_ground(&self, spec: &GroundSpec) -> BackendResult<Ground>;

    /// Removes the inner zones of a bottle (never the shared one). Repeating it is success.
    async fn remove_ground(&self, bottle: &BottleId) -> BackendResult<()>;

    /// Creates a member with all its endpoints, not started; finds one of the same bottle and role again, also
    /// under a name that an outside hand has given it.
    ///
    /// A found one gets its name back; one that runs gets its attachments back. One that does not run, or a paused
    /// sidecar, and that differs from the specification, is made anew. `NameConflict` when the name belongs to
    /// somebody else; `Denied` when a running member, or a paused agent, has another specification.
    async fn ensure_member(&self, spec: &MemberSpec) -> BackendResult<MemberId>;

    /// Starts a created or ended member. Its streams are attached before it runs, so nothing it says is lost.
    ///
    /// `material` is written to its standard input (never to a disk). With
    /// [`StdinMode::Once`](crate::plan::spec::StdinMode) end of file follows. Starting a running member is
    /// success and attaches to it without writing the material: see
    /// [`MemberIo::found_running`]. An ended member starts again as itself: same id, name and addresses, its layer
    /// as it was, its memory file systems empty. `NotRunning` when it is paused.
    async fn start_member(&self, id: &MemberId, material: Option<Secret<String>>) -> BackendResult<MemberIo>;

    /// Attaches to a running member again (after this process or its actor was replaced). `NotRunning`, also when
    /// it is paused.
    async fn attach_member(&self, id: &MemberId) -> BackendResult<MemberIo>;

    /// What the member is doing. A missing member is [`MemberState::Gone`](crate::plan::spec::MemberState), not an error.
    async fn inspect_member(&self, id: &MemberId) -> BackendResult<MemberStatus>;

    /// Waits until the member is not running; a pause is no end. No deadline; dropping the future is safe.
    /// `NotFound` when it is not there; one that is removed while it runs may also give the exit of its kill.
    async fn wait_member(&self, id: &MemberId) -> BackendResult<MemberExit>;

    /// Puts right what an outside hand has changed on a running member, without ending it: its attachments with
    /// their fixed addresses (one that its specification does not have is taken off), a pause of a sidecar (an
    /// agent's pause is left alone), and its name. What is as specified is not touched; repeating it is success.
    ///
    /// `NotFound` about a network when the ground itself is gone; `NameConflict` when somebody else has the name,
    /// all else being mended by then; `NoAddressSpace` when somebody else has its address.
    async fn mend_member(&self, id: &MemberId, spec: &MemberSpec) -> BackendResult<Mended>;

    /// What happens to anything that carries our labels, of all owners, from now on: also what happens before the
    /// stream is first looked at. No deadline once it is there. The end of the stream, or an error in it, means
    /// that the place was lost, or hangs; what happened meanwhile is not told later.
    async fn watch(&self) -> BackendResult<NewsStream>;

    /// Asks the member to stop, kills it after `grace`. Stopped or missing is success.
    async fn stop_member(&self, id: &MemberId, grace: Duration) -> BackendResult<()>;

    /// Kills and removes the member with its anonymous storage. Missing is success.
    async fn remove_member(&self, id: &MemberId) -> BackendResult<()>;

    /// Runs a command in a running member. `NotRunning`, `NotFound`.
    async fn exec(&self, id: &MemberId, spec: ExecSpec) -> BackendResult<ExecIo>;

    /// Unpacks a tar stream under `path` (which must exist) of a created or running member.
    async fn put_archive(&self, id: &MemberId, path: &str, archive: ByteStream) -> BackendResult<()>;

    /// Packs `path` of a member as a tar stream. `NotFound` when the path is missing.
    async fn get_archive(&self, id: &MemberId, path: &str) -> BackendResult<ByteStream>;

    /// What the member's own first process printed.
    async fn logs(&self, id: &MemberId, options: LogOptions) -> BackendResult<streams::OutputStream>;

    /// One reading of a running member's use.
    async fn stats(&self, id: &MemberId) -> BackendResult<MemberStats>;

    /// Everything that carries our labels, from the engine, in creation order.
    async fn owned(&self, by: &OwnedBy) -> BackendResult<Vec<Owned>>;

    /// Removes the shared way out if no member is on it. Only tests and a full cleanup call this.
    async fn remove_shared(&self, egress_name: &str) -> BackendResult<bool>;
}
