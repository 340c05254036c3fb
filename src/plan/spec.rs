//! What a place that runs bottles has to provide, in the bottle's own words: ground, members, streams.
//!
//! Data only. The plan builds these, a [`Backend`](crate::backend::Backend) carries them out.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::ids::{BottleId, ImageRef, OwnerId, Role, Slug};

/// Prefix length of an inner zone: room for a gateway and the members.
const ZONE_PREFIX: u8 = 29;

/// Who a resource belongs to. Written to every resource at its creation, so that truth lies on the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// The bottle the resource is a part of.
    pub bottle: BottleId,
    /// The runtime that created it; names the lease file to look at.
    pub owner: OwnerId,
    /// The bottle's visible name.
    pub slug: Slug,
    /// The agent of the manifest.
    pub agent: String,
    /// SHA-256 of the plan (hex), to recognise a resource of another plan.
    pub plan_hash: String,
    /// How often the bottle's ground was built anew; starts at 1.
    pub generation: u32,
    /// Machine id of the owner's host (hashed), so that a shared engine's other users are recognised.
    pub host: String,
    /// Boot id of the owner's host: a lease of an earlier boot is dead.
    pub boot: String,
    /// Whether the bottle outlives its owner until it is adopted.
    pub detached: bool,
}

/// The networks of one bottle, seen from a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Zone {
    /// Agent and mitmproxy.
    Int,
    /// mitmproxy and pipelock.
    Mid,
    /// pipelock and the way out; shared by all bottles, no traffic between its members.
    Egress,
}

/// What isolates the members of one bottle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroundSpec {
    /// Labels of everything created.
    pub ownership: Ownership,
    /// Name of the inner zone (`claude-bottle-int-<slug>`).
    pub int_name: String,
    /// Name of the middle zone (`claude-bottle-mid-<slug>`).
    pub mid_name: String,
    /// Name of the shared way out (`claude-bottle-egress`); created when missing, never removed with a bottle.
    pub egress_name: String,
    /// Where the subnets (/29 each) of inner zones are taken from.
    pub pool: Ipv4Net,
    /// Subnets of the inner and the middle zone that a new one must have, because a running agent knows their
    /// addresses; `None` takes any of the pool. When one of them is taken: `NoAddressSpace`.
    pub subnets: Option<(Ipv4Net, Ipv4Net)>,
}

/// Ground that exists: the fixed addresses of the members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ground {
    /// The specification it was made from.
    pub spec: GroundSpec,
    /// The agent, in the inner zone.
    pub agent_int: Ipv4Addr,
    /// mitmproxy, in the inner zone: what the agent's proxy variables name.
    pub mitmproxy_int: Ipv4Addr,
    /// mitmproxy, in the middle zone.
    pub mitmproxy_mid: Ipv4Addr,
    /// pipelock, in the middle zone: what mitmproxy's upstream mode names.
    pub pipelock_mid: Ipv4Addr,
}

impl Ground {
    /// The subnets of the inner and the middle zone.
    pub fn subnets(&self) -> (Ipv4Net, Ipv4Net) {
        let of = |address: Ipv4Addr| {
            Ipv4Net::new(address, ZONE_PREFIX).map_or_else(|_| Ipv4Net::from(address), |net| net.trunc())
        };
        (of(self.mitmproxy_int), of(self.mitmproxy_mid))
    }
}

/// One attachment of a member to a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Which zone.
    pub zone: Zone,
    /// The zone's name on the engine.
    pub network: String,
    /// Fixed address; `None` lets the engine choose (only in the shared zone).
    pub address: Option<Ipv4Addr>,
}

/// Limits of one member.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// Memory and swap together, in bytes.
    pub memory_bytes: u64,
    /// CPU time in billionths of a core; `None` = no limit.
    pub nano_cpus: Option<u64>,
    /// Processes and threads.
    pub pids: u32,
}

/// A memory file system inside a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// Mount point.
    pub path: String,
    /// Upper bound in bytes.
    pub size_bytes: u64,
    /// Permission bits, octal.
    pub mode: u32,
    /// Owner of the mount point.
    pub uid: u32,
}

/// What happens to a member's standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StdinMode {
    /// Not open.
    Closed,
    /// Material is written at start, then end of file.
    Once,
    /// Stays open for control lines, also when the controller goes away and comes back.
    Open,
}

/// One container of a bottle. Everything about it is fixed here, before the first create.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberSpec {
    /// Labels.
    pub ownership: Ownership,
    /// Which of the three.
    pub role: Role,
    /// Its name on the engine.
    pub name: String,
    /// Image to run; must be present, a launch never pulls.
    pub image: ImageRef,
    /// Replaces the image's entry point when not empty.
    pub entrypoint: Vec<String>,
    /// Arguments; empty keeps the image's.
    pub argv: Vec<String>,
    /// Environment. Never holds a secret: it is visible in `inspect`.
    pub env: BTreeMap<String, String>,
    /// `uid:gid` or a name; `None` keeps the image's.
    pub user: Option<String>,
    /// Working directory.
    pub workdir: Option<String>,
    /// Attachments; all are made before the member starts.
    pub endpoints: Vec<Endpoint>,
    /// Limits.
    pub resources: Resources,
    /// Root file system read-only.
    pub read_only: bool,
    /// Memory file systems.
    pub tmpfs: Vec<Tmpfs>,
    /// Names added to the member's hosts file.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// Whether the member may resolve names through the engine. `false` gives it a resolver that answers nothing.
    pub resolver: bool,
    /// Standard input.
    pub stdin: StdinMode,
    /// Whether the engine puts a reaping init in front (until bottle-init is PID 1).
    pub init: bool,
    /// OCI runtime (`runsc` where the engine has it); `None` = the engine's default.
    pub runtime: Option<String>,
    /// How long a stop waits before it kills.
    pub stop_grace: Duration,
}

/// What a member was last seen doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// Created, never started.
    Created,
    /// Running.
    Running,
    /// Paused by hand or by the pool.
    Paused,
    /// Ended.
    Exited(MemberExit),
    /// Not there.
    Gone,
}

/// How a member ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberExit {
    /// Exit code; 128 + signal where a signal ended it.
    pub code: i64,
    /// Whether the kernel ended it for memory.
    pub oom_killed: bool,
}

/// Observed facts of one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// State now.
    pub state: MemberState,
    /// Start time as the engine gives it (RFC 3339), if it ever started.
    pub started_at: Option<String>,
    /// Process id of the member's first process on the engine's host, 0 when not running.
    pub pid: i64,
}

/// As whom a command runs inside the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecUser {
    /// The unprivileged agent user: everything a caller runs.
    Agent,
    /// Root without capabilities: provisioning only.
    Root,
    /// As named (`name`, `uid` or `uid:gid`).
    Named(String),
}

/// Size of a terminal in character cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TtySize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}
