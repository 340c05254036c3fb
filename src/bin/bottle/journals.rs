//! Bottles by name in the journals of this state directory, whoever owns them. Asks no engine.

use bottle::error::ErrorKind;
use bottle::ids::{BottleId, Slug};
use bottle::journal::read::ReadError;

use crate::error::CliError;
use crate::output::one_line;

/// Whether a person who says `name` means this bottle: by visible name, container name or id.
pub(crate) fn is_named(name: &str, slug: &Slug, bottle: &BottleId) -> bool {
    slug.as_str() == name
        || bottle.as_str() == name
        || name.strip_prefix("claude-bottle-").is_some_and(|rest| slug.as_str() == rest)
}

/// Nothing is known by this name; these are.
pub(crate) fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a Slug>) -> CliError {
    let mut known: Vec<String> = known.map(|slug| one_line(slug.as_str())).collect();
    known.sort();
    known.dedup();
    let there =
        if known.is_empty() { "there is none".to_owned() } else { format!("there is {}", known.join(", ")) };
    CliError::new(ErrorKind::NotFound, format!("find {what} of {name:?}: {there}"))
        .remedy("names are those of this user's state directory; `bottle list` asks the engine")
}

/// A file or directory of the journal that could not be read.
pub(crate) fn unreadable(error: ReadError) -> CliError {
    let kind = match &error {
        ReadError::Io { .. } if error.is_absent() => ErrorKind::NotFound,
        ReadError::Io { .. } => ErrorKind::Refused,
        _ => ErrorKind::Protocol,
    };
    crate::error::of(kind, error)
}
