//! The egress policy of one bottle: everything about its way out except secret values.
//!
//! The JSON form of [`EgressPolicy`] is what the addon reads (`assets/addon/bottle_addon/policy.py`) and what
//! a plan may show; it holds names of credentials, never their values.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Serialize;

use super::host::{HostName, HostPattern};

/// Hosts that every bottle may reach: what Claude Code itself needs.
pub const DEFAULT_HOSTS: [&str; 7] = [
    "api.anthropic.com",
    "statsig.anthropic.com",
    "sentry.io",
    "claude.ai",
    "platform.claude.com",
    "downloads.claude.ai",
    "raw.githubusercontent.com",
];

/// Why a policy contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A host has a right (http, websocket, rule, credential) but is not reachable at all.
    #[error("{right} names host {host:?}, which the allowlist does not hold")]
    NotAllowed {
        /// Which part of the policy.
        right: &'static str,
        /// The host or pattern.
        host: String,
    },
    /// A port that is zero, or 53, which mitmproxy takes for DNS.
    #[error("port {0} cannot be allowed")]
    Port(u16),
    /// A header name that HTTP does not allow, or one that carries the message itself.
    #[error("credential {name:?} names header {header:?}, which cannot be set")]
    Header {
        /// The credential.
        name: String,
        /// The header.
        header: String,
    },
    /// A limit of zero would deny everything without saying so.
    #[error("limit {0} is zero")]
    ZeroLimit(&'static str),
}

/// What a content finding means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DlpAction {
    /// The request is refused.
    #[default]
    Block,
    /// The request passes and the finding is audited. Destination findings are never softened.
    Warn,
}

/// The one kind of raw tunnel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SshDestination {
    /// Exactly this host.
    pub host: HostName,
    /// Exactly this port.
    pub port: u16,
}

/// Which header of which host gets a brokered credential; the value travels apart, by `name`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CredentialRule {
    /// Key into the values handed over with [`super::InterceptorConfig`].
    pub name: String,
    /// Exact host; a pattern could hand the value to a host nobody thought of.
    pub host: HostName,
    /// Header name in lower case.
    pub header: String,
    /// Text before the value, such as `"Bearer "`.
    pub prefix: Option<String>,
}

/// What may be asked of a host. A host with rules is held to them; an empty list means any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PathRule {
    /// Whom the rule is about.
    pub host: HostPattern,
    /// Allowed methods, upper case.
    pub methods: Vec<String>,
    /// Allowed paths: `*` stays within a segment, `**` crosses segments; the query is not looked at.
    pub paths: Vec<String>,
}

/// Sizes and deadlines of the interceptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Largest request body, raw and decoded, in bytes.
    pub body_limit_bytes: u64,
    /// Texts remembered as clean.
    pub cache_entries: u32,
    /// Parallel connections to the scan API; stay below the gate's own limit of 128.
    pub scan_connections: u32,
    /// Deadline of one scan call, in milliseconds.
    pub scan_deadline_ms: u64,
    /// Deadline of a whole verdict, in milliseconds.
    pub verdict_deadline_ms: u64,
    /// How long an audit line may wait for its reader, in milliseconds; then traffic is denied.
    pub audit_deadline_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_limit_bytes: 16 << 20,
            cache_entries: 65_536,
            scan_connections: 16,
            scan_deadline_ms: 30_000,
            verdict_deadline_ms: 120_000,
            audit_deadline_ms: 2_000,
        }
    }
}

/// The policy. Immutable in use: a change is a new value with a higher `generation`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EgressPolicy {
    /// Grows with every change; part of every audit line and of every cached verdict.
    pub generation: u64,
    /// Hosts reachable over TLS (and over what the other fields add).
    pub allowlist: Vec<HostPattern>,
    /// What a content finding means.
    pub dlp_action: DlpAction,
    /// Ports reachable on those hosts; normally 443 alone.
    pub ports: Vec<u16>,
    /// Hosts that may also be spoken to without TLS, on port 80 or one of `ports`.
    pub http_hosts: Vec<HostPattern>,
    /// Hosts that may be spoken to by websocket; every message is judged.
    pub websocket_hosts: Vec<HostPattern>,
    /// Raw SSH tunnels. Their hosts are *not* thereby allowed over HTTPS.
    pub ssh: Vec<SshDestination>,
    /// Brokered credentials.
    pub credentials: Vec<CredentialRule>,
    /// Methods and paths by host.
    pub rules: Vec<PathRule>,
    /// Sizes and deadlines.
    pub limits: Limits,
    /// Internal services: names that may resolve to private addresses.
    pub private_hosts: Vec<HostPattern>,
    /// Fixed addresses of names, for the gate's container.
    pub extra_hosts: BTreeMap<HostName, IpAddr>,
    /// Whether an additional trust anchor for upstreams is handed over.
    pub extra_ca: bool,
}

impl Default for EgressPolicy {
    fn default() -> Self {
        Self {
            generation: 1,
            allowlist: DEFAULT_HOSTS.iter().filter_map(|host| HostPattern::parse(host).ok()).collect(),
            dlp_action: DlpAction::default(),
            ports: vec![443],
            http_hosts: Vec::new(),
            websocket_hosts: Vec::new(),
            ssh: Vec::new(),
            credentials: Vec::new(),
            rules: Vec::new(),
            limits: Limits::default(),
            private_hosts: Vec::new(),
            extra_hosts: BTreeMap::new(),
            extra_ca: false,
        }
    }
}

impl EgressPolicy {
    /// Whether the allowlist holds `host` (SSH destinations do not count).
    pub fn allows_host(&self, host: &str) -> bool {
        self.allowlist.iter().any(|pattern| pattern.matches(host))
    }

    /// All hosts the gate must let through: the allowlist and the SSH destinations, sorted, each once.
    pub fn gate_hosts(&self) -> Vec<HostPattern> {
        let ssh = self.ssh.iter().map(|destination| destination.host.clone().into());
        let mut hosts: Vec<HostPattern> = self.allowlist.iter().cloned().chain(ssh).collect();
        hosts.sort();
        hosts.dedup();
        hosts
    }

    /// Every contradiction within the policy, all at once.
    pub fn check(&self) -> Vec<PolicyError> {
        let mut found = Vec::new();
        let patterns = self
            .http_hosts
            .iter()
            .map(|host| ("http", host))
            .chain(self.websocket_hosts.iter().map(|host| ("websocket", host)))
            .chain(self.rules.iter().map(|rule| ("rules", &rule.host)));
        for (right, pattern) in patterns {
            let covered = self.allows_host(pattern.as_str().trim_start_matches("*."));
            if !covered && !self.allowlist.contains(pattern) {
                found.push(PolicyError::NotAllowed { right, host: pattern.to_string() });
            }
        }
        for credential in &self.credentials {
            if !self.allows_host(credential.host.as_str()) {
                found.push(PolicyError::NotAllowed {
                    right: "credentials",
                    host: credential.host.to_string(),
                });
            }
            if !is_settable_header(&credential.header) {
                let (name, header) = (credential.name.clone(), credential.header.clone());
                found.push(PolicyError::Header { name, header });
            }
        }
        let ssh_ports = self.ssh.iter().map(|destination| destination.port);
        found.extend(
            self.ports
                .iter()
                .copied()
                .chain(ssh_ports)
                .filter(|port| matches!(port, 0 | 53))
                .map(PolicyError::Port),
        );
        let limits = [
            ("body_limit_bytes", self.limits.body_limit_bytes),
            ("cache_entries", self.limits.cache_entries.into()),
            ("scan_connections", self.limits.scan_connections.into()),
            ("scan_deadline_ms", self.limits.scan_deadline_ms),
            ("verdict_deadline_ms", self.limits.verdict_deadline_ms),
            ("audit_deadline_ms", self.limits.audit_deadline_ms),
        ];
        found.extend(
            limits.iter().filter(|(_, value)| *value == 0).map(|(name, _)| PolicyError::ZeroLimit(name)),
        );
        found
    }
}

/// Headers of the message frame would change what the request is.
fn is_settable_header(name: &str) -> bool {
    const FRAME: [&str; 7] =
        ["host", "content-length", "transfer-encoding", "connection", "upgrade", "trailer", "te"];
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(token) && !FRAME.contains(&name.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_policy_holds_all_default_hosts_and_is_consistent() {
        let policy = EgressPolicy::default();
        assert_eq!(policy.allowlist.len(), DEFAULT_HOSTS.len());
        assert_eq!(policy.check(), []);
    }

    #[test]
    fn every_contradiction_is_reported_at_once() {
        let host = HostName::parse("other.test").expect("valid");
        let policy = EgressPolicy {
            http_hosts: vec![host.clone().into()],
            ssh: vec![SshDestination { host: host.clone(), port: 0 }],
            credentials: vec![CredentialRule {
                name: "T".into(),
                host,
                header: "Transfer-Encoding".into(),
                prefix: None,
            }],
            limits: Limits { cache_entries: 0, ..Limits::default() },
            ..EgressPolicy::default()
        };
        assert_eq!(policy.check().len(), 5, "{:?}", policy.check());
    }

    #[test]
    fn ssh_hosts_pass_the_gate_but_not_the_allowlist() {
        let host = HostName::parse("git.test").expect("valid");
        let policy = EgressPolicy { ssh: vec![SshDestination { host, port: 22 }], ..EgressPolicy::default() };
        assert!(!policy.allows_host("git.test"));
        assert!(policy.gate_hosts().iter().any(|pattern| pattern.as_str() == "git.test"));
    }

    #[test]
    fn json_form_is_what_the_addon_reads() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/addon/default_policy.json")).expect("JSON");
        assert_eq!(serde_json::to_value(EgressPolicy::default()).expect("serialises"), golden);
    }
}
