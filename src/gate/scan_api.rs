//! The scan listener: `POST /api/v1/scan`.
//!
//! Order of checks as in pipelock: method, token, rate, kill switch, size, JSON, kind, input, scan. Every path
//! that is not a finished scan without findings answers something other than allow.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ENGINE_VERSION;
use super::dial;
use super::policy::{Policy, ScanPolicy};
use super::scan_message::{self, Failure, Finding, Question};
use super::server::Gate;
use super::url_verdict::{self, Refusal, Stage};

const PATH: &str = "/api/v1/scan";

/// Idle connections of the caller's pool are kept this long at least, so that he rarely meets a closed one.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Texts up to this length are scanned where they are; moving them to another thread costs more.
const INLINE_SCAN_BYTES: usize = 16 * 1024;

/// Serves one connection of the scan listener to its end.
pub(super) async fn handle(gate: Arc<Gate>, stream: TcpStream, _peer: SocketAddr) {
    // Answers are small and the caller waits for each.
    let _ = stream.set_nodelay(true);
    let head_timeout =
        gate.policy().scan.as_ref().map_or(KEEP_ALIVE, |scan| scan.read_timeout.max(KEEP_ALIVE));
    let service = service_fn(|request| {
        let gate = gate.clone();
        async move { Ok::<_, Infallible>(answer(&gate, request).await) }
    });
    // An error here is a client that broke HTTP or went away; hyper has answered what can be answered.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(gate: &Gate, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if request.uri().path() != PATH {
        let mut response = Response::new(Full::new(Bytes::from_static(b"not found\n")));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    match verdict(gate, request).await {
        Ok(answer) => json_response(StatusCode::OK, &answer),
        Err(failure) => failed(failure),
    }
}

async fn verdict(gate: &Gate, request: Request<Incoming>) -> Result<scan_message::Response, Failure> {
    let policy = gate.policy();
    let scan = policy.scan.as_ref().ok_or_else(|| {
        Failure::new(500, "", "config_unavailable", "the scan API was switched off by a reload")
    })?;
    if request.method() != Method::POST {
        return Err(Failure::new(405, "", "method_not_allowed", "only POST is accepted"));
    }
    let token = bearer_token(request.headers().get(AUTHORIZATION)).and_then(|token| token_index(token, scan));
    let Some(token) = token else {
        return Err(Failure::new(401, "", "unauthorized", "the bearer token is missing or not known"));
    };
    if !scan.rate.take(&token, Instant::now()) {
        return Err(Failure::new(429, "", "rate_limited", "too many requests with this token"));
    }
    if gate.is_killed(&policy) {
        return Err(Failure::new(503, "", "kill_switch_active", "the kill switch is on"));
    }
    let body = read_body(request, scan).await?;
    let (question, request_id, include_evidence) = scan_message::parse(&body, scan)?;
    drop(body);

    let started = Instant::now();
    let (kind, findings) = match question {
        Question::Url(url) => ("url", judge_url(&policy, &url, scan.scan_timeout).await?),
        Question::Dlp(text) => {
            ("dlp", judge_text(gate, &policy, text, scan.scan_timeout, include_evidence).await?)
        }
    };
    Ok(scan_message::Response {
        status: "completed",
        decision: Some(if findings.is_empty() { "allow" } else { "deny" }),
        kind: kind.to_owned(),
        scan_id: scan_id(),
        request_id,
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        engine_version: ENGINE_VERSION,
        findings,
        errors: Vec::new(),
    })
}

async fn read_body(request: Request<Incoming>, scan: &ScanPolicy) -> Result<Bytes, Failure> {
    let limited = Limited::new(request.into_body(), scan.max_body_bytes);
    match timeout(scan.read_timeout, limited.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let limit = scan.max_body_bytes;
            Err(Failure::new(400, "", "body_too_large", format!("the body exceeds {limit} bytes")))
        }
        Ok(Err(_)) | Err(_) => Err(Failure::new(400, "", "read_error", "the body could not be read in time")),
    }
}

async fn judge_url(policy: &Policy, url: &str, limit: Duration) -> Result<Vec<Finding>, Failure> {
    let refused = |refusal: &Refusal| Ok(vec![scan_message::url_finding(refusal)]);
    let host = match url_verdict::judge_url(policy, url, Instant::now()) {
        Ok(host) => host,
        Err(refusal) => return refused(&refusal),
    };
    if !policy.ssrf.resolve_in_verdict || policy.ssrf.trusted.contains(&host) {
        return Ok(Vec::new());
    }
    match timeout(limit, dial::resolve(&host, &policy.ssrf)).await {
        Ok(Ok(_)) => Ok(Vec::new()),
        Ok(Err(error)) => refused(&Refusal::new(Stage::Address, format!("{host}: {error}"))),
        Err(_) => Err(expired("url")),
    }
}

async fn judge_text(
    gate: &Gate,
    policy: &Arc<Policy>,
    text: String,
    limit: Duration,
    include_evidence: bool,
) -> Result<Vec<Finding>, Failure> {
    let deadline = Instant::now() + limit;
    let outcome = if text.len() <= INLINE_SCAN_BYTES {
        policy.scanner.scan(text.as_bytes(), Some(deadline))
    } else {
        let unavailable = || Failure::new(503, "dlp", "scan_unavailable", "no scanner is free");
        let permit = timeout(limit, gate.scans.clone().acquire_owned()).await.map_err(|_| expired("dlp"))?;
        let permit = permit.map_err(|_| unavailable())?;
        let policy = policy.clone();
        tokio::task::spawn_blocking(move || {
            let outcome = policy.scanner.scan(text.as_bytes(), Some(deadline));
            drop(permit);
            outcome
        })
        .await
        .map_err(|_| Failure::new(500, "dlp", "internal_error", "the scan broke off"))?
    };
    let findings = outcome.map_err(|_| expired("dlp"))?;
    let warnings: Vec<&str> =
        findings.iter().filter(|finding| finding.warn).map(|f| f.name.as_str()).collect();
    if !warnings.is_empty() {
        gate.log.warn(
            "body_dlp",
            "content rule matched, not denied",
            json!({"action": "warn", "patterns": warnings}),
        );
    }
    Ok(scan_message::dlp_findings(&findings, include_evidence))
}

fn expired(kind: &str) -> Failure {
    Failure::new(503, kind, "scan_deadline_exceeded", "the scan did not finish in time")
}

/// The token of `Authorization: Bearer …`; the scheme's case does not matter (RFC 9110, 11.1).
fn bearer_token(header: Option<&HeaderValue>) -> Option<&[u8]> {
    let value = header?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty()).then_some(token)
}

/// Position of the token in the list. Digests are compared, all of them and to the end, so that the time taken
/// tells nothing about a token.
fn token_index(token: &[u8], scan: &ScanPolicy) -> Option<usize> {
    let digest = Sha256::digest(token);
    let mut found = None;
    for (index, known) in scan.tokens.iter().enumerate() {
        let known = Sha256::digest(known.expose_secret().as_bytes());
        let difference = digest.iter().zip(known.iter()).fold(0_u8, |sum, (a, b)| sum | (a ^ b));
        if std::hint::black_box(difference) == 0 {
            found = Some(index);
        }
    }
    found
}

/// `scan-` and 16 hex digits: unique, and of no use to anyone who guesses it.
fn scan_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("scan-{:016x}", RandomState::new().hash_one(count))
}

fn failed(failure: Failure) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let answer = scan_message::Response {
        status: "error",
        decision: None,
        kind: failure.kind,
        scan_id: scan_id(),
        request_id: None,
        duration_ms: 0,
        engine_version: ENGINE_VERSION,
        findings: Vec::new(),
        errors: vec![failure.error],
    };
    let mut response = json_response(status, &answer);
    match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        StatusCode::TOO_MANY_REQUESTS => {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    response
}

fn json_response(status: StatusCode, answer: &scan_message::Response) -> Response<Full<Bytes>> {
    let (status, mut body) = match serde_json::to_vec(answer) {
        Ok(body) => (status, body),
        // Not reachable with these types; an empty 500 is a denial to every caller.
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
    };
    body.push(b'\n');
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
