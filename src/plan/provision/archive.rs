//! A tar stream that is built while it is sent: bounded memory whatever the size of the tree.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream;
use tokio::sync::{mpsc, oneshot};

use super::Owner;
use crate::backend::streams::ByteStream;

/// Bytes a chunk of the stream holds at most.
const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks that may wait for a slow engine.
const QUEUE: usize = 8;

/// A host file that could not be read while it was packed.
#[derive(Debug, thiserror::Error)]
#[error("read {}", path.display())]
pub struct HostFileError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl HostFileError {
    /// Whether it only says that nobody reads the archive any more: then the reader knows why.
    pub(crate) fn is_broken_stream(&self) -> bool {
        self.source.kind() == io::ErrorKind::BrokenPipe
    }

    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self { path: path.to_owned(), source }
    }
}

/// Writes entries with fixed owners and times, so that an archive depends on its content alone.
pub struct Archive<W: Write> {
    tar: tar::Builder<W>,
}

impl<W: Write> std::fmt::Debug for Archive<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").finish_non_exhaustive()
    }
}

impl<W: Write> Archive<W> {
    /// An archive that is written to `out`.
    pub fn new(out: W) -> Self {
        Self { tar: tar::Builder::new(out) }
    }

    /// A directory; `path` is absolute or relative to the place of unpacking.
    ///
    /// # Errors
    /// The writer's.
    pub fn dir(&mut self, path: &Path, mode: u32, owner: Owner) -> io::Result<()> {
        let mut header = header(tar::EntryType::Directory, mode, owner, 0);
        self.tar.append_data(&mut header, relative(path), io::empty())
    }

    /// A file with this content.
    ///
    /// # Errors
    /// The writer's.
    pub fn file(&mut self, path: &Path, mode: u32, owner: Owner, content: &[u8]) -> io::Result<()> {
        self.file_from(path, mode, owner, content.len() as u64, content)
    }

    /// A file of exactly `size` bytes: a source that ends early is filled with zeros, one that goes on is
    /// cut, because the size stands in the header before the content is read.
    ///
    /// # Errors
    /// The writer's or the reader's.
    pub fn file_from(
        &mut self,
        path: &Path,
        mode: u32,
        owner: Owner,
        size: u64,
        content: impl Read,
    ) -> io::Result<()> {
        let mut header = header(tar::EntryType::Regular, mode, owner, size);
        self.tar.append_data(&mut header, relative(path), content.chain(io::repeat(0)).take(size))
    }

    /// A symbolic link, as text: never followed here.
    ///
    /// # Errors
    /// The writer's.
    pub fn symlink(&mut self, path: &Path, target: &Path, owner: Owner) -> io::Result<()> {
        let mut header = header(tar::EntryType::Symlink, 0o777, owner, 0);
        self.tar.append_link(&mut header, relative(path), target)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.tar.finish()
    }
}

fn header(kind: tar::EntryType, mode: u32, owner: Owner, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    // No setuid, setgid or sticky bit ever enters a bottle.
    header.set_mode(mode & 0o777);
    header.set_uid(owner.id());
    header.set_gid(owner.id());
    header.set_mtime(std::time::UNIX_EPOCH.elapsed().map_or(0, |age| age.as_secs()));
    header.set_size(size);
    header
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Runs `build` on a blocking thread and gives its archive as a stream.
///
/// The second value resolves when building has ended; look at it when the upload failed, because the engine
/// only sees that the stream broke. Dropping the stream ends the thread at its next write.
pub fn stream<F>(build: F) -> (ByteStream, oneshot::Receiver<Result<(), HostFileError>>)
where
    F: FnOnce(&mut Archive<ChunkWriter>) -> Result<(), HostFileError> + Send + 'static,
{
    let (chunks, from) = mpsc::channel::<io::Result<Bytes>>(QUEUE);
    let (done, outcome) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let broken = chunks.clone();
        let mut archive = Archive::new(ChunkWriter { to: chunks, buffer: Vec::with_capacity(CHUNK_BYTES) });
        let built = build(&mut archive).and_then(|()| {
            let end = archive.finish().and_then(|()| archive.tar.get_mut().flush());
            end.map_err(HostFileError::at(Path::new("archive")))
        });
        if built.is_err() {
            let _ = broken.blocking_send(Err(io::Error::other("the archive could not be built")));
        }
        let _ = done.send(built);
    });
    let stream = stream::unfold(from, |mut from| async move { from.recv().await.map(|chunk| (chunk, from)) });
    (Box::pin(stream), outcome)
}

/// Sends what is written in chunks.
#[derive(Debug)]
pub struct ChunkWriter {
    to: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK_BYTES - self.buffer.len();
        let taken = bytes.len().min(room);
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == CHUNK_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_BYTES));
        self.to.blocking_send(Ok(chunk.into())).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}
