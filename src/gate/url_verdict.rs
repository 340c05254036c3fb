//! The verdict on a host and on a whole URL. Pure but for the rate buckets; resolving is `dial`'s business.
//!
//! Order after pipelock's `docs/configuration.md`: form, allowlist, blocklist, literal addresses, content, entropy,
//! rate, length. The first refusal ends the judgement.

use std::time::Instant;

use url::Url;

use super::address;
use super::dlp::{Severity, shannon_entropy};
use super::host::Host;
use super::policy::Policy;

/// Segments and values shorter than this carry too little for entropy to tell.
const MIN_ENTROPY_BYTES: usize = 20;

/// The same for one label of a name.
const MIN_LABEL_BYTES: usize = 8;

/// Which test refused. Becomes the rule id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Not a URL that every reader would read alike.
    Parser,
    /// Neither http nor https.
    Scheme,
    /// A line break, plain or encoded.
    Crlf,
    /// `..` in the path, plain or encoded.
    Traversal,
    /// Not on the allowlist.
    Allowlist,
    /// On the blocklist.
    Blocklist,
    /// A literal reserved address.
    LiteralAddress,
    /// A name that resolves to a reserved address, or not at all.
    Address,
    /// A core content rule.
    CoreDlp,
    /// Another content rule.
    Dlp,
    /// A random-looking path segment, key or value.
    Entropy,
    /// A random-looking label under a wildcard.
    SubdomainEntropy,
    /// Too many requests.
    Rate,
    /// Too long.
    Length,
}

impl Stage {
    /// The rule id, spelled as pipelock spells it.
    pub fn rule_id(self) -> &'static str {
        match self {
            Self::Parser => "URL-parser",
            Self::Scheme => "URL-scheme",
            Self::Crlf => "URL-crlf_injection",
            Self::Traversal => "URL-path_traversal",
            Self::Allowlist => "URL-allowlist",
            Self::Blocklist => "BLOCK-Domain",
            Self::LiteralAddress => "URL-core_ssrf",
            Self::Address => "SSRF-Private-IP",
            Self::CoreDlp => "URL-core_dlp",
            Self::Dlp => "DLP-URL-Exfil",
            Self::Entropy => "URL-entropy",
            Self::SubdomainEntropy => "URL-subdomain_entropy",
            Self::Rate => "URL-ratelimit",
            Self::Length => "URL-length",
        }
    }

    /// The severity in findings.
    pub fn severity(self) -> Severity {
        match self {
            Self::Dlp | Self::CoreDlp => Severity::Critical,
            Self::Address | Self::LiteralAddress => Severity::High,
            _ => Severity::Medium,
        }
    }
}

/// A refusal, with a reason that names rules and hosts but never shows a path, a query or a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// Which test refused.
    pub stage: Stage,
    /// For the caller and the log.
    pub reason: String,
}

impl Refusal {
    pub(super) fn new(stage: Stage, reason: impl Into<String>) -> Self {
        Self { stage, reason: reason.into() }
    }
}

/// Judges a host alone, as a `CONNECT` line names it, and takes one request from its budget.
///
/// # Errors
/// The first [`Refusal`].
pub fn judge_host(policy: &Policy, host: &Host, now: Instant) -> Result<(), Refusal> {
    let Some(matched) = policy.allowlist.find(host) else {
        return Err(Refusal::new(Stage::Allowlist, format!("host is not on the allowlist: {host}")));
    };
    if policy.blocklist.contains(host) {
        return Err(Refusal::new(Stage::Blocklist, format!("host is on the blocklist: {host}")));
    }
    if let Some(ip) = host.literal() {
        let trusted = policy.ssrf.trusted.contains(host);
        address::permit(ip, trusted, &policy.ssrf.exempt, &policy.ssrf.internal)
            .map_err(|reserved| Refusal::new(Stage::LiteralAddress, format!("{host}: {reserved}")))?;
    }
    // Under an exact entry the owner chose every label. Under a wildcard the client did, and its labels reach
    // the name server of that domain whatever happens afterwards.
    if matched.wildcard {
        judge_content(policy, host, host.as_str())?;
        let threshold = policy.url.subdomain_entropy_threshold;
        let odd =
            |label: &str| label.len() >= MIN_LABEL_BYTES && shannon_entropy(label.as_bytes()) > threshold;
        if !policy.url.entropy_exclusions.contains(host) && host.as_str().split('.').any(odd) {
            return Err(Refusal::new(Stage::SubdomainEntropy, "a label of the host looks like encoded data"));
        }
    }
    if !policy.host_rate.take(&matched.index, now) {
        return Err(Refusal::new(Stage::Rate, format!("too many requests to {host}")));
    }
    Ok(())
}

/// Judges a URL and returns its host.
///
/// # Errors
/// The first [`Refusal`].
pub fn judge_url(policy: &Policy, text: &str, now: Instant) -> Result<Host, Refusal> {
    let lower = text.to_ascii_lowercase();
    if text.contains(['\r', '\n']) || lower.contains("%0d") || lower.contains("%0a") {
        return Err(Refusal::new(Stage::Crlf, "the URL holds a line break"));
    }
    // WHATWG and RFC 3986 readers part ways at these characters.
    if text.contains(['\\', '\t', ' ']) || text.chars().any(char::is_control) {
        return Err(Refusal::new(
            Stage::Parser,
            "the URL holds a backslash, white space or a control character",
        ));
    }
    let url = Url::parse(text).map_err(|_| Refusal::new(Stage::Parser, "the URL does not parse"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Refusal::new(Stage::Scheme, "the scheme is neither http nor https"));
    }
    let path = lower.split(['?', '#']).next().unwrap_or_default().replace("%2e", ".").replace("%2f", "/");
    if path.split('/').any(|segment| segment == "..") {
        return Err(Refusal::new(Stage::Traversal, "the path climbs with \"..\""));
    }
    let host = url
        .host_str()
        .and_then(|host| Host::parse(host).ok())
        .ok_or_else(|| Refusal::new(Stage::Parser, "the URL has no valid host"))?;
    // `url` rewrites 0x7f.1 to 127.0.0.1; only the text as written may match an entry.
    if host.literal().is_some() && !lower.contains(host.as_str()) {
        return Err(Refusal::new(Stage::Allowlist, "address in another than its canonical form"));
    }
    judge_host(policy, &host, now)?;
    judge_content(policy, &host, text)?;
    judge_entropy(policy, &host, &url)?;
    if text.len() > policy.url.max_length {
        let limit = policy.url.max_length;
        return Err(Refusal::new(Stage::Length, format!("the URL is longer than {limit} bytes")));
    }
    Ok(host)
}

fn judge_content(policy: &Policy, host: &Host, text: &str) -> Result<(), Refusal> {
    // URLs are bounded by the field limit, so that no deadline is needed here.
    let findings = policy.scanner.scan(text.as_bytes(), None).unwrap_or_default();
    let exempt =
        |name: &str| policy.url_exemptions.iter().any(|(rule, hosts)| rule == name && hosts.contains(host));
    match findings.iter().find(|finding| !finding.warn && (finding.core || !exempt(&finding.name))) {
        Some(finding) => {
            let stage = if finding.core { Stage::CoreDlp } else { Stage::Dlp };
            Err(Refusal::new(stage, format!("secret-like content: {}", finding.name)))
        }
        None => Ok(()),
    }
}

fn judge_entropy(policy: &Policy, host: &Host, url: &Url) -> Result<(), Refusal> {
    let odd = |text: &str| {
        text.len() >= MIN_ENTROPY_BYTES && shannon_entropy(text.as_bytes()) > policy.url.entropy_threshold
    };
    let in_path = || url.path().split('/').any(|segment| odd(&percent_decoded(segment)));
    if !policy.url.entropy_exclusions.contains(host) && in_path() {
        return Err(Refusal::new(Stage::Entropy, "a path segment looks like encoded data"));
    }
    if url.query_pairs().any(|(key, value)| odd(&key) || odd(&value)) {
        return Err(Refusal::new(Stage::Entropy, "a query parameter looks like encoded data"));
    }
    Ok(())
}

fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
#[path = "url_verdict_tests.rs"]
mod tests;
