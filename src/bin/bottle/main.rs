//! The `bottle` command. A thin layer over the library's public API, and the sole owner of standard output,
//! signals, the terminal and the tracing subscriber.
//!
//! A command returns its exit code or one [`CliError`](error::CliError), which is printed here, once. A signal
//! drops the command's future, which closes what it began; `start` tears its bottle down itself.

mod app;
mod cli;
mod commands;
mod durations;
mod error;
mod exit_code;
mod journals;
mod output;
mod prompt;
mod session;
mod signals;
mod terminal;

use std::process::ExitCode;

use bottle::error::ErrorKind;
use clap::Parser as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::app::App;
use crate::cli::{Cli, Command, Global};
use crate::error::{CliError, CliResult};
use crate::output::Ui;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, on standard output and with success.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit_code::USAGE } else { exit_code::SUCCESS });
        }
    };
    terminal::guard_panics();
    subscribe(&cli.global);
    let ui = Ui::new(&cli.global, true);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            let error = CliError::io("start the asynchronous runtime", source);
            ui.error(&error);
            return ExitCode::from(error.exit_code());
        }
    };
    let code = runtime.block_on(run(cli));
    terminal::leave();
    // A thread may still wait for a line of the terminal; nobody waits for that thread.
    runtime.shutdown_background();
    ExitCode::from(code)
}

/// Runs the command and reports its failure.
async fn run(cli: Cli) -> u8 {
    let (ui, outcome) = match App::new(&cli.global) {
        Ok(app) => (app.ui, dispatch(&app, cli.command).await),
        Err((ui, error)) => (ui, Err(error)),
    };
    outcome.unwrap_or_else(|error| {
        // The report has to be readable, also after the agent's own screen.
        terminal::leave();
        prompt::leave();
        ui.error(&error);
        error.exit_code()
    })
}

async fn dispatch(app: &App, command: Command) -> CliResult {
    if let Command::Start(args) = command {
        return commands::start::run(app, args).await.map_err(CliError::or_own_failure);
    }
    // There is no other way to end it.
    let ends_with_ctrl_c = matches!(&command, Command::Tree(args) if args.watch);
    tokio::select! {
        outcome = commands::run(app, command) => outcome,
        code = app.signals.wait() => match code {
            exit_code::INTERRUPTED if ends_with_ctrl_c => Ok(exit_code::SUCCESS),
            code => Err(interrupted(code)),
        },
    }
}

/// The error of a command that a signal ended.
fn interrupted(code: u8) -> CliError {
    CliError::new(ErrorKind::Cancelled, "finish: interrupted").code(code)
}

/// Logs go to standard error, and only when asked for: they would tear the agent's screen.
fn subscribe(global: &Global) {
    let default = match (global.quiet, global.verbose) {
        (true, _) | (_, 0) => "off",
        (_, 1) => "bottle=info",
        (_, 2) => "bottle=debug",
        _ => "bottle=trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // At debug and trace the engine's client logs whole requests, with the secret variables of commands: never,
    // whatever RUST_LOG asks for.
    let no_requests = tracing_subscriber::filter::filter_fn(|event| {
        !event.target().starts_with("bollard") || *event.level() <= tracing::Level::INFO
    });
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(filter);
    let _ = tracing_subscriber::registry().with(no_requests).with(lines).try_init();
}
