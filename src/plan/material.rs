//! [`Material`]: the secret values of a launch. Apart from the plan, never serialised, never shown.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::egress::HeaderCredential;
use super::launch::LaunchPlan;
use crate::config::HostEnv;
use crate::ids::Secret;
use crate::manifest::{CredentialSource, EnvValue};

/// How long a credential command may run.
pub const COMMAND_DEADLINE: Duration = Duration::from_secs(30);
/// Longest credential or answer, in bytes.
const MAX_SECRET: usize = 64 * 1024;

/// Asks the person at the terminal, without echo.
pub trait PromptReader: Send {
    /// Shows `question`, reads one line that is not shown.
    ///
    /// # Errors
    /// There is no terminal, or it was closed.
    fn read_secret(&mut self, question: &str) -> std::io::Result<Secret<String>>;
}

/// Nobody to ask: every question fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPrompt;

impl PromptReader for NoPrompt {
    fn read_secret(&mut self, _question: &str) -> std::io::Result<Secret<String>> {
        Err(std::io::Error::new(std::io::ErrorKind::Unsupported, "there is no terminal"))
    }
}

/// Secret values. `Debug` shows names and counts only.
#[derive(Clone, Debug)]
pub struct Material {
    env: BTreeMap<String, Secret<String>>,
    credentials: Vec<(HeaderCredential, Secret<String>)>,
    ssh_keys: Vec<(PathBuf, Secret<Vec<u8>>)>,
    extra_ca: String,
    scan_token: Secret<String>,
}

impl Material {
    /// Collects all values of a plan: host variables, answers, credential sources, keys, bundles. Makes the
    /// scan token. Asks in the order of the variables' names, after everything else has been found, so that
    /// nobody types a secret for a launch that cannot happen. Blocks while the person types.
    ///
    /// # Errors
    /// All values that could not be had; no value appears in them.
    pub async fn gather(
        plan: &LaunchPlan,
        host: &HostEnv,
        prompt: &mut dyn PromptReader,
    ) -> Result<Self, MaterialErrors> {
        let mut problems = Vec::new();
        let mut material = Self {
            env: BTreeMap::new(),
            credentials: Vec::new(),
            ssh_keys: Vec::new(),
            extra_ca: String::new(),
            scan_token: Secret::new(hex::encode(rand::random::<[u8; 32]>())),
        };
        for (name, value) in plan.env() {
            if let EnvValue::Host { var } = value {
                match host.var(var) {
                    Some(text) => {
                        material.env.insert(name.clone(), Secret::from(text));
                    }
                    None => problems.push(MaterialProblem::Unset { name: name.clone(), var: var.clone() }),
                }
            }
        }
        for credential in &plan.egress().credentials {
            match credential_value(credential, host, COMMAND_DEADLINE).await {
                Ok(secret) => material.credentials.push((credential.clone(), secret)),
                Err(why) => problems.push(MaterialProblem::Credential {
                    host: credential.host.clone(),
                    header: credential.header.clone(),
                    why,
                }),
            }
        }
        for entry in plan.ssh() {
            if material.ssh_keys.iter().any(|(path, _)| *path == entry.identity_file) {
                continue;
            }
            match std::fs::read(&entry.identity_file) {
                Ok(bytes) => material.ssh_keys.push((entry.identity_file.clone(), Secret::new(bytes))),
                Err(error) => problems.push(unreadable(&entry.identity_file, &error)),
            }
        }
        for path in &plan.egress().extra_ca {
            match std::fs::read_to_string(path) {
                Ok(pem) => {
                    material.extra_ca.push_str(pem.trim_end());
                    material.extra_ca.push('\n');
                }
                Err(error) => problems.push(unreadable(path, &error)),
            }
        }
        if problems.is_empty() {
            material.ask(plan, prompt, &mut problems);
        }
        if problems.is_empty() { Ok(material) } else { Err(MaterialErrors { problems }) }
    }

    fn ask(&mut self, plan: &LaunchPlan, prompt: &mut dyn PromptReader, problems: &mut Vec<MaterialProblem>) {
        for (name, value) in plan.env() {
            let EnvValue::Prompt { text } = value else { continue };
            match prompt.read_secret(text) {
                Ok(answer) => {
                    self.env.insert(name.clone(), answer);
                }
                Err(error) => {
                    problems.push(MaterialProblem::NoAnswer { name: name.clone(), why: error.to_string() });
                    // Whoever closed the terminal at one question does not want the next.
                    return;
                }
            }
        }
    }

    /// Variables of each exec whose values came from the host or the terminal.
    pub fn env(&self) -> &BTreeMap<String, Secret<String>> {
        &self.env
    }

    /// Credentials for the broker, without their prefix, in the plan's order.
    pub fn credentials(&self) -> impl Iterator<Item = (&HeaderCredential, &Secret<String>)> {
        self.credentials.iter().map(|(credential, secret)| (credential, secret))
    }

    /// A private key by its path on the host.
    pub fn ssh_key(&self, identity_file: &Path) -> Option<&Secret<Vec<u8>>> {
        self.ssh_keys.iter().find(|(path, _)| path == identity_file).map(|(_, key)| key)
    }

    /// PEM text of all bundles trusted upstream; empty without any. Not secret.
    pub fn extra_ca(&self) -> &str {
        &self.extra_ca
    }

    /// The token mitmproxy shows to the gate's scan API. New for each launch.
    pub fn scan_token(&self) -> &Secret<String> {
        &self.scan_token
    }

    /// Every value that the gate's DLP has to recognise wherever it appears.
    pub fn dlp_secrets(&self) -> impl Iterator<Item = &Secret<String>> {
        self.env.values().chain(self.credentials.iter().map(|(_, secret)| secret))
    }
}

/// One value that could not be had. Names it, never shows it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MaterialProblem {
    /// A host variable is not set.
    #[error("env {name}: ${{{var}}} is not set on this host; set it, or remove the entry")]
    Unset {
        /// The agent's variable.
        name: String,
        /// The host's variable.
        var: String,
    },
    /// A question was not answered.
    #[error("env {name}: no answer from the terminal: {why}")]
    NoAnswer {
        /// The agent's variable.
        name: String,
        /// What the terminal said.
        why: String,
    },
    /// A credential source gave nothing usable.
    #[error("credential {header} of {host}: {why}")]
    Credential {
        /// The host.
        host: String,
        /// The header.
        header: String,
        /// What went wrong; without output of the source.
        why: String,
    },
    /// A file cannot be read.
    #[error("{}: {why}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
}

/// Everything that could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaterialErrors {
    /// In the order: variables, credentials, keys, bundles, answers.
    pub problems: Vec<MaterialProblem>,
}

impl std::fmt::Display for MaterialErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("gather the bottle's secrets")?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for MaterialErrors {}

fn unreadable(path: &Path, error: &std::io::Error) -> MaterialProblem {
    MaterialProblem::Unreadable { path: path.to_owned(), why: error.to_string() }
}

async fn credential_value(
    credential: &HeaderCredential,
    host: &HostEnv,
    deadline: Duration,
) -> Result<Secret<String>, String> {
    let raw = match &credential.source {
        CredentialSource::Env { var } => {
            host.var(var).ok_or_else(|| format!("${{{var}}} is not set on this host"))?.as_bytes().to_vec()
        }
        CredentialSource::File { path } => {
            std::fs::read(host.expand(path)).map_err(|e| format!("{path}: {e}"))?
        }
        CredentialSource::Command { argv } => command_output(argv, host, deadline).await?,
    };
    // Both copies are zeroed when dropped; the trimmed one is what is kept.
    let raw = Secret::new(raw);
    let text = std::str::from_utf8(raw.expose_secret()).map_err(|_| "the value is not UTF-8".to_owned())?;
    let text = text.trim();
    if text.is_empty() {
        return Err("the value is empty".to_owned());
    }
    if text.len() > MAX_SECRET {
        return Err(format!("the value has {} bytes, more than {MAX_SECRET}", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err(
            "the value has more than one line or control characters; a header cannot hold it".to_owned()
        );
    }
    Ok(Secret::from(text))
}

async fn command_output(argv: &[String], host: &HostEnv, deadline: Duration) -> Result<Vec<u8>, String> {
    let (program, args) = argv.split_first().ok_or("the command is empty")?;
    let child = tokio::process::Command::new(program)
        .args(args)
        .current_dir(host.cwd())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("run {program}: {error}"))?;
    let output = tokio::time::timeout(deadline, child.wait_with_output())
        .await
        .map_err(|_| format!("{program} did not end within {} s", deadline.as_secs()))?
        .map_err(|error| format!("run {program}: {error}"))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!("{program} ended with {}", output.status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::egress::oauth_credential;

    fn credential(source: CredentialSource) -> HeaderCredential {
        HeaderCredential { source, ..oauth_credential() }
    }

    async fn value(source: CredentialSource, deadline_ms: u64) -> Result<String, String> {
        let host = HostEnv::new(BTreeMap::from([("T".into(), " abc\n".into())]), "/", "/");
        let found = credential_value(&credential(source), &host, Duration::from_millis(deadline_ms)).await;
        found.map(|secret| secret.expose_secret().clone())
    }

    fn shell(script: &str) -> CredentialSource {
        CredentialSource::Command { argv: ["sh", "-c", script].map(str::to_owned).to_vec() }
    }

    #[tokio::test]
    async fn credentials_come_from_their_source_trimmed() {
        assert_eq!(value(CredentialSource::Env { var: "T".into() }, 1000).await, Ok("abc".into()));
        assert_eq!(value(shell("echo '  from-command '"), 5000).await, Ok("from-command".into()));
    }

    #[tokio::test]
    async fn a_bad_source_is_named_without_its_output() {
        let ended = value(shell("echo canary; echo canary >&2; exit 3"), 5000).await.unwrap_err();
        assert!(ended.contains("exit status: 3") && !ended.contains("canary"), "{ended}");
        assert!(value(shell("sleep 5"), 50).await.unwrap_err().contains("did not end"));
        assert!(value(shell("true"), 5000).await.unwrap_err().contains("empty"));
        assert!(value(shell("printf 'a\\nb'"), 5000).await.unwrap_err().contains("more than one line"));
        assert!(value(CredentialSource::Env { var: "NONE".into() }, 50).await.unwrap_err().contains("NONE"));
        let file = CredentialSource::File { path: "/nonexistent/x".into() };
        assert!(value(file, 50).await.unwrap_err().contains("/nonexistent/x"));
    }
}
