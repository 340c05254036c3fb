//! How Claude Code is started inside a bottle.

use crate::plan::LaunchPlan;
use crate::plan::provision::PROMPT_PATH;
use crate::plan::spec::TtySize;

/// How [`Bottle::exec_claude`](crate::Bottle::exec_claude) starts the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClaudeOptions {
    /// A terminal of this size; default pipes.
    pub tty: Option<TtySize>,
    /// Whether standard input is open; default closed.
    pub stdin: bool,
    /// Leaves `--dangerously-skip-permissions` out; by default the bottle is the boundary.
    pub ask_permissions: bool,
}

/// The command line: the bottle's own `command`, or `claude` with what the plan asks for, then `args`.
pub fn claude_argv(plan: &LaunchPlan, args: &[String], options: &ClaudeOptions) -> Vec<String> {
    let mut argv = match plan.command() {
        Some(command) => command.to_vec(),
        None => {
            let mut argv = vec!["claude".to_owned()];
            if plan.prompt().is_some() {
                argv.extend(["--append-system-prompt-file".to_owned(), PROMPT_PATH.to_owned()]);
            }
            if !options.ask_permissions {
                argv.push("--dangerously-skip-permissions".to_owned());
            }
            if plan.remote_control() {
                argv.push("--remote-control".to_owned());
            }
            argv
        }
    };
    argv.extend_from_slice(args);
    argv
}
