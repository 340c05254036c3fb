//! `bottle stop`: stops agents; each owner sees that and takes its bottle down. Prints what was stopped.

use bottle::AttachedBottle;
use futures::future::join_all;
use serde_json::json;

use crate::app::App;
use crate::cli::StopArgs;
use crate::error::{CliError, CliResult};
use crate::exit_code;
use crate::output::SCHEMA_VERSION;

pub(crate) async fn run(app: &App, args: StopArgs) -> CliResult {
    let backend = app.backend().await?;
    let stops = args.names.iter().map(|name| {
        let backend = backend.clone();
        async move {
            let bottle = AttachedBottle::find(backend, name).await?;
            bottle.stop(args.timeout).await?;
            Ok::<_, CliError>(bottle.bottle().slug.to_string())
        }
    });
    let (mut stopped, mut failed) = (Vec::new(), Vec::new());
    for outcome in join_all(stops).await {
        match outcome {
            Ok(slug) => stopped.push(slug),
            Err(error) => failed.push(error),
        }
    }
    if app.ui.json() {
        app.ui.document(&json!({ "schema_version": SCHEMA_VERSION, "stopped": stopped }))?;
    } else {
        app.ui.data(&stopped.iter().map(|slug| format!("{slug}\n")).collect::<String>())?;
    }
    let mut failed = failed.into_iter();
    let Some(mut first) = failed.next() else { return Ok(exit_code::SUCCESS) };
    let rest: String = failed.map(|error| format!("  also failed to {}\n", error.message)).collect();
    first.details = Some(rest).filter(|rest| !rest.is_empty());
    Err(first)
}
