//! `bottle completions`: a script for the shell's completion directory.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::app::App;
use crate::cli::Cli;
use crate::error::CliResult;
use crate::exit_code;

pub(crate) fn run(app: &App, shell: Shell) -> CliResult {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "bottle", &mut script);
    app.ui.data(&String::from_utf8_lossy(&script))?;
    Ok(exit_code::SUCCESS)
}
