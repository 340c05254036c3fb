//! Text → [`Node`] tree in which every value knows its file and place, also after a merge.

use std::path::PathBuf;

use jsonc_parser::ast;
use jsonc_parser::common::Ranged as _;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::error::{Excerpt, Finding};

/// One file as text.
#[derive(Clone, Debug)]
pub struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Source {
    /// A file that was read already.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }
}

/// Byte range in one of the sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) source: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) span: Span,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool,
    Number(String),
    Text(String),
    List(Vec<Node>),
    Object(Vec<Entry>),
}

/// One key of an object with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) value: Node,
}

impl Node {
    /// What kind of value it is, with its article.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Object(_) => "an object",
        }
    }
}

/// Places of all values below `bottles.*.env`, also of those that a second key of the same name replaces:
/// people write secrets there, so no excerpt shows them.
fn env_values(root: &ast::Value<'_>, source: usize) -> Vec<Span> {
    fn properties<'a, 'b>(value: &'b ast::Value<'a>) -> &'b [ast::ObjectProp<'a>] {
        value.as_object().map_or(&[], |object| object.properties.as_slice())
    }
    let named = |name: &'static str| move |property: &&ast::ObjectProp<'_>| property.name.as_str() == name;
    properties(root)
        .iter()
        .filter(named("bottles"))
        .flat_map(|bottles| properties(&bottles.value))
        .flat_map(|bottle| properties(&bottle.value).iter().filter(named("env")))
        .flat_map(|env| properties(&env.value))
        .map(|variable| {
            let range = variable.value.range();
            Span { source, start: range.start, end: range.end }
        })
        .collect()
}

/// A path as people read it: `bottles.dev.ssh[0].Host`.
#[derive(Clone, Debug, Default)]
pub(super) struct JsonPath(String);

impl JsonPath {
    pub(super) fn key(&self, key: &str) -> Self {
        let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        Self(match (plain, self.0.is_empty()) {
            (true, true) => key.to_owned(),
            (true, false) => format!("{}.{key}", self.0),
            (false, _) => format!("{}[{key:?}]", self.0),
        })
    }

    pub(super) fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Parses a source. Findings: a syntax error (then there is no tree), an empty file, duplicate keys.
/// Also gives the places that no excerpt may show.
pub(super) fn parse(
    index: usize,
    sources: &[Source],
    findings: &mut Vec<Finding>,
) -> Option<(Node, Vec<Span>)> {
    let source = sources.get(index)?;
    let options = ParseOptions {
        allow_comments: true,
        allow_loose_object_property_names: false,
        allow_trailing_commas: true,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let parsed = match parse_to_ast(&source.text, &CollectOptions::default(), &options) {
        Ok(parsed) => parsed,
        Err(error) => {
            let range = error.range();
            let span = Span { source: index, start: range.start, end: range.end };
            let found = format!("a syntax error: {}", lower_first(&error.kind().to_string()));
            findings.push(Finding::at(
                sources,
                span,
                &JsonPath::default(),
                found,
                "the file is JSON; comments and trailing commas are allowed",
                None,
            ));
            return None;
        }
    };
    let Some(value) = parsed.value else {
        let hint = Some("run `bottle init` to write a first one".to_owned());
        let span = Span { source: index, ..Span::default() };
        findings.push(Finding::at(
            sources,
            span,
            &JsonPath::default(),
            "an empty file",
            "a manifest is an object with `bottles` and `agents`",
            hint,
        ));
        return None;
    };
    let mut builder = Builder { source: index, sources, findings };
    Some((builder.node(&value, &JsonPath::default()), env_values(&value, index)))
}

struct Builder<'a> {
    source: usize,
    sources: &'a [Source],
    findings: &'a mut Vec<Finding>,
}

impl Builder<'_> {
    fn span(&self, range: jsonc_parser::common::Range) -> Span {
        Span { source: self.source, start: range.start, end: range.end }
    }

    fn node(&mut self, value: &ast::Value<'_>, path: &JsonPath) -> Node {
        let span = self.span(value.range());
        let value = match value {
            ast::Value::NullKeyword(_) => Value::Null,
            ast::Value::BooleanLit(_) => Value::Bool,
            ast::Value::NumberLit(lit) => Value::Number(lit.value.to_owned()),
            ast::Value::StringLit(lit) => Value::Text(lit.value.to_string()),
            ast::Value::Array(list) => Value::List(
                list.elements.iter().enumerate().map(|(i, v)| self.node(v, &path.index(i))).collect(),
            ),
            ast::Value::Object(object) => Value::Object(self.entries(object, path)),
        };
        Node { value, span }
    }

    fn entries(&mut self, object: &ast::Object<'_>, path: &JsonPath) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for property in &object.properties {
            let key = property.name.as_str().to_owned();
            let below = path.key(&key);
            let key_span = self.span(property.name.range());
            let value = self.node(&property.value, &below);
            let entry = Entry { key: key.clone(), key_span, value };
            match places.entry(key) {
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(entries.len());
                    entries.push(entry);
                }
                std::collections::hash_map::Entry::Occupied(place) => {
                    let first = entries.get(*place.get()).map_or(Span::default(), |first| first.key_span);
                    let (line, _) = Excerpt::position(self.sources, first);
                    let hint = Some(format!("the first one is on line {line}; keep one of them"));
                    let found = "a key that occurs twice";
                    self.findings.push(Finding::at(
                        self.sources,
                        key_span,
                        &below,
                        found,
                        "keys are unique",
                        hint,
                    ));
                    if let Some(slot) = entries.get_mut(*place.get()) {
                        *slot = entry;
                    }
                }
            }
        }
        entries
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
