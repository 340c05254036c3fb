//! One error for everything a backend does: operation, subject, kind, cause.

use std::error::Error;
use std::fmt;

use crate::error::ErrorKind;

/// What was tried. Its display is a verb that reads after "failed to".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Op {
    /// Reach the place at all.
    Connect,
    /// Look up an image.
    FindImage,
    /// Create a network.
    CreateZone,
    /// Remove a network.
    RemoveZone,
    /// Create a container.
    CreateMember,
    /// Attach a container to a network.
    ConnectMember,
    /// Start a container.
    StartMember,
    /// Attach to a container's streams.
    AttachMember,
    /// Inspect a container.
    InspectMember,
    /// Wait for a container's end.
    WaitMember,
    /// Stop a container.
    StopMember,
    /// Remove a container.
    RemoveMember,
    /// Run a command.
    Exec,
    /// Copy an archive in.
    PutArchive,
    /// Copy an archive out.
    GetArchive,
    /// Read logs.
    Logs,
    /// Read statistics.
    Stats,
    /// List what carries our labels.
    ListOwned,
    /// Put right what an outside hand changed on a container.
    MendMember,
    /// Hear what happens to what carries our labels.
    Watch,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Op::Connect => "reach",
            Op::FindImage => "find",
            Op::CreateZone | Op::CreateMember => "create",
            Op::RemoveZone | Op::RemoveMember => "remove",
            Op::ConnectMember => "connect",
            Op::StartMember => "start",
            Op::AttachMember => "attach to",
            Op::InspectMember => "inspect",
            Op::WaitMember => "wait for",
            Op::StopMember => "stop",
            Op::Exec => "run a command in",
            Op::PutArchive => "copy into",
            Op::GetArchive => "copy from",
            Op::Logs => "read the logs of",
            Op::Stats => "read the statistics of",
            Op::ListOwned => "list the resources of",
            Op::MendMember => "mend",
            Op::Watch => "hear the events of",
        })
    }
}

/// What it was tried on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// The engine itself, by address.
    Engine(String),
    /// An image by reference.
    Image(String),
    /// A network by name.
    Network(String),
    /// A container by name or id.
    Container(String),
    /// A path in a container.
    Path {
        /// Name or id.
        container: String,
        /// The path.
        path: String,
    },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Engine(at) => write!(f, "the container engine at {at}"),
            Subject::Image(reference) => write!(f, "image {reference}"),
            Subject::Network(name) => write!(f, "network {name}"),
            Subject::Container(name) => write!(f, "container {name}"),
            Subject::Path { container, path } => write!(f, "{path} of container {container}"),
        }
    }
}

/// What callers branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BackendErrorKind {
    /// The subject does not exist.
    NotFound,
    /// The name belongs to something else.
    NameConflict,
    /// The subject is not running.
    NotRunning,
    /// No subnet or address is free.
    NoAddressSpace,
    /// The engine cannot be reached.
    Unreachable,
    /// The deadline passed; the engine may still finish the work.
    Deadline,
    /// The engine's disk is full.
    NoSpace,
    /// The engine refused: permission, read-only, bad argument.
    Denied,
    /// The answer makes no sense.
    Protocol,
}

impl BackendErrorKind {
    /// What a caller of the library can do about it.
    pub fn kind(self) -> ErrorKind {
        match self {
            Self::NotFound => ErrorKind::NotFound,
            Self::NameConflict | Self::NoAddressSpace => ErrorKind::Conflict,
            Self::NotRunning => ErrorKind::NotRunning,
            Self::Unreachable => ErrorKind::Unreachable,
            Self::Deadline => ErrorKind::Deadline,
            Self::NoSpace | Self::Denied => ErrorKind::Refused,
            Self::Protocol => ErrorKind::Protocol,
        }
    }
}

/// The cause behind an error, whatever library it came from.
pub type Cause = Box<dyn Error + Send + Sync + 'static>;

/// A backend call that failed.
#[derive(Debug, thiserror::Error)]
#[error("{op} {subject}")]
pub struct BackendError {
    /// What was tried.
    pub op: Op,
    /// On what.
    pub subject: Subject,
    /// What kind of failure.
    pub kind: BackendErrorKind,
    /// What the engine or the transport said.
    #[source]
    pub source: Option<Cause>,
}

impl BackendError {
    /// An error with a cause.
    pub fn new(op: Op, subject: Subject, kind: BackendErrorKind, source: impl Into<Cause>) -> Self {
        Self { op, subject, kind, source: Some(source.into()) }
    }
}
