//! `bottle cleanup`: removes what no living owner claims. Starts no runtime and takes no lease.

use bottle::backend::{Backend, OwnedBy};
use bottle::error::{ErrorKind, chain};
use bottle::messages::CloseReport;
use bottle::plan::CleanupPlan;
use bottle::{journal, lease, runtime};
use serde_json::{Value, json};

use crate::app::App;
use crate::cli::CleanupArgs;
use crate::error::{CliError, CliResult};
use crate::exit_code;
use crate::output::SCHEMA_VERSION;
use crate::prompt;

pub(crate) async fn run(app: &App, args: CleanupArgs) -> CliResult {
    let (ui, state_dir) = (app.ui, &app.paths.state_dir);
    let backend = app.backend().await?;
    let plan = runtime::prepare_cleanup(backend.as_ref(), state_dir, args.detached).await?;
    if args.dry_run || plan.empty() {
        match (ui.json(), args.dry_run) {
            (true, _) => ui.document(&document(&plan, None))?,
            (false, true) => ui.data(&plan.print())?,
            (false, false) => ui.note(&plan.print()),
        }
        if !args.dry_run {
            prune(app, backend.as_ref()).await?;
        }
        return Ok(exit_code::SUCCESS);
    }
    // Nobody confirms what was not shown, whatever --quiet says.
    if args.yes {
        ui.note(&plan.print())
    } else {
        ui.say(&plan.print())
    }
    if !args.yes && !prompt::confirm("remove all of this?").await? {
        ui.note("aborted; nothing was removed");
        return Ok(exit_code::SUCCESS);
    }
    let reports = runtime::cleanup(backend.as_ref(), state_dir, &plan).await;
    prune(app, backend.as_ref()).await?;
    let failed: Vec<String> = reports
        .iter()
        .flat_map(|(slug, report)| report.failed.iter().map(move |error| (slug, error)))
        .map(|(slug, error)| format!("bottle {slug}: {}", chain(error.as_ref())))
        .collect();
    if ui.json() {
        let reports: Vec<Value> = reports.iter().map(|(slug, report)| entry(slug.as_str(), report)).collect();
        ui.document(&document(&plan, Some(reports)))?;
    } else {
        let removed: usize = reports.iter().map(|(_, report)| report.removed.len()).sum();
        ui.note(&format!("removed {removed} resources of {} bottles", reports.len()));
    }
    if failed.is_empty() {
        return Ok(exit_code::SUCCESS);
    }
    let mut error = CliError::new(ErrorKind::Refused, "remove everything")
        .remedy("run `bottle cleanup` again; look at the engine's log if this repeats");
    error.details = Some(failed.iter().map(|line| format!("  {line}\n")).collect());
    error.findings = Some(Box::new(failed.into()));
    Err(error)
}

/// Journals say what happens in a bottle; those of bottles that are no more say nothing to anybody, so nobody is asked.
async fn prune(app: &App, backend: &dyn Backend) -> CliResult<()> {
    let state_dir = &app.paths.state_dir;
    let owned = backend.owned(&OwnedBy::Anyone).await?;
    let on_engine = owned.into_iter().map(|item| item.ownership.bottle).collect();
    // Without readable leases everybody may be alive.
    let Ok(alive) = lease::alive(state_dir) else { return Ok(()) };
    let pruned = journal::prune(state_dir, &alive, &on_engine);
    if !pruned.is_empty() {
        app.ui.note(&format!("removed the journals of {} bottles that are no more", pruned.len()));
    }
    Ok(())
}

fn document(plan: &CleanupPlan, reports: Option<Vec<Value>>) -> Value {
    let mut document = json!({ "schema_version": SCHEMA_VERSION, "plan": plan });
    if let Some(reports) = reports {
        document["reports"] = reports.into();
    }
    document
}

fn entry(slug: &str, report: &CloseReport) -> Value {
    let failed: Vec<String> = report.failed.iter().map(|error| chain(error.as_ref())).collect();
    json!({ "slug": slug, "removed": report.removed, "failed": failed })
}
