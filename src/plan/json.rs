//! The plan as JSON: a stable contract. Adding keys is fine; renaming or removing one needs a new version.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;
use serde_json::Value;

use super::launch::LaunchPlan;
use crate::ids::Role;
use crate::manifest::{CredentialSource, EgressRule, EnvValue};

/// Version of the contract.
pub const SCHEMA_VERSION: u32 = 1;

/// The plan as `start --dry-run --format json` prints it. Holds names and sources, never a value.
pub fn to_json(plan: &LaunchPlan) -> Value {
    // All keys are texts and all numbers finite, so this cannot fail; null would show at once in the goldens.
    serde_json::to_value(document(plan)).unwrap_or(Value::Null)
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    backend: &'a str,
    agent: &'a str,
    bottle: &'a str,
    slug: &'a str,
    container_name: &'a str,
    image: Image<'a>,
    runtime: Option<&'a str>,
    sidecars: Vec<Sidecar<'a>>,
    networks: Networks<'a>,
    env: Vec<EnvEntry<'a>>,
    prompt: Prompt,
    skills: Vec<&'a str>,
    ssh: Vec<Ssh<'a>>,
    egress: Egress<'a>,
    copy_cwd: bool,
    user_cwd: String,
    remote_control: bool,
    detach: bool,
    resources: Resources,
    restart: &'static str,
    command: Option<&'a [String]>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Image<'a> {
    reference: &'a str,
    digest: &'a str,
}

#[derive(Serialize)]
struct Sidecar<'a> {
    role: &'static str,
    name: &'a str,
    image: Image<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<&'static str>,
}

#[derive(Serialize)]
struct Networks<'a> {
    int: &'a str,
    mid: &'a str,
    egress: &'a str,
    pool: String,
}

#[derive(Serialize)]
struct EnvEntry<'a> {
    name: &'a str,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    var: Option<&'a str>,
}

#[derive(Serialize)]
struct Prompt {
    present: bool,
    length: usize,
}

#[derive(Serialize)]
struct Ssh<'a> {
    #[serde(rename = "Host")]
    host: &'a str,
    #[serde(rename = "Hostname")]
    hostname: &'a str,
    #[serde(rename = "Port")]
    port: u16,
    #[serde(rename = "User")]
    user: Option<&'a str>,
    pinned: bool,
}

#[derive(Serialize)]
struct Egress<'a> {
    allowlist: &'a [String],
    dlp_action: &'static str,
    credentials: Vec<Credential<'a>>,
    rules: BTreeMap<&'a str, Vec<Rule<'a>>>,
    websocket: &'a [String],
    http: &'a [String],
    extra_ca: Vec<String>,
    extra_hosts: &'a BTreeMap<String, IpAddr>,
    private_hosts: &'a [String],
    limits: Limits,
}

#[derive(Serialize)]
struct Credential<'a> {
    host: &'a str,
    header: &'a str,
    source: &'static str,
    agent_env: Option<&'a str>,
}

#[derive(Serialize)]
struct Rule<'a> {
    methods: &'a [String],
    paths: &'a [String],
}

#[derive(Serialize)]
struct Limits {
    max_body_bytes: Option<u64>,
    verdict_timeout_ms: Option<u32>,
}

#[derive(Serialize)]
struct Resources {
    memory_bytes: u64,
    cpus: Option<f64>,
    pids: u32,
}

fn document(plan: &LaunchPlan) -> Document<'_> {
    Document {
        schema_version: SCHEMA_VERSION,
        backend: plan.backend(),
        agent: plan.agent(),
        bottle: plan.bottle(),
        slug: plan.slug().as_str(),
        container_name: &plan.names().agent,
        image: image(plan, Role::Agent),
        runtime: plan.runtime(),
        sidecars: [Role::Pipelock, Role::Mitmproxy].map(|role| sidecar(plan, role)).into(),
        networks: Networks {
            int: &plan.names().int,
            mid: &plan.names().mid,
            egress: plan.egress_network(),
            pool: plan.pool().to_string(),
        },
        env: env(plan),
        prompt: Prompt {
            present: plan.prompt().is_some(),
            length: plan.prompt().map_or(0, |prompt| prompt.chars().count()),
        },
        skills: plan.skills().iter().map(|skill| skill.name.as_str()).collect(),
        ssh: plan
            .ssh()
            .iter()
            .map(|entry| Ssh {
                host: &entry.host,
                hostname: &entry.hostname,
                port: entry.port,
                user: entry.user.as_deref(),
                pinned: entry.known_host_key.is_some(),
            })
            .collect(),
        egress: egress(plan),
        copy_cwd: plan.copy_cwd(),
        user_cwd: plan.user_cwd().display().to_string(),
        remote_control: plan.remote_control(),
        detach: plan.detach(),
        resources: Resources {
            memory_bytes: plan.resources().memory_bytes,
            cpus: plan.resources().nano_cpus.map(|nano| nano as f64 / 1e9),
            pids: plan.resources().pids,
        },
        restart: plan.restart().as_str(),
        command: plan.command(),
        notes: plan.notes(),
    }
}

fn image(plan: &LaunchPlan, role: Role) -> Image<'_> {
    plan.image(role).map_or(Image { reference: "", digest: "" }, |image| Image {
        reference: image.reference.as_str(),
        digest: &image.digest,
    })
}

fn sidecar(plan: &LaunchPlan, role: Role) -> Sidecar<'_> {
    Sidecar {
        role: role.as_str(),
        name: plan.names().member(role),
        image: image(plan, role),
        engine: (role == Role::Pipelock).then(|| plan.engine().as_str()),
    }
}

fn env(plan: &LaunchPlan) -> Vec<EnvEntry<'_>> {
    let mut entries: Vec<_> = plan
        .env()
        .iter()
        .map(|(name, value)| match value {
            EnvValue::Literal(_) => EnvEntry { name, source: "literal", var: None },
            EnvValue::Host { var } => EnvEntry { name, source: "host", var: Some(var) },
            EnvValue::Prompt { .. } => EnvEntry { name, source: "prompt", var: None },
        })
        .collect();
    let placeholders =
        plan.egress().credentials.iter().filter_map(|credential| credential.agent_env.as_deref());
    entries.extend(placeholders.map(|name| EnvEntry { name, source: "placeholder", var: None }));
    entries
}

fn egress(plan: &LaunchPlan) -> Egress<'_> {
    let egress = plan.egress();
    Egress {
        allowlist: &egress.allowlist,
        dlp_action: egress.dlp_action.as_str(),
        credentials: egress
            .credentials
            .iter()
            .map(|credential| Credential {
                host: &credential.host,
                header: &credential.header,
                source: match credential.source {
                    CredentialSource::Env { .. } => "env",
                    CredentialSource::File { .. } => "file",
                    CredentialSource::Command { .. } => "command",
                },
                agent_env: credential.agent_env.as_deref(),
            })
            .collect(),
        rules: egress
            .rules
            .iter()
            .map(|(host, rules)| (host.as_str(), rules.iter().map(rule).collect()))
            .collect(),
        websocket: &egress.websocket,
        http: &egress.http,
        extra_ca: egress.extra_ca.iter().map(|path| path.display().to_string()).collect(),
        extra_hosts: &egress.extra_hosts,
        private_hosts: &egress.private_hosts,
        limits: Limits {
            max_body_bytes: egress.limits.body_bytes,
            verdict_timeout_ms: egress.limits.verdict_timeout_ms,
        },
    }
}

fn rule(rule: &EgressRule) -> Rule<'_> {
    Rule { methods: &rule.methods, paths: &rule.paths }
}
