//! What an engine's reply means: HTTP status and message, or transport error → [`BackendErrorKind`].
//!
//! Pure. Each row of the table has a test with a reply taken from a real engine (20.10.24, or as said).

use std::error::Error as _;
use std::io;

use bollard::errors::Error;

use super::super::{BackendError, BackendErrorKind, Op, Subject};

/// What a reply means, finer than what callers see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Passed on to the caller.
    Kind(BackendErrorKind),
    /// The subnet overlaps another one: take the next.
    Overlaps,
    /// Somebody is removing the container already.
    Removing,
    /// The network still has running members.
    InUse,
    /// The image is missing, not the container.
    NoImage,
    /// A network is missing, not the container.
    NoNetwork,
    /// Two networks have the name.
    Ambiguous,
    /// The container is on the network already.
    AlreadyConnected,
    /// The container is not on the network.
    NotConnected,
    /// There is no pause to end.
    NotPaused,
    /// The container has the name already.
    SameName,
}

impl Meaning {
    /// What the caller is told.
    pub(super) fn kind(self) -> BackendErrorKind {
        match self {
            Meaning::Kind(kind) => kind,
            Meaning::Overlaps => BackendErrorKind::NoAddressSpace,
            Meaning::Removing
            | Meaning::InUse
            | Meaning::Ambiguous
            | Meaning::AlreadyConnected
            | Meaning::NotPaused
            | Meaning::SameName => BackendErrorKind::Denied,
            Meaning::NoImage | Meaning::NoNetwork | Meaning::NotConnected => BackendErrorKind::NotFound,
        }
    }
}

/// Words in a lower-cased message that decide before the status does.
const WORDS: &[(&str, Meaning)] = &[
    ("no space left on device", Meaning::Kind(BackendErrorKind::NoSpace)),
    ("disk quota exceeded", Meaning::Kind(BackendErrorKind::NoSpace)),
    ("pool overlaps with other one", Meaning::Overlaps),
    ("networks have overlapping ip", Meaning::Overlaps),
    ("no available ipv4 addresses", Meaning::Kind(BackendErrorKind::NoAddressSpace)),
    ("address already in use", Meaning::Kind(BackendErrorKind::NoAddressSpace)),
    ("removal of container", Meaning::Removing),
    ("has active endpoints", Meaning::InUse),
    ("no such image", Meaning::NoImage),
    ("is ambiguous (", Meaning::Ambiguous),
    ("is already in use by container", Meaning::Kind(BackendErrorKind::NameConflict)),
    ("already exists in network", Meaning::AlreadyConnected),
    ("is not connected to", Meaning::NotConnected),
    ("is not paused", Meaning::NotPaused),
    ("same name as its current name", Meaning::SameName),
    ("is not running", Meaning::Kind(BackendErrorKind::NotRunning)),
    ("is paused", Meaning::Kind(BackendErrorKind::NotRunning)),
    ("is already paused", Meaning::Kind(BackendErrorKind::NotRunning)),
    ("a paused container", Meaning::Kind(BackendErrorKind::NotRunning)),
    ("is restarting, wait until", Meaning::Kind(BackendErrorKind::NotRunning)),
    ("rootfs is marked read-only", Meaning::Kind(BackendErrorKind::Denied)),
    ("oci runtime", Meaning::Kind(BackendErrorKind::Denied)),
];

/// The meaning of an HTTP reply.
pub(super) fn reply(status: u16, message: &str) -> Meaning {
    let message = message.to_lowercase();
    if let Some((_, meaning)) = WORDS.iter().find(|(words, _)| message.contains(words)) {
        return *meaning;
    }
    if status == 404 && message.starts_with("network ") {
        return Meaning::NoNetwork;
    }
    Meaning::Kind(match status {
        404 => BackendErrorKind::NotFound,
        409 => BackendErrorKind::NameConflict,
        400..=499 => BackendErrorKind::Denied,
        503 => BackendErrorKind::Unreachable,
        _ => BackendErrorKind::Protocol,
    })
}

/// The meaning of any error of the client.
pub(super) fn meaning(error: &Error) -> Meaning {
    match error {
        Error::DockerResponseServerError { status_code, message } => reply(*status_code, message),
        Error::RequestTimeoutError => Meaning::Kind(BackendErrorKind::Deadline),
        Error::DockerStreamError { error } => reply(500, error),
        Error::JsonDataError { .. } | Error::JsonSerdeError { .. } | Error::APIVersionParseError {} => {
            Meaning::Kind(BackendErrorKind::Protocol)
        }
        Error::IOError { err } => Meaning::Kind(transport(err.kind())),
        other => Meaning::Kind(io_kind(other).map_or(BackendErrorKind::Unreachable, transport)),
    }
}

fn transport(kind: io::ErrorKind) -> BackendErrorKind {
    match kind {
        io::ErrorKind::PermissionDenied => BackendErrorKind::Denied,
        io::ErrorKind::InvalidData => BackendErrorKind::Protocol,
        io::ErrorKind::TimedOut => BackendErrorKind::Deadline,
        io::ErrorKind::StorageFull => BackendErrorKind::NoSpace,
        _ => BackendErrorKind::Unreachable,
    }
}

/// The I/O error at the end of a chain: the HTTP client wraps it twice.
fn io_kind(error: &Error) -> Option<io::ErrorKind> {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        source = inner.source();
    }
    None
}

/// No answer came. The HTTP client says so in three nested errors that repeat each other: here the innermost speaks.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
struct NoAnswer {
    what: &'static str,
    why: String,
}

impl NoAnswer {
    fn of(error: &Error) -> Option<Self> {
        let what = match error {
            Error::HyperLegacyError { err } if err.is_connect() => "no connection",
            Error::HyperLegacyError { .. } | Error::HyperResponseError { .. } => "the connection was lost",
            _ => return None,
        };
        let mut innermost: &dyn std::error::Error = error;
        while let Some(inner) = innermost.source() {
            innermost = inner;
        }
        Some(Self { what, why: innermost.to_string() })
    }
}

/// A client's error as the backend's. The one place that builds it.
pub(super) fn failed(op: Op, subject: Subject, error: Error) -> BackendError {
    let kind = meaning(&error).kind();
    match NoAnswer::of(&error) {
        Some(none) => BackendError::new(op, subject, kind, none),
        None => BackendError::new(op, subject, kind, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BackendErrorKind as K;

    #[test]
    fn replies_of_a_real_engine() {
        let rows: &[(u16, &str, Meaning)] = &[
            (404, "No such container: nope", Meaning::Kind(K::NotFound)),
            (404, "No such image: bottle-test/absent:1", Meaning::NoImage),
            (404, "network bexp-int not found", Meaning::NoNetwork),
            (400, "network n is ambiguous (2 matches found on name)", Meaning::Ambiguous),
            (404, "No such exec instance: 00ff", Meaning::Kind(K::NotFound)),
            (404, "Could not find the file /nope in container c", Meaning::Kind(K::NotFound)),
            (
                409,
                "Conflict. The container name \"/x\" is already in use by container \"9f\". You have to remove (or rename) that container to be able to reuse that name.",
                Meaning::Kind(K::NameConflict),
            ),
            (409, "network with name bexp-int already exists", Meaning::Kind(K::NameConflict)),
            (409, "Container 9f is not running", Meaning::Kind(K::NotRunning)),
            (409, "Container x is paused, unpause the container before exec", Meaning::Kind(K::NotRunning)),
            (409, "removal of container x is already in progress", Meaning::Removing),
            (403, "Pool overlaps with other one on this address space", Meaning::Overlaps),
            // Engine 28.
            (
                400,
                "invalid pool request: Pool overlaps with other one on this address space",
                Meaning::Overlaps,
            ),
            (
                403,
                "cannot create network 1f (br-1f): conflicts with network 2f (br-2f): networks have overlapping IPv4",
                Meaning::Overlaps,
            ),
            (403, "error while removing network: network n id 2f has active endpoints", Meaning::InUse),
            (403, "Address already in use", Meaning::Kind(K::NoAddressSpace)),
            (403, "container rootfs is marked read-only", Meaning::Kind(K::Denied)),
            (403, "endpoint with name x already exists in network n", Meaning::AlreadyConnected),
            (500, "container 9f is not connected to network n", Meaning::NotConnected),
            (500, "Container 9f is not paused", Meaning::NotPaused),
            (409, "Container 9f is already paused", Meaning::Kind(K::NotRunning)),
            (409, "cannot start a paused container, try unpause instead", Meaning::Kind(K::NotRunning)),
            (
                409,
                "container 9f is paused, unpause the container before attach",
                Meaning::Kind(K::NotRunning),
            ),
            (
                409,
                "You cannot remove a paused container 9f. Unpause and then stop the container before attempting removal or force remove",
                Meaning::Kind(K::NotRunning),
            ),
            (400, "Renaming a container with the same name as its current name", Meaning::SameName),
            (
                409,
                "Error when allocating new name: Conflict. The container name \"/x\" is already in use by container \"9f\". You have to remove (or rename) that container to be able to reuse that name.",
                Meaning::Kind(K::NameConflict),
            ),
            (
                500,
                "error creating overlay mount to /var/lib/x: no space left on device",
                Meaning::Kind(K::NoSpace),
            ),
            (
                400,
                "failed to create shim task: OCI runtime create failed: exec: \"sh\": executable file not found in $PATH: unknown",
                Meaning::Kind(K::Denied),
            ),
            (400, "No command specified", Meaning::Kind(K::Denied)),
            (500, "something else", Meaning::Kind(K::Protocol)),
        ];
        for (status, message, expected) in rows {
            assert_eq!(reply(*status, message), *expected, "{status} {message}");
        }
    }

    #[test]
    fn transport_errors() {
        let io = |kind| meaning(&Error::IOError { err: io::Error::from(kind) }).kind();
        assert_eq!(io(io::ErrorKind::ConnectionRefused), K::Unreachable);
        assert_eq!(io(io::ErrorKind::BrokenPipe), K::Unreachable);
        assert_eq!(io(io::ErrorKind::PermissionDenied), K::Denied);
        assert_eq!(meaning(&Error::RequestTimeoutError).kind(), K::Deadline);
    }
}
