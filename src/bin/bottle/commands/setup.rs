//! `bottle setup`: makes images ready, then writes references, digests and gate engine to the configuration.

mod progress;

use bollard::Docker;
use bottle::backend::docker::images::{
    GateChoice, GateEngine, SetupCheck, SetupError, SetupErrorKind, SetupReport, SetupRequest, check, setup,
};
use bottle::backend::docker::{Address, Surroundings, choose};
use bottle::config::{Config, Engine, ImageConfig};
use bottle::error::ErrorKind;
use bottle::ids::Role;
use serde_json::json;

use self::progress::Bars;
use crate::app::App;
use crate::cli::{GateName, SetupArgs};
use crate::error::{CliError, CliResult};
use crate::exit_code;
use crate::output::{SCHEMA_VERSION, Tone, bytes};

pub(crate) async fn run(app: &App, args: SetupArgs) -> CliResult {
    app.backend_name()?;
    // A configuration that cannot be read is not replaced behind the person's back; minutes are not lost.
    let mut config = app.config()?;
    let engine = connect()?;
    let request = SetupRequest {
        gate: match args.gate {
            GateName::Auto => GateChoice::Auto,
            GateName::Pipelock => GateChoice::Pipelock,
            GateName::Builtin => GateChoice::Builtin,
        },
        ca_bundle: args.ca_bundle.as_deref().map(|path| app.host.cwd().join(path)),
        gate_binary: args.gate_binary.as_deref().map(|path| app.host.cwd().join(path)),
        force: args.force,
        ..SetupRequest::default()
    };
    if args.check {
        return show_check(app, &check(&engine, &request).await.map_err(failed)?);
    }
    let bars = Bars::new(app.ui);
    let outcome = setup(&engine, request, &bars).await;
    bars.finish();
    let report = outcome.map_err(failed)?;
    choose_images(&mut config, &report);
    config.write(&app.paths.config_file)?;
    show_report(app, &report)
}

/// The engine that the `docker` command would use.
fn connect() -> CliResult<Docker> {
    let address = choose(&Surroundings::of_process())
        .map_err(|source| CliError::new(ErrorKind::Input, "choose the container engine").because(source))?;
    let day = 24 * 3600;
    let opened = match &address {
        Address::Unix(path) => {
            Docker::connect_with_unix(&path.to_string_lossy(), day, bollard::API_DEFAULT_VERSION)
        }
        Address::Tcp(at) => {
            Docker::connect_with_http(&format!("tcp://{at}"), day, bollard::API_DEFAULT_VERSION)
        }
    };
    opened.map_err(|source| {
        let message = format!("reach the container engine at {address}");
        CliError::new(ErrorKind::Unreachable, message)
            .because(source)
            .remedy("start the engine, or point DOCKER_HOST at one you may use")
    })
}

fn failed(error: SetupError) -> CliError {
    let kind = match error.kind {
        SetupErrorKind::Unreachable => ErrorKind::Unreachable,
        SetupErrorKind::Deadline { .. } => ErrorKind::Deadline,
        SetupErrorKind::NotFound => ErrorKind::NotFound,
        SetupErrorKind::Recipe | SetupErrorKind::Leftover { .. } => ErrorKind::Internal,
        SetupErrorKind::Unreadable { .. }
        | SetupErrorKind::NoCertificates { .. }
        | SetupErrorKind::NoGateBinary { .. }
        | SetupErrorKind::NoInitBinary { .. }
        | SetupErrorKind::NotStatic { .. } => ErrorKind::Input,
        _ => ErrorKind::Refused,
    };
    let (remedy, log) = (error.remedy(), error.log.clone());
    let mut built = crate::error::of(kind, error).remedy(remedy);
    if !log.is_empty() {
        built.details = Some(log.iter().map(|line| format!("  | {line}\n")).collect());
        built.findings = Some(Box::new(log.into()));
    }
    built
}

/// Only what setup decides is changed; the rest of the file stays.
fn choose_images(config: &mut Config, report: &SetupReport) {
    config.engine = match report.gate {
        GateEngine::Pipelock => Engine::Pipelock,
        GateEngine::Builtin => Engine::Builtin,
    };
    for role in Role::ALL {
        let Some(image) = report.image(role) else { continue };
        let registry = image.digest.as_ref().and_then(|digest| digest.as_str().split_once('@'));
        let digest = registry.map_or_else(|| image.id.clone(), |(_, digest)| digest.to_owned());
        config.images.set(role, ImageConfig { reference: image.reference.clone(), digest: Some(digest) });
    }
}

fn show_report(app: &App, report: &SetupReport) -> CliResult {
    let file = app.paths.config_file.display().to_string();
    if app.ui.json() {
        let document = json!({ "schema_version": SCHEMA_VERSION, "config_file": file, "report": report });
        app.ui.document(&document)?;
        return Ok(exit_code::SUCCESS);
    }
    if let Some(why) = &report.fallback {
        app.ui.note(&format!("the builtin gate was chosen: failed to {why}"));
    }
    for image in &report.images {
        let outcome = format!("{:?}", image.outcome).to_lowercase();
        let (name, size) = (image.name.as_str(), bytes(image.size_bytes));
        app.ui.data(&format!("{name:<10} {:<32} {size:>10}  {outcome}\n", image.reference.as_str()))?;
    }
    app.ui.note(&format!("ready after {:.1} s; wrote {file}", report.took.as_secs_f64()));
    Ok(exit_code::SUCCESS)
}

/// Success only when a launch would find everything.
fn show_check(app: &App, found: &SetupCheck) -> CliResult {
    let ui = app.ui;
    if ui.json() {
        let ready = found.is_ready();
        ui.document(&json!({ "schema_version": SCHEMA_VERSION, "ready": ready, "check": found }))?;
    } else {
        for image in &found.images {
            let state = match image.id {
                Some(_) => ui.paint(Tone::Good, "ok  "),
                None => ui.paint(Tone::Bad, "miss"),
            };
            ui.data(&format!("{state} {:<10} {}\n", image.name.as_str(), image.reference))?;
        }
        for finding in &found.findings {
            ui.data(&format!("- {}\n  {}\n", finding.text, finding.remedy))?;
        }
    }
    if found.is_ready() {
        return Ok(exit_code::SUCCESS);
    }
    let kind = if found.engine.is_some() { ErrorKind::NotFound } else { ErrorKind::Unreachable };
    Err(CliError::new(kind, "find everything a launch needs").remedy("run `bottle setup`"))
}
