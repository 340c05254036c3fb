//! `bottle init`: a first manifest, by questions. Never overwrites.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use bottle::error::ErrorKind;
use bottle::manifest::{self, FILE_NAME, Source};
use serde_json::json;

use crate::app::App;
use crate::cli::InitArgs;
use crate::error::{CliError, CliResult};
use crate::exit_code;
use crate::output::SCHEMA_VERSION;
use crate::prompt;

/// The answers.
#[derive(Debug)]
struct Answers {
    agent: String,
    bottle: String,
    hosts: Vec<String>,
    prompt: String,
}

impl Default for Answers {
    fn default() -> Self {
        Self { agent: "coder".into(), bottle: "dev".into(), hosts: Vec::new(), prompt: String::new() }
    }
}

pub(crate) async fn run(app: &App, args: InitArgs) -> CliResult {
    let path = match (&args.manifest, args.home) {
        (Some(path), _) => app.host.cwd().join(path),
        (None, true) => app.host.home().join(FILE_NAME),
        (None, false) => app.host.cwd().join(FILE_NAME),
    };
    if path.exists() {
        // Before the questions: nobody answers for nothing.
        return Err(exists(&path));
    }
    let answers = if args.yes { Answers::default() } else { ask().await? };
    let text = document(&answers);
    manifest::parse(&[Source::new(&path, &text)])?;
    write(&path, &text)?;
    if app.ui.json() {
        app.ui.document(&json!({ "schema_version": SCHEMA_VERSION, "manifest": path }))?;
    }
    app.ui.note(&format!("wrote {}", path.display()));
    app.ui.note(&format!("next: `bottle start {}`, or `bottle edit` first", answers.agent));
    Ok(exit_code::SUCCESS)
}

async fn ask() -> CliResult<Answers> {
    let defaults = Answers::default();
    let agent = question("Name of the agent", &defaults.agent).await?;
    let bottle = question("Name of its bottle", &defaults.bottle).await?;
    let hosts = question("Hosts it may reach besides the default ones, separated by spaces", "").await?;
    let prompt = question("Text appended to its system prompt", "").await?;
    let hosts = hosts.split([' ', ',']).filter(|host| !host.is_empty()).map(str::to_owned).collect();
    Ok(Answers { agent, bottle, hosts, prompt })
}

async fn question(text: &str, default: &str) -> CliResult<String> {
    let shown = if default.is_empty() { "none" } else { default };
    let answer = prompt::ask(format!("{text} [{shown}]: "))
        .await
        .map_err(|error| error.remedy("pass --yes to write the default"))?;
    let Some(answer) = answer else {
        return Err(CliError::new(ErrorKind::Cancelled, "write a manifest: the questions were not answered")
            .code(exit_code::FAILURE));
    };
    let answer = answer.trim();
    Ok(if answer.is_empty() { default } else { answer }.to_owned())
}

/// The manifest with a comment where people look first.
fn document(answers: &Answers) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let hosts: Vec<String> = answers.hosts.iter().map(|host| quoted(host)).collect();
    let prompt = match answers.prompt.as_str() {
        "" => String::new(),
        text => format!(", \"prompt\": {}", quoted(text)),
    };
    format!(
        r#"// Agents and the bottles they run in. `bottle schema` prints what may stand here, `bottle edit` checks it.
{{
  "bottles": {{
    {bottle}: {{
      // Values: "text", "${{NAME}}" of this host, "?question" asked at start.
      "env": {{}},
      // Hosts besides the default ones that Claude Code needs.
      "egress": {{ "allowlist": [{hosts}] }}
    }}
  }},
  "agents": {{
    {agent}: {{ "bottle": {bottle}{prompt} }}
  }}
}}
"#,
        bottle = quoted(&answers.bottle),
        agent = quoted(&answers.agent),
        hosts = hosts.join(", "),
    )
}

fn write(path: &PathBuf, text: &str) -> CliResult<()> {
    let created = OpenOptions::new().write(true).create_new(true).open(path);
    let written = created.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => exists(path),
        _ => CliError::io(format!("write {}", path.display()), source),
    })
}

fn exists(path: &std::path::Path) -> CliError {
    CliError::new(ErrorKind::Conflict, format!("write {}: it exists already", path.display()))
        .remedy("`bottle edit` opens it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_a_valid_manifest() {
        let answers = Answers {
            agent: "my \"agent\"".into(),
            hosts: vec!["git.example.org".into(), "*.example.net".into()],
            prompt: "Say \"hi\"\\".into(),
            ..Answers::default()
        };
        for answers in [Answers::default(), answers] {
            let parsed = manifest::parse(&[Source::new("m", document(&answers))]).unwrap();
            assert_eq!(parsed.agents[&answers.agent].bottle, answers.bottle);
            assert_eq!(parsed.bottles[&answers.bottle].egress.allowlist, answers.hosts);
        }
    }
}
