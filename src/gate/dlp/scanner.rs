//! Walks the layers of a text and collects findings.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Instant;

use super::custom::{Custom, CustomPattern, PatternError};
use super::engine::{Engine, Origin};
use super::rule::Severity;
use super::{decode, fold, numbers};

/// Encodings inside encodings that are undone. Deeper nesting is not looked at (pipelock stops earlier).
const MAX_DEPTH: usize = 4;

/// Bytes of all layers together, per byte of text. Honest text stays far below (see `decode`).
const MAX_GROWTH: usize = 24;

/// What to look for.
#[derive(Debug, Clone)]
pub struct Options {
    /// `dlp.include_defaults`: false leaves the core rules and the owner's patterns.
    pub include_defaults: bool,
    /// The owner's patterns; one with the name of a built-in rule that is not core takes its place.
    pub patterns: Vec<CustomPattern>,
}

impl Default for Options {
    fn default() -> Self {
        Self { include_defaults: true, patterns: Vec::new() }
    }
}

/// One rule that matched. Never holds a part of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Name of the rule.
    pub name: String,
    /// Severity of the rule.
    pub severity: Severity,
    /// How the text was wrapped: `plaintext`, `base64`, `hex`, `base32`, `url`, `escape`.
    pub encoding: &'static str,
    /// Reported only; does not deny.
    pub warn: bool,
    /// One of the rules that no configuration removes.
    pub core: bool,
}

/// The deadline passed before the last layer was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the scan did not finish in time")]
pub struct Expired;

/// All rules, compiled. Immutable; share it.
#[derive(Debug)]
pub struct Scanner {
    engine: Engine,
    custom: Custom,
    cards: bool,
    ibans: bool,
}

impl Scanner {
    /// Compiles built-in rules and the owner's patterns (some ten milliseconds).
    ///
    /// # Errors
    /// The first pattern of the owner's that does not compile.
    pub fn new(options: Options) -> Result<Self, PatternError> {
        let replaced: HashSet<String> = options.patterns.iter().map(|pattern| pattern.name.clone()).collect();
        let builtin = |name: &str| options.include_defaults && !replaced.contains(name);
        let engine = Engine::new(|rule| rule.core || builtin(rule.name))
            .expect("the table compiles: its test says so");
        let (cards, ibans) = (builtin("Credit Card Number"), builtin("IBAN"));
        Ok(Self { engine, custom: Custom::new(options.patterns)?, cards, ibans })
    }

    /// Number of rules and patterns, for `/health`.
    pub fn len(&self) -> usize {
        self.engine.len() + self.custom.len() + usize::from(self.cards) + usize::from(self.ibans)
    }

    /// Never true: the core rules are always there.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Looks through a text and everything encoded in it.
    ///
    /// Each rule is reported once, with the first encoding it was seen in.
    ///
    /// # Errors
    /// [`Expired`] when `deadline` passes; it is looked at between layers, not inside one.
    pub fn scan(&self, text: &[u8], deadline: Option<Instant>) -> Result<Vec<Finding>, Expired> {
        let mut walk = Walk { scanner: self, findings: Vec::new(), seen: HashSet::new() };
        let mut budget = text.len().saturating_mul(MAX_GROWTH).saturating_add(64 * 1024);
        let mut layers: Vec<(Cow<'_, [u8]>, usize, &'static str)> =
            vec![(Cow::Borrowed(text), 0, "plaintext")];
        while let Some((layer, depth, encoding)) = layers.pop() {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(Expired);
            }
            let Some(left) = budget.checked_sub(layer.len()) else {
                walk.report("Decode Limit", Severity::High, encoding, false, true);
                break;
            };
            budget = left;
            let folded = fold::fold(&layer);
            walk.match_written(&layer, encoding);
            if let Some(folded) = &folded {
                walk.match_written(folded, encoding);
            }
            let plain = folded.as_deref().unwrap_or(&layer);
            if let Some(joined) = fold::join(plain) {
                walk.match_joined(&joined, encoding);
            }
            if depth == 0 && (self.cards || self.ibans) {
                walk.match_numbers(plain);
            }
            if depth < MAX_DEPTH {
                let decoded = decode::decode_runs(plain);
                let pieces = [
                    (fold::percent_decode(plain), "url"),
                    (fold::unescape(plain), "escape"),
                    (Some(decoded.base64), "base64"),
                    (Some(decoded.hex), "hex"),
                    (Some(decoded.base32), "base32"),
                ];
                for (piece, name) in pieces {
                    let Some(piece) = piece.filter(|piece| !piece.is_empty()) else { continue };
                    layers.push((Cow::Owned(piece), depth + 1, name));
                }
            }
        }
        Ok(walk.findings)
    }
}

struct Walk<'a> {
    scanner: &'a Scanner,
    findings: Vec<Finding>,
    seen: HashSet<String>,
}

impl Walk<'_> {
    fn match_written(&mut self, text: &[u8], encoding: &'static str) {
        self.match_rules(text, encoding, Origin::Written);
        let scanner = self.scanner;
        scanner.custom.search(text, |hit| self.report(&hit.name, hit.severity, encoding, hit.warn, false));
    }

    fn match_joined(&mut self, text: &[u8], encoding: &'static str) {
        self.match_rules(text, encoding, Origin::Joined);
        let scanner = self.scanner;
        scanner
            .custom
            .search_joined(text, |hit| self.report(&hit.name, hit.severity, encoding, hit.warn, false));
    }

    fn match_rules(&mut self, text: &[u8], encoding: &'static str, origin: Origin) {
        let mut hits = Vec::new();
        let seen = &self.seen;
        self.scanner.engine.search(text, origin, |rule| !seen.contains(rule.name), |rule| hits.push(rule));
        for rule in hits {
            self.report(rule.name, rule.severity, encoding, false, rule.core);
        }
    }

    fn match_numbers(&mut self, text: &[u8]) {
        let numbers = numbers::find(text);
        if numbers.card && self.scanner.cards {
            self.report("Credit Card Number", Severity::Medium, "plaintext", false, false);
        }
        // An IBAN is meant to be given away; it is worth a log line, not a denial.
        if numbers.iban && self.scanner.ibans {
            self.report("IBAN", Severity::Medium, "plaintext", true, false);
        }
    }

    fn report(&mut self, name: &str, severity: Severity, encoding: &'static str, warn: bool, core: bool) {
        if self.seen.insert(name.to_owned()) {
            self.findings.push(Finding { name: name.to_owned(), severity, encoding, warn, core });
        }
    }
}

#[cfg(test)]
#[path = "scanner_tests.rs"]
mod tests;
