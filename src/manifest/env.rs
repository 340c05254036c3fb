//! `env`: names and where values come from. Values are never repeated in a finding.

use std::collections::BTreeMap;

use super::checker::Checker;
use super::model::EnvValue;
use super::tree::{JsonPath, Node};

/// Variables that belong to the bottle: proxies, trust, the ssh-agent.
pub const RESERVED: [&str; 18] = [
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "https_proxy",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "CARGO_HTTP_CAINFO",
    "NIX_SSL_CERT_FILE",
    "AWS_CA_BUNDLE",
    "SSH_AUTH_SOCK",
];

pub(super) fn read(checker: &mut Checker<'_>, node: &Node, path: &JsonPath) -> BTreeMap<String, EnvValue> {
    let mut env = BTreeMap::new();
    for entry in checker.entries(node, path) {
        let path = path.key(&entry.key);
        let problem = match entry.key.as_str() {
            "" => Some(("an empty name", "a variable has a name")),
            key if key.contains(['=', '\0']) => {
                Some(("a name with `=` or NUL", "names of variables hold neither `=` nor NUL"))
            }
            key if key.chars().any(char::is_control) => {
                Some(("a control character in a name", "names of variables are plain text"))
            }
            key if RESERVED.contains(&key) => {
                Some(("a reserved name", "proxy, trust and ssh-agent variables are set by the bottle"))
            }
            _ => None,
        };
        if let Some((found, rule)) = problem {
            checker.note(entry.key_span, &path, found, rule);
        }
        let Some(text) = checker.text(&entry.value, &path) else { continue };
        match value(text) {
            Ok(value) => {
                env.insert(entry.key.clone(), value);
            }
            Err((found, rule)) => checker.note(entry.value.span, &path, found, rule),
        }
    }
    env
}

/// The meaning of a value, or what was found and the rule.
fn value(text: &str) -> Result<EnvValue, (&'static str, &'static str)> {
    if let Some(question) = text.strip_prefix('?') {
        if question.trim().is_empty() {
            return Err(("a `?` without a question", "\"?text\" asks for the value; write the text"));
        }
        return Ok(EnvValue::Prompt { text: question.to_owned() });
    }
    if !text.contains("${") {
        return Ok(EnvValue::Literal(text.to_owned()));
    }
    let name = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    match name {
        Some(name) if is_var_name(name) => Ok(EnvValue::Host { var: name.to_owned() }),
        _ => Err((
            "a malformed reference",
            "\"${NAME}\" stands alone, and NAME has only letters, digits and `_`, not first a digit",
        )),
    }
}

/// Whether a shell could set a variable of this name.
pub(super) fn is_var_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
