//! A socket in front of the engine's own, which can be cut.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The engine behind a cuttable socket.
pub struct Proxy {
    pub socket: PathBuf,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

struct State {
    /// Requests that still pass; then the line is cut.
    left: AtomicUsize,
    dead: AtomicBool,
    cut: Notify,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.state.cut();
    }
}

impl State {
    fn cut(&self) {
        self.dead.store(true, Ordering::SeqCst);
        self.cut.notify_waiters();
    }
}

impl Proxy {
    /// Passes everything on.
    pub fn start(socket: PathBuf) -> Self {
        let listener = UnixListener::bind(&socket).unwrap();
        let state = Arc::new(State {
            left: AtomicUsize::new(usize::MAX),
            dead: AtomicBool::new(false),
            cut: Notify::new(),
        });
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !shared.dead.load(Ordering::SeqCst) {
                    tokio::spawn(carry(client, Arc::clone(&shared)));
                }
            }
        });
        Self { socket, state, accepting }
    }

    /// Cuts every line once this many more requests have come.
    pub fn cut_after(&self, requests: usize) {
        self.state.left.store(requests, Ordering::SeqCst);
    }

    /// Lets new connections through again.
    pub fn mend(&self) {
        self.state.left.store(usize::MAX, Ordering::SeqCst);
        self.state.dead.store(false, Ordering::SeqCst);
    }

    /// Whether the cut has come.
    pub fn is_cut(&self) -> bool {
        self.state.dead.load(Ordering::SeqCst)
    }
}

async fn carry(client: UnixStream, state: Arc<State>) {
    let cut = state.cut.notified();
    tokio::pin!(cut);
    cut.as_mut().enable();
    let Ok(engine) = UnixStream::connect(Path::new("/var/run/docker.sock")).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_engine, mut to_engine) = engine.into_split();
    let requests = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            let starts = [&b"GET /"[..], b"POST /", b"PUT /", b"DELETE /", b"HEAD /"];
            if starts.iter().any(|start| buffer[..count].starts_with(start))
                && state.left.fetch_sub(1, Ordering::SeqCst) == 0
            {
                state.cut();
                return;
            }
            if to_engine.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
        let _ = to_engine.shutdown().await;
        std::future::pending().await
    };
    let answers = async {
        let _ = tokio::io::copy(&mut from_engine, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    tokio::select! {
        () = cut => {}
        () = requests => {}
        () = answers => {}
    }
}
