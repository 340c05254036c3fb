//! What the sidecars are told through their standard input: policy, certificate authority, secrets.
//!
//! Built from plan, material and ground at launch; held in memory only.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::egress::EgressPlan;
use super::launch::LaunchPlan;
use super::material::Material;
use super::members::MITMPROXY_PORT;
use super::spec::Ground;
use crate::egress::{
    BottleCa, Control, CredentialRule, DlpAction, EgressPolicy, ExactSecret, GateAddress, HostName,
    HostPattern, HostPatternError, InterceptorConfig, Limits, ListenAddress, PathRule, PipelockListen,
    SecretValues, SshDestination, pipelock_config,
};
use crate::ids::{BottleId, Role, Secret};
use crate::manifest;

/// CONNECT and health port of the gate.
const GATE_PORT: u16 = 8888;
/// Scan API port of the gate.
const SCAN_PORT: u16 = 8890;
/// Every interface of a sidecar; each has only inner networks, or refuses what is not for it.
const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The first bytes of each sidecar's standard input.
#[derive(Debug)]
pub struct LaunchMaterial {
    pipelock: Secret<String>,
    mitmproxy: Secret<String>,
}

impl LaunchMaterial {
    /// What a role is told; nothing for the agent, which holds no secret.
    pub fn for_role(&self, role: Role) -> Option<Secret<String>> {
        match role {
            Role::Pipelock => Some(self.pipelock.clone()),
            Role::Mitmproxy => Some(self.mitmproxy.clone()),
            Role::Agent => None,
        }
    }
}

/// Why the material could not be made. Never quotes a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchMaterialError {
    /// A host of the plan is not one the policy accepts.
    #[error("host {host:?} of the egress plan")]
    Host {
        /// The text.
        host: String,
        /// What is wrong with it.
        #[source]
        source: HostPatternError,
    },
    /// Rendering failed.
    #[error("render the configuration of {0}")]
    Render(Role),
}

/// Renders both.
///
/// # Errors
/// A host that the policy's own, stricter rules refuse.
pub fn of(
    plan: &LaunchPlan,
    material: &Material,
    ground: &Ground,
    ca: &BottleCa,
    bottle: &BottleId,
) -> Result<LaunchMaterial, LaunchMaterialError> {
    let policy = policy(plan.egress())?;
    let secrets = secrets(&policy, material);
    let listen =
        PipelockListen { bottle: bottle.clone(), host: ANY, proxy_port: GATE_PORT, scan_port: SCAN_PORT };
    let pipelock = pipelock_config(&policy, &listen, material.scan_token(), &secrets.exact)
        .map_err(|_| LaunchMaterialError::Render(Role::Pipelock))?;
    let interceptor = InterceptorConfig {
        bottle: bottle.clone(),
        ca: ca.clone(),
        listen: ListenAddress { host: ANY, port: MITMPROXY_PORT },
        gate: GateAddress { host: ground.pipelock_mid.into(), proxy_port: GATE_PORT, scan_port: SCAN_PORT },
        scan_token: material.scan_token().clone(),
        confdir: "/run/mitm".to_owned(),
        policy,
        secrets,
        extra_ca_pem: Some(material.extra_ca().to_owned()).filter(|pem| !pem.is_empty()),
    };
    let mitmproxy = interceptor.to_line().map_err(|_| LaunchMaterialError::Render(Role::Mitmproxy))?;
    Ok(LaunchMaterial { pipelock, mitmproxy })
}

/// The control line that asks for the end-to-end probe.
///
/// # Errors
/// Rendering failed.
pub fn probe_line(id: u64) -> Result<Secret<String>, LaunchMaterialError> {
    Control::Probe(id).to_line().map_err(|_| LaunchMaterialError::Render(Role::Mitmproxy))
}

/// The control line that closes the egress.
///
/// # Errors
/// Rendering failed.
pub fn halt_line() -> Result<Secret<String>, LaunchMaterialError> {
    Control::Halt.to_line().map_err(|_| LaunchMaterialError::Render(Role::Mitmproxy))
}

fn secrets(policy: &EgressPolicy, material: &Material) -> SecretValues {
    let named =
        |name: &str, value: &Secret<String>| ExactSecret { name: name.to_owned(), value: value.clone() };
    let mut exact: Vec<_> = material.env().iter().map(|(name, value)| named(name, value)).collect();
    let mut credentials = BTreeMap::new();
    for (rule, (_, value)) in policy.credentials.iter().zip(material.credentials()) {
        exact.push(named(&rule.name, value));
        credentials.insert(rule.name.clone(), value.clone());
    }
    SecretValues { exact, credentials }
}

fn policy(plan: &EgressPlan) -> Result<EgressPolicy, LaunchMaterialError> {
    let mut rules = Vec::new();
    for (host, entries) in &plan.rules {
        for entry in entries {
            rules.push(PathRule {
                host: pattern(host)?,
                methods: entry.methods.clone(),
                paths: entry.paths.clone(),
            });
        }
    }
    let ssh =
        plan.ssh.iter().map(|route| Ok(SshDestination { host: name(&route.hostname)?, port: route.port }));
    let credentials = plan.credentials.iter().enumerate().map(|(n, credential)| {
        Ok(CredentialRule {
            name: format!("credential-{}", n + 1),
            host: name(&credential.host)?,
            header: credential.header.clone(),
            prefix: Some(credential.prefix.clone()).filter(|prefix| !prefix.is_empty()),
        })
    });
    let extra_hosts = plan.extra_hosts.iter().map(|(host, ip)| Ok((name(host)?, *ip)));
    let limits = Limits::default();
    Ok(EgressPolicy {
        generation: 1,
        allowlist: web_hosts(plan)?,
        dlp_action: match plan.dlp_action {
            manifest::DlpAction::Block => DlpAction::Block,
            manifest::DlpAction::Warn => DlpAction::Warn,
        },
        ports: vec![443],
        http_hosts: patterns(&plan.http)?,
        websocket_hosts: patterns(&plan.websocket)?,
        ssh: ssh.collect::<Result<_, _>>()?,
        credentials: credentials.collect::<Result<_, _>>()?,
        rules,
        limits: Limits {
            body_limit_bytes: plan.limits.body_bytes.unwrap_or(limits.body_limit_bytes),
            verdict_deadline_ms: plan.limits.verdict_timeout_ms.map_or(limits.verdict_deadline_ms, u64::from),
            ..limits
        },
        private_hosts: patterns(&plan.private_hosts)?,
        extra_hosts: extra_hosts.collect::<Result<_, _>>()?,
        extra_ca: !plan.extra_ca.is_empty(),
    })
}

/// Hosts for TLS. A host that is on the list only for SSH is not thereby allowed over HTTPS.
fn web_hosts(plan: &EgressPlan) -> Result<Vec<HostPattern>, LaunchMaterialError> {
    patterns(plan.allowlist.iter().filter(|host| !plan.ssh_only.contains(*host)))
}

fn patterns<'a>(
    hosts: impl IntoIterator<Item = &'a String>,
) -> Result<Vec<HostPattern>, LaunchMaterialError> {
    hosts.into_iter().map(|host| pattern(host)).collect()
}

fn pattern(host: &str) -> Result<HostPattern, LaunchMaterialError> {
    HostPattern::parse(host).map_err(|source| LaunchMaterialError::Host { host: host.to_owned(), source })
}

fn name(host: &str) -> Result<HostName, LaunchMaterialError> {
    HostName::parse(host).map_err(|source| LaunchMaterialError::Host { host: host.to_owned(), source })
}
