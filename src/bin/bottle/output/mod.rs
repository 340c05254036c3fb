//! The one place that writes to standard output and standard error.
//!
//! Standard output is for data, standard error for progress, questions and errors.

mod happenings;
mod json;
mod text;
mod tree;

use std::io::{self, IsTerminal as _, Write as _};

use bottle::error::ErrorKind;
use serde::Serialize;

pub(crate) use happenings::{decision, event, sentence};
pub(crate) use json::SCHEMA_VERSION;
pub(crate) use text::{age, bytes, elapsed, first_line, one_line, table};
pub(crate) use tree::draw;

use crate::cli::Global;
use crate::error::{CliError, CliResult};
use crate::exit_code;

/// How this run talks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ui {
    json: bool,
    quiet: bool,
    color: bool,
}

/// What a word means, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Warning,
    Bad,
    Faint,
}

impl Ui {
    /// Decided once: flags, `NO_COLOR` (set and not empty), terminal.
    pub(crate) fn new(global: &Global, no_color: bool) -> Self {
        let color = !global.no_color && !no_color && io::stderr().is_terminal() && io::stdout().is_terminal();
        Self { json: global.json, quiet: global.quiet, color }
    }

    /// Whether data and errors are JSON.
    pub(crate) fn json(self) -> bool {
        self.json
    }

    /// Whether only data and errors are printed.
    pub(crate) fn quiet(self) -> bool {
        self.quiet
    }

    /// A word in its colour.
    pub(crate) fn paint(self, tone: Tone, word: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "1;31",
            Tone::Faint => "2",
        };
        if self.color { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word.to_owned() }
    }

    /// Data, as it is.
    pub(crate) fn data(self, text: &str) -> CliResult<()> {
        let mut out = io::stdout().lock();
        written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
    }

    /// Data as one JSON document.
    pub(crate) fn document(self, value: &impl Serialize) -> CliResult<()> {
        self.data(&json::pretty(value)?)
    }

    /// Data as one JSON document on one line, for a stream of them.
    pub(crate) fn json_line(self, value: &impl Serialize) -> CliResult<()> {
        self.data(&json::line(value)?)
    }

    /// Progress for people. Not with `--quiet`.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet {
            self.say(text);
        }
    }

    /// A line for people, also with `--quiet`. A standard error that is gone is nobody's problem.
    pub(crate) fn say(self, text: &str) {
        let _ = writeln!(io::stderr(), "{}", text.trim_end_matches('\n'));
    }

    /// The one report of a failed command.
    pub(crate) fn error(self, error: &CliError) {
        if error.code == Some(exit_code::OUTPUT_CLOSED) {
            return;
        }
        let text = if self.json { json::error(error) } else { text::error(self, error) };
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// A reader that went away (`bottle list | head -1`) is no failure to report.
fn written(result: io::Result<()>) -> CliResult<()> {
    result.map_err(|source| {
        let code = (source.kind() == io::ErrorKind::BrokenPipe).then_some(exit_code::OUTPUT_CLOSED);
        let mut error = CliError::new(ErrorKind::Refused, "write to standard output").because(source);
        error.code = code;
        error
    })
}
