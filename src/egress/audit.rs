//! One decision of the interceptor, as it is appended to the bottle's audit file.

use serde::{Deserialize, Serialize};

/// What was decided about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditKind {
    /// A decrypted request.
    Http,
    /// A CONNECT that was refused.
    Connect,
    /// An SSH tunnel: one record when it is granted (method `CONNECT`), one when it ends (method `CLOSE`).
    Ssh,
    /// A websocket handshake or message.
    Websocket,
}

/// The outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditVerdict {
    /// Let through.
    Allow,
    /// Let through despite content findings, because the policy says warn.
    Warn,
    /// Refused by a rule.
    Deny,
    /// Refused because nobody could judge.
    Unavailable,
}

/// One line of the audit file. Holds no body, no secret, and no query value in clear.
///
/// The line is written before the request leaves, so `bytes` is the request's size; only the closing record
/// of an SSH tunnel knows `bytes_received`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// RFC 3339 with milliseconds, UTC.
    pub time: String,
    /// The bottle's id.
    pub bottle: String,
    /// What was decided about.
    pub kind: AuditKind,
    /// Names one request; also the request id of its scan calls.
    pub flow_id: String,
    /// HTTP method, or `OTHER` for an unusual one.
    pub method: String,
    /// The host asked for, exact secrets masked.
    pub host: String,
    /// Path with hashed query values; hashed as a whole after a content finding; `:port` for tunnels.
    pub path: String,
    /// Body, message or tunnelled bytes towards upstream.
    pub bytes: u64,
    /// Tunnelled bytes towards the agent.
    #[serde(default)]
    pub bytes_received: u64,
    /// The outcome.
    pub verdict: AuditVerdict,
    /// Rules that were broken: `BOTTLE-…` of the interceptor, others of the gate.
    pub rule_ids: Vec<String>,
    /// The gate's id of the deciding scan, or empty.
    pub scan_id: String,
    /// Generation of the policy that decided.
    pub policy_generation: u64,
    /// Time until the decision, in milliseconds (for a closed tunnel: its life).
    pub ms: f64,
    /// Whether this was a probe of the runtime itself.
    #[serde(default)]
    pub probe: bool,
}
