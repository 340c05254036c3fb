//! From the file as written to a [`Policy`]: defaults filled in, every finding collected before giving up.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;

use super::file::{self, File};
use crate::gate::allowlist::HostPatterns;
use crate::gate::dlp::{CustomPattern, Options, Scanner, Severity, Validator};
use crate::gate::duration;
use crate::gate::error::{ConfigError, Finding, Reason};
use crate::gate::policy::{self, KillPolicy, Policy, ScanPolicy, SsrfPolicy, TunnelPolicy, UrlPolicy};
use crate::gate::rate::{Buckets, Limits};
use crate::ids::Secret;

/// Collects findings, so that the writer of a file sees all of them at once.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, key: impl Into<String>, reason: impl Into<Reason>) {
        self.0.push(Finding { key: key.into(), reason: reason.into() });
    }

    fn require(&mut self, key: &str, holds: bool, expected: &'static str) {
        if !holds {
            self.add(key, Reason::Expected(expected));
        }
    }

    fn hosts(&mut self, key: &str, entries: &[String]) -> HostPatterns {
        HostPatterns::compile(entries).unwrap_or_else(|errors| {
            errors.into_iter().for_each(|error| self.add(key, error));
            HostPatterns::default()
        })
    }

    fn ranges(&mut self, key: &str, entries: &[String]) -> Vec<IpNet> {
        let mut nets = Vec::new();
        for entry in entries {
            match entry.parse::<IpNet>() {
                Ok(net) if net.prefix_len() > 0 && net.trunc() == net => nets.push(net),
                _ => self.add(key, Reason::Range(entry.clone())),
            }
        }
        nets
    }

    fn listen(&mut self, key: &str, text: &str) -> SocketAddr {
        // Go's ":8888" means every address; so it does here.
        let spelled = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
        spelled.parse().unwrap_or_else(|_| {
            self.add(key, Reason::Listen(text.to_owned()));
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    fn duration(&mut self, key: &str, text: &str, default: Duration) -> Duration {
        if text.is_empty() {
            return default;
        }
        duration::parse(text).unwrap_or_else(|error| {
            self.add(key, error);
            default
        })
    }
}

/// Zero means the default.
fn or<T: Default + PartialEq>(value: T, default: T) -> T {
    if value == T::default() { default } else { value }
}

/// Validates a parsed file.
pub(super) fn policy(file: &File, directory: &Path, config_hash: String) -> Result<Policy, ConfigError> {
    let mut findings = Findings::default();
    refuse_loosening(file, &mut findings);
    let monitoring = &file.fetch_proxy.monitoring;
    let allowlist = findings.hosts("api_allowlist", &file.api_allowlist);
    findings.require(
        "api_allowlist",
        !file.api_allowlist.is_empty(),
        "at least one host is needed; write \"deny-all.invalid\" for none",
    );
    let policy = Policy {
        config_hash,
        host_rate: policy::host_buckets(or(monitoring.max_requests_per_minute, 60), allowlist.len()),
        allowlist,
        blocklist: findings.hosts("fetch_proxy.monitoring.blocklist", &monitoring.blocklist),
        ssrf: SsrfPolicy {
            trusted: findings.hosts("trusted_domains", &file.trusted_domains),
            exempt: findings.ranges("ssrf.ip_allowlist", &file.ssrf.ip_allowlist),
            internal: findings.ranges("internal", file.internal.as_deref().unwrap_or_default()),
            resolve_in_verdict: file.internal.as_ref().is_none_or(|ranges| !ranges.is_empty()),
        },
        url: UrlPolicy {
            max_length: or(monitoring.max_url_length, 2048),
            entropy_threshold: or(monitoring.entropy_threshold, 4.5),
            subdomain_entropy_threshold: or(monitoring.subdomain_entropy_threshold, 4.0),
            entropy_exclusions: findings.hosts(
                "fetch_proxy.monitoring.subdomain_entropy_exclusions",
                &monitoring.subdomain_entropy_exclusions,
            ),
        },
        main_listen: findings.listen("fetch_proxy.listen", &file.fetch_proxy.listen),
        tunnel: TunnelPolicy {
            enabled: file.forward_proxy.enabled,
            idle: Duration::from_secs(or(file.forward_proxy.idle_timeout_seconds, 120)),
            max_life: Duration::from_secs(or(file.forward_proxy.max_tunnel_seconds, 300)),
        },
        scan: scan_api(&file.scan_api, &mut findings),
        scanner: scanner(&file.dlp, directory, &mut findings)?,
        url_exemptions: file
            .dlp
            .patterns
            .iter()
            .filter(|pattern| !pattern.exempt_domains.is_empty())
            .map(|pattern| {
                (pattern.name.clone(), findings.hosts("dlp.patterns.exempt_domains", &pattern.exempt_domains))
            })
            .collect(),
        kill: KillPolicy {
            enabled: file.kill_switch.enabled,
            sentinel: Some(directory.join(&file.kill_switch.sentinel_file))
                .filter(|_| !file.kill_switch.sentinel_file.is_empty()),
            message: file.kill_switch.message.clone().unwrap_or_else(|| "all egress is halted".to_owned()),
        },
        explain: file.explain_blocks,
    };
    if findings.0.is_empty() { Ok(policy) } else { Err(ConfigError::Invalid(findings.0)) }
}

/// Settings that are safe in pipelock's own meaning but not in ours, and protections that we lack.
fn refuse_loosening(file: &File, findings: &mut Findings) {
    findings.require("version", file.version.unwrap_or(1) == 1, "only version 1 is known");
    let strict = file.mode.as_deref() == Some("strict");
    findings.require("mode", strict, "\"strict\" is required: no other mode enforces api_allowlist");
    findings.require("enforce", file.enforce != Some(false), "the gate always enforces; write true");
    findings.require(
        "forward_proxy.sni_verification",
        file.forward_proxy.sni_verification != Some(false),
        "the gate always verifies the server name; write true",
    );
    findings.require(
        "fetch_proxy.monitoring.max_data_per_minute",
        file.fetch_proxy.monitoring.max_data_per_minute == 0,
        "bytes are not counted by the builtin engine; write 0",
    );
    let unsupported = [
        ("websocket_proxy", &file.websocket_proxy),
        ("tls_interception", &file.tls_interception),
        ("canary_tokens", &file.canary_tokens),
        ("session_profiling", &file.session_profiling),
        ("adaptive_enforcement", &file.adaptive_enforcement),
        ("airlock", &file.airlock),
        ("cross_request_detection", &file.cross_request_detection),
        ("redaction", &file.redaction),
        ("mediation_envelope", &file.mediation_envelope),
    ];
    for (name, section) in unsupported {
        if section.enabled == Some(true) {
            findings.add(format!("{name}.enabled"), Reason::Unsupported);
        }
    }
}

fn scan_api(api: &file::ScanApi, findings: &mut Findings) -> Option<ScanPolicy> {
    let read_timeout =
        findings.duration("scan_api.timeouts.read", &api.timeouts.read, Duration::from_secs(2));
    let scan_timeout =
        findings.duration("scan_api.timeouts.scan", &api.timeouts.scan, Duration::from_secs(5));
    findings.duration("scan_api.timeouts.write", &api.timeouts.write, Duration::from_secs(2));
    if api.listen.is_empty() {
        return None;
    }
    let tokens = &api.auth.bearer_tokens;
    findings.require(
        "scan_api.auth.bearer_tokens",
        !tokens.is_empty() && tokens.iter().all(|token| !token.trim().is_empty()),
        "at least one token is needed, and none may be empty",
    );
    let limits = Limits {
        per_minute: or(api.rate_limit.requests_per_minute, 600),
        burst: or(api.rate_limit.burst, 50),
    };
    Some(ScanPolicy {
        listen: findings.listen("scan_api.listen", &api.listen),
        tokens: tokens.iter().map(|token| Secret::from(token.as_str())).collect(),
        max_body_bytes: or(api.max_body_bytes, 1 << 20),
        url_limit_bytes: or(api.field_limits.url, 8192),
        text_limit_bytes: or(api.field_limits.text, 512 << 10),
        read_timeout,
        scan_timeout,
        connection_limit: or(api.connection_limit, 100),
        url_enabled: api.kinds.url.unwrap_or(true),
        dlp_enabled: api.kinds.dlp.unwrap_or(true),
        rate: Buckets::new(limits, 0..tokens.len()),
    })
}

fn scanner(dlp: &file::Dlp, directory: &Path, findings: &mut Findings) -> Result<Scanner, ConfigError> {
    let mut patterns = Vec::new();
    for (index, pattern) in dlp.patterns.iter().enumerate() {
        let key = format!("dlp.patterns[{index}]");
        findings.require(&key, !pattern.name.trim().is_empty(), "the pattern needs a name");
        let validator = match pattern.validator.as_deref() {
            None | Some("") => None,
            Some("luhn") => Some(Validator::Luhn),
            Some("mod97") => Some(Validator::Mod97),
            Some("aba") => Some(Validator::Aba),
            Some(_) => {
                findings.add(&key, Reason::Expected("validator is \"luhn\", \"mod97\" or \"aba\""));
                None
            }
        };
        let action = pattern.action.as_deref().unwrap_or_default();
        findings.require(&key, matches!(action, "" | "warn"), "action is \"warn\" or left out");
        patterns.push(CustomPattern {
            name: pattern.name.clone(),
            regex: pattern.regex.clone(),
            severity: pattern.severity,
            validator,
            warn: action == "warn",
        });
    }
    if !dlp.secrets_file.is_empty() {
        let min = or(dlp.min_env_secret_length, 16);
        patterns.extend(secrets(&directory.join(&dlp.secrets_file), min, findings));
    }
    let options = Options { include_defaults: dlp.include_defaults.unwrap_or(true), patterns };
    Scanner::new(options).map_err(|error| {
        findings.add("dlp.patterns", error);
        ConfigError::Invalid(std::mem::take(&mut findings.0))
    })
}

/// One exact secret a line. What pipelock skips in silence (short, long) is an error here; `#` begins a comment.
fn secrets(path: &Path, min: usize, findings: &mut Findings) -> Vec<CustomPattern> {
    const KEY: &str = "dlp.secrets_file";
    let read = || -> std::io::Result<(u32, String)> {
        let mode = std::fs::metadata(path)?.permissions().mode();
        Ok((mode, std::fs::read_to_string(path)?))
    };
    let (mode, text) = match read() {
        Ok(found) => found,
        Err(error) => {
            findings.add(KEY, Reason::SecretsFile(error.kind()));
            return Vec::new();
        }
    };
    if mode & 0o037 != 0 {
        findings.add(KEY, Reason::SecretsMode);
    }
    let mut patterns = Vec::new();
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.len() < min || line.len() > 4096 {
            findings.add(KEY, Reason::SecretLength { line: index + 1, length: line.len(), min });
            continue;
        }
        patterns.push(CustomPattern {
            name: "Known Secret Leak".to_owned(),
            regex: regex::escape(line),
            severity: Severity::Critical,
            validator: None,
            warn: false,
        });
    }
    patterns
}
