//! The validated manifest: what the rest of the program reads.
//!
//! Built by [`super::validate`] from the syntax tree, never by serde from user input, so that all findings
//! are reported at once. Serialisable because the plan (which holds parts of it) is stored for adoption.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Everything a user wrote, merged and validated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    /// Bottles by name.
    pub bottles: BTreeMap<String, BottleManifest>,
    /// Agents by name; each names an existing bottle.
    pub agents: BTreeMap<String, AgentManifest>,
}

/// One bottle: what the agents that name it may see and reach.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BottleManifest {
    /// Environment of the agent, by name.
    pub env: BTreeMap<String, EnvValue>,
    /// SSH servers the agent may reach, with the key it signs with.
    pub ssh: Vec<SshEntry>,
    /// What may leave.
    pub egress: EgressManifest,
    /// Image of the agent; `None` = the configured one.
    pub image: Option<String>,
    /// Limits of the agent.
    pub resources: ResourcesManifest,
    /// What happens when the agent ends.
    pub restart: Restart,
    /// Command to run in place of Claude Code.
    pub command: Option<Vec<String>>,
}

/// One agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentManifest {
    /// Name of its bottle.
    pub bottle: String,
    /// Directory names under `~/.claude/skills`.
    pub skills: Vec<String>,
    /// Text appended to the system prompt.
    pub prompt: Option<String>,
}

/// Where the value of a variable comes from.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvValue {
    /// Written in the manifest.
    Literal(String),
    /// Taken from the host's environment.
    Host {
        /// Name of the host's variable.
        var: String,
    },
    /// Asked on the terminal, without echo.
    Prompt {
        /// The question.
        text: String,
    },
}

impl fmt::Debug for EnvValue {
    /// Leaves literal values out: people write secrets there although they should not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(value) => write!(f, "Literal({} bytes)", value.len()),
            Self::Host { var } => write!(f, "Host({var})"),
            Self::Prompt { text } => write!(f, "Prompt({text:?})"),
        }
    }
}

/// One SSH server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshEntry {
    /// The alias the agent uses.
    pub host: String,
    /// Path of the private key on the host; absolute or below `~/`.
    pub identity_file: String,
    /// The server's DNS name; [`SshEntry::host`] when not given.
    pub hostname: String,
    /// Login name; `None` leaves it to the command (`git@…`).
    pub user: Option<String>,
    /// Port, 22 when not given.
    pub port: u16,
    /// The server's public key; without it the first connection is refused.
    pub known_host_key: Option<String>,
}

/// What happens when the agent's container ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Restart {
    /// The bottle ends with it.
    #[default]
    Temporary,
    /// Started again after a failure.
    Transient,
    /// Always started again.
    Permanent,
}

impl Restart {
    /// The word of the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Temporary => "temporary",
            Self::Transient => "transient",
            Self::Permanent => "permanent",
        }
    }
}

/// Limits of the agent; `None` = default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ResourcesManifest {
    /// Memory and swap together, in bytes.
    pub memory_bytes: Option<u64>,
    /// Cores.
    pub cpus: Option<f64>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

/// What a DLP finding does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DlpAction {
    /// The request is denied.
    #[default]
    Block,
    /// The request passes with an audit event.
    Warn,
}

impl DlpAction {
    /// The word of the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Warn => "warn",
        }
    }
}

/// What may leave a bottle, as the user wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressManifest {
    /// Hosts beyond the default ones: lower-cased names, optionally with a leading `*.`.
    pub allowlist: Vec<String>,
    /// What a DLP finding does.
    pub dlp_action: DlpAction,
    /// Headers set by the broker, so that the agent holds no real credential.
    pub credentials: Vec<CredentialEntry>,
    /// Methods and paths by host; a host without rules allows all of them.
    pub rules: BTreeMap<String, Vec<EgressRule>>,
    /// Hosts to which websockets are allowed.
    pub websocket: Vec<String>,
    /// Hosts to which plain http is allowed.
    pub http: Vec<String>,
    /// Path of a PEM bundle that is trusted upstream besides the public roots.
    pub extra_ca: Option<String>,
    /// Fixed addresses of names.
    pub extra_hosts: BTreeMap<String, IpAddr>,
    /// Names that may resolve to private addresses.
    pub private_hosts: Vec<String>,
    /// Bounds of one request and of the whole traffic.
    pub limits: EgressLimits,
}

/// One header that the broker sets on requests to one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialEntry {
    /// Exact host name.
    pub host: String,
    /// Header name, lower case.
    pub header: String,
    /// Text put before the secret (`Bearer `).
    pub prefix: String,
    /// Where the secret comes from.
    pub source: CredentialSource,
    /// Variable of the agent that gets the placeholder.
    pub agent_env: Option<String>,
}

/// Where a credential comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialSource {
    /// A variable of the host.
    Env {
        /// Its name.
        var: String,
    },
    /// A file of the host; its content without surrounding white space.
    File {
        /// Its path; absolute or below `~/`.
        path: String,
    },
    /// A command run on the host; its standard output without surrounding white space.
    Command {
        /// Program and arguments; no shell.
        argv: Vec<String>,
    },
}

/// Methods and paths allowed on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressRule {
    /// Upper-case methods; empty = all.
    pub methods: Vec<String>,
    /// Path globs (`*` within a segment, `**` across segments); empty = all.
    pub paths: Vec<String>,
}

/// Bounds of the traffic; `None` = default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressLimits {
    /// Largest request body in bytes.
    pub body_bytes: Option<u64>,
    /// Longest wait for a verdict in milliseconds.
    pub verdict_timeout_ms: Option<u32>,
}
