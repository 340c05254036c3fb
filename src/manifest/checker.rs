//! [`Checker`]: reads typed values out of a tree and notes what is wrong, without ever stopping.

use std::ops::RangeInclusive;

use super::error::Finding;
use super::tree::{Entry, JsonPath, Node, Source, Span, Value};

pub(super) struct Checker<'s> {
    pub(super) sources: &'s [Source],
    pub(super) findings: Vec<Finding>,
}

/// A text of a list with its place.
pub(super) struct Item<'n> {
    pub(super) text: &'n str,
    pub(super) span: Span,
    pub(super) path: JsonPath,
}

impl Checker<'_> {
    pub(super) fn note(
        &mut self,
        span: Span,
        path: &JsonPath,
        found: impl Into<String>,
        rule: impl Into<String>,
    ) {
        self.findings.push(Finding::at(self.sources, span, path, found, rule, None));
    }

    pub(super) fn note_hint(
        &mut self,
        span: Span,
        path: &JsonPath,
        found: impl Into<String>,
        rule: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let hint = Some(hint.into());
        self.findings.push(Finding::at(self.sources, span, path, found, rule, hint));
    }

    fn wrong_kind(&mut self, node: &Node, path: &JsonPath, wanted: &str) {
        self.note(node.span, path, node.kind(), format!("{wanted} is wanted here"));
    }

    /// The entries of an object with free keys.
    pub(super) fn entries<'n>(&mut self, node: &'n Node, path: &JsonPath) -> &'n [Entry] {
        if let Value::Object(entries) = &node.value {
            return entries;
        }
        self.wrong_kind(node, path, "an object");
        &[]
    }

    /// The entries of an object with known keys; notes every other key with the nearest known one.
    pub(super) fn known<'n>(&mut self, node: &'n Node, path: &JsonPath, known: &[&str]) -> &'n [Entry] {
        let entries = self.entries(node, path);
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let path = path.key(&entry.key);
            if entry.key == "runtime" {
                self.note(entry.key_span, &path, "a removed key", super::validate::RUNTIME_REMOVED);
                continue;
            }
            let found = format!("an unknown key {:?}", entry.key);
            let rule = format!("known keys: {}", known.join(", "));
            match nearest(&entry.key, known) {
                Some(name) => {
                    self.note_hint(entry.key_span, &path, found, rule, format!("did you mean `{name}`?"))
                }
                None => self.note(entry.key_span, &path, found, rule),
            }
        }
        entries
    }

    /// A text without NUL bytes.
    pub(super) fn text<'n>(&mut self, node: &'n Node, path: &JsonPath) -> Option<&'n str> {
        match &node.value {
            Value::Text(text) if text.contains('\0') => {
                self.note(node.span, path, "a NUL character", "texts cannot hold NUL");
                None
            }
            Value::Text(text) => Some(text),
            _ => {
                self.wrong_kind(node, path, "a text");
                None
            }
        }
    }

    /// A text that is not empty.
    pub(super) fn filled<'n>(&mut self, node: &'n Node, path: &JsonPath) -> Option<&'n str> {
        let text = self.text(node, path)?;
        if text.is_empty() {
            self.note(node.span, path, "an empty text", "it cannot be empty");
            return None;
        }
        Some(text)
    }

    pub(super) fn list<'n>(&mut self, node: &'n Node, path: &JsonPath) -> &'n [Node] {
        if let Value::List(items) = &node.value {
            return items;
        }
        self.wrong_kind(node, path, "a list");
        &[]
    }

    /// The texts of a list of texts that are not empty.
    pub(super) fn texts<'n>(&mut self, node: &'n Node, path: &JsonPath) -> Vec<Item<'n>> {
        let mut items = Vec::new();
        for (index, item) in self.list(node, path).iter().enumerate() {
            let path = path.index(index);
            if let Some(text) = self.filled(item, &path) {
                items.push(Item { text, span: item.span, path });
            }
        }
        items
    }

    /// An argv: a list whose first text is not empty.
    pub(super) fn argv(&mut self, node: &Node, path: &JsonPath) -> Option<Vec<String>> {
        let items = self.list(node, path);
        let mut argv = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = path.index(index);
            let text = if index == 0 { self.filled(item, &path) } else { self.text(item, &path) };
            argv.extend(text.map(str::to_owned));
        }
        if items.is_empty() && matches!(node.value, Value::List(_)) {
            self.note(node.span, path, "an empty list", "a program and its arguments are wanted here");
        }
        (argv.len() == items.len() && !argv.is_empty()).then_some(argv)
    }

    pub(super) fn number(&mut self, node: &Node, path: &JsonPath) -> Option<f64> {
        if let Value::Number(text) = &node.value
            && let Ok(number) = text.parse::<f64>()
            && number.is_finite()
        {
            return Some(number);
        }
        self.wrong_kind(node, path, "a number");
        None
    }

    pub(super) fn integer(
        &mut self,
        node: &Node,
        path: &JsonPath,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let number = self.number(node, path)?;
        let whole = number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number);
        // Whole, positive and below 2^53, so the cast is exact.
        let value = number as u64;
        if whole && range.contains(&value) {
            return Some(value);
        }
        let rule = format!("a whole number from {} to {} is wanted here", range.start(), range.end());
        self.note(node.span, path, format!("{number}"), rule);
        None
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, node: &Node, path: &JsonPath, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(node, path)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let rule = format!("allowed: {}", known.join(", "));
        match nearest(text, &known) {
            Some(word) => {
                self.note_hint(node.span, path, shown(text), rule, format!("did you mean {word:?}?"))
            }
            None => self.note(node.span, path, shown(text), rule),
        }
        None
    }

    /// A path of the host: absolute or below `~/`, because a relative one would depend on the file it is in.
    pub(super) fn path(&mut self, node: &Node, path: &JsonPath) -> Option<String> {
        let text = self.filled(node, path)?;
        if text.chars().any(char::is_control) {
            self.note(node.span, path, shown(text), "a path has no control characters");
            return None;
        }
        if text.starts_with('/') || (text.starts_with("~/") && text.len() > 2) {
            return Some(text.to_owned());
        }
        self.note(node.span, path, shown(text), "a path is absolute or starts with ~/");
        None
    }
}

/// A value in a message: quoted, cut when long.
pub(super) fn shown(text: &str) -> String {
    if text.chars().count() <= 60 {
        return format!("{text:?}");
    }
    format!("{:?}…", text.chars().take(60).collect::<String>())
}

/// The known name that is most like `found`, if one is like it at all: few edits, or a long common start.
pub(crate) fn nearest<'k>(found: &str, known: &[&'k str]) -> Option<&'k str> {
    let found = found.to_lowercase();
    let allowed = (found.chars().count() / 3).max(1);
    known
        .iter()
        .map(|name| {
            let lower = name.to_lowercase();
            (strsim::osa_distance(&found, &lower), strsim::jaro_winkler(&found, &lower), *name)
        })
        .filter(|(edits, likeness, name)| (*edits <= allowed && *edits < name.len()) || *likeness >= 0.85)
        .max_by(|a, b| b.0.cmp(&a.0).then(a.1.total_cmp(&b.1)))
        .map(|(_, _, name)| name)
}
