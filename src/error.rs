//! Words that all errors share: what a caller can do about one, and how a chain is printed.

use std::error::Error;
use std::fmt::Write as _;

/// What a caller can do about an error. Exit codes and retries branch on this, never on text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The user's input is wrong: manifest, flags, environment, host files.
    Input,
    /// The named thing does not exist.
    NotFound,
    /// The thing exists but is not running, or is closed.
    NotRunning,
    /// A name or address is taken.
    Conflict,
    /// The engine cannot be reached.
    Unreachable,
    /// A deadline passed.
    Deadline,
    /// The engine refused (permission, policy, no space).
    Refused,
    /// Somebody answered with something that cannot be understood.
    Protocol,
    /// The caller gave up.
    Cancelled,
    /// A defect of this program.
    Internal,
}

/// An error's whole chain on one line, outermost first, joined by `: `.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let _ = write!(text, ": {inner}");
        source = inner.source();
    }
    text
}
