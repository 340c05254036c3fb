//! `bottle logs`: what the first process of a bottle's container printed.

use bottle::backend::LogOptions;

use crate::app::App;
use crate::cli::LogsArgs;
use crate::error::CliResult;
use crate::{exit_code, session};

pub(crate) async fn run(app: &App, args: LogsArgs) -> CliResult {
    let options = LogOptions { follow: args.follow, tail: args.tail, timestamps: args.timestamps };
    let bottle = app.attach(&args.name).await?;
    let mut lines = bottle.logs(args.role.into(), options).await?;
    let (mut out, mut err) = (tokio::io::stdout(), tokio::io::stderr());
    while let Some(piece) = lines.recv().await {
        session::write(piece, &mut out, &mut err).await?;
    }
    Ok(exit_code::SUCCESS)
}
