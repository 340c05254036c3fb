//! Slugs and the fixed names that people's scripts know.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::{Role, Slug};

/// Longest slug: the longest name (`claude-bottle-pipelock-<slug>`) has to fit a DNS label of 63 characters.
pub const MAX_SLUG: usize = 63 - "claude-bottle-pipelock-".len();

/// The slug of an agent's name: lower-cased, runs of other characters turned into one hyphen, trimmed, cut
/// to [`MAX_SLUG`]. `None` when nothing is left.
pub fn slug(name: &str) -> Option<Slug> {
    let mut text = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            text.push(c);
        } else if !text.is_empty() && !text.ends_with('-') {
            text.push('-');
        }
        if text.len() == MAX_SLUG {
            break;
        }
    }
    let text = text.trim_end_matches('-');
    (!text.is_empty()).then(|| Slug::new(text))
}

/// The `n`-th choice for a base slug: the base itself for 0 and 1, then `-2`, `-3`, … within [`MAX_SLUG`].
pub fn numbered(base: &Slug, n: u32) -> Slug {
    if n < 2 {
        return base.clone();
    }
    let suffix = format!("-{n}");
    let keep = base.as_str().len().min(MAX_SLUG - suffix.len());
    // A slug is ASCII, so every byte index is a character border.
    Slug::new(format!("{}{suffix}", base.as_str()[..keep].trim_end_matches('-')))
}

/// The first choice for `base` that nobody uses. The engine's conflict answer still decides.
pub fn next_slug(base: &Slug, used: &BTreeSet<Slug>) -> Slug {
    (1..).map(|n| numbered(base, n)).find(|slug| !used.contains(slug)).unwrap_or_else(|| base.clone())
}

/// Names of everything that belongs to one bottle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// `claude-bottle-<slug>`.
    pub agent: String,
    /// `claude-bottle-pipelock-<slug>`.
    pub pipelock: String,
    /// `claude-bottle-mitm-<slug>`.
    pub mitmproxy: String,
    /// `claude-bottle-int-<slug>`.
    pub int: String,
    /// `claude-bottle-mid-<slug>`.
    pub mid: String,
}

impl Names {
    /// The names of a slug.
    pub fn of(slug: &Slug) -> Self {
        Self {
            agent: format!("claude-bottle-{slug}"),
            pipelock: format!("claude-bottle-pipelock-{slug}"),
            mitmproxy: format!("claude-bottle-mitm-{slug}"),
            int: format!("claude-bottle-int-{slug}"),
            mid: format!("claude-bottle-mid-{slug}"),
        }
    }

    /// The container of a role.
    pub fn member(&self, role: Role) -> &str {
        match role {
            Role::Pipelock => &self.pipelock,
            Role::Mitmproxy => &self.mitmproxy,
            Role::Agent => &self.agent,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(name: &str) -> Option<String> {
        slug(name).map(|slug| slug.to_string())
    }

    #[test]
    fn slugs_follow_the_contract() {
        assert_eq!(text("Coder"), Some("coder".into()));
        assert_eq!(text("  My  Agent (v2)!"), Some("my-agent-v2".into()));
        assert_eq!(text("a"), Some("a".into()));
        assert_eq!(text("Überprüfer"), Some("berpr-fer".into()));
        assert_eq!(text("日本"), None);
        assert_eq!(text("---"), None);
        assert_eq!(text(&"x".repeat(300)).map(|slug| slug.len()), Some(MAX_SLUG));
    }

    #[test]
    fn conflicts_are_numbered() {
        let base = Slug::from("coder");
        let mut used = BTreeSet::new();
        for expected in ["coder", "coder-2", "coder-3"] {
            let next = next_slug(&base, &used);
            assert_eq!(next.as_str(), expected);
            used.insert(next);
        }
    }

    proptest! {
        #[test]
        fn every_name_is_a_dns_label(name in ".*", n in 1u32..5000) {
            if let Some(base) = slug(&name) {
                let names = Names::of(&numbered(&base, n));
                for name in [&names.agent, &names.pipelock, &names.mitmproxy, &names.int, &names.mid] {
                    prop_assert!(name.len() <= 63);
                    prop_assert!(!name.ends_with('-') && !name.contains("--"));
                    prop_assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
                }
            }
        }

        #[test]
        fn a_slug_is_its_own_slug(name in ".*") {
            if let Some(once) = slug(&name) {
                prop_assert_eq!(slug(once.as_str()), Some(once));
            }
        }
    }
}
