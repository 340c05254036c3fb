//! The plan as text: what a person reads before saying yes. Plain text, one fact a line.

use std::fmt::Write as _;

use super::launch::LaunchPlan;
use crate::ids::Role;
use crate::manifest::{CredentialSource, EnvValue};

impl LaunchPlan {
    /// The summary of `start`. Holds names and sources, never a value; ends with a newline.
    pub fn print(&self) -> String {
        let mut page = Page::default();
        page.line(
            "agent",
            &format!("{} (bottle {}, backend {})", self.agent(), self.bottle(), self.backend()),
        );
        page.line("container", &self.names().agent);
        for (label, role) in
            [("image", Role::Agent), ("gate", Role::Pipelock), ("mitmproxy", Role::Mitmproxy)]
        {
            let Some(image) = self.image(role) else { continue };
            let engine = match role {
                Role::Pipelock => format!("engine {}, ", self.engine().as_str()),
                Role::Mitmproxy | Role::Agent => String::new(),
            };
            page.line(label, &format!("{engine}{} ({})", image.reference, short(&image.digest)));
        }
        page.line("runtime", self.runtime().unwrap_or("the engine's default"));
        page.line("limits", &self.limits());
        page.line("restart", self.restart().as_str());
        page.line("command", &self.command().map_or("claude".to_owned(), quoted));
        let copied = if self.copy_cwd() { "copied in" } else { "not copied" };
        page.line("directory", &format!("{} ({copied})", self.user_cwd().display()));
        let length = self.prompt().map(|prompt| format!("{} characters", prompt.chars().count()));
        page.line("prompt", length.as_deref().unwrap_or("none"));
        page.lines("skills", self.skills().iter().map(|skill| skill.name.clone()));
        page.lines("env", self.env_lines());
        page.lines("ssh", self.ssh_lines());
        self.print_egress(&mut page);
        if self.remote_control() {
            page.line("remote", "claude is started with --remote-control");
        }
        if self.detach() {
            page.line("detached", "outlives this process until it is adopted");
        }
        page.lines("note", self.notes().iter().cloned());
        page.0
    }

    fn limits(&self) -> String {
        let limits = self.resources();
        let cpus =
            limits.nano_cpus.map_or("all cores".to_owned(), |nano| format!("{} cores", nano as f64 / 1e9));
        format!("{} memory, {cpus}, {} processes", bytes(limits.memory_bytes), limits.pids)
    }

    fn env_lines(&self) -> impl Iterator<Item = String> {
        let placeholders = self.egress().credentials.iter().filter_map(|credential| {
            credential
                .agent_env
                .as_ref()
                .map(|name| format!("{name} = placeholder, the broker holds the value"))
        });
        let own = self.env().iter().map(|(name, value)| match value {
            EnvValue::Literal(_) => format!("{name} = text of the manifest"),
            EnvValue::Host { var } => format!("{name} = ${{{var}}} of this host"),
            EnvValue::Prompt { text } => format!("{name} = asked: {text}"),
        });
        own.chain(placeholders)
    }

    fn ssh_lines(&self) -> impl Iterator<Item = String> {
        self.ssh().iter().map(|entry| {
            let user = entry.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
            let pinned =
                if entry.known_host_key.is_some() { "host key pinned" } else { "host key NOT pinned" };
            format!("{} → {user}{}:{}, {pinned}", entry.host, entry.hostname, entry.port)
        })
    }

    fn print_egress(&self, page: &mut Page) {
        let egress = self.egress();
        let defaults = egress.allowlist.len() - egress.added.len();
        page.lines(
            "egress",
            std::iter::once(format!("{defaults} default hosts")).chain(egress.added.iter().cloned()),
        );
        page.line("dlp", egress.dlp_action.as_str());
        page.lines(
            "credential",
            egress.credentials.iter().map(|credential| {
                let source = match &credential.source {
                    CredentialSource::Env { var } => format!("${{{var}}}"),
                    CredentialSource::File { path } => path.clone(),
                    // In full: it runs on this host, and a manifest may come with a checkout.
                    CredentialSource::Command { argv } => format!("runs on this host: {}", quoted(argv)),
                };
                format!("{} {} ← {source}", credential.host, credential.header)
            }),
        );
        page.lines(
            "rule",
            egress.rules.iter().flat_map(|(host, rules)| {
                rules.iter().map(move |rule| {
                    let all = |list: &[String], word: &str| {
                        if list.is_empty() { word.to_owned() } else { list.join(" ") }
                    };
                    format!(
                        "{host}: {} on {}",
                        all(&rule.methods, "all methods"),
                        all(&rule.paths, "all paths")
                    )
                })
            }),
        );
        page.lines("websocket", egress.websocket.iter().cloned());
        page.lines("http", egress.http.iter().cloned());
        page.lines("trusts", egress.extra_ca.iter().map(|path| path.display().to_string()));
        page.lines("address", egress.extra_hosts.iter().map(|(name, ip)| format!("{name} = {ip}")));
        page.lines("private", egress.private_hosts.iter().cloned());
    }
}

/// Lines of a label and a text; the label stands on the first of a group only.
#[derive(Default)]
pub(super) struct Page(pub(super) String);

impl Page {
    pub(super) fn line(&mut self, label: &str, text: &str) {
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let _ = writeln!(self.0, "{label:<11} {text}");
    }

    pub(super) fn lines(&mut self, label: &str, texts: impl Iterator<Item = String>) {
        let mut label = label;
        for text in texts {
            self.line(label, &text);
            label = "";
        }
    }
}

fn short(digest: &str) -> String {
    match digest.split_once(':') {
        Some((algorithm, hex)) => format!("{algorithm}:{}", hex.chars().take(12).collect::<String>()),
        None => digest.to_owned(),
    }
}

fn quoted(argv: &[String]) -> String {
    let plain =
        |arg: &String| !arg.is_empty() && arg.chars().all(|c| !c.is_whitespace() && !"'\"\\".contains(c));
    argv.iter()
        .map(|arg| if plain(arg) { arg.clone() } else { format!("{arg:?}") })
        .collect::<Vec<_>>()
        .join(" ")
}

fn bytes(count: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if count >= 1 << shift && count.is_multiple_of(1 << shift) {
            return format!("{} {unit}", count >> shift);
        }
    }
    format!("{count} bytes")
}
