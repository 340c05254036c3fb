//! Archives in and out of a member, as streams: never a whole archive in memory.

use std::io;

use bollard::query_parameters::{DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder};
use futures::{StreamExt as _, stream};

use super::super::streams::ByteStream;
use super::super::{BackendError, BackendErrorKind, BackendResult, Op, Subject};
use super::classify;
use super::deadline::Elapsed;
use super::engine::Engine;
use crate::ids::MemberId;

fn subject(id: &MemberId, path: &str) -> Subject {
    Subject::Path { container: id.to_string(), path: path.to_owned() }
}

/// Unpacks a tar stream under `path`. (Docker API: `PUT /containers/{id}/archive`.)
///
/// The engine unpacks into the member's layer, not into its memory file systems, and refuses read-only roots.
///
/// # Errors
/// `NotFound` for member or path, `Denied` for a read-only root, `NoSpace`.
pub(super) async fn put(
    engine: &Engine,
    id: &MemberId,
    path: &str,
    archive: ByteStream,
) -> BackendResult<()> {
    let options = UploadToContainerOptionsBuilder::new().path(path).build();
    // The client wants a stream that may be shared between threads; this one is only ever polled by one.
    let body = bollard::body_try_stream(archive);
    let call = engine.docker.upload_to_container(id.as_str(), Some(options), body);
    engine.call(Op::PutArchive, subject(id, path), call).await
}

/// Packs `path` as a tar stream. (Docker API: `GET /containers/{id}/archive`.) Each piece has a deadline.
///
/// # Errors
/// `NotFound` for member or path.
pub(super) async fn get(engine: &Engine, id: &MemberId, path: &str) -> BackendResult<ByteStream> {
    let limit = engine.deadlines.of(Op::GetArchive);
    let late =
        || BackendError::new(Op::GetArchive, subject(id, path), BackendErrorKind::Deadline, Elapsed(limit));
    let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
    let mut pieces = Box::pin(engine.docker.download_from_container(id.as_str(), Some(options)));
    // Status errors arrive as the first item.
    let first = tokio::time::timeout(limit, pieces.next()).await.map_err(|_| late())?;
    let first =
        first.transpose().map_err(|error| classify::failed(Op::GetArchive, subject(id, path), error))?;
    let rest = stream::unfold(Some(pieces), move |pieces| async move {
        let mut pieces = pieces?;
        match tokio::time::timeout(limit, pieces.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(bytes))) => Some((Ok(bytes), Some(pieces))),
            Ok(Some(Err(error))) => Some((Err(io::Error::other(error)), None)),
            Err(_) => Some((Err(io::Error::new(io::ErrorKind::TimedOut, Elapsed(limit))), None)),
        }
    });
    Ok(Box::pin(stream::iter(first.map(Ok)).chain(rest)))
}
