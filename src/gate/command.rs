//! The command line, with pipelock's commands and flags as far as a bottle uses them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::config::{self, Source};
use super::{ENGINE_VERSION, server, url_verdict};

/// Exit code when all is well.
pub const EXIT_OK: u8 = 0;
/// Exit code of a configuration that is not valid, a refused URL, a start that failed, an unhealthy gate.
pub const EXIT_FAILED: u8 = 1;
/// Exit code of a command line that is not understood.
pub const EXIT_USAGE: u8 = 2;

const USAGE: &str = "\
usage: bottle-gate run -c FILE
       bottle-gate check -c FILE [--url URL]
       bottle-gate healthcheck [--addr HOST:PORT]
       bottle-gate version

FILE is a pipelock configuration; - or /dev/stdin reads it from standard input.";

const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Serve.
    Run(Source),
    /// Validate a file, and judge a URL by it.
    Check(Source, Option<String>),
    /// Ask a running gate how it is.
    Healthcheck(SocketAddr),
    /// Print the version.
    Version,
    /// Print the usage.
    Help,
}

/// A command line that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// No command at all.
    #[error("a command is missing")]
    NoCommand,
    /// Not a command.
    #[error("there is no command \"{0}\"")]
    Command(String),
    /// Not a flag of this command.
    #[error("{command} does not know \"{argument}\"")]
    Argument {
        /// The command.
        command: String,
        /// What it was given.
        argument: String,
    },
    /// A flag without its value.
    #[error("{0} needs a value")]
    Value(String),
    /// A flag that has to be there.
    #[error("-c FILE is required")]
    NoConfig,
    /// Not an address.
    #[error("\"{0}\" is not an address and port, as in 127.0.0.1:8888")]
    Address(String),
}

/// Understands the arguments behind the program's name. Flags are written `-c FILE`, `--config FILE` or
/// `--config=FILE`.
///
/// # Errors
/// [`UsageError`], to be shown with the usage and [`EXIT_USAGE`].
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command, UsageError> {
    let mut arguments = arguments.into_iter();
    let command = arguments.next().ok_or(UsageError::NoCommand)?;
    let known: &[&str] = match command.as_str() {
        "run" => &["--config"],
        "check" => &["--config", "--url"],
        "healthcheck" => &["--addr"],
        "version" | "--version" | "help" | "--help" | "-h" => &[],
        _ => return Err(UsageError::Command(command)),
    };
    let (mut config, mut url, mut addr) = (None, None, "127.0.0.1:8888".to_owned());
    while let Some(argument) = arguments.next() {
        let (flag, inline) = match argument.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
            None => (argument.clone(), None),
        };
        let flag = if flag == "-c" { "--config" } else { &flag };
        if !known.contains(&flag) {
            return Err(UsageError::Argument { command, argument });
        }
        let value = inline.or_else(|| arguments.next()).ok_or_else(|| UsageError::Value(flag.to_owned()))?;
        match flag {
            "--config" => config = Some(Source::from_argument(&value)),
            "--url" => url = Some(value),
            _ => addr = value,
        }
    }
    match command.as_str() {
        "run" => config.map(Command::Run).ok_or(UsageError::NoConfig),
        "check" => config.map(|source| Command::Check(source, url)).ok_or(UsageError::NoConfig),
        "healthcheck" => addr.parse().map(Command::Healthcheck).map_err(|_| UsageError::Address(addr)),
        "version" | "--version" => Ok(Command::Version),
        _ => Ok(Command::Help),
    }
}

/// Runs the program: parses, acts, prints, and returns the exit code. Logs of `run` go to standard output,
/// messages for people to `err`.
pub async fn main(
    arguments: impl IntoIterator<Item = String>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> u8 {
    let command = match parse(arguments) {
        Ok(command) => command,
        Err(error) => {
            say(err, &format!("bottle-gate: {error}\n{USAGE}"));
            return EXIT_USAGE;
        }
    };
    let outcome = match command {
        Command::Run(source) => {
            server::run(source).await.map(|()| String::new()).map_err(|error| chain(&error))
        }
        Command::Check(source, url) => check(&source, url.as_deref()),
        Command::Healthcheck(address) => {
            healthcheck(address).map_err(|error| format!("not healthy: {error}"))
        }
        Command::Version => Ok(format!("bottle-gate {ENGINE_VERSION}")),
        Command::Help => Ok(USAGE.to_owned()),
    };
    match outcome {
        Ok(text) => {
            if !text.is_empty() {
                say(out, &text);
            }
            EXIT_OK
        }
        Err(text) => {
            say(err, &format!("bottle-gate: {text}"));
            EXIT_FAILED
        }
    }
}

fn check(source: &Source, url: Option<&str>) -> Result<String, String> {
    let policy =
        config::read(source).map_err(|error| format!("Config validation: FAILED: {}", chain(&error)))?;
    match url.map(|url| url_verdict::judge_url(&policy, url, Instant::now())) {
        None => Ok("Config validation: OK".to_owned()),
        Some(Ok(host)) => Ok(format!("Config validation: OK\nURL allowed: {host}")),
        Some(Err(refusal)) => Err(format!("URL blocked by {}: {refusal}", refusal.stage.rule_id())),
    }
}

/// Asks `/health` and insists on 200. Blocking: nothing else runs in this process.
fn healthcheck(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, HEALTH_TIMEOUT)?;
    stream.set_read_timeout(Some(HEALTH_TIMEOUT))?;
    stream.set_write_timeout(Some(HEALTH_TIMEOUT))?;
    write!(stream, "GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200") {
        Ok("healthy".to_owned())
    } else {
        Err(std::io::Error::other("the answer is not 200"))
    }
}

/// An error and its sources on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

fn say(out: &mut impl Write, text: &str) {
    // Nobody is left to tell when standard output or error is closed.
    let _ = writeln!(out, "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, UsageError> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn commands_are_pipelocks() {
        assert_eq!(parsed("run -c a.yaml"), Ok(Command::Run(Source::File("a.yaml".into()))));
        assert_eq!(parsed("run --config=/dev/stdin"), Ok(Command::Run(Source::Stdin)));
        assert_eq!(parsed("run -c -"), Ok(Command::Run(Source::Stdin)));
        let url = Some("https://a.test/?x=y".to_owned());
        assert_eq!(
            parsed("check -c a --url https://a.test/?x=y"),
            Ok(Command::Check(Source::File("a".into()), url))
        );
        assert_eq!(parsed("healthcheck"), Ok(Command::Healthcheck(([127, 0, 0, 1], 8888).into())));
        assert_eq!(parsed("version"), Ok(Command::Version));
    }

    #[test]
    fn slips_are_told() {
        assert_eq!(parsed(""), Err(UsageError::NoCommand));
        assert_eq!(parsed("run"), Err(UsageError::NoConfig));
        assert_eq!(parsed("run -c"), Err(UsageError::Value("--config".into())));
        assert!(matches!(parsed("walk"), Err(UsageError::Command(_))));
        assert!(matches!(parsed("run -c a --url b"), Err(UsageError::Argument { .. })));
        assert!(matches!(parsed("healthcheck --addr here"), Err(UsageError::Address(_))));
    }
}
