//! `bottle stats`: one reading of memory, CPU time and processes of each container.

use bottle::backend::MemberStats;
use bottle::ids::Role;
use bottle::{AttachedBottle, runtime};
use futures::future::join_all;
use serde::Serialize;

use crate::app::App;
use crate::cli::StatsArgs;
use crate::error::CliResult;
use crate::exit_code;
use crate::output::{SCHEMA_VERSION, bytes, table};

#[derive(Serialize)]
struct Document {
    schema_version: u32,
    stats: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    slug: String,
    role: Role,
    /// Absent when the container does not run.
    #[serde(flatten)]
    reading: Option<MemberStats>,
}

pub(crate) async fn run(app: &App, args: StatsArgs) -> CliResult {
    let backend = app.backend().await?;
    let names = if args.names.is_empty() {
        let active = runtime::list_active(backend.as_ref()).await?;
        active.into_iter().map(|bottle| bottle.bottle.to_string()).collect()
    } else {
        args.names
    };
    let mut stats = Vec::new();
    for name in names {
        let bottle = AttachedBottle::find(backend.clone(), &name).await?;
        let slug = bottle.bottle().slug.to_string();
        let readings = join_all(Role::ALL.map(|role| bottle.stats(role))).await;
        stats.extend(Role::ALL.into_iter().zip(readings).map(|(role, reading)| Row {
            slug: slug.clone(),
            role,
            reading: reading.ok(),
        }));
    }
    if app.ui.json() {
        app.ui.document(&Document { schema_version: SCHEMA_VERSION, stats })?;
    } else if stats.is_empty() {
        app.ui.note("no running bottles");
    } else {
        let rows: Vec<_> = stats.iter().map(line).collect();
        app.ui.data(&table(&["NAME", "CONTAINER", "MEMORY", "LIMIT", "CPU TIME", "PIDS"], &rows))?;
    }
    Ok(exit_code::SUCCESS)
}

fn line(row: &Row) -> Vec<String> {
    let cells = match &row.reading {
        Some(reading) => [
            bytes(reading.memory_bytes),
            bytes(reading.memory_limit_bytes),
            format!("{:.2} s", reading.cpu_ns as f64 / 1e9),
            reading.pids.to_string(),
        ],
        None => ["not running", "", "", ""].map(str::to_owned),
    };
    [row.slug.clone(), row.role.to_string()].into_iter().chain(cells).collect()
}
