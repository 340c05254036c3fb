//! The command line.

use std::ffi::OsString;
use std::time::Duration;

pub(super) const USAGE: &str = "\
usage: bottle-init --orphan-after SECONDS [--grace SECONDS] [-- PROGRAM ARGUMENT...]

Has to be the first process of a pid namespace. Speaks frames on standard input and output.";

const GRACE: Duration = Duration::from_secs(5);
/// A longer time-out is a mistake; it also keeps all sums far from overflow.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Run(Options),
    Version,
    Help,
}

/// How to hold the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    /// Running time without a heartbeat until the container is ended.
    pub(super) orphan_after: Duration,
    /// How long processes may take to obey a signal.
    pub(super) grace: Duration,
    /// Program and arguments; empty only holds the container.
    pub(super) program: Vec<OsString>,
}

/// A command line that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum UsageError {
    #[error("\"{0}\" is not known")]
    Argument(String),
    #[error("{0} needs a value")]
    Value(&'static str),
    #[error("{flag} {text}: not a number of seconds above 0 and of at most a year")]
    Seconds { flag: &'static str, text: String },
    #[error("--orphan-after SECONDS is required")]
    NoTimeOut,
    #[error("a program has to follow --")]
    NoProgram,
}

/// Understands the arguments behind the program's name. Flags are written `--flag VALUE` or `--flag=VALUE`.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut arguments = arguments.into_iter();
    let (mut orphan_after, mut grace, mut program) = (None, GRACE, Vec::new());
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy().into_owned();
        let (name, inline) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text.as_str(), None),
        };
        let mut seconds = |flag: &'static str| {
            let next = || arguments.next().map(|value| value.to_string_lossy().into_owned());
            duration(flag, inline.clone().or_else(next).ok_or(UsageError::Value(flag))?)
        };
        match name {
            "--orphan-after" => orphan_after = Some(seconds("--orphan-after")?),
            "--grace" => grace = seconds("--grace")?,
            "--help" | "-h" => return Ok(Command::Help),
            "--version" => return Ok(Command::Version),
            "--" if inline.is_none() => {
                program = arguments.by_ref().collect();
                if program.is_empty() {
                    return Err(UsageError::NoProgram);
                }
            }
            _ => return Err(UsageError::Argument(text)),
        }
    }
    let orphan_after = orphan_after.ok_or(UsageError::NoTimeOut)?;
    Ok(Command::Run(Options { orphan_after, grace, program }))
}

fn duration(flag: &'static str, text: String) -> Result<Duration, UsageError> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match seconds.filter(|seconds| !seconds.is_zero() && *seconds <= LONGEST) {
        Some(seconds) => Ok(seconds),
        None => Err(UsageError::Seconds { flag, text }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, UsageError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn flags_come_in_both_forms_and_the_program_keeps_its_own() {
        let options = |orphan_after, grace, program: &[&str]| {
            let program = program.iter().map(OsString::from).collect();
            Ok(Command::Run(Options { orphan_after, grace, program }))
        };
        let second = Duration::from_secs(1);
        assert_eq!(parsed("--orphan-after 30"), options(30 * second, GRACE, &[]));
        assert_eq!(
            parsed("--grace=0.25 --orphan-after=1.5 -- sh -c --grace=7"),
            options(second * 3 / 2, second / 4, &["sh", "-c", "--grace=7"])
        );
        assert_eq!(parsed("--version"), Ok(Command::Version));
        assert_eq!(parsed("-h"), Ok(Command::Help));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let seconds = |text: &str| Err(UsageError::Seconds { flag: "--orphan-after", text: text.to_owned() });
        for text in ["0", "-1", "nan", "inf", "1e300", "31622401", "30s", ""] {
            assert_eq!(parsed(&format!("--orphan-after={text}")), seconds(text));
        }
        assert_eq!(parsed(""), Err(UsageError::NoTimeOut));
        assert_eq!(parsed("--orphan-after"), Err(UsageError::Value("--orphan-after")));
        assert_eq!(parsed("--orphan-after 1 --"), Err(UsageError::NoProgram));
        assert_eq!(parsed("--orphan-after 1 sh"), Err(UsageError::Argument("sh".into())));
    }
}
