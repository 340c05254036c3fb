//! The file as written: every key this engine acts on, with pipelock's names and defaults.

use serde::Deserialize;

use super::inert::{
    Emit, Logging, RequestBodyScanning, ResponseScanning, SeedPhraseDetection, Suppress, Switch,
};
use crate::gate::dlp::Severity;

/// The whole file. Sections in the lower half are inert.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the inert sections are documented in their module")]
pub struct File {
    /// Version of the format; only 1 exists.
    #[serde(default)]
    pub version: Option<u32>,
    /// Has to be `strict`: the only mode in which the allowlist is enforced.
    #[serde(default)]
    pub mode: Option<String>,
    /// Has to be true or absent.
    #[serde(default)]
    pub enforce: Option<bool>,
    /// Adds `X-Pipelock-Hint` to refusals.
    #[serde(default)]
    pub explain_blocks: bool,
    /// Hosts that may be reached.
    #[serde(default)]
    pub api_allowlist: Vec<String>,
    /// Hosts that may resolve to reserved addresses.
    #[serde(default)]
    pub trusted_domains: Vec<String>,
    /// Ranges that count as internal besides the reserved ones. `[]` also turns off the look-up at scan time;
    /// the check at dial time stays.
    #[serde(default)]
    pub internal: Option<Vec<String>>,
    /// Exempt ranges.
    #[serde(default)]
    pub ssrf: Ssrf,
    /// The main listener.
    #[serde(default)]
    pub fetch_proxy: FetchProxy,
    /// `CONNECT`.
    #[serde(default)]
    pub forward_proxy: ForwardProxy,
    /// Content rules.
    #[serde(default)]
    pub dlp: Dlp,
    /// The verdict endpoint.
    #[serde(default)]
    pub scan_api: ScanApi,
    /// Deny everything, by file, signal or setting.
    #[serde(default)]
    pub kill_switch: KillSwitch,

    // Protections of pipelock that this engine does not have: turning one on is an error.
    #[serde(default)]
    pub websocket_proxy: Switch,
    #[serde(default)]
    pub tls_interception: Switch,
    #[serde(default)]
    pub canary_tokens: Switch,
    #[serde(default)]
    pub session_profiling: Switch,
    #[serde(default)]
    pub adaptive_enforcement: Switch,
    #[serde(default)]
    pub airlock: Switch,
    #[serde(default)]
    pub cross_request_detection: Switch,
    #[serde(default)]
    pub redaction: Switch,
    #[serde(default)]
    pub mediation_envelope: Switch,

    // About traffic that never passes here in clear, or about pipelock's own life: no effect.
    #[serde(default)]
    pub suppress: Vec<Suppress>,
    #[serde(default)]
    pub request_body_scanning: RequestBodyScanning,
    #[serde(default)]
    pub response_scanning: ResponseScanning,
    #[serde(default)]
    pub seed_phrase_detection: SeedPhraseDetection,
    #[serde(default)]
    pub media_policy: Switch,
    #[serde(default)]
    pub browser_shield: Switch,
    #[serde(default)]
    pub taint: Switch,
    #[serde(default)]
    pub a2a_scanning: Switch,
    #[serde(default)]
    pub flight_recorder: Switch,
    #[serde(default)]
    pub metrics_listen: Option<String>,
    #[serde(default)]
    pub logging: Logging,
    #[serde(default)]
    pub emit: Emit,
    #[serde(default)]
    pub sentry: Switch,
    #[serde(default)]
    pub default_agent_identity: Option<String>,
    #[serde(default)]
    pub bind_default_agent_identity: Option<bool>,
}

/// `ssrf`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ssrf {
    /// Reserved ranges that may be dialled; no `/0`, no host bits.
    pub ip_allowlist: Vec<String>,
}

/// `fetch_proxy`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FetchProxy {
    /// Address of the main listener.
    pub listen: String,
    /// No effect: nothing is fetched.
    pub timeout_seconds: Option<u64>,
    /// No effect: nothing is fetched.
    pub max_response_mb: Option<u64>,
    /// No effect: nothing is fetched.
    pub user_agent: Option<String>,
    /// Limits on URLs and rates.
    pub monitoring: Monitoring,
}

impl Default for FetchProxy {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8888".to_owned(),
            timeout_seconds: None,
            max_response_mb: None,
            user_agent: None,
            monitoring: Monitoring::default(),
        }
    }
}

/// `fetch_proxy.monitoring`. Zero means the default, as in pipelock.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Monitoring {
    /// Bytes; 2048.
    pub max_url_length: usize,
    /// Bits a byte in path segments and query values of 20 bytes or more; 4.5.
    pub entropy_threshold: f64,
    /// Bits a byte in labels that the client chose; 4.0.
    pub subdomain_entropy_threshold: f64,
    /// Hosts exempt from subdomain and path entropy.
    pub subdomain_entropy_exclusions: Vec<String>,
    /// For each entry of the allowlist; 60.
    pub max_requests_per_minute: u32,
    /// Has to be 0: bytes are not counted.
    pub max_data_per_minute: u64,
    /// Hosts refused although on the allowlist.
    pub blocklist: Vec<String>,
}

/// `forward_proxy`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ForwardProxy {
    /// Answers `CONNECT`.
    pub enabled: bool,
    /// Seconds; 300.
    pub max_tunnel_seconds: u64,
    /// Seconds; 120.
    pub idle_timeout_seconds: u64,
    /// Has to be true or absent.
    pub sni_verification: Option<bool>,
    /// No effect.
    pub redirect_websocket_hosts: Vec<String>,
}

/// `dlp`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dlp {
    /// No effect: this process has no environment worth protecting.
    pub scan_env: Option<bool>,
    /// One exact secret a line; relative to the file's directory.
    pub secrets_file: String,
    /// Shortest secret of that file; 16.
    pub min_env_secret_length: usize,
    /// False leaves the core rules and the patterns below; true.
    pub include_defaults: Option<bool>,
    /// The owner's patterns.
    pub patterns: Vec<Pattern>,
}

/// An entry of `dlp.patterns`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// Shown in rule ids.
    pub name: String,
    /// RE2 syntax; case is ignored.
    pub regex: String,
    /// Shown in findings.
    pub severity: Severity,
    /// `luhn`, `mod97` or `aba`.
    #[serde(default)]
    pub validator: Option<String>,
    /// `warn`, or absent.
    #[serde(default)]
    pub action: Option<String>,
    /// Hosts in whose URLs a match is let pass.
    #[serde(default)]
    pub exempt_domains: Vec<String>,
}

/// `scan_api`. Zero and absent mean the default.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScanApi {
    /// Address; empty turns the endpoint off.
    pub listen: String,
    /// Who may ask.
    pub auth: Auth,
    /// For each token.
    pub rate_limit: RateLimit,
    /// Bytes; 1 MiB.
    pub max_body_bytes: usize,
    /// Bytes by field.
    pub field_limits: FieldLimits,
    /// Go durations.
    pub timeouts: Timeouts,
    /// Connections at once; 100.
    pub connection_limit: usize,
    /// Which questions are answered.
    pub kinds: Kinds,
}

/// `scan_api.auth`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// At least one when the endpoint is on.
    pub bearer_tokens: Vec<String>,
}

/// `scan_api.rate_limit`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimit {
    /// 600.
    pub requests_per_minute: u32,
    /// 50.
    pub burst: u32,
}

/// `scan_api.field_limits`, bytes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FieldLimits {
    /// 8192.
    pub url: usize,
    /// 512 KiB.
    pub text: usize,
    /// No effect: the kind is not answered.
    pub content: usize,
    /// No effect: the kind is not answered.
    pub arguments: usize,
}

/// `scan_api.timeouts`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// Head and body; 2 s.
    pub read: String,
    /// No effect beyond its syntax: the answer is one small write.
    pub write: String,
    /// 5 s.
    pub scan: String,
}

/// `scan_api.kinds`; absent means on.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kinds {
    /// Verdicts on URLs.
    pub url: Option<bool>,
    /// Verdicts on text.
    pub dlp: Option<bool>,
    /// Never answered by this engine, whatever is set: the caller gets `kind_disabled`.
    pub prompt_injection: Option<bool>,
    /// As above.
    pub tool_call: Option<bool>,
}

/// `kill_switch`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KillSwitch {
    /// Denies everything from the start.
    pub enabled: bool,
    /// Denies everything while this file exists, or cannot be looked for.
    pub sentinel_file: String,
    /// Shown in refusals.
    pub message: Option<String>,
    /// No effect: the switch has no network interface here.
    pub api_listen: Option<String>,
    /// No effect.
    pub api_token: Option<String>,
}
