//! The main listener: `CONNECT` and `/health`. Everything else is refused with pipelock's status codes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::dial::{self, DialError};
use super::health;
use super::host::Host;
use super::policy::Policy;
use super::server::Gate;
use super::tunnel::{self, Counters, End};
use super::url_verdict::{self, Refusal, Stage};

/// A request head that takes longer is a slow-loris.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest request head.
const HEAD_LIMIT_BYTES: usize = 16 * 1024;

const HINT: HeaderName = HeaderName::from_static("x-pipelock-hint");

/// A tunnel that was answered with 200 and waits for its connection to be handed over.
struct Pending {
    upgrade: OnUpgrade,
    upstream: TcpStream,
    host: Host,
    target: String,
    request_id: String,
    permit: OwnedSemaphorePermit,
}

/// Serves one client connection to its end, tunnel included.
pub(super) async fn handle(gate: Arc<Gate>, stream: TcpStream, peer: SocketAddr) {
    let (hand_over, mut pending) = mpsc::channel::<Pending>(1);
    let service = service_fn(|request| {
        let (gate, hand_over) = (gate.clone(), hand_over.clone());
        async move { Ok::<_, Infallible>(answer(&gate, request, peer, &hand_over).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_LIMIT_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    // An error here is a client that broke HTTP or went away; hyper has answered what can be answered.
    if served.is_ok()
        && let Ok(pending) = pending.try_recv()
    {
        run_tunnel(&gate, pending, peer).await;
    }
}

async fn answer(
    gate: &Gate,
    request: Request<Incoming>,
    peer: SocketAddr,
    hand_over: &mpsc::Sender<Pending>,
) -> Response<Full<Bytes>> {
    let policy = gate.policy();
    let is_health = request.method() != Method::CONNECT && request.uri().path() == "/health";
    if gate.is_killed(&policy) && !(is_health && request.uri().host().is_none()) {
        gate.log.warn(
            "kill_switch_deny",
            "denied by kill switch",
            json!({"client_ip": peer.ip().to_string()}),
        );
        return document(
            StatusCode::SERVICE_UNAVAILABLE,
            &json!({"error": "kill_switch_active", "message": policy.kill.message}),
        );
    }
    if request.method() == Method::CONNECT {
        let target = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let request_id = gate.next_request_id();
        return match connect(gate, &policy, request, &target, &request_id, hand_over).await {
            Ok(response) => response,
            Err(denial) => {
                gate.log.warn(
                    "blocked",
                    "request blocked",
                    json!({
                        "method": "CONNECT", "target": target, "client_ip": peer.ip().to_string(),
                        "request_id": request_id, "scanner": denial.scanner, "reason": denial.reason,
                    }),
                );
                denial.response(&policy)
            }
        };
    }
    if request.uri().host().is_some() {
        return absolute_form(gate, &policy, &request, peer);
    }
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/health") => document(
            StatusCode::OK,
            &health::document(&policy, gate.started.elapsed(), gate.is_killed(&policy)),
        ),
        (_, "/health") => text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered"),
        // pipelock would fetch here on the caller's behalf; nothing in a bottle asks for that.
        (_, "/fetch" | "/ws") => text(StatusCode::FORBIDDEN, "blocked: this gate does not fetch"),
        _ => text(StatusCode::NOT_FOUND, "not found"),
    }
}

/// pipelock forwards these requests, in clear for `http`. Here they are judged for the log and never sent.
fn absolute_form(
    gate: &Gate,
    policy: &Policy,
    request: &Request<Incoming>,
    peer: SocketAddr,
) -> Response<Full<Bytes>> {
    let refusal = url_verdict::judge_url(policy, &request.uri().to_string(), Instant::now()).err();
    gate.log.warn(
        "blocked",
        "request blocked",
        json!({
            "method": request.method().as_str(), "target": request.uri().host(), "client_ip": peer.ip().to_string(),
            "request_id": gate.next_request_id(), "scanner": refusal.as_ref().map_or("method", |r| r.stage.rule_id()),
            "reason": "absolute-form request",
        }),
    );
    match refusal {
        Some(refusal) => text(status_of(&refusal), &format!("blocked: {refusal}")),
        None => text(StatusCode::METHOD_NOT_ALLOWED, "only CONNECT is forwarded"),
    }
}

/// Why a `CONNECT` is not answered with 200.
struct Denial {
    status: StatusCode,
    scanner: &'static str,
    reason: String,
}

impl Denial {
    fn new(status: StatusCode, scanner: &'static str, reason: impl Into<String>) -> Self {
        Self { status, scanner, reason: reason.into() }
    }

    fn response(&self, policy: &Policy) -> Response<Full<Bytes>> {
        let prefix = if self.status == StatusCode::FORBIDDEN || self.status == StatusCode::TOO_MANY_REQUESTS {
            "CONNECT blocked: "
        } else {
            ""
        };
        let mut response = text(self.status, &format!("{prefix}{}", self.reason));
        if policy.explain && self.scanner == Stage::Allowlist.rule_id() {
            let hint = HeaderValue::from_static("add the host to the allowlist of this bottle");
            response.headers_mut().insert(HINT, hint);
        }
        response
    }
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        Self::new(status_of(&refusal), refusal.stage.rule_id(), refusal.reason)
    }
}

fn status_of(refusal: &Refusal) -> StatusCode {
    if refusal.stage == Stage::Rate { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::FORBIDDEN }
}

async fn connect(
    gate: &Gate,
    policy: &Policy,
    mut request: Request<Incoming>,
    target: &str,
    request_id: &str,
    hand_over: &mpsc::Sender<Pending>,
) -> Result<Response<Full<Bytes>>, Denial> {
    if !policy.tunnel.enabled {
        return Err(Denial::new(StatusCode::METHOD_NOT_ALLOWED, "method", "CONNECT is not enabled"));
    }
    let malformed = || Denial::new(StatusCode::BAD_REQUEST, "parser", "the CONNECT target is not host:port");
    let authority = request.uri().authority().ok_or_else(malformed)?;
    if authority.as_str().contains('@') {
        return Err(malformed());
    }
    // Text behind the last colon that is no port must not fall back to 443 in silence.
    let port = match authority.as_str().strip_prefix(authority.host()).ok_or_else(malformed)? {
        "" => 443,
        rest => rest.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or_else(malformed)?,
    };
    let host = Host::parse(authority.host()).map_err(|_| malformed())?;
    url_verdict::judge_host(policy, &host, Instant::now())?;
    judge_headers(policy, &request)?;

    let permit =
        gate.tunnels.clone().try_acquire_owned().map_err(|_| {
            Denial::new(StatusCode::SERVICE_UNAVAILABLE, "tunnels", "too many active tunnels")
        })?;
    let upstream = dial::connect(&host, port, &policy.ssrf).await.map_err(|error| match error {
        DialError::Port(_) => Denial::new(StatusCode::FORBIDDEN, "port", error.to_string()),
        DialError::Reserved(_) => {
            Denial::new(StatusCode::FORBIDDEN, Stage::Address.rule_id(), format!("{host} {error}"))
        }
        DialError::Resolve | DialError::Connect(_) => {
            Denial::new(StatusCode::BAD_GATEWAY, "dial", format!("tunnel dial failed: {error}"))
        }
    })?;
    let upgrade = hyper::upgrade::on(&mut request);
    let (target, request_id) = (target.to_owned(), request_id.to_owned());
    hand_over
        .try_send(Pending { upgrade, upstream, host, target, request_id, permit })
        .map_err(|_| Denial::new(StatusCode::BAD_REQUEST, "parser", "a second CONNECT on one connection"))?;
    Ok(Response::new(Full::default()))
}

/// The head of a `CONNECT` can carry data too, whatever becomes of the tunnel.
fn judge_headers(policy: &Policy, request: &Request<Incoming>) -> Result<(), Denial> {
    let mut joined = Vec::new();
    for (name, value) in request.headers() {
        joined.extend_from_slice(name.as_str().as_bytes());
        joined.extend_from_slice(b": ");
        joined.extend_from_slice(value.as_bytes());
        joined.push(b'\n');
    }
    let findings = policy.scanner.scan(&joined, None).unwrap_or_default();
    match findings.iter().find(|finding| !finding.warn) {
        Some(finding) => Err(Denial::new(
            StatusCode::FORBIDDEN,
            "header_dlp",
            format!("a header holds a secret: {}", finding.name),
        )),
        None => Ok(()),
    }
}

async fn run_tunnel(gate: &Gate, pending: Pending, peer: SocketAddr) {
    let Ok(upgraded) = pending.upgrade.await else { return };
    let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else { return };
    let facts = json!({
        "method": "CONNECT", "target": pending.target, "client_ip": peer.ip().to_string(),
        "request_id": pending.request_id,
    });
    gate.log.info("tunnel_open", "tunnel opened", facts.clone());
    let policy = gate.policy();
    let counters = Counters::default();
    let end = tunnel::serve(
        parts.io.into_inner(),
        &parts.read_buf,
        pending.upstream,
        &pending.host,
        policy.tunnel,
        revoked(gate, &pending.host),
        &counters,
    )
    .await;
    drop(pending.permit);
    let mut facts = facts;
    facts["reason"] = json!(end.to_string());
    facts["sent_bytes"] = json!(counters.sent.load(Ordering::Relaxed));
    facts["received_bytes"] = json!(counters.received.load(Ordering::Relaxed));
    match end {
        End::Refused(_) => gate.log.warn("sni_mismatch", "tunnel refused on its first bytes", facts),
        _ => gate.log.info("tunnel_close", "tunnel closed", facts),
    }
}

/// Resolves when the host is no longer admitted: by a reload, or by the kill switch.
async fn revoked(gate: &Gate, host: &Host) {
    const SENTINEL_POLL: Duration = Duration::from_secs(1);
    let mut changes = gate.changes();
    loop {
        let policy = gate.policy();
        let admitted =
            policy.tunnel.enabled && policy.allowlist.contains(host) && !policy.blocklist.contains(host);
        if !admitted || gate.is_killed(&policy) {
            return;
        }
        let _ = tokio::time::timeout(SENTINEL_POLL, changes.changed()).await;
    }
}

fn text(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", format!("{message}\n"))
}

fn document(status: StatusCode, value: &serde_json::Value) -> Response<Full<Bytes>> {
    response(status, "application/json", format!("{value}\n"))
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
