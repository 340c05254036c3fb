//! [`EgressPlan`]: the egress part of a plan, in full: defaults, the manifest's wishes and SSH together.
//!
//! Data only; holds names of secrets, never their values.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::egress::DEFAULT_HOSTS;
use crate::manifest::{
    CredentialEntry, CredentialSource, DlpAction, EgressLimits, EgressManifest, EgressRule,
};

/// What an agent sees in place of a credential. Harmless to every DLP rule.
pub const PLACEHOLDER: &str = "held-by-bottle";
/// The host's variable with the token of Claude Code.
pub const OAUTH_VAR: &str = "CLAUDE_BOTTLE_OAUTH_TOKEN";
/// The agent's variable that holds the placeholder of that token.
pub const OAUTH_AGENT_VAR: &str = "CLAUDE_CODE_OAUTH_TOKEN";

/// A header that the broker sets on requests to one host.
///
/// `ANTHROPIC_API_KEY` has no special path: it is brokered only when the manifest names it in `credentials`.
pub type HeaderCredential = CredentialEntry;

/// The only raw tunnel: one host, one port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SshRoute {
    /// DNS name.
    pub hostname: String,
    /// Port.
    pub port: u16,
}

/// Everything that decides what may leave a bottle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressPlan {
    /// Hosts for TLS on port 443: the defaults and the manifest's, sorted. An SSH host is not on it, but the
    /// gate lets its one port through as well.
    pub allowlist: Vec<String>,
    /// The part of the list that the manifest added.
    pub added: Vec<String>,
    /// What a DLP finding does.
    pub dlp_action: DlpAction,
    /// Headers set by the broker, by host and header.
    pub credentials: Vec<HeaderCredential>,
    /// Methods and paths by host.
    pub rules: BTreeMap<String, Vec<EgressRule>>,
    /// Hosts with websockets.
    pub websocket: Vec<String>,
    /// Hosts with plain http.
    pub http: Vec<String>,
    /// SSH tunnels.
    pub ssh: Vec<SshRoute>,
    /// PEM bundles trusted upstream besides the public roots (host paths).
    pub extra_ca: Vec<PathBuf>,
    /// Fixed addresses of names.
    pub extra_hosts: BTreeMap<String, IpAddr>,
    /// Names that may resolve to private addresses.
    pub private_hosts: Vec<String>,
    /// Bounds.
    pub limits: EgressLimits,
}

impl EgressPlan {
    /// Unites the defaults, the manifest and the SSH routes. `oauth` adds the credential of Claude Code.
    pub(super) fn unite(manifest: &EgressManifest, ssh: Vec<SshRoute>, oauth: bool) -> Self {
        let mut hosts: BTreeSet<String> = DEFAULT_HOSTS.iter().map(ToString::to_string).collect();
        let wished = manifest.allowlist.iter().chain(&manifest.http).chain(&manifest.websocket);
        hosts.extend(wished.cloned());
        hosts.extend(manifest.credentials.iter().map(|credential| credential.host.clone()));
        let added = hosts.iter().filter(|host| !DEFAULT_HOSTS.contains(&host.as_str())).cloned().collect();
        let mut credentials = manifest.credentials.clone();
        if oauth {
            credentials.push(oauth_credential());
        }
        credentials.sort_by(|a, b| (&a.host, &a.header).cmp(&(&b.host, &b.header)));
        Self {
            allowlist: hosts.into_iter().collect(),
            added,
            dlp_action: manifest.dlp_action,
            credentials,
            rules: manifest.rules.clone(),
            websocket: manifest.websocket.clone(),
            http: manifest.http.clone(),
            ssh,
            extra_ca: Vec::new(),
            extra_hosts: manifest.extra_hosts.clone(),
            private_hosts: manifest.private_hosts.clone(),
            limits: manifest.limits,
        }
    }
}

/// The credential of Claude Code's own subscription token.
pub(super) fn oauth_credential() -> HeaderCredential {
    CredentialEntry {
        host: "api.anthropic.com".to_owned(),
        header: "authorization".to_owned(),
        prefix: "Bearer ".to_owned(),
        source: CredentialSource::Env { var: OAUTH_VAR.to_owned() },
        agent_env: Some(OAUTH_AGENT_VAR.to_owned()),
    }
}
