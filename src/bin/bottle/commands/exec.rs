//! `bottle exec`: a command in a running bottle of any process, with the flags of `docker exec`.

use std::io::{self, IsTerminal as _};

use bottle::error::ErrorKind;
use bottle::ids::Secret;
use bottle::messages::{ExecEnd, ExecRequest};
use bottle::plan::spec::ExecUser;

use crate::app::App;
use crate::cli::ExecArgs;
use crate::error::{CliError, CliResult};
use crate::{exit_code, session, terminal};

/// Ends with the command's exit code.
pub(crate) async fn run(app: &App, args: ExecArgs) -> CliResult {
    if args.tty && args.interactive && !io::stdin().is_terminal() {
        let error = CliError::usage("give the command a terminal: standard input is none");
        return Err(error.remedy("leave -t out"));
    }
    let mut request = ExecRequest::new(args.command);
    request.env = args.env.iter().map(|entry| variable(app, entry)).collect::<CliResult<_>>()?;
    request.cwd = args.workdir;
    request.user = args.user.map_or(ExecUser::Agent, ExecUser::Named);
    request.tty = args.tty.then(terminal::size);
    request.stdin = args.interactive;
    request.timeout = args.timeout;
    let bottle = app.attach(&args.name).await?;
    if !bottle.bottle().running {
        let message = format!("run a command in bottle {}: its agent does not run", args.name);
        return Err(CliError::new(ErrorKind::NotRunning, message));
    }
    let running = bottle.exec_stream(request).await?;
    // Keys belong to the command only when it reads them.
    match session::carry(running, args.tty && args.interactive).await? {
        ExecEnd::Exited(code) => Ok(exit_code::passed_through(code)),
        ExecEnd::TimedOut => {
            let after = args.timeout.unwrap_or_default();
            let message = format!("finish the command within {after:?}; it was killed");
            Err(CliError::new(ErrorKind::Deadline, message).code(exit_code::EXEC_TIMEOUT))
        }
        ExecEnd::Cancelled => {
            Err(CliError::new(ErrorKind::NotRunning, "finish the command: the bottle was closed"))
        }
    }
}

/// `NAME=value`, or `NAME` with the value of this environment.
fn variable(app: &App, entry: &str) -> CliResult<(String, Secret<String>)> {
    if let Some((name, value)) = entry.split_once('=').filter(|(name, _)| !name.is_empty()) {
        return Ok((name.to_owned(), Secret::from(value)));
    }
    match app.host.var(entry) {
        Some(value) => Ok((entry.to_owned(), Secret::from(value))),
        None => {
            // The text is not repeated when it holds `=`: it may be a secret.
            let shown = if entry.contains('=') { "an empty name" } else { entry };
            Err(CliError::new(ErrorKind::Input, format!("set a variable: {shown} is not set on this host"))
                .remedy("write -e NAME=VALUE"))
        }
    }
}
