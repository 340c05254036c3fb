//! Tree → [`Manifest`]: bottles and agents. Notes everything that is wrong and goes on.

use std::collections::BTreeMap;

use super::checker::{Checker, nearest, shown};
use super::error::{Finding, ManifestErrors};
use super::merge::merge;
use super::model::{AgentManifest, BottleManifest, Manifest, ResourcesManifest, Restart};
use super::tree::{self, JsonPath, Node, Source, Span, Value};
use super::{egress, env, ssh};

/// The whole message about the key that gVisor's detection replaced.
pub const RUNTIME_REMOVED: &str = "gVisor is detected automatically; remove `runtime`";

const MIB: u64 = 1024 * 1024;

/// Understands sources, lowest first. Pure.
///
/// # Errors
/// All findings of all sources.
pub fn parse(sources: &[Source]) -> Result<Manifest, ManifestErrors> {
    let mut findings = Vec::new();
    let (trees, hidden): (Vec<_>, Vec<_>) =
        (0..sources.len()).filter_map(|index| tree::parse(index, sources, &mut findings)).unzip();
    let hidden = hidden.concat();
    let mut checker = Checker { sources, findings };
    // A file that is no object at all would hide the one below it; it is noted on its own.
    for tree in trees.iter().filter(|tree| !matches!(tree.value, Value::Object(_))) {
        checker.entries(tree, &JsonPath::default());
    }
    let complete = trees.len() == sources.len();
    let objects = trees.into_iter().filter(|tree| matches!(tree.value, Value::Object(_)));
    let manifest = objects.reduce(merge).map(|root| checker.manifest(&root, complete));
    let mut findings = checker.findings;
    if let (Some(manifest), true) = (manifest, findings.is_empty()) {
        return Ok(manifest);
    }
    if findings.is_empty() {
        findings.push(Finding::of_file("", "no manifest", "a manifest has to exist", None));
    }
    findings.iter_mut().for_each(|finding| finding.mask(&hidden));
    // People fix a file from its top to its end.
    let order = |finding: &Finding| sources.iter().position(|source| source.path == finding.file);
    findings.sort_by_key(|finding| (order(finding), finding.line, finding.column));
    Err(ManifestErrors { findings })
}

impl Checker<'_> {
    /// `complete` is false when a file could not be parsed: then references may point into it.
    fn manifest(&mut self, root: &Node, complete: bool) -> Manifest {
        let top = JsonPath::default();
        let mut manifest = Manifest::default();
        let mut names = None;
        let entries = self.known(root, &top, &["bottles", "agents", "$schema"]);
        for entry in entries.iter().filter(|entry| entry.key == "bottles") {
            let path = top.key("bottles");
            for bottle in self.entries(&entry.value, &path) {
                self.name(&bottle.key, bottle.key_span, &path.key(&bottle.key), "bottle");
                let value = self.bottle(&bottle.value, &path.key(&bottle.key));
                manifest.bottles.insert(bottle.key.clone(), value);
            }
            names = Some(manifest.bottles.keys().map(String::as_str).collect::<Vec<_>>());
        }
        let names = names.unwrap_or_default();
        let mut agents = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry.key == "agents") {
            let path = top.key("agents");
            for agent in self.entries(&entry.value, &path) {
                let path = path.key(&agent.key);
                self.name(&agent.key, agent.key_span, &path, "agent");
                let value = self.agent(&agent.value, &path, complete.then_some(names.as_slice()));
                agents.insert(agent.key.clone(), value);
            }
        }
        for key in ["bottles", "agents"] {
            if complete && !entries.iter().any(|entry| entry.key == key) {
                let hint = "run `bottle init` to write a first manifest";
                self.note_hint(root.span, &top, "an object", format!("`{key}` is required"), hint);
            }
        }
        if let Some(entry) = entries.iter().find(|entry| entry.key == "$schema") {
            self.text(&entry.value, &top.key("$schema"));
        }
        manifest.agents = agents;
        manifest
    }

    fn name(&mut self, name: &str, span: Span, path: &JsonPath, kind: &str) {
        if name.chars().any(char::is_control) {
            self.note(
                span,
                path,
                "a control character in a name",
                format!("names of {kind}s are plain text"),
            );
        } else if name.is_empty() {
            self.note(span, path, "an empty name", format!("a {kind} has a name"));
        } else if kind == "agent" && !name.to_lowercase().chars().any(|c| c.is_ascii_alphanumeric()) {
            let rule = "an agent's name has a letter or digit (a-z, 0-9): container names are made from it";
            self.note(span, path, shown(name), rule);
        }
    }

    fn agent(&mut self, node: &Node, path: &JsonPath, bottles: Option<&[&str]>) -> AgentManifest {
        let mut agent = AgentManifest::default();
        let entries = self.known(node, path, &["bottle", "skills", "prompt"]);
        for entry in entries {
            let path = path.key(&entry.key);
            match entry.key.as_str() {
                "bottle" => {
                    let Some(name) = self.filled(&entry.value, &path) else { continue };
                    agent.bottle = name.to_owned();
                    if let Some(known) = bottles.filter(|known| !known.contains(&name)) {
                        self.unknown_bottle(entry.value.span, &path, name, known);
                    }
                }
                "skills" => agent.skills = self.skills(&entry.value, &path),
                "prompt" => agent.prompt = self.text(&entry.value, &path).map(str::to_owned),
                _ => {}
            }
        }
        if matches!(node.value, Value::Object(_)) && !entries.iter().any(|entry| entry.key == "bottle") {
            self.note(node.span, path, "no `bottle`", "an agent names its bottle");
        }
        agent
    }

    fn unknown_bottle(&mut self, span: Span, path: &JsonPath, name: &str, known: &[&str]) {
        let found = format!("an unknown bottle {}", shown(name));
        let rule = match known {
            [] => "no bottle is defined".to_owned(),
            known => format!("known bottles: {}", known.join(", ")),
        };
        match nearest(name, known) {
            Some(near) => self.note_hint(span, path, found, rule, format!("did you mean {near:?}?")),
            None => self.note(span, path, found, rule),
        }
    }

    fn skills(&mut self, node: &Node, path: &JsonPath) -> Vec<String> {
        let mut skills: Vec<String> = Vec::new();
        for item in self.texts(node, path) {
            if item.text.contains('/')
                || item.text.chars().any(char::is_control)
                || matches!(item.text, "." | "..")
            {
                let rule = "a skill is the name of a directory in ~/.claude/skills";
                self.note(item.span, &item.path, shown(item.text), rule);
            } else if skills.iter().any(|known| known == item.text) {
                self.note(item.span, &item.path, shown(item.text), "each skill is named once");
            } else {
                skills.push(item.text.to_owned());
            }
        }
        skills
    }

    fn bottle(&mut self, node: &Node, path: &JsonPath) -> BottleManifest {
        let mut bottle = BottleManifest::default();
        let known = ["env", "ssh", "egress", "image", "resources", "restart", "command"];
        for entry in self.known(node, path, &known) {
            let path = path.key(&entry.key);
            let value = &entry.value;
            match entry.key.as_str() {
                "env" => bottle.env = env::read(self, value, &path),
                "ssh" => bottle.ssh = ssh::read(self, value, &path),
                "egress" => bottle.egress = egress::read(self, value, &path),
                "image" => bottle.image = self.image(value, &path),
                "resources" => bottle.resources = self.resources(value, &path),
                "restart" => {
                    let words = [Restart::Temporary, Restart::Transient, Restart::Permanent];
                    let words = words.map(|word| (word.as_str(), word));
                    bottle.restart = self.word(value, &path, &words).unwrap_or_default();
                }
                "command" => bottle.command = self.argv(value, &path),
                _ => {}
            }
        }
        bottle
    }

    fn image(&mut self, node: &Node, path: &JsonPath) -> Option<String> {
        let text = self.filled(node, path)?;
        if text.len() <= 255
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:@".contains(c))
        {
            return Some(text.to_owned());
        }
        self.note(node.span, path, shown(text), "an image is name:tag or name@sha256:…");
        None
    }

    fn resources(&mut self, node: &Node, path: &JsonPath) -> ResourcesManifest {
        let mut resources = ResourcesManifest::default();
        for entry in self.known(node, path, &["memory", "cpus", "pids"]) {
            let path = path.key(&entry.key);
            match entry.key.as_str() {
                "memory" => resources.memory_bytes = self.size(&entry.value, &path, 16 * MIB),
                "cpus" => {
                    let Some(cpus) = self.number(&entry.value, &path) else { continue };
                    if (0.01..=1024.0).contains(&cpus) {
                        resources.cpus = Some(cpus);
                    } else {
                        self.note(entry.value.span, &path, format!("{cpus}"), "cpus are from 0.01 to 1024");
                    }
                }
                "pids" => {
                    let pids = self.integer(&entry.value, &path, 16..=1_000_000);
                    resources.pids = pids.and_then(|pids| u32::try_from(pids).ok());
                }
                _ => {}
            }
        }
        resources
    }

    /// A size: bytes as a number, or a text with one of the units b, k, m, g (powers of 1024).
    pub(super) fn size(&mut self, node: &Node, path: &JsonPath, least: u64) -> Option<u64> {
        const MOST: u64 = 1 << 50;
        let bytes = match &node.value {
            Value::Number(_) => return self.integer(node, path, least..=MOST),
            Value::Text(text) => size_of(text),
            _ => None,
        };
        if let Some(bytes) = bytes.filter(|bytes| (least..=MOST).contains(bytes)) {
            return Some(bytes);
        }
        let found = match &node.value {
            Value::Text(text) => shown(text),
            _ => node.kind().to_owned(),
        };
        let rule = format!("a size like \"512m\" or \"2g\", or a number of bytes, of at least {least} bytes");
        self.note(node.span, path, found, rule);
        None
    }
}

fn size_of(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text.get(digits.len()..)?.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return None,
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(factor)
}
