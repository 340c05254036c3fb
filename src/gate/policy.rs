//! Everything a verdict needs, compiled and immutable. A reload builds a new one and swaps it whole.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::allowlist::HostPatterns;
use super::dlp::Scanner;
use super::rate::{Buckets, Limits as RateLimits};
use crate::ids::Secret;

/// A validated configuration. Built by [`super::config::read`] only.
#[derive(Debug)]
pub struct Policy {
    /// SHA-256 of the file's bytes, lower-case hex: lets the writer of a file see that it is in force.
    pub config_hash: String,
    /// Hosts that may be reached.
    pub allowlist: HostPatterns,
    /// Hosts refused although on the allowlist.
    pub blocklist: HostPatterns,
    /// What addresses they may have.
    pub ssrf: SsrfPolicy,
    /// Limits on URLs.
    pub url: UrlPolicy,
    /// The main listener.
    pub main_listen: SocketAddr,
    /// `CONNECT`.
    pub tunnel: TunnelPolicy,
    /// The scan listener; absent when it is off.
    pub scan: Option<ScanPolicy>,
    /// Content rules.
    pub scanner: Scanner,
    /// Hosts in whose URLs a rule is let pass, by the rule's name.
    pub url_exemptions: Vec<(String, HostPatterns)>,
    /// When to deny everything.
    pub kill: KillPolicy,
    /// Adds a hint to refusals.
    pub explain: bool,
    /// Requests to each entry of the allowlist; restarts with each reload, as in pipelock.
    pub(super) host_rate: Buckets<usize>,
}

/// Exemptions from, and additions to, the reserved ranges.
#[derive(Debug, Default)]
pub struct SsrfPolicy {
    /// Hosts that may have reserved addresses.
    pub trusted: HostPatterns,
    /// Reserved ranges that may be dialled.
    pub exempt: Vec<IpNet>,
    /// More ranges that may not.
    pub internal: Vec<IpNet>,
    /// Also resolve while judging a URL (not only while dialling).
    pub resolve_in_verdict: bool,
}

/// Limits on URLs.
#[derive(Debug)]
pub struct UrlPolicy {
    /// Longest URL, bytes.
    pub max_length: usize,
    /// Bits a byte.
    pub entropy_threshold: f64,
    /// Bits a byte.
    pub subdomain_entropy_threshold: f64,
    /// Hosts exempt from path and subdomain entropy.
    pub entropy_exclusions: HostPatterns,
}

/// How tunnels live and end.
#[derive(Debug, Clone, Copy)]
pub struct TunnelPolicy {
    /// `forward_proxy.enabled`.
    pub enabled: bool,
    /// Longest silence in both directions.
    pub idle: Duration,
    /// Longest life.
    pub max_life: Duration,
}

/// The scan endpoint.
#[derive(Debug)]
pub struct ScanPolicy {
    /// Its address. A reload does not move it.
    pub listen: SocketAddr,
    /// Who may ask.
    pub tokens: Vec<Secret>,
    /// Largest body, bytes.
    pub max_body_bytes: usize,
    /// Longest `input.url`, bytes.
    pub url_limit_bytes: usize,
    /// Longest `input.text`, bytes.
    pub text_limit_bytes: usize,
    /// Head and body.
    pub read_timeout: Duration,
    /// One scan.
    pub scan_timeout: Duration,
    /// Connections at once. A reload does not change it.
    pub connection_limit: usize,
    /// Whether `url` is answered.
    pub url_enabled: bool,
    /// Whether `dlp` is answered.
    pub dlp_enabled: bool,
    /// Requests by token (its position in the list).
    pub(super) rate: Buckets<usize>,
}

/// When to deny everything.
#[derive(Debug, Default)]
pub struct KillPolicy {
    /// From the start.
    pub enabled: bool,
    /// While this file exists.
    pub sentinel: Option<PathBuf>,
    /// Shown in refusals.
    pub message: String,
}

/// Buckets for the hosts of an allowlist with `len` entries.
pub(super) fn host_buckets(requests_per_minute: u32, len: usize) -> Buckets<usize> {
    Buckets::new(RateLimits { per_minute: requests_per_minute, burst: requests_per_minute }, 0..len)
}
