//! A tunnel's life: judge the first bytes, then relay both ways until an end, a silence or a limit.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::first_bytes::{self, Protocol, Refusal};
use super::host::Host;
use super::policy::TunnelPolicy;

/// How long a client may keep silent before it has to speak first.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(10);

const BUFFER_BYTES: usize = 32 * 1024;

/// Why a tunnel ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum End {
    /// Both sides closed, or one broke the connection.
    #[error("closed")]
    Closed,
    /// The first bytes were not admitted; nothing was sent upstream.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The client did not speak.
    #[error("the client sent nothing in time")]
    Silent,
    /// The server of an SSH tunnel does not speak SSH.
    #[error("the server does not speak SSH-2")]
    NotSsh,
    /// No byte in either direction for too long.
    #[error("idle for too long")]
    Idle,
    /// The longest life is over.
    #[error("reached its longest life")]
    MaxLife,
    /// A new policy no longer admits the host, or the kill switch is on.
    #[error("no longer admitted")]
    Revoked,
}

/// Bytes relayed, for the log.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
}

/// Serves one tunnel to its end. `early` is what the client sent behind the `CONNECT` head;
/// `revoked` resolves when the tunnel is no longer wanted. Dropping the future closes both sides.
pub(super) async fn serve(
    mut client: TcpStream,
    early: &[u8],
    mut upstream: TcpStream,
    host: &Host,
    policy: TunnelPolicy,
    revoked: impl Future<Output = ()>,
    counters: &Counters,
) -> End {
    let started = Instant::now();
    let life = async {
        match timeout(FIRST_BYTES_TIMEOUT, admit(&mut client, early, host)).await {
            Ok(Ok((protocol, first))) => {
                relay(client, &mut upstream, protocol, &first, policy.idle, counters).await
            }
            Ok(Err(end)) => end,
            Err(_) => End::Silent,
        }
    };
    tokio::select! {
        end = life => end,
        () = sleep_until(started + policy.max_life) => End::MaxLife,
        () = revoked => End::Revoked,
    }
}

/// Reads until the first bytes can be judged; returns them, none of which was sent on.
async fn admit(client: &mut TcpStream, early: &[u8], host: &Host) -> Result<(Protocol, Vec<u8>), End> {
    let mut first = early.to_vec();
    loop {
        // `judge` bounds the buffer: it refuses what is longer than any honest greeting.
        if !first.is_empty()
            && let Some(protocol) = first_bytes::judge(&first, host)?
        {
            return Ok((protocol, first));
        }
        match client.read_buf(&mut first).await {
            Ok(0) | Err(_) => return Err(End::Closed),
            Ok(_) => {}
        }
    }
}

async fn relay(
    client: TcpStream,
    upstream: &mut TcpStream,
    protocol: Protocol,
    first: &[u8],
    idle: Duration,
    counters: &Counters,
) -> End {
    // Small records of a handshake must not wait for each other (Nagle).
    let _ = client.set_nodelay(true).and(upstream.set_nodelay(true));
    let mut client = client;
    let greeting = async {
        upstream.write_all(first).await.map_err(|_| End::Closed)?;
        counters.sent.fetch_add(first.len() as u64, Ordering::Relaxed);
        if protocol == Protocol::Ssh { ssh_greeting(upstream).await } else { Ok(Vec::new()) }
    };
    let reply = match timeout(idle, greeting).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(end)) => return end,
        Err(_) => return End::Idle,
    };
    if client.write_all(&reply).await.is_err() {
        return End::Closed;
    }
    counters.received.fetch_add(reply.len() as u64, Ordering::Relaxed);

    let start = Instant::now();
    let last_millis = AtomicU64::new(0);
    let (mut from_client, mut to_client) = client.split();
    let (mut from_upstream, mut to_upstream) = upstream.split();
    let both = async {
        let up = copy(&mut from_client, &mut to_upstream, start, &last_millis, &counters.sent);
        let down = copy(&mut from_upstream, &mut to_client, start, &last_millis, &counters.received);
        // Half-closed is a state, broken is an end: an error on one way ends both.
        tokio::try_join!(up, down)
    };
    let silence = async {
        loop {
            let deadline = start + Duration::from_millis(last_millis.load(Ordering::Relaxed)) + idle;
            if Instant::now() >= deadline {
                return;
            }
            sleep_until(deadline).await;
        }
    };
    tokio::select! {
        _ = both => End::Closed,
        () = silence => End::Idle,
    }
}

/// Reads enough of the server's side to see that it is an SSH server.
async fn ssh_greeting(upstream: &mut TcpStream) -> Result<Vec<u8>, End> {
    const LONGEST_BANNER_PREFIX: usize = 9;
    let mut reply = Vec::new();
    while reply.len() < LONGEST_BANNER_PREFIX {
        match upstream.read_buf(&mut reply).await {
            Ok(0) | Err(_) => return Err(End::Closed),
            Ok(_) => {}
        }
    }
    if first_bytes::is_ssh_server(&reply) { Ok(reply) } else { Err(End::NotSsh) }
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    start: Instant,
    last_millis: &AtomicU64,
    counter: &AtomicU64,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
        counter.fetch_add(read as u64, Ordering::Relaxed);
        last_millis.store(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
