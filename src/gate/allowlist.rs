//! Host patterns: an exact name, `*.x` (every name below `x`, and `x` itself), or an address by its exact text.
//!
//! The matching rule is pipelock's (`docs/configuration.md`, `api_allowlist`); the validation is ours: pipelock
//! takes any text and then never matches it, which an owner would notice only as a mysterious denial.

use std::collections::HashMap;

use super::host::Host;

/// An entry that could not match any host as its writer meant it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// `*` alone, or a `*` elsewhere than as the whole first label.
    #[error("\"{0}\": a wildcard must be the whole first label, as in \"*.example.com\"")]
    Wildcard(String),
    /// A scheme, port or path in the entry.
    #[error("\"{0}\": write the host only, without scheme, port, path or spaces")]
    NotAHost(String),
    /// A label that is no LDH label (RFC 1123, 2.1), or too long.
    #[error("\"{0}\": not a host name (labels of letters, digits and inner hyphens, at most 63 each)")]
    Label(String),
    /// An address in another than its usual spelling.
    #[error("\"{0}\": write the address in its canonical form")]
    Address(String),
}

/// A set of host patterns with constant-time lookup.
#[derive(Debug, Clone, Default)]
pub struct HostPatterns {
    exact: HashMap<String, usize>,
    below: HashMap<String, usize>,
    len: usize,
}

/// How a host got onto the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// Position of the entry in the file: the key of its rate budget.
    pub index: usize,
    /// True for `*.x`: the client chose a part of the name, so that names can carry data.
    pub wildcard: bool,
}

impl HostPatterns {
    /// Compiles the entries; repeats are harmless.
    ///
    /// # Errors
    /// Every entry that is not a host pattern, not only the first.
    pub fn compile(entries: &[String]) -> Result<Self, Vec<EntryError>> {
        let mut patterns = Self { len: entries.len(), ..Self::default() };
        let mut errors = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            match parse_entry(entry) {
                Ok((true, name)) => {
                    patterns.below.entry(name).or_insert(index);
                }
                Ok((false, name)) => {
                    patterns.exact.entry(name).or_insert(index);
                }
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(patterns) } else { Err(errors) }
    }

    /// Finds the entry that lets a host through; an exact entry wins over a wildcard.
    pub fn find(&self, host: &Host) -> Option<Match> {
        let text = host.as_str();
        if let Some(&index) = self.exact.get(text) {
            return Some(Match { index, wildcard: false });
        }
        if host.literal().is_some() {
            return None;
        }
        let mut rest = text;
        loop {
            if let Some(&index) = self.below.get(rest) {
                return Some(Match { index, wildcard: rest.len() != text.len() });
            }
            rest = rest.split_once('.')?.1;
        }
    }

    /// True when some entry lets the host through.
    pub fn contains(&self, host: &Host) -> bool {
        self.find(host).is_some()
    }

    /// Number of entries in the file.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when nothing can match.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Splits an entry into "is a wildcard" and its canonical name.
fn parse_entry(entry: &str) -> Result<(bool, String), EntryError> {
    let (wildcard, name) = match entry.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, entry),
    };
    if name.contains('*') {
        return Err(EntryError::Wildcard(entry.to_owned()));
    }
    let ipv6 = name.parse::<std::net::Ipv6Addr>().is_ok();
    if name.is_empty() || (!ipv6 && name.contains([':', '/', '@', '?', '#', '[', ' ', '\t'])) {
        return Err(EntryError::NotAHost(entry.to_owned()));
    }
    match Host::parse(name) {
        // Only the spelling that std prints back: `127.1` in a file is more likely a slip than a wish.
        Ok(Host::Address { ip, text }) if !wildcard && text == ip.to_string() => Ok((false, text)),
        Ok(Host::Address { .. }) => Err(EntryError::Address(entry.to_owned())),
        Ok(Host::Name(name)) if name.split('.').all(is_ldh_label) => Ok((wildcard, name)),
        _ => Err(EntryError::Label(entry.to_owned())),
    }
}

fn is_ldh_label(label: &str) -> bool {
    !label.starts_with('-') && !label.ends_with('-') && !label.contains('_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patterns(entries: &[&str]) -> HostPatterns {
        HostPatterns::compile(&entries.iter().map(|e| (*e).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn allows(entries: &[&str], host: &str) -> bool {
        patterns(entries).contains(&Host::parse(host).unwrap())
    }

    #[test]
    fn exact_and_wildcard_entries() {
        let list = ["api.example.com", "*.example.org"];
        for host in ["api.example.com", "API.EXAMPLE.COM.", "example.org", "a.example.org", "a.b.Example.org"]
        {
            assert!(allows(&list, host), "{host}");
        }
        for host in
            ["example.com", "x.api.example.com", "badexample.org", "example.org.evil.test", "example.co"]
        {
            assert!(!allows(&list, host), "{host}");
        }
    }

    #[test]
    fn addresses_match_by_exact_text_only() {
        assert!(allows(&["127.0.0.1"], "127.0.0.1"));
        for host in ["127.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]"] {
            assert!(!allows(&["127.0.0.1", "*.0.0.1.test"], host), "{host}");
        }
        assert!(allows(&["::1"], "[::1]"));
    }

    #[test]
    fn entries_that_cannot_match_are_errors() {
        for entry in [
            "",
            "*",
            "*.",
            "a*.b",
            "a.*.b",
            "https://a.b",
            "a.b:443",
            "a.b/c",
            "a b",
            "-a.b",
            "a_b.c",
            "127.1",
            "*.1.2.3.4",
        ] {
            assert!(HostPatterns::compile(&[entry.to_owned()]).is_err(), "{entry:?}");
        }
        let two = HostPatterns::compile(&["*".into(), "ok.test".into(), "a:1".into()]).unwrap_err();
        assert_eq!(two.len(), 2);
    }

    #[test]
    fn the_apex_of_a_wildcard_was_not_chosen_by_the_client() {
        let list = patterns(&["*.example.org"]);
        assert!(!list.find(&Host::parse("example.org").unwrap()).unwrap().wildcard);
        assert!(list.find(&Host::parse("a.example.org").unwrap()).unwrap().wildcard);
    }

    proptest! {
        #[test]
        fn wildcard_means_suffix_at_a_label_border(sub in "[a-z0-9]{1,8}(\\.[a-z0-9]{1,8}){0,3}", tail in "[a-z]{1,8}\\.test") {
            let entry = format!("*.{tail}");
            let list = patterns(&[&entry]);
            let under = format!("{}.{}", sub, tail);
            let joined = format!("{}{}", sub, tail);
            prop_assert!(list.contains(&Host::parse(&under).unwrap()));
            prop_assert!(list.contains(&Host::parse(&tail).unwrap()));
            prop_assert!(!list.contains(&Host::parse(&joined).unwrap()));
        }

        #[test]
        fn compiling_never_panics(entry in "\\PC{0,60}") {
            let _ = HostPatterns::compile(&[entry]);
        }
    }
}
