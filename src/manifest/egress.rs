//! `egress`: hosts, credentials, rules, limits.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::checker::{Checker, shown};
use super::env::{RESERVED, is_var_name};
use super::model::{CredentialEntry, CredentialSource, DlpAction, EgressLimits, EgressManifest, EgressRule};
use super::tree::{Entry, JsonPath, Node, Span, Value};

const KNOWN: [&str; 10] = [
    "allowlist",
    "dlp_action",
    "credentials",
    "rules",
    "websocket",
    "http",
    "extra_ca",
    "extra_hosts",
    "private_hosts",
    "limits",
];

/// Headers that steer the connection itself; the broker cannot set them.
const CONNECTION_HEADERS: [&str; 10] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "proxy-authorization",
    "x-bottle-verdict",
];

pub(super) fn read(checker: &mut Checker<'_>, node: &Node, path: &JsonPath) -> EgressManifest {
    let mut egress = EgressManifest::default();
    for entry in checker.known(node, path, &KNOWN) {
        let path = path.key(&entry.key);
        let value = &entry.value;
        match entry.key.as_str() {
            "allowlist" => egress.allowlist = hosts(checker, value, &path),
            "dlp_action" => {
                let words = [DlpAction::Block, DlpAction::Warn].map(|word| (word.as_str(), word));
                egress.dlp_action = checker.word(value, &path, &words).unwrap_or_default();
            }
            "credentials" => egress.credentials = credentials(checker, value, &path),
            "rules" => egress.rules = rules(checker, value, &path),
            "websocket" => egress.websocket = hosts(checker, value, &path),
            "http" => egress.http = hosts(checker, value, &path),
            "extra_ca" => egress.extra_ca = checker.path(value, &path),
            "extra_hosts" => egress.extra_hosts = extra_hosts(checker, value, &path),
            "private_hosts" => egress.private_hosts = hosts(checker, value, &path),
            "limits" => egress.limits = limits(checker, value, &path),
            _ => {}
        }
    }
    egress
}

fn hosts(checker: &mut Checker<'_>, node: &Node, path: &JsonPath) -> Vec<String> {
    let mut hosts: Vec<String> = Vec::new();
    for (index, item) in checker.list(node, path).iter().enumerate() {
        if let Some(host) = check_host(checker, item, &path.index(index), true)
            && !hosts.contains(&host)
        {
            hosts.push(host);
        }
    }
    hosts
}

/// A host name in lower case, noted when it is none.
pub(super) fn check_host(
    checker: &mut Checker<'_>,
    node: &Node,
    path: &JsonPath,
    wildcard: bool,
) -> Option<String> {
    let text = checker.filled(node, path)?;
    host_at(checker, text, node.span, path, wildcard)
}

fn host_at(
    checker: &mut Checker<'_>,
    text: &str,
    span: Span,
    path: &JsonPath,
    wildcard: bool,
) -> Option<String> {
    match host(text, wildcard) {
        Ok(host) => Some(host),
        Err(hint) => {
            let rule = match wildcard {
                true => "a host is a DNS name, optionally with a leading `*.`",
                false => "a host is one DNS name",
            };
            checker.note_hint(span, path, shown(text), rule, hint);
            None
        }
    }
}

/// The name in lower case, or what to do about it.
pub(super) fn host(text: &str, wildcard: bool) -> Result<String, &'static str> {
    if text.contains("://") {
        return Err("leave the scheme out");
    }
    if text.contains('/') {
        return Err("leave the path out; `rules` limits paths");
    }
    if text.parse::<IpAddr>().is_ok() || text.starts_with('[') {
        return Err("addresses are not allowed; give it a name in `extra_hosts`");
    }
    if text.contains(':') {
        return Err("leave the port out");
    }
    if !text.is_ascii() {
        return Err("write it in its ASCII form (xn--…)");
    }
    let name = match text.strip_prefix("*.") {
        Some(_) if !wildcard => return Err("a wildcard is not allowed here"),
        Some(rest) if !rest.contains('.') => return Err("a wildcard needs two labels or more behind it"),
        Some(rest) => rest,
        None => text,
    };
    if name.contains('*') {
        return Err("`*` stands only at the start, as a label of its own");
    }
    if name.ends_with('.') {
        return Err("leave the dot at the end out");
    }
    if name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost") {
        return Err("the bottle's own loopback is not reached through the gate");
    }
    let last = name.rsplit('.').next().unwrap_or("");
    let numeric = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
    let hex = |label: &str| {
        let digits = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
        digits.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    if numeric(last) || hex(last) {
        return Err("addresses are not allowed; give it a name in `extra_hosts`");
    }
    let ldh = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if name.len() > 253 || !name.split('.').all(ldh) {
        return Err(
            "labels have 1 to 63 letters, digits and hyphens, no hyphen at the ends; 253 characters in all",
        );
    }
    Ok(text.to_ascii_lowercase())
}

fn credentials(checker: &mut Checker<'_>, node: &Node, path: &JsonPath) -> Vec<CredentialEntry> {
    let mut found = Vec::new();
    for by_host in checker.entries(node, path) {
        let path = path.key(&by_host.key);
        let host = host_at(checker, &by_host.key, by_host.key_span, &path, false);
        for by_header in checker.entries(&by_host.value, &path) {
            let path = path.key(&by_header.key);
            let header = header(checker, by_header, &path);
            let rest = credential(checker, &by_header.value, &path);
            if let (Some(host), Some(header), Some((source, prefix, agent_env))) = (&host, header, rest) {
                found.push(CredentialEntry { host: host.clone(), header, prefix, source, agent_env });
            }
        }
    }
    found
}

fn header(checker: &mut Checker<'_>, entry: &Entry, path: &JsonPath) -> Option<String> {
    let name = entry.key.to_ascii_lowercase();
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(token) {
        checker.note(entry.key_span, path, shown(&entry.key), "the name of an HTTP header is wanted here");
        return None;
    }
    if CONNECTION_HEADERS.contains(&name.as_str()) {
        checker.note(entry.key_span, path, shown(&entry.key), "headers of the connection cannot be set");
        return None;
    }
    Some(name)
}

fn credential(
    checker: &mut Checker<'_>,
    node: &Node,
    path: &JsonPath,
) -> Option<(CredentialSource, String, Option<String>)> {
    let (mut sources, mut prefix, mut agent_env) = (Vec::new(), String::new(), None);
    let entries = checker.known(node, path, &["env", "file", "command", "prefix", "agent_env"]);
    for entry in entries {
        let path = path.key(&entry.key);
        let value = &entry.value;
        match entry.key.as_str() {
            "env" => sources.extend(var_name(checker, value, &path).map(|var| CredentialSource::Env { var })),
            "file" => sources.extend(checker.path(value, &path).map(|path| CredentialSource::File { path })),
            "command" => {
                sources.extend(checker.argv(value, &path).map(|argv| CredentialSource::Command { argv }));
            }
            "prefix" => {
                let Some(text) = checker.text(value, &path) else { continue };
                if text.chars().any(|c| c.is_control() || !c.is_ascii()) {
                    checker.note(value.span, &path, shown(text), "a prefix is printable ASCII");
                }
                prefix = text.to_owned();
            }
            "agent_env" => agent_env = agent_var(checker, value, &path),
            _ => {}
        }
    }
    let named = entries.iter().filter(|e| matches!(e.key.as_str(), "env" | "file" | "command")).count();
    if named != 1 && matches!(node.value, Value::Object(_)) {
        let rule = "exactly one of `env`, `file`, `command` says where the secret comes from";
        checker.note(node.span, path, format!("{named} sources"), rule);
    }
    Some((sources.pop()?, prefix, agent_env))
}

fn agent_var(checker: &mut Checker<'_>, node: &Node, path: &JsonPath) -> Option<String> {
    let name = var_name(checker, node, path)?;
    if RESERVED.contains(&name.as_str()) {
        checker.note(
            node.span,
            path,
            "a reserved name",
            "proxy, trust and ssh-agent variables are set by the bottle",
        );
        return None;
    }
    Some(name)
}

fn var_name(checker: &mut Checker<'_>, node: &Node, path: &JsonPath) -> Option<String> {
    let text = checker.filled(node, path)?;
    if is_var_name(text) {
        return Some(text.to_owned());
    }
    // Whoever pastes the secret itself here must not see it again in a log.
    let found = format!("a text of {} characters", text.chars().count());
    checker.note(node.span, path, found, "the name of a variable is wanted here, without `$`");
    None
}

fn rules(checker: &mut Checker<'_>, node: &Node, path: &JsonPath) -> BTreeMap<String, Vec<EgressRule>> {
    let mut found = BTreeMap::new();
    for by_host in checker.entries(node, path) {
        let path = path.key(&by_host.key);
        let host = host_at(checker, &by_host.key, by_host.key_span, &path, true);
        let mut rules = Vec::new();
        for (index, rule) in checker.list(&by_host.value, &path).iter().enumerate() {
            rules.push(read_rule(checker, rule, &path.index(index)));
        }
        if matches!(&by_host.value.value, Value::List(items) if items.is_empty()) {
            checker.note(by_host.value.span, &path, "an empty list", "a host without rules is left out");
        }
        found.extend(host.map(|host| (host, rules)));
    }
    found
}

fn read_rule(checker: &mut Checker<'_>, node: &Node, path: &JsonPath) -> EgressRule {
    let mut rule = EgressRule::default();
    for entry in checker.known(node, path, &["methods", "paths"]) {
        for item in checker.texts(&entry.value, &path.key(&entry.key)) {
            if entry.key == "methods" {
                if !item.text.chars().all(|c| c.is_ascii_uppercase()) {
                    checker.note(item.span, &item.path, shown(item.text), "a method in capitals, like GET");
                }
                rule.methods.push(item.text.to_owned());
            } else if entry.key == "paths" {
                if !item.text.starts_with('/')
                    || item.text.chars().any(|c| c.is_control() || c.is_whitespace())
                {
                    let text = "a path starts with `/`; `*` matches in a segment, `**` across segments";
                    checker.note(item.span, &item.path, shown(item.text), text);
                }
                rule.paths.push(item.text.to_owned());
            }
        }
    }
    rule
}

fn extra_hosts(checker: &mut Checker<'_>, node: &Node, path: &JsonPath) -> BTreeMap<String, IpAddr> {
    let mut found = BTreeMap::new();
    for entry in checker.entries(node, path) {
        let path = path.key(&entry.key);
        let host = host_at(checker, &entry.key, entry.key_span, &path, false);
        let Some(text) = checker.filled(&entry.value, &path) else { continue };
        match (host, text.parse::<IpAddr>()) {
            (Some(host), Ok(ip)) => drop(found.insert(host, ip)),
            (_, Err(_)) => {
                checker.note(entry.value.span, &path, shown(text), "an IPv4 or IPv6 address is wanted here")
            }
            (None, Ok(_)) => {}
        }
    }
    found
}

fn limits(checker: &mut Checker<'_>, node: &Node, path: &JsonPath) -> EgressLimits {
    let mut limits = EgressLimits::default();
    for entry in checker.known(node, path, &["max_body", "verdict_timeout_ms"]) {
        let path = path.key(&entry.key);
        match entry.key.as_str() {
            "max_body" => limits.body_bytes = checker.size(&entry.value, &path, 1024),
            "verdict_timeout_ms" => {
                let wait = checker.integer(&entry.value, &path, 100..=600_000);
                limits.verdict_timeout_ms = wait.and_then(|wait| u32::try_from(wait).ok());
            }
            _ => {}
        }
    }
    limits
}
