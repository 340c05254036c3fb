//! The anchored matcher: one pass for the literals of all rules, a small expression at each hit.

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex::bytes::{Regex, RegexBuilder};

use super::checks;
use super::rule::{Check, Rule};
use super::rules::RULES;

/// How much text from the start of its window an expression may see. Longer than any format's fixed part.
pub(super) const WINDOW_BYTES: usize = 1200;

/// How the text in hand came to be: decides how much evidence a match needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Contiguous in the layer (perhaps after removal of invisible characters).
    Written,
    /// Put together by removing white space: two neighbours may not have belonged together.
    Joined,
}

/// The built-in rules, compiled.
#[derive(Debug)]
pub(super) struct Engine {
    anchors: AhoCorasick,
    /// Rule index and anchor length by pattern id.
    owners: Vec<(usize, usize)>,
    rules: Vec<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    rule: &'static Rule,
    exact: Regex,
    /// The same without regard to case, for tokens that were folded to one case.
    any_case: Regex,
}

impl Engine {
    /// Compiles the rules that `keep` admits.
    ///
    /// # Errors
    /// The texts of `regex` and `aho-corasick`; only a defect in the table can cause them.
    pub(super) fn new(keep: impl Fn(&Rule) -> bool) -> Result<Self, String> {
        let mut owners = Vec::new();
        let mut literals = Vec::new();
        let mut rules = Vec::new();
        for rule in RULES.iter().filter(|rule| keep(rule)) {
            let source =
                if rule.lookback == 0 { format!(r"\A(?:{})", rule.regex) } else { rule.regex.to_owned() };
            let compile = |any_case| {
                RegexBuilder::new(&source)
                    .unicode(false)
                    .case_insensitive(any_case)
                    .build()
                    .map_err(|error| format!("rule {}: {error}", rule.name))
            };
            for anchor in rule.anchors {
                owners.push((rules.len(), anchor.len()));
                literals.push(*anchor);
            }
            rules.push(Compiled { rule, exact: compile(false)?, any_case: compile(true)? });
        }
        let anchors = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::DFA))
            .build(literals)
            .map_err(|error| error.to_string())?;
        Ok(Self { anchors, owners, rules })
    }

    /// Number of compiled rules.
    pub(super) fn len(&self) -> usize {
        self.rules.len()
    }

    /// Calls `found` once for each rule that matches and for which `wanted` is true.
    pub(super) fn search(
        &self,
        text: &[u8],
        origin: Origin,
        wanted: impl Fn(&'static Rule) -> bool,
        mut found: impl FnMut(&'static Rule),
    ) {
        let mut done = vec![false; self.rules.len()];
        for hit in self.anchors.find_overlapping_iter(text) {
            let (index, _) = self.owners[hit.pattern().as_usize()];
            let compiled = &self.rules[index];
            if done[index] || !wanted(compiled.rule) {
                continue;
            }
            if compiled.matches(text, hit.start(), hit.end(), origin) {
                done[index] = true;
                found(compiled.rule);
            }
        }
    }
}

impl Compiled {
    fn matches(&self, text: &[u8], anchor: usize, anchor_end: usize, origin: Origin) -> bool {
        let rule = self.rule;
        if rule.word && rule.lookback == 0 && !at_word_start(text, anchor) {
            return false;
        }
        let start = anchor.saturating_sub(rule.lookback);
        let window = &text[start..text.len().min(start + WINDOW_BYTES)];
        // The whole match has to reach the anchor that led here; `find` alone could stop at an earlier one,
        // which then had its own hit.
        if let Some(found) = self.exact.find(window) {
            let token = found.as_bytes();
            let tail = &window[(anchor_end - start).min(window.len())..];
            return self.admits(token, tail, origin);
        }
        let Some(found) = self.any_case.find(window) else { return false };
        let token = found.as_bytes();
        // A token that was folded to upper or lower case still tells most of itself. But an anchor in the wrong
        // case is common in prose and base64, so the match must be a word of its own and look random.
        checks::single_case(token)
            && rule.check != Check::RealPassword
            && at_word_start(text, start + found.start())
            && !text.get(start + found.end()).is_some_and(u8::is_ascii_alphanumeric)
            && checks::random_looking(&token[token.len().min(anchor_end - anchor)..])
    }

    fn admits(&self, token: &[u8], tail: &[u8], origin: Origin) -> bool {
        let by_check = match self.rule.check {
            Check::None | Check::Crc32Tail => true,
            Check::JoseHeader => checks::jose_header(token),
            Check::RealPassword => checks::real_password(token),
            Check::Random => checks::random_looking(token.get(3..).unwrap_or_default()),
        };
        by_check
            && match (origin, self.rule.check) {
                (Origin::Written, _) => true,
                (Origin::Joined, Check::Crc32Tail) => checks::crc32_tail(token),
                (Origin::Joined, Check::RealPassword) => false,
                // A header line is proof in itself, with or without the spaces that it is printed with.
                (Origin::Joined, Check::None) if self.rule.lookback >= 52 => true,
                (Origin::Joined, _) => checks::random_looking(tail),
            }
    }
}

fn at_word_start(text: &[u8], at: usize) -> bool {
    at == 0 || !(text[at - 1].is_ascii_alphanumeric() || text[at - 1] == b'_')
}
