//! What the sidecars are told through their standard input: policy, certificate authority, secrets.
//!
//! Built from plan, material and ground at launch; held in memory only.

use std::net::{IpAddr, Ipv4Addr};

use super::launch::LaunchPlan;
use super::material::Material;
use super::members::MITMPROXY_PORT;
use super::spec::Ground;
use crate::egress::{
    BottleCa, Control, GateAddress, HostPatternError, InterceptorConfig, ListenAddress, PipelockListen,
    pipelock_config,
};
use crate::ids::{BottleId, Role, Secret};

/// CONNECT and health port of the gate.
const GATE_PORT: u16 = 8888;
/// Scan API port of the gate.
const SCAN_PORT: u16 = 8890;
/// Every interface of mitmproxy: it has inner networks only, and its own probe comes over loopback.
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
    #[error("turn the egress plan into a policy")]
    Host(#[from] HostPatternError),
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
    let policy = plan.policy()?;
    let secrets = material.secret_values();
    // On the middle network only: nobody on the shared egress network has business with the gate.
    let gate = ground.pipelock_mid.into();
    let listen =
        PipelockListen { bottle: bottle.clone(), host: gate, proxy_port: GATE_PORT, scan_port: SCAN_PORT };
    let pipelock = pipelock_config(&policy, &listen, material.scan_token(), &secrets.exact)
        .map_err(|_| LaunchMaterialError::Render(Role::Pipelock))?;
    let interceptor = InterceptorConfig {
        bottle: bottle.clone(),
        ca: ca.clone(),
        listen: ListenAddress { host: ANY, port: MITMPROXY_PORT },
        gate: GateAddress { host: gate, proxy_port: GATE_PORT, scan_port: SCAN_PORT },
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
    Control::Probe { id, quiet: false }.to_line().map_err(|_| LaunchMaterialError::Render(Role::Mitmproxy))
}

/// The control line that asks for the end-to-end probe without audit lines, for probes that are repeated.
///
/// # Errors
/// Rendering failed.
pub fn quiet_probe_line(id: u64) -> Result<Secret<String>, LaunchMaterialError> {
    Control::Probe { id, quiet: true }.to_line().map_err(|_| LaunchMaterialError::Render(Role::Mitmproxy))
}

/// The control line that asks whether the interceptor's event loop turns.
///
/// # Errors
/// Rendering failed.
pub fn ping_line(id: u64) -> Result<Secret<String>, LaunchMaterialError> {
    Control::Ping(id).to_line().map_err(|_| LaunchMaterialError::Render(Role::Mitmproxy))
}

/// The control line that closes the egress.
///
/// # Errors
/// Rendering failed.
pub fn halt_line() -> Result<Secret<String>, LaunchMaterialError> {
    Control::Halt.to_line().map_err(|_| LaunchMaterialError::Render(Role::Mitmproxy))
}

/// The control line that opens it again.
///
/// # Errors
/// Rendering failed.
pub fn resume_line() -> Result<Secret<String>, LaunchMaterialError> {
    Control::Resume.to_line().map_err(|_| LaunchMaterialError::Render(Role::Mitmproxy))
}
