//! The gate's configuration file: pipelock 2.3 reads it, and the builtin gate reads the same.
//!
//! pipelock turns many options on when they are *left out*, so every option that matters is written. It is
//! used for verdicts (scan API) and as the destination lock (CONNECT); it never sees decrypted traffic on
//! the way, hence everything that would buffer or rewrite responses is off. SSRF protection is its job here:
//! the `internal` key is left out on purpose, which gives the default private ranges.

use std::net::IpAddr;

use serde::Serialize;

use super::{exact::ExactSecret, host::HostPattern, policy::EgressPolicy};
use crate::ids::{BottleId, Secret};

/// Stands for an empty allowlist, which pipelock's strict mode refuses.
pub const DENY_ALL_HOST: &str = "deny-all.invalid";

/// Where the gate listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelockListen {
    /// Named in the gate's own log lines.
    pub bottle: BottleId,
    /// The gate's address on the middle network, or `0.0.0.0`.
    pub host: IpAddr,
    /// CONNECT and `/health`, normally 8888.
    pub proxy_port: u16,
    /// Scan API, normally 8890.
    pub scan_port: u16,
}

/// Renders the file. It holds the token and the exact secrets in clear: hand it over on standard input.
///
/// Exact secrets shorter than [`super::MIN_EXACT_SECRET_BYTES`] are left out.
///
/// # Errors
/// `serde_yaml_ng` cannot fail on these types; its error is passed on rather than assumed away.
pub fn pipelock_config(
    policy: &EgressPolicy,
    listen: &PipelockListen,
    scan_token: &Secret<String>,
    exact: &[ExactSecret],
) -> Result<Secret<String>, serde_yaml_ng::Error> {
    let file = File::new(policy, listen, scan_token, exact);
    serde_yaml_ng::to_string(&file).map(Secret::new)
}

/// An option group that is only switched on or off.
#[derive(Serialize)]
struct Switch {
    enabled: bool,
}

const OFF: Switch = Switch { enabled: false };

#[derive(Serialize)]
struct File<'a> {
    version: u32,
    mode: &'static str,
    enforce: bool,
    explain_blocks: bool,
    api_allowlist: Vec<String>,
    trusted_domains: &'a [HostPattern],
    fetch_proxy: FetchProxy,
    forward_proxy: ForwardProxy,
    websocket_proxy: Switch,
    tls_interception: Switch,
    request_body_scanning: BodyScanning,
    dlp: Dlp<'a>,
    canary_tokens: Switch,
    seed_phrase_detection: SeedPhrases,
    response_scanning: ResponseScanning,
    media_policy: Switch,
    browser_shield: Switch,
    taint: Switch,
    session_profiling: Switch,
    adaptive_enforcement: Switch,
    airlock: Switch,
    cross_request_detection: Switch,
    a2a_scanning: Switch,
    redaction: Switch,
    mediation_envelope: Switch,
    scan_api: ScanApi<'a>,
    kill_switch: Switch,
    logging: Logging,
    emit: Emit,
    sentry: Switch,
    default_agent_identity: String,
    bind_default_agent_identity: bool,
}

#[derive(Serialize)]
struct FetchProxy {
    listen: String,
    timeout_seconds: u32,
    monitoring: Monitoring,
}

#[derive(Serialize)]
struct Monitoring {
    max_url_length: u32,
    entropy_threshold: f32,
    subdomain_entropy_threshold: f32,
    max_requests_per_minute: u32,
    max_data_per_minute: u32,
    blocklist: [&'static str; 0],
}

#[derive(Serialize)]
struct ForwardProxy {
    enabled: bool,
    max_tunnel_seconds: u32,
    idle_timeout_seconds: u32,
    sni_verification: bool,
}

#[derive(Serialize)]
struct BodyScanning {
    enabled: bool,
    action: &'static str,
    scan_headers: bool,
    header_mode: &'static str,
}

#[derive(Serialize)]
struct Dlp<'a> {
    scan_env: bool,
    include_defaults: bool,
    patterns: Vec<Pattern<'a>>,
}

#[derive(Serialize)]
struct Pattern<'a> {
    name: &'a str,
    regex: String,
    severity: &'static str,
}

#[derive(Serialize)]
struct SeedPhrases {
    enabled: bool,
    min_words: u32,
    verify_checksum: bool,
}

#[derive(Serialize)]
struct ResponseScanning {
    enabled: bool,
    action: &'static str,
    sse_streaming: Switch,
}

#[derive(Serialize)]
struct ScanApi<'a> {
    listen: String,
    auth: Auth<'a>,
    rate_limit: RateLimit,
    max_body_bytes: u32,
    field_limits: FieldLimits,
    timeouts: Timeouts,
    connection_limit: u32,
    kinds: Kinds,
}

#[derive(Serialize)]
struct Auth<'a> {
    bearer_tokens: [&'a str; 1],
}

#[derive(Serialize)]
struct RateLimit {
    requests_per_minute: u32,
    burst: u32,
}

#[derive(Serialize)]
struct FieldLimits {
    url: u32,
    text: u32,
    content: u32,
    arguments: u32,
}

#[derive(Serialize)]
struct Timeouts {
    read: &'static str,
    write: &'static str,
    scan: &'static str,
}

#[derive(Serialize)]
struct Kinds {
    url: bool,
    dlp: bool,
    prompt_injection: bool,
    tool_call: bool,
}

#[derive(Serialize)]
struct Logging {
    format: &'static str,
    output: &'static str,
    include_allowed: bool,
    include_blocked: bool,
}

#[derive(Serialize)]
struct Emit {
    instance_id: String,
}

impl<'a> File<'a> {
    fn new(
        policy: &'a EgressPolicy,
        listen: &PipelockListen,
        scan_token: &'a Secret<String>,
        exact: &'a [ExactSecret],
    ) -> Self {
        let mut api_allowlist: Vec<String> = policy.gate_hosts().iter().map(ToString::to_string).collect();
        if api_allowlist.is_empty() {
            api_allowlist.push(DENY_ALL_HOST.to_owned());
        }
        let identity = format!("bottle-{}", listen.bottle);
        Self {
            version: 1,
            mode: "strict",
            enforce: true,
            explain_blocks: true,
            api_allowlist,
            trusted_domains: &policy.private_hosts,
            fetch_proxy: FetchProxy {
                listen: format!("{}:{}", listen.host, listen.proxy_port),
                timeout_seconds: 30,
                monitoring: Monitoring {
                    max_url_length: 16_384,
                    entropy_threshold: 5.2,
                    subdomain_entropy_threshold: 4.5,
                    max_requests_per_minute: 60_000,
                    max_data_per_minute: 0,
                    blocklist: [],
                },
            },
            forward_proxy: ForwardProxy {
                enabled: true,
                max_tunnel_seconds: 86_400,
                idle_timeout_seconds: 3_600,
                sni_verification: true,
            },
            websocket_proxy: OFF,
            tls_interception: OFF,
            request_body_scanning: BodyScanning {
                enabled: true,
                action: "block",
                scan_headers: true,
                header_mode: "all",
            },
            dlp: Dlp {
                scan_env: false,
                include_defaults: true,
                patterns: exact
                    .iter()
                    .filter(|secret| secret.is_searchable())
                    .map(|secret| Pattern {
                        name: &secret.name,
                        regex: secret.pattern(),
                        severity: "critical",
                    })
                    .collect(),
            },
            canary_tokens: OFF,
            seed_phrase_detection: SeedPhrases { enabled: true, min_words: 12, verify_checksum: true },
            // With `enabled: false` pipelock's built-in patterns block instead of warning.
            response_scanning: ResponseScanning { enabled: true, action: "warn", sse_streaming: OFF },
            media_policy: OFF,
            browser_shield: OFF,
            taint: OFF,
            session_profiling: OFF,
            adaptive_enforcement: OFF,
            airlock: OFF,
            cross_request_detection: OFF,
            a2a_scanning: OFF,
            redaction: OFF,
            mediation_envelope: OFF,
            scan_api: ScanApi {
                listen: format!("{}:{}", listen.host, listen.scan_port),
                auth: Auth { bearer_tokens: [scan_token.expose_secret()] },
                rate_limit: RateLimit { requests_per_minute: 6_000_000, burst: 10_000 },
                max_body_bytes: 20 << 20,
                field_limits: FieldLimits {
                    url: 16_384,
                    text: 8 << 20,
                    content: 8 << 20,
                    arguments: 8 << 20,
                },
                timeouts: Timeouts { read: "15s", write: "60s", scan: "30s" },
                connection_limit: 128,
                kinds: Kinds { url: true, dlp: true, prompt_injection: false, tool_call: false },
            },
            kill_switch: OFF,
            logging: Logging {
                format: "json",
                output: "stdout",
                include_allowed: true,
                include_blocked: true,
            },
            emit: Emit { instance_id: identity.clone() },
            sentry: OFF,
            default_agent_identity: identity,
            bind_default_agent_identity: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::{HostName, SshDestination};

    fn render(policy: &EgressPolicy, exact: &[ExactSecret]) -> String {
        let listen = PipelockListen {
            bottle: "0123456789abcdef".into(),
            host: [10, 1, 2, 3].into(),
            proxy_port: 8888,
            scan_port: 8890,
        };
        pipelock_config(policy, &listen, &"dummy-token".into(), exact)
            .expect("renders")
            .expose_secret()
            .clone()
    }

    #[test]
    fn file_of_a_policy_with_everything() {
        let policy = EgressPolicy {
            ssh: vec![SshDestination { host: HostName::parse("git.example.org").expect("valid"), port: 22 }],
            private_hosts: vec![HostPattern::parse("*.corp.example").expect("valid")],
            ..EgressPolicy::default()
        };
        let exact = [
            ExactSecret { name: "Bottle Secret 1".into(), value: "dummy: value\\ #1".into() },
            ExactSecret { name: "Bottle Secret 2".into(), value: "short".into() },
        ];
        insta::assert_snapshot!(render(&policy, &exact));
    }

    #[test]
    fn empty_allowlist_denies_all() {
        let policy = EgressPolicy { allowlist: Vec::new(), ..EgressPolicy::default() };
        let file: serde_yaml_ng::Value = serde_yaml_ng::from_str(&render(&policy, &[])).expect("own file");
        assert_eq!(file["api_allowlist"], serde_yaml_ng::Value::from(vec![DENY_ALL_HOST]));
    }
}
