//! [`resolve`]: the one place that decides what a launch makes. Pure; reports every problem at once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::bottle_spec::BottleSpec;
use super::egress::{EgressPlan, OAUTH_VAR, SshRoute};
use super::facts::{FileFact, HostFacts, ImageFact, KeyFact};
use super::launch::{LaunchPlan, PlannedImage, SkillDir, SshKeyFile};
use super::names::{self, Names};
use super::problems::{PlanErrors, Problems};
use super::spec::Resources;
use crate::config::Config;
use crate::ids::{ImageRef, Role};
use crate::manifest::{AgentManifest, BottleManifest, CredentialSource, EnvValue, nearest};

/// Limits of an agent whose bottle sets none.
pub const DEFAULT_RESOURCES: Resources =
    Resources { memory_bytes: 4 * 1024 * 1024 * 1024, nano_cpus: None, pids: 1024 };

/// Makes a plan. Touches nothing: all it knows comes from its arguments, so the same input gives the same plan.
///
/// # Errors
/// Every reason why the launch could not work, all at once.
pub fn resolve(spec: &BottleSpec, config: &Config, facts: &HostFacts) -> Result<LaunchPlan, PlanErrors> {
    let mut problems = Problems::default();
    let name = &spec.agent_name;
    let Some(agent) = spec.manifest.agents.get(name) else {
        let known: Vec<_> = spec.manifest.agents.keys().map(String::as_str).collect();
        problems.hint("agents", format!("there is no agent {name:?}"), choices(name, &known, "agents"));
        return Err(problems.into_errors(name));
    };
    let Some(bottle) = spec.manifest.bottles.get(&agent.bottle) else {
        problems.add(format!("agents.{name}.bottle"), format!("there is no bottle {:?}", agent.bottle));
        return Err(problems.into_errors(name));
    };
    let base_slug = names::slug(name);
    if base_slug.is_none() {
        problems
            .add(format!("agents.{name}"), "the name has no letter or digit (a-z, 0-9) to make a name from");
    }
    let resolver =
        Resolver { spec, config, facts, agent, bottle, place: format!("bottles.{}", agent.bottle) };
    resolver.check_env(&mut problems);
    let skills = resolver.skills(&mut problems);
    let ssh = resolver.ssh(&mut problems);
    let egress = resolver.egress(&ssh, &mut problems);
    let images = resolver.images(&mut problems);
    if spec.copy_cwd && !facts.cwd_is_dir {
        problems.add("--cwd", format!("{} is not a directory", spec.user_cwd.display()));
    }
    if config.upstream_proxy.is_some() {
        problems.add("config upstream_proxy", "not supported yet; remove it");
    }
    let (Some(base_slug), true) = (base_slug, problems.is_empty()) else {
        return Err(problems.into_errors(name));
    };
    let slug = names::next_slug(&base_slug, &facts.used_slugs);
    Ok(LaunchPlan {
        backend: facts.backend.clone(),
        agent: name.clone(),
        bottle: agent.bottle.clone(),
        names: Names::of(&slug),
        slug,
        base_slug,
        engine: config.engine,
        images,
        runtime: facts.runtimes.iter().find(|runtime| *runtime == "runsc").cloned(),
        pool: config.address_pool,
        egress_network: config.egress_network.clone(),
        env: bottle.env.clone(),
        prompt: agent.prompt.clone().filter(|prompt| !prompt.is_empty()),
        skills,
        notes: resolver.notes(&ssh, &egress),
        ssh,
        egress,
        copy_cwd: spec.copy_cwd,
        user_cwd: spec.user_cwd.clone(),
        remote_control: spec.remote_control,
        detach: spec.detach,
        resources: resources(bottle),
        restart: bottle.restart,
        command: bottle.command.clone(),
    })
}

struct Resolver<'a> {
    spec: &'a BottleSpec,
    config: &'a Config,
    facts: &'a HostFacts,
    agent: &'a AgentManifest,
    bottle: &'a BottleManifest,
    place: String,
}

impl Resolver<'_> {
    fn check_env(&self, problems: &mut Problems) {
        for (name, value) in &self.bottle.env {
            let place = format!("{}.env.{name}", self.place);
            match value {
                EnvValue::Literal(_) => {}
                EnvValue::Host { var } if self.facts.vars.contains(var) => {}
                EnvValue::Host { var } => {
                    let message = format!("${{{var}}} is not set on this host");
                    problems.hint(
                        place,
                        message,
                        format!("export {var} before the start, or remove the entry"),
                    );
                }
                EnvValue::Prompt { .. } if self.facts.terminal => {}
                EnvValue::Prompt { .. } => {
                    let hint = "start from a terminal, or take the value from the host with ${NAME}";
                    problems.hint(place, "has to be asked, but there is no terminal", hint);
                }
            }
        }
    }

    fn skills(&self, problems: &mut Problems) -> Vec<SkillDir> {
        let dir = &self.facts.skills_dir;
        for name in self.agent.skills.iter().filter(|name| !self.facts.skills.contains(*name)) {
            let known: Vec<_> = self.facts.skills.iter().map(String::as_str).collect();
            let message = format!("{name:?} is not a directory in {}", dir.display());
            let place = format!("agents.{}.skills", self.spec.agent_name);
            problems.hint(place, message, choices(name, &known, "skills"));
        }
        let skill = |name: &String| SkillDir { name: name.clone(), path: dir.join(name) };
        self.agent.skills.iter().map(skill).collect()
    }

    fn ssh(&self, problems: &mut Problems) -> Vec<SshKeyFile> {
        let mut entries = Vec::new();
        for (index, entry) in self.bottle.ssh.iter().enumerate() {
            let place = format!("{}.ssh[{index}]", self.place);
            let file = &entry.identity_file;
            match self.facts.keys.get(file) {
                Some(KeyFact::Usable) => {}
                Some(KeyFact::Encrypted) => problems.hint(
                    format!("{place}.IdentityFile"),
                    format!("{file} is protected by a passphrase"),
                    "use a key of its own for the bottle, without one",
                ),
                Some(KeyFact::NotAKey) => {
                    problems.add(format!("{place}.IdentityFile"), format!("{file} is not a private key"));
                }
                Some(KeyFact::Unreadable(why)) => {
                    problems.add(format!("{place}.IdentityFile"), format!("{file} cannot be read: {why}"));
                }
                None => problems.add(format!("{place}.IdentityFile"), format!("{file} was not looked at")),
            }
            if let Some(key) = &entry.known_host_key
                && ssh_key::PublicKey::from_openssh(key).is_err()
            {
                let hint = format!(
                    "take the line that `ssh-keyscan -p {} {}` prints, without the name",
                    entry.port, entry.hostname
                );
                problems.hint(format!("{place}.KnownHostKey"), "is not a public key in OpenSSH form", hint);
            }
            entries.push(SshKeyFile {
                host: entry.host.clone(),
                hostname: entry.hostname.clone(),
                port: entry.port,
                user: entry.user.clone(),
                identity_file: self.expand(file),
                known_host_key: entry.known_host_key.clone(),
            });
        }
        entries
    }

    fn egress(&self, ssh: &[SshKeyFile], problems: &mut Problems) -> EgressPlan {
        let mut routes: Vec<_> =
            ssh.iter().map(|entry| SshRoute { hostname: entry.hostname.clone(), port: entry.port }).collect();
        routes.sort();
        routes.dedup();
        let oauth = self.spec.forward_oauth_token && self.facts.vars.contains(OAUTH_VAR);
        let mut egress = EgressPlan::unite(&self.bottle.egress, routes, oauth);
        self.check_credentials(&egress, problems);
        match egress.policy() {
            Ok(policy) => {
                for error in policy.check() {
                    problems.add(format!("{}.egress", self.place), error.to_string());
                }
            }
            Err(error) => problems.add(format!("{}.egress", self.place), error.to_string()),
        }
        let configured = self.config.extra_ca.iter().map(|path| path.display().to_string());
        for path in configured.chain(self.bottle.egress.extra_ca.clone()) {
            match self.facts.bundles.get(&path) {
                Some(FileFact::Usable) => {}
                Some(FileFact::Wrong(why)) => {
                    problems.add(format!("{}.egress.extra_ca", self.place), format!("{path} {why}"));
                }
                Some(FileFact::Unreadable(why)) => problems
                    .add(format!("{}.egress.extra_ca", self.place), format!("{path} cannot be read: {why}")),
                None => problems
                    .add(format!("{}.egress.extra_ca", self.place), format!("{path} was not looked at")),
            }
            let path = self.expand(&path);
            if !egress.extra_ca.contains(&path) {
                egress.extra_ca.push(path);
            }
        }
        egress
    }

    fn check_credentials(&self, egress: &EgressPlan, problems: &mut Problems) {
        let mut agent_vars = BTreeMap::new();
        let mut headers = BTreeMap::new();
        for credential in &egress.credentials {
            let place =
                format!("{}.egress.credentials.{}.{}", self.place, credential.host, credential.header);
            if headers.insert((&credential.host, &credential.header), ()).is_some() {
                let hint = format!("unset {OAUTH_VAR}, or remove the entry");
                problems.hint(&place, "the same header is also set from the forwarded token", hint);
            }
            match &credential.source {
                CredentialSource::Env { var } if !self.facts.vars.contains(var) => {
                    problems.add(&place, format!("{var} is not set on this host"));
                }
                CredentialSource::File { path } => {
                    if let Some(FileFact::Unreadable(why)) = self.facts.credential_files.get(path) {
                        problems.add(&place, format!("{path} cannot be read: {why}"));
                    }
                }
                CredentialSource::Env { .. } | CredentialSource::Command { .. } => {}
            }
            let Some(var) = &credential.agent_env else { continue };
            if self.bottle.env.contains_key(var) {
                let hint = "remove it from env: the agent must not hold the real value";
                problems.hint(&place, format!("{var} is also in env"), hint);
            }
            if agent_vars.insert(var, ()).is_some() {
                problems.add(&place, format!("{var} is the agent_env of two credentials"));
            }
        }
    }

    fn images(&self, problems: &mut Problems) -> BTreeMap<Role, PlannedImage> {
        let mut images = BTreeMap::new();
        for role in Role::ALL {
            let own = self.bottle.image.as_deref().filter(|_| role == Role::Agent).map(ImageRef::from);
            let configured = self.config.images.get(role);
            let place = match &own {
                Some(_) => format!("{}.image", self.place),
                None => format!("config images.{role}"),
            };
            let pinned =
                configured.filter(|_| own.is_none()).and_then(|configured| configured.digest.clone());
            let Some(reference) = own.or_else(|| configured.map(|configured| configured.reference.clone()))
            else {
                problems.hint(place, "no image is configured", "run `bottle setup`");
                continue;
            };
            match self.facts.images.get(&reference) {
                Some(ImageFact::Present(digest)) => {
                    if let Some(pinned) = pinned.filter(|pinned| pinned != digest) {
                        let message = format!("{reference} is {digest} here, but {pinned} was chosen");
                        problems.hint(place, message, "run `bottle setup` to choose again");
                    }
                    images.insert(role, PlannedImage { reference, digest: digest.clone() });
                }
                Some(ImageFact::Missing) | None => {
                    let message = format!("image {reference} is not at hand; a launch never pulls");
                    problems.hint(place, message, "run `bottle setup`");
                }
            }
        }
        images
    }

    fn notes(&self, ssh: &[SshKeyFile], egress: &EgressPlan) -> Vec<String> {
        let mut notes = Vec::new();
        for entry in ssh.iter().filter(|entry| entry.known_host_key.is_none()) {
            notes.push(format!(
                "ssh {}: no KnownHostKey, so the first connection will be refused",
                entry.hostname
            ));
        }
        if !ssh.is_empty() {
            notes.push(
                "ssh traffic is encrypted end to end: only host, port and byte counts are judged".into(),
            );
        }
        let anthropic = egress.credentials.iter().any(|credential| credential.host == "api.anthropic.com");
        if self.bottle.command.is_none() && !anthropic {
            notes.push(format!("no credential for api.anthropic.com: set {OAUTH_VAR} or egress.credentials"));
        }
        if egress.dlp_action == crate::manifest::DlpAction::Warn {
            notes.push(
                "dlp_action is warn: secrets that are found leave nevertheless, with an audit line".into(),
            );
        }
        if !egress.private_hosts.is_empty() {
            notes.push(format!("may reach private addresses of: {}", egress.private_hosts.join(", ")));
        }
        if self.bottle.egress.http.is_empty() {
            return notes;
        }
        notes.push(format!("unencrypted http is allowed to: {}", self.bottle.egress.http.join(", ")));
        notes
    }

    fn expand(&self, path: &str) -> PathBuf {
        path.strip_prefix("~/").map_or_else(|| PathBuf::from(path), |rest| self.facts.home.join(rest))
    }
}

fn resources(bottle: &BottleManifest) -> Resources {
    let wish = bottle.resources;
    Resources {
        memory_bytes: wish.memory_bytes.unwrap_or(DEFAULT_RESOURCES.memory_bytes),
        // The manifest bounds cpus, so the product fits; the cast saturates anyway.
        nano_cpus: wish.cpus.map(|cpus| (cpus * 1e9).round() as u64),
        pids: wish.pids.unwrap_or(DEFAULT_RESOURCES.pids),
    }
}

/// "did you mean …; known: …", or what to do when nothing is known.
fn choices(found: &str, known: &[&str], kind: &str) -> String {
    match nearest(found, known) {
        Some(name) => format!("did you mean {name:?}? {kind}: {}", known.join(", ")),
        None if known.is_empty() => format!("there are no {kind}"),
        None => format!("{kind}: {}", known.join(", ")),
    }
}
