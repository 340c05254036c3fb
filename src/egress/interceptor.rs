//! What is said to and heard from the interceptor: one JSON object a line, in both directions.
//!
//! The configuration line and the policy line carry secrets, so they are [`Secret`]; what comes back is
//! untrusted input and is parsed defensively.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{audit::AuditRecord, ca::BottleCa, exact::ExactSecret, policy::EgressPolicy};
use crate::ids::{BottleId, Secret};

/// Longest line accepted from the interceptor, in bytes.
pub const MAX_EVENT_LINE_BYTES: usize = 64 << 10;

/// Version of the configuration line; the addon refuses any other.
const CONFIG_VERSION: u32 = 1;

/// Where the interceptor listens for the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListenAddress {
    /// Its address on the bottle's inner network, or `0.0.0.0`.
    pub host: IpAddr,
    /// Normally 8080.
    pub port: u16,
}

/// Where the gate listens for the interceptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GateAddress {
    /// The gate's fixed address on the middle network.
    pub host: IpAddr,
    /// CONNECT port, normally 8888.
    pub proxy_port: u16,
    /// Scan API port, normally 8890.
    pub scan_port: u16,
}

/// The secret values that belong to a policy.
#[derive(Clone, Debug, Default)]
pub struct SecretValues {
    /// Values that must not leave.
    pub exact: Vec<ExactSecret>,
    /// Values of brokered credentials by [`super::CredentialRule::name`].
    pub credentials: BTreeMap<String, Secret<String>>,
}

/// Everything the interceptor is told at start.
#[derive(Clone, Debug)]
pub struct InterceptorConfig {
    /// Named in every audit line.
    pub bottle: BottleId,
    /// Signs the leaves shown to the agent.
    pub ca: BottleCa,
    /// Where to listen.
    pub listen: ListenAddress,
    /// The only address it ever dials.
    pub gate: GateAddress,
    /// Bearer token of the scan API.
    pub scan_token: Secret<String>,
    /// Directory on a tmpfs, for the moment mitmproxy needs the CA as a file.
    pub confdir: String,
    /// The policy in force.
    pub policy: EgressPolicy,
    /// Secret values of that policy.
    pub secrets: SecretValues,
    /// PEM bundle trusted upstream in addition to the public roots.
    pub extra_ca_pem: Option<String>,
}

impl InterceptorConfig {
    /// The first line of the interceptor's standard input, ending in a newline.
    ///
    /// # Errors
    /// `serde_json` cannot fail on these types; its error is passed on rather than assumed away.
    pub fn to_line(&self) -> Result<Secret<String>, serde_json::Error> {
        line(&ConfigLine {
            version: CONFIG_VERSION,
            bottle: self.bottle.as_str(),
            ca: CaPair {
                certificate_pem: self.ca.certificate_pem(),
                private_key_pem: self.ca.private_key_pem().expose_secret(),
            },
            listen: &self.listen,
            gate: &self.gate,
            scan_token: self.scan_token.expose_secret(),
            confdir: &self.confdir,
            policy: &self.policy,
            exact_secrets: exposed_exact(&self.secrets),
            credentials: exposed_credentials(&self.secrets),
            extra_ca_pem: self.extra_ca_pem.as_deref(),
        })
    }
}

/// A line to the running interceptor.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Control {
    /// Deny everything from now on, open connections included. Answered by [`InterceptorEvent::Halted`].
    Halt,
    /// End of a halt. Answered by [`InterceptorEvent::Resumed`].
    Resume,
    /// Replace policy and secret values as a whole; its generation must be higher than the one in force.
    /// Answered by [`InterceptorEvent::Policy`], or by a fault, and then the old one stays.
    Policy(Box<EgressPolicy>, SecretValues),
    /// Run the end-to-end probe. Answered by [`InterceptorEvent::Probe`] with the same id, also while the gate is
    /// down.
    Probe {
        /// Comes back with the outcome.
        id: u64,
        /// Write no audit lines for the requests of this probe.
        quiet: bool,
    },
    /// Say that the event loop turns. Answered by [`InterceptorEvent::Pong`] with the same id; asks the gate nothing.
    Ping(u64),
}

impl Control {
    /// The line, ending in a newline.
    ///
    /// # Errors
    /// As [`InterceptorConfig::to_line`].
    pub fn to_line(&self) -> Result<Secret<String>, serde_json::Error> {
        match self {
            Control::Halt => line(&ControlLine::Halt),
            Control::Resume => line(&ControlLine::Resume),
            Control::Policy(policy, secrets) => line(&ControlLine::Policy {
                policy,
                exact_secrets: exposed_exact(secrets),
                credentials: exposed_credentials(secrets),
            }),
            Control::Probe { id, quiet } => line(&ControlLine::Probe { id: *id, quiet: *quiet }),
            Control::Ping(id) => line(&ControlLine::Ping { id: *id }),
        }
    }
}

/// The single checks of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeChecks {
    /// The gate's `/health` answers.
    pub gate_health: bool,
    /// The gate refuses CONNECT to a host outside the list.
    pub gate_refuses: bool,
    /// The scan API denies such a host.
    pub scan_denies: bool,
    /// The interceptor refuses such a host.
    pub proxy_denies: bool,
    /// A request to an allowed host, over TLS with the bottle's CA, gets the gate's allow.
    pub proxy_allows: bool,
}

/// A line from the interceptor.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
#[non_exhaustive]
pub enum InterceptorEvent {
    /// Listening; the key file is gone from the tmpfs.
    Ready,
    /// A decision.
    Audit(AuditRecord),
    /// The outcome of a probe.
    Probe {
        /// The id of the request.
        id: u64,
        /// Whether every check passed.
        ok: bool,
        /// What failed, in words; empty when nothing did.
        detail: String,
        /// Duration in milliseconds.
        ms: f64,
        /// The single checks.
        checks: ProbeChecks,
    },
    /// The event loop turns.
    Pong {
        /// The id of the ping.
        id: u64,
    },
    /// Something failed inside; the request concerned was refused.
    Fault {
        /// Which part.
        r#where: String,
        /// Type of the failure; never quotes a request.
        error: String,
    },
    /// A new policy is in force.
    Policy {
        /// Its generation.
        generation: u64,
    },
    /// A halt is in force.
    Halted,
    /// A halt has ended.
    Resumed,
}

/// Why a line from the interceptor is no event. Never quotes the line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// Longer than [`MAX_EVENT_LINE_BYTES`].
    #[error("interceptor line of {0} bytes is longer than {MAX_EVENT_LINE_BYTES}")]
    TooLong(usize),
    /// Not UTF-8.
    #[error("interceptor line is not UTF-8")]
    NotText,
    /// Not a known event.
    #[error("interceptor line is not an event (column {column})")]
    NotAnEvent {
        /// Where the parser gave up, 1-based.
        column: usize,
    },
}

impl InterceptorEvent {
    /// Parses one line, with or without its newline.
    ///
    /// # Errors
    /// [`EventError`] for anything but a complete, known event.
    pub fn parse(line: &[u8]) -> Result<Self, EventError> {
        if line.len() > MAX_EVENT_LINE_BYTES {
            return Err(EventError::TooLong(line.len()));
        }
        let text = std::str::from_utf8(line).map_err(|_| EventError::NotText)?;
        serde_json::from_str(text.trim_end())
            .map_err(|error| EventError::NotAnEvent { column: error.column() })
    }
}

#[derive(Serialize)]
struct ConfigLine<'a> {
    version: u32,
    bottle: &'a str,
    ca: CaPair<'a>,
    listen: &'a ListenAddress,
    gate: &'a GateAddress,
    scan_token: &'a str,
    confdir: &'a str,
    policy: &'a EgressPolicy,
    exact_secrets: Vec<NamedValue<'a>>,
    credentials: BTreeMap<&'a str, &'a str>,
    extra_ca_pem: Option<&'a str>,
}

#[derive(Serialize)]
struct CaPair<'a> {
    certificate_pem: &'a str,
    private_key_pem: &'a str,
}

#[derive(Serialize)]
struct NamedValue<'a> {
    name: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum ControlLine<'a> {
    Halt,
    Resume,
    Policy {
        policy: &'a EgressPolicy,
        exact_secrets: Vec<NamedValue<'a>>,
        credentials: BTreeMap<&'a str, &'a str>,
    },
    Probe {
        id: u64,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        quiet: bool,
    },
    Ping {
        id: u64,
    },
}

fn exposed_exact(secrets: &SecretValues) -> Vec<NamedValue<'_>> {
    let searchable = secrets.exact.iter().filter(|secret| secret.is_searchable());
    searchable.map(|secret| NamedValue { name: &secret.name, value: secret.value.expose_secret() }).collect()
}

fn exposed_credentials(secrets: &SecretValues) -> BTreeMap<&str, &str> {
    secrets.credentials.iter().map(|(name, value)| (name.as_str(), value.expose_secret().as_str())).collect()
}

fn line<T: Serialize>(value: &T) -> Result<Secret<String>, serde_json::Error> {
    let mut text = serde_json::to_string(value)?;
    text.push('\n');
    Ok(Secret::new(text))
}

#[cfg(test)]
#[path = "interceptor_tests.rs"]
mod tests;
