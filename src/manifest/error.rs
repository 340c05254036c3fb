//! [`Finding`], [`ManifestErrors`] and how people see them.

use std::fmt;
use std::fmt::Write as _;
use std::path::PathBuf;

use super::tree::{JsonPath, Source, Span};
use crate::error::ErrorKind;

/// Longest source line that is shown; a longer one is cut around the place.
const MAX_LINE: usize = 100;

/// One thing that is wrong, with its place.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1; 0 when the finding is about the whole file.
    pub line: usize,
    /// Column in characters, from 1; 0 when the finding is about the whole file.
    pub column: usize,
    /// Place in the document: `bottles.dev.ssh[0].Host`; empty for the whole.
    pub json_path: String,
    /// What was found. Values below `env` are never repeated.
    pub found: String,
    /// What is allowed.
    pub rule: String,
    /// What to do, or the nearest known name.
    pub hint: Option<String>,
    /// The source line.
    #[serde(skip)]
    pub excerpt: Option<Excerpt>,
}

/// A source line with the place marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The text of the line; values below `env` are masked.
    pub line: String,
    /// Characters before the place.
    pub offset: usize,
    /// Characters of the place on this line, at least 1.
    pub width: usize,
    /// Bytes of the line in the file, for masking.
    start: usize,
    source: usize,
}

impl Excerpt {
    /// Line and column (in characters) of a place, both from 1.
    pub(super) fn position(sources: &[Source], span: Span) -> (usize, usize) {
        let Some(before) = sources.get(span.source).and_then(|source| source.text.get(..span.start)) else {
            return (0, 0);
        };
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        (line, before[start..].chars().count() + 1)
    }

    fn of(sources: &[Source], span: Span) -> Option<Self> {
        let text = &sources.get(span.source)?.text;
        let start = text.get(..span.start)?.rfind('\n').map_or(0, |at| at + 1);
        let end = text[span.start..].find('\n').map_or(text.len(), |at| span.start + at);
        let line = text.get(start..end)?.trim_end_matches('\r').to_owned();
        let marked = text.get(span.start..span.end.clamp(span.start, end)).unwrap_or("");
        let offset = text[start..span.start].chars().count();
        Some(Self {
            line,
            offset,
            width: marked.trim_end().chars().count().max(1),
            start,
            source: span.source,
        })
    }

    fn mask(&mut self, hidden: &[Span]) {
        let mut masked = String::with_capacity(self.line.len());
        for (at, c) in self.line.char_indices() {
            let at = self.start + at;
            let is_hidden =
                hidden.iter().any(|span| span.source == self.source && at > span.start && at + 1 < span.end);
            masked.push(if is_hidden { '*' } else { c });
        }
        self.line = masked;
    }
}

impl Finding {
    pub(super) fn at(
        sources: &[Source],
        span: Span,
        path: &JsonPath,
        found: impl Into<String>,
        rule: impl Into<String>,
        hint: Option<String>,
    ) -> Self {
        let (line, column) = Excerpt::position(sources, span);
        Self {
            file: sources.get(span.source).map(|source| source.path.clone()).unwrap_or_default(),
            line,
            column,
            json_path: path.as_str().to_owned(),
            found: found.into(),
            rule: rule.into(),
            hint,
            excerpt: Excerpt::of(sources, span),
        }
    }

    /// A finding about a file as a whole.
    pub(super) fn of_file(
        file: impl Into<PathBuf>,
        found: impl Into<String>,
        rule: impl Into<String>,
        hint: Option<String>,
    ) -> Self {
        Self {
            file: file.into(),
            line: 0,
            column: 0,
            json_path: String::new(),
            found: found.into(),
            rule: rule.into(),
            hint,
            excerpt: None,
        }
    }

    pub(super) fn mask(&mut self, hidden: &[Span]) {
        if let Some(excerpt) = &mut self.excerpt {
            excerpt.mask(hidden);
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.json_path.is_empty() {
            write!(f, ": {}", self.json_path)?;
        }
        write!(f, ": found {}; {}", self.found, self.rule)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

/// Everything that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ManifestErrors {
    /// In the order of the files; never empty.
    pub findings: Vec<Finding>,
}

impl ManifestErrors {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Input
    }
}

impl From<Finding> for ManifestErrors {
    fn from(finding: Finding) -> Self {
        Self { findings: vec![finding] }
    }
}

impl fmt::Display for ManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("read the manifest")?;
        self.findings.iter().try_for_each(|finding| write!(f, "\n  {finding}"))
    }
}

impl std::error::Error for ManifestErrors {}

/// The findings for people, each with its source line and a caret. Plain text, ends with a newline.
pub fn render(errors: &ManifestErrors) -> String {
    let mut text = String::new();
    for finding in &errors.findings {
        render_one(finding, &mut text);
    }
    let count = errors.findings.len();
    let _ = writeln!(text, "{count} finding{}", if count == 1 { "" } else { "s" });
    text
}

fn render_one(finding: &Finding, text: &mut String) {
    let place =
        if finding.line > 0 { format!(":{}:{}", finding.line, finding.column) } else { String::new() };
    let path = if finding.json_path.is_empty() { String::new() } else { format!("  {}", finding.json_path) };
    let _ = writeln!(text, "{}{place}{path}", finding.file.display());
    if let Some(excerpt) = finding.excerpt.as_ref().filter(|excerpt| !excerpt.line.is_empty()) {
        // A long line is cut around the place; tabs become one column so that the caret stays below it.
        let cut = excerpt.offset.saturating_sub(MAX_LINE / 2);
        let shown: String = excerpt
            .line
            .chars()
            .skip(cut)
            .take(MAX_LINE)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let width = excerpt.width.min(MAX_LINE - (excerpt.offset - cut).min(MAX_LINE - 1));
        let number = finding.line.to_string();
        let _ = writeln!(text, "  {number} | {}", shown.trim_end());
        let _ = writeln!(
            text,
            "  {} | {}{}",
            " ".repeat(number.len()),
            " ".repeat(excerpt.offset - cut),
            "^".repeat(width)
        );
    }
    let _ = writeln!(text, "  found {}; {}", finding.found, finding.rule);
    if let Some(hint) = &finding.hint {
        let _ = writeln!(text, "  help: {hint}");
    }
    text.push('\n');
}
