//! A member's specification as the engine's create request. Pure.
//!
//! Everything that confines a member is set here, at birth: nothing is added after the create.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, HostConfigLogConfig,
    NetworkingConfig, RestartPolicy, RestartPolicyNameEnum,
};
use sha2::{Digest as _, Sha256};

use super::super::labels;
use crate::plan::spec::{Endpoint, MemberSpec, StdinMode, Tmpfs};

/// What a member without a resolver is given as one: nothing listens on its own loopback.
///
/// The engine's embedded resolver forwards what it does not know to the servers named here. It does so from
/// *inside* the member's network namespace when the address was given explicitly (the host's namespace is used
/// only for servers inherited from the host's own `resolv.conf`, which is how names leak out of an internal
/// network on engines before 25.0.5). So the question ends on the member's own 127.0.0.1, refused at once.
const NO_RESOLVER: &str = "127.0.0.1";
/// Longest host name the kernel takes, less one.
const HOST_NAME_MAX: usize = 63;

/// SHA-256 over the specification without its ownership, which may change hands.
pub(super) fn spec_hash(spec: &MemberSpec) -> String {
    let mut value = serde_json::to_value(spec).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("ownership");
    }
    // Fields come in the order of the type and maps are sorted, so equal specifications give equal text.
    hex::encode(Sha256::digest(value.to_string().as_bytes()))
}

/// The request for `spec`, attached to the first of `networks` (ids) at birth.
pub(super) fn request(spec: &MemberSpec, networks: &[String]) -> ContainerCreateBody {
    let first_network = networks.first().map(String::as_str);
    let mut labels = labels::of(&spec.ownership, spec.role.as_str());
    labels.insert(labels::SPEC.to_owned(), spec_hash(spec));
    labels.insert(labels::NETWORKS.to_owned(), networks.join(","));
    let endpoint = first_network.zip(spec.endpoints.first());
    ContainerCreateBody {
        hostname: Some(spec.name.chars().take(HOST_NAME_MAX).collect()),
        user: spec.user.clone(),
        attach_stdin: Some(spec.stdin != StdinMode::Closed),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(false),
        open_stdin: Some(spec.stdin != StdinMode::Closed),
        stdin_once: Some(spec.stdin == StdinMode::Once),
        env: Some(spec.env.iter().map(|(key, value)| format!("{key}={value}")).collect()),
        cmd: Some(spec.argv.clone()).filter(|argv| !argv.is_empty()),
        entrypoint: Some(spec.entrypoint.clone()).filter(|argv| !argv.is_empty()),
        image: Some(spec.image.to_string()),
        working_dir: spec.workdir.clone(),
        labels: Some(labels),
        stop_timeout: Some(i64::try_from(spec.stop_grace.as_secs()).unwrap_or(i64::MAX)),
        host_config: Some(host_config(spec, first_network)),
        networking_config: endpoint.map(|(id, endpoint)| NetworkingConfig {
            endpoints_config: Some(HashMap::from([(id.to_owned(), settings(endpoint))])),
        }),
        ..ContainerCreateBody::default()
    }
}

fn host_config(spec: &MemberSpec, first_network: Option<&str>) -> HostConfig {
    let memory = i64::try_from(spec.resources.memory_bytes).unwrap_or(i64::MAX);
    let silent = |value: &str| (!spec.resolver).then(|| vec![value.to_owned()]);
    HostConfig {
        cap_drop: Some(vec!["ALL".into()]),
        security_opt: Some(vec!["no-new-privileges:true".into()]),
        privileged: Some(false),
        readonly_rootfs: Some(spec.read_only),
        ipc_mode: Some("private".into()),
        tmpfs: Some(spec.tmpfs.iter().map(|fs| (fs.path.clone(), tmpfs_options(fs))).collect()),
        memory: Some(memory),
        // Memory and swap together: equal means no swap.
        memory_swap: Some(memory),
        nano_cpus: spec.resources.nano_cpus.and_then(|cpus| i64::try_from(cpus).ok()),
        pids_limit: Some(spec.resources.pids.into()),
        init: Some(spec.init),
        runtime: spec.runtime.clone(),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("local".into()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), "10m".to_owned()),
                ("max-file".to_owned(), "2".to_owned()),
            ])),
        }),
        network_mode: Some(first_network.unwrap_or("none").to_owned()),
        dns: silent(NO_RESOLVER),
        // A single dot keeps the host's search domains out.
        dns_search: silent("."),
        dns_options: (!spec.resolver).then(|| vec!["timeout:1".into(), "attempts:1".into()]),
        extra_hosts: Some(spec.extra_hosts.iter().map(|(name, ip)| format!("{name}:{ip}")).collect()),
        ..HostConfig::default()
    }
}

/// Executables are allowed: agents install tools into their home.
fn tmpfs_options(fs: &Tmpfs) -> String {
    format!("rw,exec,nosuid,nodev,size={},mode={:o},uid={}", fs.size_bytes, fs.mode, fs.uid)
}

/// An endpoint with its fixed address.
pub(super) fn settings(endpoint: &Endpoint) -> EndpointSettings {
    EndpointSettings {
        ipam_config: endpoint.address.map(|address| EndpointIpamConfig {
            ipv4_address: Some(address.to_string()),
            ..EndpointIpamConfig::default()
        }),
        ..EndpointSettings::default()
    }
}
