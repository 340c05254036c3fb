//! Every exit code of `bottle`, in one table. `docs/exit-codes.md` is checked against it by a test.

use bottle::error::ErrorKind;

/// Everything went as asked; also: the person said no.
pub(crate) const SUCCESS: u8 = 0;
/// It failed, and no other code fits.
pub(crate) const FAILURE: u8 = 1;
/// The command line is wrong.
pub(crate) const USAGE: u8 = 2;
/// Manifest, configuration, environment or a file of the host is wrong.
pub(crate) const INPUT: u8 = 3;
/// The named bottle, agent or path does not exist.
pub(crate) const NOT_FOUND: u8 = 4;
/// The bottle is not running.
pub(crate) const NOT_RUNNING: u8 = 5;
/// A name or address is taken, or a file exists already.
pub(crate) const CONFLICT: u8 = 6;
/// The engine cannot be reached.
pub(crate) const UNREACHABLE: u8 = 7;
/// A deadline passed.
pub(crate) const DEADLINE: u8 = 8;
/// The engine or the host refused: permission, policy, no space.
pub(crate) const REFUSED: u8 = 9;
/// `exec --timeout`: the time-out passed and the command was killed, as `timeout` does.
pub(crate) const EXEC_TIMEOUT: u8 = 124;
/// `start` and `exec`: bottle itself failed, as `docker run` does. Any other code is the agent's own.
pub(crate) const OWN_FAILURE: u8 = 125;
/// Interrupted: 128 and the signal's number; this one is Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;
/// The reader of standard output went away: 128 and SIGPIPE.
pub(crate) const OUTPUT_CLOSED: u8 = 141;

/// The code of an error, outside `start` and `exec`.
pub(crate) fn of(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Input => INPUT,
        ErrorKind::NotFound => NOT_FOUND,
        ErrorKind::NotRunning => NOT_RUNNING,
        ErrorKind::Conflict => CONFLICT,
        ErrorKind::Unreachable => UNREACHABLE,
        ErrorKind::Deadline => DEADLINE,
        ErrorKind::Refused => REFUSED,
        ErrorKind::Cancelled => INTERRUPTED,
        _ => FAILURE,
    }
}

/// A process's exit code as ours: codes do not fit a byte only where an engine answers nonsense.
pub(crate) fn passed_through(code: i64) -> u8 {
    u8::try_from(code).unwrap_or(FAILURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, code, meaning.
    type Row = (&'static str, u8, &'static str);

    /// As `docs/exit-codes.md` shows it.
    const TABLE: [Row; 14] = [
        ("success", SUCCESS, "everything went as asked; also: you said no to a question"),
        ("failure", FAILURE, "it failed, and no other code fits"),
        ("usage", USAGE, "the command line is wrong"),
        ("input", INPUT, "manifest, configuration, environment or a file of the host is wrong"),
        ("not_found", NOT_FOUND, "the named bottle, agent or path does not exist"),
        ("not_running", NOT_RUNNING, "the bottle is not running"),
        ("conflict", CONFLICT, "a name or address is taken, or the file exists already"),
        ("unreachable", UNREACHABLE, "the engine cannot be reached"),
        ("deadline", DEADLINE, "a deadline passed"),
        ("refused", REFUSED, "the engine or the host refused: permission, policy, no space"),
        ("exec_timeout", EXEC_TIMEOUT, "`exec --timeout`: the time-out passed and the command was killed"),
        (
            "own_failure",
            OWN_FAILURE,
            "`start` and `exec`: bottle itself failed; any other code is the agent's own",
        ),
        ("interrupted", INTERRUPTED, "interrupted by Ctrl-C; 129 by SIGHUP, 131 by SIGQUIT, 143 by SIGTERM"),
        ("output_closed", OUTPUT_CLOSED, "the reader of standard output went away"),
    ];

    #[test]
    fn the_document_says_what_the_constants_say() {
        let mut rows = String::from("| code | name | meaning |\n|---|---|---|\n");
        for (name, code, meaning) in TABLE {
            rows.push_str(&format!("| {code} | `{name}` | {meaning} |\n"));
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/exit-codes.md");
        let document = std::fs::read_to_string(path).unwrap();
        assert!(document.contains(&rows), "docs/exit-codes.md has to hold this table:\n{rows}");
    }

    #[test]
    fn codes_are_told_apart() {
        let codes: std::collections::BTreeSet<_> = TABLE.iter().map(|(_, code, _)| code).collect();
        assert_eq!(codes.len(), TABLE.len());
        assert_eq!([0, 255, 256, -1].map(passed_through), [0, 255, FAILURE, FAILURE]);
    }
}
