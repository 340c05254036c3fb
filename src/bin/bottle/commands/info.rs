//! `bottle info`: an agent with its resolved bottle, from the manifest alone. Shows sources, never values.

use std::fmt::Write as _;

use bottle::egress::DEFAULT_HOSTS;
use bottle::error::ErrorKind;
use bottle::manifest::{AgentManifest, BottleManifest, CredentialSource, EnvValue};
use serde_json::{Value, json};

use crate::app::App;
use crate::cli::InfoArgs;
use crate::error::{CliError, CliResult};
use crate::exit_code;
use crate::output::{SCHEMA_VERSION, bytes};

pub(crate) fn run(app: &App, args: InfoArgs) -> CliResult {
    let manifest = app.manifest(args.manifest.as_deref())?;
    let known = || manifest.agents.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let found = manifest.agents.get(&args.agent);
    let resolved = found.and_then(|agent| Some((agent, manifest.bottles.get(&agent.bottle)?)));
    let Some((agent, bottle)) = resolved else {
        let message = format!("show agent {:?}: the manifest has no such agent", args.agent);
        return Err(CliError::new(ErrorKind::NotFound, message).remedy(format!("agents: {}", known())));
    };
    if app.ui.json() {
        app.ui.document(&document(&args.agent, agent, bottle))?;
    } else {
        app.ui.data(&text(app, &args.agent, agent, bottle))?;
    }
    Ok(exit_code::SUCCESS)
}

fn document(name: &str, agent: &AgentManifest, bottle: &BottleManifest) -> Value {
    let env: Vec<Value> = bottle.env.iter().map(|(name, value)| variable(name, value)).collect();
    let credentials: Vec<Value> = bottle
        .egress
        .credentials
        .iter()
        .map(|entry| json!({ "host": entry.host, "header": entry.header, "source": source(&entry.source) }))
        .collect();
    let limits = bottle.resources;
    json!({
        "schema_version": SCHEMA_VERSION,
        "agent": name,
        "bottle": agent.bottle,
        "slug": bottle::plan::slug(name),
        "skills": agent.skills,
        "prompt": agent.prompt,
        "image": bottle.image,
        "command": bottle.command,
        "restart": bottle.restart,
        "resources": {
            "memory_bytes": limits.memory_bytes, "cpus": limits.cpus, "pids": limits.pids,
        },
        "env": env,
        "ssh": bottle.ssh.iter().map(|entry| json!({
            "Host": entry.host, "Hostname": entry.hostname, "Port": entry.port, "User": entry.user,
            "IdentityFile": entry.identity_file, "pinned": entry.known_host_key.is_some(),
        })).collect::<Vec<_>>(),
        "egress": {
            "default_hosts": DEFAULT_HOSTS,
            "allowlist": bottle.egress.allowlist,
            "dlp_action": bottle.egress.dlp_action,
            "credentials": credentials,
            "rules": bottle.egress.rules,
            "websocket": bottle.egress.websocket,
            "http": bottle.egress.http,
        },
    })
}

fn variable(name: &str, value: &EnvValue) -> Value {
    match value {
        EnvValue::Literal(_) => json!({ "name": name, "source": "literal" }),
        EnvValue::Host { var } => json!({ "name": name, "source": "host", "var": var }),
        EnvValue::Prompt { text } => json!({ "name": name, "source": "prompt", "question": text }),
    }
}

fn source(of: &CredentialSource) -> String {
    match of {
        CredentialSource::Env { var } => format!("${{{var}}}"),
        CredentialSource::File { path } => path.clone(),
        CredentialSource::Command { argv } => format!("command {}", argv.first().map_or("", String::as_str)),
    }
}

fn text(app: &App, name: &str, agent: &AgentManifest, bottle: &BottleManifest) -> String {
    let mut page = Page(String::new());
    page.line("agent", name);
    page.line("bottle", &agent.bottle);
    page.line("image", bottle.image.as_deref().unwrap_or("the configured one"));
    page.line("command", &bottle.command.as_ref().map_or("claude".to_owned(), |argv| argv.join(" ")));
    page.line("restart", bottle.restart.as_str());
    if let Some(memory) = bottle.resources.memory_bytes {
        page.line("memory", &bytes(memory));
    }
    if let Some(cpus) = bottle.resources.cpus {
        page.line("cpus", &cpus.to_string());
    }
    page.line("prompt", agent.prompt.as_deref().map_or("none", crate::output::first_line));
    page.lines(
        "skills",
        agent.skills.iter().map(|skill| {
            let is_there = app.paths.skills_dir.join(skill).is_dir();
            if is_there {
                skill.clone()
            } else {
                format!("{skill} (MISSING in {})", app.paths.skills_dir.display())
            }
        }),
    );
    page.lines(
        "env",
        bottle.env.iter().map(|(name, value)| match value {
            EnvValue::Literal(_) => format!("{name} = text of the manifest"),
            EnvValue::Host { var } => {
                let unset = if app.host.var(var).is_some() { "" } else { " (NOT SET)" };
                format!("{name} = ${{{var}}} of this host{unset}")
            }
            EnvValue::Prompt { text } => format!("{name} = asked: {text}"),
        }),
    );
    page.lines(
        "ssh",
        bottle.ssh.iter().map(|entry| {
            let user = entry.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
            format!("{} → {user}{}:{} with {}", entry.host, entry.hostname, entry.port, entry.identity_file)
        }),
    );
    let defaults = format!("{} default hosts", DEFAULT_HOSTS.len());
    page.lines("egress", std::iter::once(defaults).chain(bottle.egress.allowlist.iter().cloned()));
    page.line("dlp", bottle.egress.dlp_action.as_str());
    page.lines(
        "credential",
        bottle
            .egress
            .credentials
            .iter()
            .map(|entry| format!("{} {} ← {}", entry.host, entry.header, source(&entry.source))),
    );
    page.0
}

/// Labelled lines, as in the plan's summary.
struct Page(String);

impl Page {
    fn line(&mut self, label: &str, text: &str) {
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let _ = writeln!(self.0, "{label:<11} {text}");
    }

    fn lines(&mut self, label: &str, texts: impl Iterator<Item = String>) {
        for (index, text) in texts.enumerate() {
            self.line(if index == 0 { label } else { "" }, &text);
        }
    }
}
