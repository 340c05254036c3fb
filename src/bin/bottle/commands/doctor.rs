//! `bottle doctor`: everything a launch needs and what weakens isolation here, each line with a remedy.

use bottle::backend::{Backend, BackendErrorKind};
use bottle::config::Config;
use bottle::error::{ErrorKind, chain};
use bottle::ids::Role;
use bottle::manifest;
use rustix::fs::{Access, access};
use serde::Serialize;

use crate::app::App;
use crate::cli::DoctorArgs;
use crate::error::{CliError, CliResult};
use crate::exit_code;
use crate::output::{SCHEMA_VERSION, Tone, Ui};
use crate::prompt::Console;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Grade {
    Ok,
    Warn,
    Fail,
}

/// One line.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    grade: Grade,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    ready: bool,
    checks: &'a [Check],
}

/// Collects lines.
#[derive(Debug, Default)]
struct Findings(Vec<Check>);

impl Findings {
    fn ok(&mut self, name: &'static str, text: impl Into<String>) {
        self.0.push(Check { name, grade: Grade::Ok, text: text.into(), remedy: None });
    }

    fn bad(&mut self, grade: Grade, name: &'static str, text: impl Into<String>, remedy: &str) {
        let remedy = Some(remedy.to_owned());
        self.0.push(Check { name, grade, text: text.into(), remedy });
    }
}

pub(crate) async fn run(app: &App, args: DoctorArgs) -> CliResult {
    let mut findings = Findings::default();
    let config = check_config(app, &mut findings);
    let backend = check_engine(app, &mut findings).await;
    if let (Some(backend), Some(config)) = (&backend, &config) {
        for role in Role::ALL {
            check_image(backend.as_ref(), config, role, &mut findings).await;
        }
    }
    check_state_dir(app, &mut findings);
    check_manifest(app, &args, &mut findings);
    check_terminal(&mut findings);
    let checks = findings.0;
    let ready = checks.iter().all(|check| check.grade != Grade::Fail);
    if app.ui.json() {
        app.ui.document(&Document { schema_version: SCHEMA_VERSION, ready, checks: &checks })?;
    } else {
        app.ui.data(&checks.iter().map(|check| line(app.ui, check)).collect::<String>())?;
    }
    if ready {
        return Ok(exit_code::SUCCESS);
    }
    let count = checks.iter().filter(|check| check.grade == Grade::Fail).count();
    let verb = if count == 1 { "check fails" } else { "checks fail" };
    Err(CliError::new(ErrorKind::Internal, format!("find this host ready: {count} {verb}"))
        .code(exit_code::FAILURE))
}

fn line(ui: Ui, check: &Check) -> String {
    let word = match check.grade {
        Grade::Ok => ui.paint(Tone::Good, "ok  "),
        Grade::Warn => ui.paint(Tone::Warning, "warn"),
        Grade::Fail => ui.paint(Tone::Bad, "fail"),
    };
    let remedy = check.remedy.as_ref().map(|text| format!("{:17}→ {text}\n", "")).unwrap_or_default();
    format!("{word} {:<11} {}\n{remedy}", check.name, check.text)
}

fn check_config(app: &App, findings: &mut Findings) -> Option<Config> {
    let path = &app.paths.config_file;
    match app.config() {
        Ok(config) if path.exists() => {
            let engine = config.engine.as_str();
            findings.ok("config", format!("{} (gate engine {engine})", path.display()));
            Some(config)
        }
        Ok(config) => {
            findings.bad(
                Grade::Fail,
                "config",
                format!("there is no {}", path.display()),
                "run `bottle setup`",
            );
            Some(config)
        }
        Err(error) => {
            let lines = error.details.unwrap_or_default().replace("\n  ", "; ");
            let text = format!("failed to {}: {}", error.message, lines.trim());
            findings.bad(Grade::Fail, "config", text, "fix the file, or remove it and run `bottle setup`");
            None
        }
    }
}

async fn check_engine(app: &App, findings: &mut Findings) -> Option<std::sync::Arc<dyn Backend>> {
    let backend = match app.backend().await {
        Ok(backend) => backend,
        Err(error) => {
            let causes: Vec<String> = error.causes();
            let text = [vec![format!("failed to {}", error.message)], causes].concat().join(": ");
            let remedy = error.remedy.unwrap_or_else(|| "look at the engine's log".to_owned());
            findings.bad(Grade::Fail, "engine", text, &remedy);
            return None;
        }
    };
    match backend.facts().await {
        Ok(facts) => {
            findings.ok("engine", format!("{}, API {}", facts.version, facts.api_version));
            let gvisor = facts.runtimes.iter().any(|runtime| runtime == "runsc");
            if gvisor {
                findings.ok("runtime", "gVisor (runsc) is there and will be used");
            } else {
                findings.bad(
                    Grade::Warn,
                    "runtime",
                    "agents share the host's kernel",
                    "install gVisor (runsc) as a runtime of the engine",
                );
            }
            for weakness in &facts.weaknesses {
                // The last clause of each sentence is its remedy.
                let (text, remedy) =
                    weakness.rsplit_once([';', ',']).unwrap_or((weakness, "see the documentation"));
                findings.bad(Grade::Warn, "isolation", text.trim(), remedy.trim());
            }
        }
        Err(error) => {
            findings.bad(
                Grade::Fail,
                "engine",
                format!("failed to {}", chain(&error)),
                "look at the engine's log",
            );
        }
    }
    Some(backend)
}

async fn check_image(backend: &dyn Backend, config: &Config, role: Role, findings: &mut Findings) {
    let Some(image) = config.images.get(role) else {
        findings.bad(Grade::Fail, "image", format!("none is configured for {role}"), "run `bottle setup`");
        return;
    };
    let reference = &image.reference;
    match backend.image(reference).await {
        Ok(found) if image.digest.as_ref().is_none_or(|digest| *digest == found.digest) => {
            findings.ok("image", format!("{role}: {reference}"));
        }
        Ok(found) => {
            let text = format!("{role}: {reference} is {}, not the one that was chosen", found.digest);
            findings.bad(Grade::Fail, "image", text, "run `bottle setup` to choose again");
        }
        Err(error) if error.kind == BackendErrorKind::NotFound => {
            findings.bad(
                Grade::Fail,
                "image",
                format!("{role}: {reference} is not on the engine"),
                "run `bottle setup`",
            );
        }
        Err(error) => {
            findings.bad(
                Grade::Fail,
                "image",
                format!("failed to {}", chain(&error)),
                "look at the engine's log",
            );
        }
    }
}

/// Looks, and makes nothing: the nearest directory that exists has to be writable.
fn check_state_dir(app: &App, findings: &mut Findings) {
    let dir = &app.paths.state_dir;
    let existing = dir.ancestors().find(|ancestor| ancestor.exists());
    let writable = existing.is_some_and(|dir| dir.is_dir() && access(dir, Access::WRITE_OK).is_ok());
    if writable {
        findings.ok("state", dir.display().to_string());
    } else {
        findings.bad(
            Grade::Fail,
            "state",
            format!("{} cannot be written", dir.display()),
            "make it writable, or set XDG_STATE_HOME",
        );
    }
}

fn check_manifest(app: &App, args: &DoctorArgs, findings: &mut Findings) {
    match manifest::load(&app.host, args.manifest.as_deref()) {
        Ok(manifest) => {
            let agents: Vec<_> = manifest.agents.keys().map(String::as_str).collect();
            findings.ok("manifest", format!("agents: {}", agents.join(", ")));
        }
        Err(errors) => {
            // No manifest at all is a step not taken yet, not a broken host.
            let is_missing =
                manifest::locations(&app.host, args.manifest.as_deref()).iter().all(|path| !path.exists());
            let grade = if is_missing && args.manifest.is_none() { Grade::Warn } else { Grade::Fail };
            let remedy = if is_missing { "run `bottle init`" } else { "run `bottle edit`" };
            for finding in &errors.findings {
                findings.bad(grade, "manifest", finding.to_string(), remedy);
            }
        }
    }
}

fn check_terminal(findings: &mut Findings) {
    if Console::is_there() {
        findings.ok("terminal", "questions can be asked");
    } else {
        findings.bad(
            Grade::Warn,
            "terminal",
            "there is none: questions and ?prompt values cannot be asked",
            "pass --yes, and take values from ${NAME}",
        );
    }
}
