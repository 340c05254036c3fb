//! The plan's wishes and values in the egress module's own types.

use crate::egress::{
    CredentialRule, DlpAction, EgressPolicy, ExactSecret, HostName, HostPattern, HostPatternError, Limits,
    PathRule, SecretValues, SshDestination,
};
use crate::ids::Secret;
use crate::manifest;

use super::egress::{EgressPlan, HeaderCredential};
use super::launch::LaunchPlan;
use super::material::Material;

/// The name by which a brokered value travels beside the policy: `host/header`.
pub fn credential_name(credential: &HeaderCredential) -> String {
    format!("{}/{}", credential.host, credential.header)
}

impl EgressPlan {
    /// The policy of generation 1.
    ///
    /// # Errors
    /// A host that is none. Cannot happen in a plan made by `resolve`, but in a stored one that was tampered with.
    pub fn policy(&self) -> Result<EgressPolicy, HostPatternError> {
        let patterns = |hosts: &[String]| {
            hosts.iter().map(|host| HostPattern::parse(host)).collect::<Result<Vec<_>, _>>()
        };
        let mut rules = Vec::new();
        for (host, list) in &self.rules {
            let host = HostPattern::parse(host)?;
            rules.extend(list.iter().map(|rule| PathRule {
                host: host.clone(),
                methods: rule.methods.clone(),
                paths: rule.paths.clone(),
            }));
        }
        Ok(EgressPolicy {
            generation: 1,
            allowlist: patterns(&self.allowlist)?,
            dlp_action: match self.dlp_action {
                manifest::DlpAction::Block => DlpAction::Block,
                manifest::DlpAction::Warn => DlpAction::Warn,
            },
            ports: vec![443],
            http_hosts: patterns(&self.http)?,
            websocket_hosts: patterns(&self.websocket)?,
            ssh: self
                .ssh
                .iter()
                .map(|route| Ok(SshDestination { host: HostName::parse(&route.hostname)?, port: route.port }))
                .collect::<Result<_, _>>()?,
            credentials: self
                .credentials
                .iter()
                .map(|credential| {
                    Ok(CredentialRule {
                        name: credential_name(credential),
                        host: HostName::parse(&credential.host)?,
                        header: credential.header.clone(),
                        prefix: Some(credential.prefix.clone()).filter(|prefix| !prefix.is_empty()),
                    })
                })
                .collect::<Result<_, _>>()?,
            rules,
            limits: self.policy_limits(),
            private_hosts: patterns(&self.private_hosts)?,
            extra_hosts: self
                .extra_hosts
                .iter()
                .map(|(name, ip)| Ok((HostName::parse(name)?, *ip)))
                .collect::<Result<_, _>>()?,
            extra_ca: !self.extra_ca.is_empty(),
        })
    }
    fn policy_limits(&self) -> Limits {
        let defaults = Limits::default();
        let verdict = self.limits.verdict_timeout_ms.map_or(defaults.verdict_deadline_ms, u64::from);
        Limits {
            body_limit_bytes: self.limits.body_bytes.unwrap_or(defaults.body_limit_bytes),
            // One call must not outlast the verdict it is a part of.
            scan_deadline_ms: defaults.scan_deadline_ms.min(verdict),
            verdict_deadline_ms: verdict,
            ..defaults
        }
    }
}

impl LaunchPlan {
    /// The policy the bottle starts with.
    ///
    /// # Errors
    /// As [`EgressPlan::policy`].
    pub fn policy(&self) -> Result<EgressPolicy, HostPatternError> {
        self.egress().policy()
    }
}

impl Material {
    /// The values that belong to the policy: what must not leave, and what the broker sets.
    pub fn secret_values(&self) -> SecretValues {
        let exact = |name: String, value: &Secret<String>| ExactSecret { name, value: value.clone() };
        let env = self.env().iter().map(|(name, value)| exact(name.clone(), value));
        let brokered =
            self.credentials().map(|(credential, value)| exact(credential_name(credential), value));
        SecretValues {
            exact: env.chain(brokered).collect(),
            credentials: self
                .credentials()
                .map(|(credential, value)| (credential_name(credential), value.clone()))
                .collect(),
        }
    }
}
