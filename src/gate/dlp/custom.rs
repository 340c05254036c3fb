//! The owner's patterns and exact secrets.
//!
//! Exact secrets of a bottle arrive as `dlp.patterns` whose expression is an escaped literal (or several, joined
//! by `|`). Those go into one Aho-Corasick automaton, so that a hundred of them cost one pass; only real
//! expressions are run as expressions. As in pipelock, patterns ignore case.

use aho_corasick::AhoCorasick;
use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use super::checks;
use super::rule::Severity;

/// A test beyond the expression (`validator` in the file).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validator {
    /// Card numbers.
    Luhn,
    /// IBANs.
    Mod97,
    /// US routing numbers.
    Aba,
}

/// One pattern of the file's `dlp.patterns`, or one secret of its secrets file.
#[derive(Debug, Clone)]
pub struct CustomPattern {
    /// Shown as `DLP-<name>`.
    pub name: String,
    /// Expression in the syntax of RE2 and the `regex` crate.
    pub regex: String,
    /// Copied into findings.
    pub severity: Severity,
    /// What a match has to satisfy besides.
    pub validator: Option<Validator>,
    /// `action: warn`: reported, never denied.
    pub warn: bool,
}

/// A pattern that does not compile. Holds its name and never its text: the text may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("dlp pattern \"{name}\" {reason}")]
pub struct PatternError {
    name: String,
    reason: &'static str,
}

/// All owner's patterns, compiled.
#[derive(Debug)]
pub(super) struct Custom {
    literals: AhoCorasick,
    /// The same literals without white space, for the joined view.
    joined_literals: AhoCorasick,
    /// Pattern index by literal id.
    literal_owners: Vec<usize>,
    set: RegexSet,
    /// Pattern index and single expression by id in `set`; the expression is needed for validators only.
    set_owners: Vec<(usize, Regex)>,
    patterns: Vec<CustomPattern>,
}

impl Custom {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// The first pattern that is no expression, matches the empty text, or is too large.
    pub(super) fn new(patterns: Vec<CustomPattern>) -> Result<Self, PatternError> {
        let mut literals = Vec::new();
        let mut literal_owners = Vec::new();
        let mut expressions = Vec::new();
        let mut set_owners = Vec::new();
        for (index, pattern) in patterns.iter().enumerate() {
            let refuse = |reason| PatternError { name: pattern.name.clone(), reason };
            let regex = RegexBuilder::new(&pattern.regex)
                .case_insensitive(true)
                .build()
                .map_err(|_| refuse("is not a valid regular expression"))?;
            if regex.is_match(b"") {
                return Err(refuse("matches the empty text"));
            }
            match literal_alternatives(&pattern.regex) {
                Some(texts) if pattern.validator.is_none() => {
                    literal_owners.extend(texts.iter().map(|_| index));
                    literals.extend(texts);
                }
                _ => {
                    expressions.push(pattern.regex.as_str());
                    set_owners.push((index, regex));
                }
            }
        }
        let whole = |reason| PatternError { name: "*".to_owned(), reason };
        let automaton = |texts: &[String]| {
            AhoCorasick::builder()
                .ascii_case_insensitive(true)
                .build(texts)
                .map_err(|_| whole("and its siblings are too large together"))
        };
        let joined: Vec<String> =
            literals.iter().map(|text| text.chars().filter(|c| !c.is_ascii_whitespace()).collect()).collect();
        let set = RegexSetBuilder::new(expressions)
            .case_insensitive(true)
            .build()
            .map_err(|_| whole("and its siblings are too large together"))?;
        Ok(Self {
            literals: automaton(&literals)?,
            joined_literals: automaton(&joined)?,
            literal_owners,
            set,
            set_owners,
            patterns,
        })
    }

    /// Number of patterns.
    pub(super) fn len(&self) -> usize {
        self.patterns.len()
    }

    /// Calls `found` for each pattern that matches text as written; may repeat a pattern.
    pub(super) fn search(&self, text: &[u8], mut found: impl FnMut(&CustomPattern)) {
        if !self.literal_owners.is_empty() {
            for hit in self.literals.find_overlapping_iter(text) {
                found(&self.patterns[self.literal_owners[hit.pattern().as_usize()]]);
            }
        }
        if self.set_owners.is_empty() {
            return;
        }
        for id in self.set.matches(text) {
            let (index, regex) = &self.set_owners[id];
            let pattern = &self.patterns[*index];
            let valid = match pattern.validator {
                None => true,
                Some(validator) => regex.find_iter(text).any(|hit| validator.accepts(hit.as_bytes())),
            };
            if valid {
                found(pattern);
            }
        }
    }

    /// Calls `found` for each literal that shows once white space is gone.
    pub(super) fn search_joined(&self, joined: &[u8], mut found: impl FnMut(&CustomPattern)) {
        if !self.literal_owners.is_empty() {
            for hit in self.joined_literals.find_overlapping_iter(joined) {
                found(&self.patterns[self.literal_owners[hit.pattern().as_usize()]]);
            }
        }
    }
}

impl Validator {
    fn accepts(self, text: &[u8]) -> bool {
        match self {
            Self::Luhn => checks::luhn(text),
            Self::Mod97 => checks::mod97(text),
            Self::Aba => checks::aba(text),
        }
    }
}

/// Reads `a\.b|c\+d`, perhaps inside `(?:…)`, as the literals it stands for; `None` when it is a real expression.
fn literal_alternatives(regex: &str) -> Option<Vec<String>> {
    let body = regex.strip_prefix("(?:").and_then(|rest| rest.strip_suffix(')')).unwrap_or(regex);
    let mut texts = vec![String::new()];
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        let literal = match c {
            '|' => {
                texts.push(String::new());
                continue;
            }
            '\\' => chars
                .next()
                .filter(|escaped| escaped.is_ascii_punctuation() && !matches!(escaped, '<' | '>'))?,
            '.' | '+' | '*' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' => return None,
            // Unicode case folding is the expression's business, not the automaton's.
            other if !other.is_ascii() => return None,
            other => other,
        };
        texts.last_mut()?.push(literal);
    }
    // A literal that is nothing but white space would match everywhere in the joined view.
    texts.iter().all(|text| text.chars().filter(|c| !c.is_ascii_whitespace()).count() >= 4).then_some(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(name: &str, regex: &str) -> CustomPattern {
        CustomPattern {
            name: name.into(),
            regex: regex.into(),
            severity: Severity::High,
            validator: None,
            warn: false,
        }
    }

    fn names(custom: &Custom, text: &str) -> Vec<String> {
        let mut names = Vec::new();
        custom.search(text.as_bytes(), |hit| names.push(hit.name.clone()));
        names
    }

    #[test]
    fn escaped_secrets_become_literals() {
        let secret = "p@ss.w0rd+(x)|y\\z -_~#&";
        assert_eq!(literal_alternatives(&regex::escape(secret)), Some(vec![secret.to_owned()]));
        assert_eq!(literal_alternatives(r"(?:abcd\.|efgh)"), Some(vec!["abcd.".into(), "efgh".into()]));
        for real in [r"\d{4}", "a.bcd", "[a-f]+xx", "(abcd)", r"\bword", "abcd|", "   "] {
            assert_eq!(literal_alternatives(real), None, "{real}");
        }
    }

    #[test]
    fn literals_and_expressions_are_found_without_regard_to_case() {
        let custom = Custom::new(vec![pattern("a", r"hunter2\-hunter2"), pattern("b", r"id-\d{6}")]).unwrap();
        assert_eq!(names(&custom, "x Hunter2-HUNTER2 y ID-123456"), ["a", "b"]);
        assert!(names(&custom, "hunter2 hunter2 id-12345").is_empty());
        let mut joined = 0;
        custom.search_joined(b"xhunter2-hunter2y", |_| joined += 1);
        assert_eq!(joined, 1);
    }

    #[test]
    fn validators_weigh_each_match() {
        let card = CustomPattern { validator: Some(Validator::Luhn), ..pattern("card", r"\b\d{16}\b") };
        let custom = Custom::new(vec![card]).unwrap();
        assert!(names(&custom, "4111111111111112").is_empty());
        assert_eq!(names(&custom, "4111111111111112 4111111111111111"), ["card"]);
    }

    #[test]
    fn bad_patterns_are_named_and_never_shown() {
        for regex in ["(topsecret", "x*", ""] {
            let error = Custom::new(vec![pattern("mine", regex)]).unwrap_err().to_string();
            assert!(error.contains("mine") && !error.contains("topsecret"), "{error}");
        }
    }
}
