//! `bottle start`: plan → summary → question → launch → agent → teardown, whatever happens in between.
//!
//! Until the answer is yes nothing is created, neither on the engine nor on disk. From then on every way out
//! goes through [`Runtime::shutdown`], which waits until everything is removed.

use std::sync::Arc;

use bottle::backend::Backend;
use bottle::error::{ErrorKind, chain};
use bottle::manifest::EnvValue;
use bottle::messages::{CloseReport, ExecEnd};
use bottle::plan::to_json;
use bottle::{
    Bottle, BottleSpec, ClaudeOptions, Config, LaunchPlan, Material, NoPrompt, Runtime, RuntimeOptions,
};

use crate::app::App;
use crate::cli::{Format, StartArgs};
use crate::error::{CliError, CliResult};
use crate::output::Ui;
use crate::prompt::{self, Console};
use crate::{exit_code, session, terminal};

/// The variable that makes every start a dry run.
const DRY_RUN: &str = "CLAUDE_BOTTLE_DRY_RUN";

/// Ends with the agent's exit code.
pub(crate) async fn run(app: &App, args: StartArgs) -> CliResult {
    let dry_run = args.dry_run || app.host.var(DRY_RUN) == Some("1");
    check_usage(&args, dry_run)?;
    let prepared = async {
        let (plan, config, backend) = plan(app, &args).await?;
        if dry_run {
            show(app.ui, &args, &plan)?;
            return Ok(None);
        }
        // Nobody confirms what was not shown, whatever --quiet says.
        if args.yes {
            app.ui.note(&plan.print())
        } else {
            app.ui.say(&plan.print())
        }
        if !args.yes && !prompt::confirm("launch this agent?").await? {
            app.ui.note("aborted; nothing was created");
            return Ok(None);
        }
        let material = gather(app, &plan).await?;
        Ok::<_, CliError>(Some((plan, material, config, backend)))
    };
    let prepared = tokio::select! {
        prepared = prepared => prepared?,
        code = app.signals.wait() => return Err(crate::interrupted(code)),
    };
    let Some((plan, material, config, backend)) = prepared else { return Ok(exit_code::SUCCESS) };
    let runtime = Runtime::start(RuntimeOptions::new(backend, config, app.host.clone())).await?;
    let outcome = tokio::select! {
        outcome = live(app.ui, &runtime, plan, material, &args) => outcome,
        code = app.signals.wait() => {
            terminal::restore();
            app.ui.note("interrupted; removing the bottle (once more to stop at once)");
            Err(crate::interrupted(code))
        }
    };
    terminal::restore();
    for (slug, report) in runtime.shutdown().await {
        tell_rest(app.ui, slug.as_str(), &report);
    }
    outcome
}

fn check_usage(args: &StartArgs, dry_run: bool) -> CliResult<()> {
    if args.format == Format::Json && !dry_run {
        let error = CliError::usage("print the plan: --format=json needs --dry-run");
        return Err(error.remedy(format!("add --dry-run, or set {DRY_RUN}=1")));
    }
    if args.detach {
        let error = CliError::usage("start detached: --detach is not available yet");
        return Err(error.remedy("leave it out, and run this command in a terminal multiplexer"));
    }
    Ok(())
}

async fn plan(app: &App, args: &StartArgs) -> CliResult<(LaunchPlan, Config, Arc<dyn Backend>)> {
    app.backend_name()?;
    let manifest = app.manifest(args.manifest.as_deref())?;
    let config = app.config()?;
    let mut spec = BottleSpec::new(manifest, &args.agent, app.host.cwd());
    spec.copy_cwd = args.cwd;
    spec.remote_control = args.remote_control;
    let backend = app.backend().await?;
    let plan =
        bottle::runtime::prepare(&spec, &config, &app.host, Console::is_there(), backend.as_ref()).await?;
    Ok((plan, config, backend))
}

fn show(ui: Ui, args: &StartArgs, plan: &LaunchPlan) -> CliResult<()> {
    if args.format == Format::Json || ui.json() {
        ui.document(&to_json(plan))
    } else {
        ui.data(&plan.print())
    }
}

/// Off the runtime's workers: it reads files, and waits for a person.
async fn gather(app: &App, plan: &LaunchPlan) -> CliResult<Material> {
    let (plan, host) = (plan.clone(), app.host.clone());
    let asks = plan.env().values().any(|value| matches!(value, EnvValue::Prompt { .. }));
    let runtime = tokio::runtime::Handle::current();
    let gathered = tokio::task::spawn_blocking(move || {
        let console = if asks { Console::open().ok() } else { None };
        runtime.block_on(async {
            match console {
                Some(mut console) => Material::gather(&plan, &host, &mut console).await,
                None => Material::gather(&plan, &host, &mut NoPrompt).await,
            }
        })
    });
    let gathered = gathered
        .await
        .map_err(|error| CliError::new(ErrorKind::Internal, "gather the bottle's secrets").because(error))?;
    Ok(gathered?)
}

/// From the first create to the agent's end. Dropping the future closes the bottle in the background.
async fn live(
    ui: Ui,
    runtime: &Runtime,
    plan: LaunchPlan,
    material: Material,
    args: &StartArgs,
) -> CliResult {
    ui.note(&format!("launching bottle {} …", plan.slug()));
    let bottle = runtime.launch(plan, material).await?;
    let fingerprint = bottle.fingerprint().map(|text| format!("; its CA is {text}")).unwrap_or_default();
    ui.note(&format!("bottle {} is ready{fingerprint}", bottle.slug()));
    let end = attend(&bottle, args).await;
    terminal::restore();
    let report = bottle.close().await;
    tell_rest(ui, bottle.slug().as_str(), &report);
    match end? {
        ExecEnd::Exited(code) => Ok(exit_code::passed_through(code)),
        ExecEnd::TimedOut | ExecEnd::Cancelled => {
            Err(CliError::new(ErrorKind::NotRunning, "keep the agent running: its bottle was closed"))
        }
    }
}

async fn attend(bottle: &Bottle, args: &StartArgs) -> CliResult<ExecEnd> {
    let tty = session::has_terminal();
    let options =
        ClaudeOptions { tty: tty.then(terminal::size), stdin: true, ask_permissions: args.ask_permissions };
    let running = bottle.exec_claude(args.args.clone(), options).await?;
    session::carry(running, tty).await
}

/// What could not be removed; the agent's exit code stays what it is.
fn tell_rest(ui: Ui, slug: &str, report: &CloseReport) {
    for failure in &report.failed {
        ui.say(&format!("warning: bottle {slug}: not removed: {}", chain(failure.as_ref())));
    }
    if !report.failed.is_empty() {
        ui.say("help: `bottle cleanup` removes the rest");
    }
}
