//! `ssh`: servers and keys.

use super::checker::{Checker, shown};
use super::egress::check_host;
use super::model::SshEntry;
use super::tree::{JsonPath, Node, Value};

const KNOWN: [&str; 6] = ["Host", "IdentityFile", "Hostname", "User", "Port", "KnownHostKey"];

pub(super) fn read(checker: &mut Checker<'_>, node: &Node, path: &JsonPath) -> Vec<SshEntry> {
    let mut entries: Vec<SshEntry> = Vec::new();
    for (index, item) in checker.list(node, path).iter().enumerate() {
        let path = path.index(index);
        let Some(entry) = read_one(checker, item, &path) else { continue };
        if entries.iter().any(|known| known.host == entry.host) {
            checker.note(
                item.span,
                &path,
                format!("a second entry for {:?}", entry.host),
                "each Host occurs once",
            );
        }
        entries.push(entry);
    }
    entries
}

fn read_one(checker: &mut Checker<'_>, node: &Node, path: &JsonPath) -> Option<SshEntry> {
    let (mut host, mut identity_file, mut hostname, mut user, mut known_host_key) =
        (None, None, None, None, None);
    let mut port = 22;
    let entries = checker.known(node, path, &KNOWN);
    for entry in entries {
        let path = path.key(&entry.key);
        let value = &entry.value;
        match entry.key.as_str() {
            "Host" => host = plain(checker, value, &path, "._-"),
            "IdentityFile" => identity_file = checker.path(value, &path),
            "Hostname" => hostname = check_host(checker, value, &path, false),
            "User" => user = plain(checker, value, &path, "._-"),
            "Port" => {
                let wanted = checker.integer(value, &path, 1..=65_535);
                port = wanted.and_then(|wanted| u16::try_from(wanted).ok()).unwrap_or(22);
            }
            "KnownHostKey" => known_host_key = one_line(checker, value, &path),
            _ => {}
        }
    }
    if !matches!(node.value, Value::Object(_)) {
        return None;
    }
    for key in ["Host", "IdentityFile"] {
        if !entries.iter().any(|entry| entry.key == key) {
            checker.note(node.span, path, format!("no `{key}`"), format!("`{key}` is required"));
        }
    }
    // Without Hostname the alias is the name that is connected to, so it has to be one.
    if !entries.iter().any(|entry| entry.key == "Hostname")
        && let Some(entry) = entries.iter().find(|entry| entry.key == "Host")
        && host.is_some()
    {
        hostname = check_host(checker, &entry.value, &path.key("Host"), false);
    }
    Some(SshEntry {
        host: host?,
        identity_file: identity_file?,
        hostname: hostname?,
        user,
        port,
        known_host_key,
    })
}

/// A word that can stand in an ssh configuration without quoting.
fn plain(checker: &mut Checker<'_>, node: &Node, path: &JsonPath, extra: &str) -> Option<String> {
    let text = checker.filled(node, path)?;
    if !text.starts_with('-')
        && text.len() <= 255
        && text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
    {
        return Some(text.to_owned());
    }
    checker.note(node.span, path, shown(text), "only letters, digits and . _ - are allowed, not first a -");
    None
}

fn one_line(checker: &mut Checker<'_>, node: &Node, path: &JsonPath) -> Option<String> {
    let text = checker.filled(node, path)?;
    if text.chars().any(char::is_control) {
        checker.note(node.span, path, "more than one line", "one public key in OpenSSH form is wanted here");
        return None;
    }
    Some(text.to_owned())
}
