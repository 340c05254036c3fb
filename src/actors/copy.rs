//! Copies between host and agent, with the rules of `docker cp`.

mod unpack;

use std::path::{Path, PathBuf};

use futures::StreamExt;
use tokio::sync::mpsc;

use crate::backend::{Backend, BackendErrorKind, ByteStream};
use crate::ids::MemberId;
use crate::messages::{CopyRequest, OperationError};
use crate::plan::provision::{self, HostFileError, tree};

/// Copies a host file or directory into a member; what arrives belongs to the agent user.
///
/// An existing directory as target takes the source under its own name; else the target is the new name,
/// and missing parents are made.
pub(crate) async fn into_member(
    backend: &dyn Backend,
    member: &MemberId,
    request: &CopyRequest,
) -> Result<(), OperationError> {
    let source = request.host.clone();
    if let Err(error) = std::fs::symlink_metadata(&source) {
        return Err(OperationError::Host { path: source, source: error });
    }
    let inside = absolute(&request.inside);
    let target = if request.inside.ends_with('/') || is_directory(backend, member, &inside).await? {
        match std::fs::canonicalize(&source).ok().as_deref().and_then(Path::file_name) {
            Some(name) => Path::new(&inside).join(name),
            None => PathBuf::from(&inside),
        }
    } else {
        PathBuf::from(&inside)
    };
    let (archive, built) = provision::stream(move |archive| {
        // The source itself may be a link, as with `docker cp -L`; nothing inside it is followed.
        let real = std::fs::canonicalize(&source)
            .map_err(|error| HostFileError { path: source.clone(), source: error })?;
        for one in tree::add(archive, &real, &target)? {
            tracing::warn!(path = %one.path.display(), what = one.what, "not copied");
        }
        Ok(())
    });
    let sent = backend.put_archive(member, "/", archive).await;
    match (built.await, sent) {
        (Ok(Err(error)), Err(refused)) if error.is_broken_stream() => Err(refused.into()),
        (Ok(Err(HostFileError { path, source })), _) => Err(OperationError::Host { path, source }),
        (_, sent) => Ok(sent?),
    }
}

/// Copies a path of a member to the host. What comes from inside is hostile: nothing is written outside
/// the target, links that lead out and devices are refused.
pub(crate) async fn out_of_member(
    backend: &dyn Backend,
    member: &MemberId,
    request: &CopyRequest,
) -> Result<(), OperationError> {
    let mut stream = backend.get_archive(member, &absolute(&request.inside)).await?;
    let (chunks, from) = mpsc::channel(8);
    let target = request.host.clone();
    let unpacking = tokio::task::spawn_blocking(move || unpack(from, &target));
    while let Some(chunk) = stream.next().await {
        let empty = chunk.as_ref().is_ok_and(bytes::Bytes::is_empty);
        if !empty && chunks.send(chunk).await.is_err() {
            break;
        }
    }
    let _ = chunks.send(Ok(END)).await;
    let done = unpacking.await.map_err(std::io::Error::other).and_then(|inner| inner);
    done.map_err(|source| OperationError::Host { path: request.host.clone(), source })
}

fn unpack(from: mpsc::Receiver<std::io::Result<bytes::Bytes>>, target: &Path) -> std::io::Result<()> {
    let into_dir = target.is_dir();
    let parent = if into_dir { target } else { target.parent().unwrap_or(Path::new(".")) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let scratch = tempdir_in(parent)?;
    let unpacked = unpack::into(ChunkReader { from, rest: END, ended: false }, &scratch).and_then(|only| {
        let to = if into_dir { target.join(only.file_name().unwrap_or_default()) } else { target.to_owned() };
        unpack::merge(&only, &to)
    });
    let _ = std::fs::remove_dir_all(&scratch);
    unpacked
}

/// A fresh private directory beside the target, so that the final rename stays on one file system.
fn tempdir_in(parent: &Path) -> std::io::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    let path = parent.join(format!(".bottle-cp-{:016x}", rand::random::<u64>()));
    std::fs::DirBuilder::new().mode(0o700).create(&path)?;
    Ok(path)
}

/// Ends a stream of chunks. A channel that closes without it was cut off: what has come is not the whole.
const END: bytes::Bytes = bytes::Bytes::new();

struct ChunkReader {
    from: mpsc::Receiver<std::io::Result<bytes::Bytes>>,
    rest: bytes::Bytes,
    ended: bool,
}

impl std::io::Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.rest.is_empty() && !self.ended {
            match self.from.blocking_recv() {
                Some(chunk) => {
                    self.rest = chunk?;
                    if self.rest.is_empty() {
                        self.from.close();
                        self.ended = true;
                    }
                }
                None => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let taken = self.rest.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&self.rest.split_to(taken));
        Ok(taken)
    }
}

/// Paths are the container's; a relative one starts at the workspace.
fn absolute(inside: &str) -> String {
    if inside.starts_with('/') { inside.to_owned() } else { format!("{}/{inside}", provision::WORKSPACE) }
}

async fn is_directory(backend: &dyn Backend, member: &MemberId, path: &str) -> Result<bool, OperationError> {
    match backend.get_archive(member, path).await {
        Ok(stream) => Ok(first_entry_is_directory(stream).await),
        Err(error) if error.kind == BackendErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Reads one tar header (512 bytes) and drops the rest of the stream.
async fn first_entry_is_directory(mut stream: ByteStream) -> bool {
    let mut header = tar::Header::new_old();
    let mut filled = 0;
    while let Some(Ok(chunk)) = stream.next().await {
        let bytes = header.as_mut_bytes();
        let taken = chunk.len().min(bytes.len() - filled);
        bytes[filled..filled + taken].copy_from_slice(&chunk[..taken]);
        filled += taken;
        if filled == bytes.len() {
            return header.entry_type().is_dir();
        }
    }
    false
}
