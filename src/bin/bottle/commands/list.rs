//! `bottle list`: running bottles of all owners, from the engine alone. Starts no runtime and takes no lease.

use std::time::{SystemTime, UNIX_EPOCH};

use bottle::{ActiveBottle, lease, runtime};
use serde::Serialize;

use crate::app::App;
use crate::error::CliResult;
use crate::exit_code;
use crate::output::{SCHEMA_VERSION, age, table};

#[derive(Serialize)]
struct Document {
    schema_version: u32,
    bottles: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    bottle: ActiveBottle,
    /// Whether its owner's lease is held on this host; `false` also for an owner elsewhere.
    owner_alive_here: bool,
}

pub(crate) async fn run(app: &App) -> CliResult {
    let backend = app.backend().await?;
    let bottles = runtime::list_active(backend.as_ref()).await?;
    let ui = app.ui;
    if ui.json() {
        // Without readable leases nobody is known to be alive.
        let alive = lease::alive(&app.paths.state_dir).unwrap_or_default();
        let row = |bottle: ActiveBottle| Row { owner_alive_here: alive.contains(&bottle.owner), bottle };
        let bottles = bottles.into_iter().map(row).collect();
        ui.document(&Document { schema_version: SCHEMA_VERSION, bottles })?;
    } else if bottles.is_empty() {
        ui.note("no running bottles");
    } else if ui.quiet() {
        ui.data(&bottles.iter().map(|bottle| format!("{}\n", bottle.slug)).collect::<String>())?;
    } else {
        let rows: Vec<_> = bottles.iter().map(line).collect();
        ui.data(&table(&["NAME", "STATUS", "AGENT", "AGE"], &rows))?;
    }
    Ok(exit_code::SUCCESS)
}

fn line(bottle: &ActiveBottle) -> Vec<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let seconds = i64::try_from(now).unwrap_or(i64::MAX) - bottle.created_at;
    vec![bottle.slug.to_string(), bottle.status.clone(), bottle.agent.clone(), age(seconds)]
}
