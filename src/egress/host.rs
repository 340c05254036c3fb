//! Host names and host patterns, validated before pipelock or the addon see them.
//!
//! pipelock does not check the entries of its `api_allowlist` when it loads them, so a typing error would
//! silently allow nothing, or an address written as a number would mean more than it says.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

/// Why a text is no host name or host pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostPatternError {
    /// The text is empty.
    #[error("host is empty")]
    Empty,
    /// A scheme, port, path, user or blank is part of the text.
    #[error("host {0:?} contains {1:?}; give the bare name, without scheme, port or path")]
    NotBare(String, char),
    /// The text is an IP address, also in decimal, octal or hexadecimal notation.
    #[error("host {0:?} is an address; only DNS names can be allowed")]
    Address(String),
    /// A wildcard somewhere else than as the whole first label.
    #[error("host {0:?} has a wildcard that is not a leading \"*.\"")]
    Wildcard(String),
    /// `*.` before a single label would allow a whole top-level domain.
    #[error("host {0:?} would allow a whole top-level domain")]
    TooWide(String),
    /// A label is not letters, digits and hyphens, is empty, or is longer than 63.
    #[error("host {0:?} has an invalid label {1:?}")]
    Label(String, String),
    /// Longer than 253 characters.
    #[error("host of {0} characters is longer than 253")]
    TooLong(usize),
}

/// One DNS name: lower-case letters, digits and hyphens, never an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(String);

impl HostName {
    /// Parses and lower-cases a name.
    ///
    /// # Errors
    /// [`HostPatternError`] for anything that is not a bare DNS name.
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        if text.contains('*') {
            return Err(HostPatternError::Wildcard(text.to_owned()));
        }
        check_name(text, text)?;
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// The name in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A [`HostName`], or `*.` and a name: every name under it *and* the name itself (pipelock's reading).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPattern(String);

impl HostPattern {
    /// Parses and lower-cases a pattern.
    ///
    /// # Errors
    /// [`HostPatternError`] names the text and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        if name.contains('*') {
            return Err(HostPatternError::Wildcard(text.to_owned()));
        }
        check_name(text, name)?;
        if name.len() < text.len() && !name.contains('.') {
            return Err(HostPatternError::TooWide(text.to_owned()));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// The pattern in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `host` is allowed by this pattern; letter case does not matter.
    pub fn matches(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        match self.0.strip_prefix("*.") {
            Some(apex) => {
                host == apex
                    || host.strip_suffix(apex).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            None => host == self.0,
        }
    }
}

impl From<HostName> for HostPattern {
    fn from(name: HostName) -> Self {
        Self(name.0)
    }
}

macro_rules! text_traits {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = HostPatternError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

text_traits!(HostName);
text_traits!(HostPattern);

fn check_name(whole: &str, name: &str) -> Result<(), HostPatternError> {
    if name.is_empty() {
        return Err(HostPatternError::Empty);
    }
    if whole.len() > 253 {
        return Err(HostPatternError::TooLong(whole.len()));
    }
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<std::net::IpAddr>().is_ok() {
        return Err(HostPatternError::Address(whole.to_owned()));
    }
    if let Some(found) = name.chars().find(|c| ":/@?#[] \t".contains(*c)) {
        return Err(HostPatternError::NotBare(whole.to_owned(), found));
    }
    for label in name.split('.') {
        let ldh = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if label.is_empty() || label.len() > 63 || !ldh || label.starts_with('-') || label.ends_with('-') {
            return Err(HostPatternError::Label(whole.to_owned(), label.to_owned()));
        }
    }
    let last = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let hexadecimal =
        last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    if hexadecimal || last.bytes().all(|b| b.is_ascii_digit()) {
        return Err(HostPatternError::Address(whole.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn good_patterns_are_lower_cased() {
        for (text, expected) in [
            ("api.anthropic.com", "api.anthropic.com"),
            ("*.GitHubUserContent.com", "*.githubusercontent.com"),
            ("localhost", "localhost"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(HostPattern::parse(text).map(|p| p.0), Ok(expected.to_owned()));
        }
    }

    #[test]
    fn bad_patterns_are_refused_with_the_reason() {
        use HostPatternError as E;
        type Check = fn(&E) -> bool;
        let table: [(&str, Check); 20] = [
            ("", |e| matches!(e, E::Empty)),
            ("*.", |e| matches!(e, E::Empty)),
            ("*", |e| matches!(e, E::Wildcard(_))),
            ("a.*.b", |e| matches!(e, E::Wildcard(_))),
            ("api*.test", |e| matches!(e, E::Wildcard(_))),
            ("*.com", |e| matches!(e, E::TooWide(_))),
            ("https://a.test", |e| matches!(e, E::NotBare(..))),
            ("a.test:443", |e| matches!(e, E::NotBare(_, ':'))),
            ("a.test/x", |e| matches!(e, E::NotBare(_, '/'))),
            ("a b", |e| matches!(e, E::NotBare(..))),
            ("10.0.0.1", |e| matches!(e, E::Address(_))),
            ("*.10.0.0.1", |e| matches!(e, E::Address(_))),
            ("[::1]", |e| matches!(e, E::Address(_))),
            ("::1", |e| matches!(e, E::Address(_))),
            ("2130706433", |e| matches!(e, E::Address(_))),
            ("0x7f.0x1", |e| matches!(e, E::Address(_))),
            ("0177.0.0.01", |e| matches!(e, E::Address(_))),
            ("a..b", |e| matches!(e, E::Label(..))),
            ("a.test.", |e| matches!(e, E::Label(..))),
            ("bücher.example", |e| matches!(e, E::Label(..))),
        ];
        for (text, check) in table {
            let error = HostPattern::parse(text).expect_err(text);
            assert!(check(&error), "{text}: {error:?}");
        }
    }

    #[test]
    fn wildcard_matches_names_under_it_and_the_apex_only() {
        let pattern = HostPattern::parse("*.x.test").expect("valid");
        for host in ["x.test", "a.x.test", "a.b.X.TEST"] {
            assert!(pattern.matches(host), "{host}");
        }
        for host in ["ax.test", "x.test.evil", ".x.test", "test", ""] {
            assert!(!pattern.matches(host), "{host}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_is_idempotent(text in "\\PC{0,80}") {
            if let Ok(pattern) = HostPattern::parse(&text) {
                prop_assert_eq!(HostPattern::parse(pattern.as_str()), Ok(pattern.clone()));
                prop_assert!(pattern.as_str().bytes().all(|b| b.is_ascii_graphic()));
            }
        }

        #[test]
        fn addresses_are_never_names(ip in any::<std::net::Ipv4Addr>()) {
            prop_assert!(HostName::parse(&ip.to_string()).is_err());
            prop_assert!(HostName::parse(&u32::from(ip).to_string()).is_err());
            let hexadecimal = format!("{:#x}", u32::from(ip));
            prop_assert!(HostName::parse(&hexadecimal).is_err());
        }
    }
}
