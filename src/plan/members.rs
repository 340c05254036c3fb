//! A plan on its ground → the three containers, fixed to the last detail before the first create.

use std::collections::BTreeMap;
use std::time::Duration;

use super::egress::PLACEHOLDER;
use super::launch::LaunchPlan;
use super::spec::{Endpoint, Ground, GroundSpec, MemberSpec, Ownership, Resources, StdinMode, Tmpfs, Zone};
use crate::ids::{ImageRef, Role};
use crate::manifest::EnvValue;

/// Where mitmproxy listens for the agent.
pub const MITMPROXY_PORT: u16 = 8080;
/// The bottle's certificate inside the agent, alone in its file.
pub const CA_CERT_PATH: &str = "/usr/local/share/ca-certificates/claude-bottle-mitm.crt";
/// The agent's system bundle, with the bottle's certificate appended.
pub const CA_BUNDLE_PATH: &str = "/etc/ssl/certs/ca-certificates.crt";
/// The socket of the ssh-agent that belongs to root in the bottle.
pub const SSH_AUTH_SOCK: &str = "/run/bottle/ssh-agent.sock";

/// The uid of both sidecars: nobody on any usual image.
const SIDECAR_UID: u32 = 65532;
const SIDECAR_USER: &str = "65532:65532";
const MIB: u64 = 1024 * 1024;

/// The networks of a plan's bottle.
pub fn ground_spec(plan: &LaunchPlan, ownership: &Ownership) -> GroundSpec {
    GroundSpec {
        ownership: ownership.clone(),
        int_name: plan.names().int.clone(),
        mid_name: plan.names().mid.clone(),
        egress_name: plan.egress_network().to_owned(),
        pool: plan.pool(),
        subnets: None,
    }
}

/// The container of a role.
pub fn member(role: Role, plan: &LaunchPlan, ground: &Ground, ownership: &Ownership) -> MemberSpec {
    match role {
        Role::Pipelock => pipelock(plan, ground, ownership),
        Role::Mitmproxy => mitmproxy(plan, ground, ownership),
        Role::Agent => agent(plan, ground, ownership),
    }
}

/// The gate: the only member with a way out. Its configuration comes through standard input.
pub fn pipelock(plan: &LaunchPlan, ground: &Ground, ownership: &Ownership) -> MemberSpec {
    MemberSpec {
        argv: ["run", "-c", "/dev/stdin"].map(str::to_owned).to_vec(),
        // The first attachment gives the default route, so the way out comes first.
        endpoints: vec![
            Endpoint { zone: Zone::Egress, network: ground.spec.egress_name.clone(), address: None },
            Endpoint {
                zone: Zone::Mid,
                network: ground.spec.mid_name.clone(),
                address: Some(ground.pipelock_mid),
            },
        ],
        resources: Resources { memory_bytes: 256 * MIB, nano_cpus: None, pids: 64 },
        tmpfs: vec![Tmpfs { path: "/tmp".into(), size_bytes: 16 * MIB, mode: 0o700, uid: SIDECAR_UID }],
        extra_hosts: plan.egress().extra_hosts.iter().map(|(name, ip)| (name.clone(), *ip)).collect(),
        resolver: true,
        stdin: StdinMode::Once,
        ..sidecar(Role::Pipelock, plan, ownership)
    }
}

/// TLS interception. Material comes as the first line of standard input, control lines follow.
pub fn mitmproxy(plan: &LaunchPlan, ground: &Ground, ownership: &Ownership) -> MemberSpec {
    MemberSpec {
        endpoints: vec![
            Endpoint {
                zone: Zone::Int,
                network: ground.spec.int_name.clone(),
                address: Some(ground.mitmproxy_int),
            },
            Endpoint {
                zone: Zone::Mid,
                network: ground.spec.mid_name.clone(),
                address: Some(ground.mitmproxy_mid),
            },
        ],
        resources: Resources { memory_bytes: 512 * MIB, nano_cpus: None, pids: 128 },
        tmpfs: vec![
            Tmpfs { path: "/run/mitm".into(), size_bytes: 16 * MIB, mode: 0o700, uid: SIDECAR_UID },
            Tmpfs { path: "/tmp".into(), size_bytes: 64 * MIB, mode: 0o700, uid: SIDECAR_UID },
        ],
        stdin: StdinMode::Open,
        ..sidecar(Role::Mitmproxy, plan, ownership)
    }
}

/// Where the agent's processes run. Its first process sleeps; everything comes by exec.
pub fn agent(plan: &LaunchPlan, ground: &Ground, ownership: &Ownership) -> MemberSpec {
    MemberSpec {
        argv: ["sleep", "infinity"].map(str::to_owned).to_vec(),
        env: agent_env(plan, ground),
        // The first process is root (without capabilities), so that the agent's user can neither signal nor
        // trace it; commands run as the agent user.
        user: Some("0:0".to_owned()),
        endpoints: vec![Endpoint {
            zone: Zone::Int,
            network: ground.spec.int_name.clone(),
            address: Some(ground.agent_int),
        }],
        resources: plan.resources(),
        read_only: false,
        tmpfs: vec![Tmpfs { path: "/run/bottle".into(), size_bytes: 16 * MIB, mode: 0o755, uid: 0 }],
        init: true,
        runtime: plan.runtime().map(str::to_owned),
        stop_grace: Duration::from_secs(10),
        ..sidecar(Role::Agent, plan, ownership)
    }
}

/// What all members share; the roles override the rest.
fn sidecar(role: Role, plan: &LaunchPlan, ownership: &Ownership) -> MemberSpec {
    MemberSpec {
        ownership: ownership.clone(),
        role,
        name: plan.names().member(role).to_owned(),
        image: plan.image(role).map_or_else(|| ImageRef::new(""), |image| image.reference.clone()),
        entrypoint: Vec::new(),
        argv: Vec::new(),
        env: BTreeMap::new(),
        user: Some(SIDECAR_USER.to_owned()),
        workdir: None,
        endpoints: Vec::new(),
        resources: Resources { memory_bytes: 256 * MIB, nano_cpus: None, pids: 64 },
        read_only: true,
        tmpfs: Vec::new(),
        extra_hosts: Vec::new(),
        resolver: false,
        stdin: StdinMode::Closed,
        init: false,
        runtime: None,
        stop_grace: Duration::from_secs(2),
    }
}

/// The agent's environment: visible in `inspect`, so literals and placeholders only. Values from the host
/// or the terminal are given to each exec instead. `ALL_PROXY` stays unset: some clients take it for SOCKS.
fn agent_env(plan: &LaunchPlan, ground: &Ground) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for (name, value) in plan.env() {
        if let EnvValue::Literal(text) = value {
            env.insert(name.clone(), text.clone());
        }
    }
    for name in plan.egress().credentials.iter().filter_map(|credential| credential.agent_env.as_ref()) {
        env.insert(name.clone(), PLACEHOLDER.to_owned());
    }
    let proxy = format!("http://{}:{MITMPROXY_PORT}", ground.mitmproxy_int);
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"] {
        env.insert(name.to_owned(), proxy.clone());
    }
    for name in ["NO_PROXY", "no_proxy"] {
        env.insert(name.to_owned(), "localhost,127.0.0.1,::1".to_owned());
    }
    // Node adds the file to its own roots; the others replace theirs by it, so they get the whole bundle.
    env.insert("NODE_EXTRA_CA_CERTS".to_owned(), CA_CERT_PATH.to_owned());
    for name in [
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "GIT_SSL_CAINFO",
        "PIP_CERT",
        "CARGO_HTTP_CAINFO",
        "NIX_SSL_CERT_FILE",
        "AWS_CA_BUNDLE",
    ] {
        env.insert(name.to_owned(), CA_BUNDLE_PATH.to_owned());
    }
    if !plan.ssh().is_empty() {
        env.insert("SSH_AUTH_SOCK".to_owned(), SSH_AUTH_SOCK.to_owned());
    }
    env
}
