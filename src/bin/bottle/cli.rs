//! The command line as clap reads it. What a flag means is in `commands/<verb>.rs`.

use std::path::PathBuf;

use bottle::ids::Role;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::durations::{duration, seconds};

/// Runs coding agents in bottles: isolated containers whose every byte of egress is judged before it leaves.
#[derive(Debug, Parser)]
#[command(name = "bottle", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Environment:
  CLAUDE_BOTTLE_BACKEND      where bottles run (default: docker)
  CLAUDE_BOTTLE_DRY_RUN      1: `start` only shows the plan
  CLAUDE_BOTTLE_OAUTH_TOKEN  credential for api.anthropic.com; the agent sees a placeholder
  DOCKER_HOST, DOCKER_CONTEXT, XDG_CONFIG_HOME, XDG_STATE_HOME, NO_COLOR, RUST_LOG

First steps: `bottle setup`, `bottle init`, `bottle start <agent>`. What is missing: `bottle doctor`.";

/// Flags of every command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Print data and errors as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress, only data and errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Log to standard error; more with -vv, -vvv (RUST_LOG wins)
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// No colours (also: NO_COLOR)
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Launch an agent in a bottle
    Start(StartArgs),
    /// Show running bottles
    #[command(visible_alias = "ls", visible_alias = "ps")]
    List,
    /// Remove what bottles without a living owner left behind
    Cleanup(CleanupArgs),
    /// Write a first manifest, by questions
    Init(InitArgs),
    /// Open the manifest in $VISUAL or $EDITOR and check it afterwards
    Edit(EditArgs),
    /// Show an agent with its resolved bottle
    Info(InfoArgs),
    /// Run a command in a running bottle
    Exec(ExecArgs),
    /// Copy files between the host and a running bottle
    Cp(CpArgs),
    /// Show what a container of a bottle printed
    Logs(LogsArgs),
    /// Stop bottles; their owners take them down
    Stop(StopArgs),
    /// Show all that is known about bottles, as JSON
    Inspect(InspectArgs),
    /// Show memory, CPU time and processes of bottles, one reading
    Stats(StatsArgs),
    /// Show the supervision trees of bottles
    Tree(TreeArgs),
    /// Show what happened in bottles
    Events(EventsArgs),
    /// Show what is kept of a bottle that failed
    PostMortem(PostMortemArgs),
    /// Make images ready and write the configuration
    Setup(SetupArgs),
    /// Check everything a launch needs
    Doctor(DoctorArgs),
    /// Show the egress decisions of a bottle
    Audit(AuditArgs),
    /// Print the JSON Schema of the manifest
    Schema,
    /// Print a shell's completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the version
    Version,
}

/// `bottle start`
#[derive(Args, Debug)]
pub(crate) struct StartArgs {
    /// Agent of the manifest
    pub(crate) agent: String,
    /// Show the plan, create nothing (also: CLAUDE_BOTTLE_DRY_RUN=1)
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Form of the plan; json needs --dry-run
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Copy the working directory into the bottle
    #[arg(long)]
    pub(crate) cwd: bool,
    /// Start Claude Code with remote control
    #[arg(long)]
    pub(crate) remote_control: bool,
    /// Let Claude Code ask before it acts; by default the bottle is the boundary
    #[arg(long)]
    pub(crate) ask_permissions: bool,
    /// Launch without a question
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Leave the bottle running after this command (not available yet)
    #[arg(long)]
    pub(crate) detach: bool,
    /// Read this manifest in place of those in the home and the working directory
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
    /// Arguments for the agent's command
    #[arg(last = true)]
    pub(crate) args: Vec<String>,
}

/// Form of printed data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// `bottle cleanup`
#[derive(Args, Debug)]
pub(crate) struct CleanupArgs {
    /// Remove without a question
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Only show what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also bottles that were meant to outlive their owner
    #[arg(long)]
    pub(crate) detached: bool,
}

/// `bottle init`
#[derive(Args, Debug)]
pub(crate) struct InitArgs {
    /// Write the default without questions
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Write to the home directory in place of the working directory
    #[arg(long, conflicts_with = "manifest")]
    pub(crate) home: bool,
    /// Write this file
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
}

/// `bottle edit`
#[derive(Args, Debug)]
pub(crate) struct EditArgs {
    /// Edit the one in the home directory
    #[arg(long, conflicts_with = "manifest")]
    pub(crate) home: bool,
    /// Edit this file
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
}

/// `bottle info`
#[derive(Args, Debug)]
pub(crate) struct InfoArgs {
    /// Agent of the manifest
    pub(crate) agent: String,
    /// Read this manifest
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
}

/// `bottle exec`
#[derive(Args, Debug)]
pub(crate) struct ExecArgs {
    /// Keep standard input open
    #[arg(long, short)]
    pub(crate) interactive: bool,
    /// Give the command a terminal
    #[arg(long, short)]
    pub(crate) tty: bool,
    /// Set a variable; without a value it is taken from this environment
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Working directory inside
    #[arg(long, short, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// User inside: name, uid or uid:gid (default: the agent user)
    #[arg(long, short, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Kill the command and all it started after this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<std::time::Duration>,
    /// Name of the bottle
    pub(crate) name: String,
    /// Command and arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

/// `bottle cp`
#[derive(Args, Debug)]
pub(crate) struct CpArgs {
    /// A path of the host, or `name:path` of a bottle
    pub(crate) source: String,
    /// A path of the host, or `name:path` of a bottle
    pub(crate) destination: String,
}

/// `bottle logs`
#[derive(Args, Debug)]
pub(crate) struct LogsArgs {
    /// Go on as new lines come
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only the last lines
    #[arg(long, short = 'n', value_name = "LINES")]
    pub(crate) tail: Option<usize>,
    /// Put the time before each line
    #[arg(long, short)]
    pub(crate) timestamps: bool,
    /// Which container
    #[arg(long, value_enum, default_value_t = RoleName::Agent)]
    pub(crate) role: RoleName,
    /// Name of the bottle
    pub(crate) name: String,
}

/// A container of a bottle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleName {
    /// Where the agent's processes run
    Agent,
    /// The destination lock
    Pipelock,
    /// The content lock
    Mitmproxy,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Agent => Role::Agent,
            RoleName::Pipelock => Role::Pipelock,
            RoleName::Mitmproxy => Role::Mitmproxy,
        }
    }
}

/// `bottle stop`
#[derive(Args, Debug)]
pub(crate) struct StopArgs {
    /// Seconds until the agent is killed
    #[arg(long, short, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: std::time::Duration,
    /// Names of bottles
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
}

/// `bottle inspect`
#[derive(Args, Debug)]
pub(crate) struct InspectArgs {
    /// Names of bottles
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
}

/// `bottle stats`
#[derive(Args, Debug)]
pub(crate) struct StatsArgs {
    /// Names of bottles (default: all that run)
    pub(crate) names: Vec<String>,
}

/// `bottle tree`
#[derive(Args, Debug)]
pub(crate) struct TreeArgs {
    /// Draw again whenever something changes, until Ctrl-C
    #[arg(long, short)]
    pub(crate) watch: bool,
    /// Name or id of a bottle (default: all)
    pub(crate) name: Option<String>,
}

/// `bottle events`
#[derive(Args, Debug)]
pub(crate) struct EventsArgs {
    /// Go on as events happen
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only the last part: 90s, 10m, 1h30m, 2d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) since: Option<std::time::Duration>,
    /// Name or id of a bottle (default: all)
    pub(crate) name: Option<String>,
}

/// `bottle post-mortem`
#[derive(Args, Debug)]
pub(crate) struct PostMortemArgs {
    /// Show which there are
    #[arg(long)]
    pub(crate) list: bool,
    /// Name or id of a bottle; its newest one is shown (default: the newest of all)
    pub(crate) name: Option<String>,
}

/// `bottle setup`
#[derive(Args, Debug)]
pub(crate) struct SetupArgs {
    /// Gate engine: the official pipelock image, this project's builtin gate, or what is at hand
    #[arg(long, value_enum, default_value_t = GateName::Auto)]
    pub(crate) gate: GateName,
    /// PEM bundle that build steps trust, for networks that intercept TLS; never reaches an image
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_bundle: Option<PathBuf>,
    /// The static gate binary for the builtin gate (default: beside this program)
    #[arg(long, value_name = "FILE")]
    pub(crate) gate_binary: Option<PathBuf>,
    /// Build and pull also what is there
    #[arg(long)]
    pub(crate) force: bool,
    /// Only look whether there is something to do
    #[arg(long)]
    pub(crate) check: bool,
}

/// A gate engine of `setup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GateName {
    /// pipelock where it is at hand or can be pulled, else builtin
    Auto,
    /// The official image
    Pipelock,
    /// This project's own
    Builtin,
}

/// `bottle doctor`
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Check this manifest
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
}

/// `bottle audit`
#[derive(Args, Debug)]
pub(crate) struct AuditArgs {
    /// Go on as decisions are made
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only the last decisions
    #[arg(long, short = 'n', value_name = "LINES")]
    pub(crate) tail: Option<usize>,
    /// Only what was denied or could not be judged
    #[arg(long)]
    pub(crate) denied: bool,
    /// Name or id of the bottle; of a bottle that is gone only the id is known
    pub(crate) name: String,
}
