//! One file a verb, each with `run(app, args)`.

mod audit;
mod cleanup;
mod completions;
mod cp;
mod doctor;
mod edit;
mod events;
mod exec;
mod info;
mod init;
mod inspect;
mod list;
mod logs;
mod post_mortem;
mod schema;
mod setup;
pub(crate) mod start;
mod stats;
mod stop;
mod tree;
mod version;

use crate::app::App;
use crate::cli::Command;
use crate::error::{CliError, CliResult};

/// Runs every command but `start`, which handles signals itself.
pub(crate) async fn run(app: &App, command: Command) -> CliResult {
    match command {
        Command::Start(args) => start::run(app, args).await,
        Command::List => list::run(app).await,
        Command::Cleanup(args) => cleanup::run(app, args).await,
        Command::Init(args) => init::run(app, args).await,
        Command::Edit(args) => edit::run(app, args).await,
        Command::Info(args) => info::run(app, args),
        Command::Exec(args) => exec::run(app, args).await.map_err(CliError::or_own_failure),
        Command::Cp(args) => cp::run(app, args).await,
        Command::Logs(args) => logs::run(app, args).await,
        Command::Stop(args) => stop::run(app, args).await,
        Command::Inspect(args) => inspect::run(app, args).await,
        Command::Stats(args) => stats::run(app, args).await,
        Command::Setup(args) => setup::run(app, args).await,
        Command::Doctor(args) => doctor::run(app, args).await,
        Command::Tree(args) => tree::run(app, args).await,
        Command::Events(args) => events::run(app, args).await,
        Command::PostMortem(args) => post_mortem::run(app, args),
        Command::Audit(args) => audit::run(app, args).await,
        Command::Schema => schema::run(app),
        Command::Completions { shell } => completions::run(app, shell),
        Command::Version => version::run(app),
    }
}
