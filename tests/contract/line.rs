//! A connection to the engine that can be cut and held up: a socket of the test's own that passes bytes on.

use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, Default)]
struct State {
    cuts: u64,
    /// Connections that began at an earlier age pass nothing any more.
    age: u64,
    down: bool,
    stalled: bool,
}

/// The socket and its directory live as long as this.
#[derive(Debug)]
pub struct Line {
    dir: tempfile::TempDir,
    state: watch::Sender<State>,
}

impl Line {
    /// Listens, and passes on to the engine's socket.
    pub fn to(engine: PathBuf) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("engine.sock")).unwrap();
        let state = watch::Sender::new(State::default());
        let seen = state.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, engine.clone(), seen.clone()));
            }
        });
        Self { dir, state }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("engine.sock")
    }

    /// Ends every connection, and each new one at once.
    pub fn cut(&self) {
        self.state.send_modify(|state| (state.cuts, state.down) = (state.cuts + 1, true));
    }

    pub fn restore(&self) {
        self.state.send_modify(|state| state.down = false);
    }

    /// Not a byte passes any more on the connections that there are; later ones work.
    pub fn forget_connections(&self) {
        self.state.send_modify(|state| state.age += 1);
    }

    /// Not a byte passes, in either direction; connections are still taken.
    pub fn stall(&self, on: bool) {
        self.state.send_modify(|state| state.stalled = on);
    }
}

impl State {
    fn passes(self, begun: Self) -> bool {
        !self.stalled && self.age == begun.age
    }
}

async fn pass_on(client: UnixStream, engine: impl AsRef<Path>, mut state: watch::Receiver<State>) {
    let begun = *state.borrow();
    if begun.down {
        return;
    }
    let Ok(server) = UnixStream::connect(engine).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let both = futures::future::join(
        pump(from_client, to_server, state.clone(), begun),
        pump(from_server, to_client, state.clone(), begun),
    );
    tokio::select! {
        _ = state.wait_for(|now| now.cuts != begun.cuts) => {}
        _ = both => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
    begun: State,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if state.wait_for(|now| now.passes(begun)).await.is_err()
            || to.write_all(&buffer[..count]).await.is_err()
        {
            return;
        }
    }
    let _ = to.shutdown().await;
}
