//! Where the engine is, and the connection to it.
//!
//! The order is that of the `docker` command: `DOCKER_HOST`, then `DOCKER_CONTEXT`, then the context chosen in
//! `config.json`, then the first socket that exists (system-wide, rootless). The choice is pure; only
//! [`open`] touches the engine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::super::{BackendError, BackendErrorKind, BackendResult, Op, Subject};
use super::classify;
use super::deadline::{Deadlines, Elapsed};

/// The oldest protocol this backend speaks (engine 20.10).
const OLDEST_API: (usize, usize) = (1, 41);
/// The client's own time-out lies above every deadline, so that ours decide.
const CLIENT_TIMEOUT_SECONDS: u64 = 24 * 3600;
/// Where a system-wide engine listens.
const SYSTEM_SOCKET: &str = "/var/run/docker.sock";

/// What of a process's surroundings decides where the engine is.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub docker_context: Option<String>,
    /// `DOCKER_TLS_VERIFY` is set and not empty.
    pub tls_verify: bool,
    /// `DOCKER_CONFIG`, else `~/.docker`.
    pub config_dir: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`: a rootless engine's socket is in it.
    pub runtime_dir: Option<PathBuf>,
}

impl Surroundings {
    /// Reads them from this process's environment.
    pub fn of_process() -> Self {
        let var = |key: &str| std::env::var(key).ok().filter(|value| !value.is_empty());
        Self {
            docker_host: var("DOCKER_HOST"),
            docker_context: var("DOCKER_CONTEXT"),
            tls_verify: var("DOCKER_TLS_VERIFY").is_some(),
            config_dir: var("DOCKER_CONFIG")
                .map(PathBuf::from)
                .or_else(|| var("HOME").map(|home| Path::new(&home).join(".docker"))),
            runtime_dir: var("XDG_RUNTIME_DIR").map(PathBuf::from),
        }
    }
}

/// An engine address that this build can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket in the file system.
    Unix(PathBuf),
    /// Host and port, not encrypted.
    Tcp(String),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
            Address::Tcp(at) => write!(f, "tcp://{at}"),
        }
    }
}

/// Why no engine address could be found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The scheme needs a transport that is not built in.
    #[error(
        "the scheme of {0} is not supported; forward the engine's socket (`ssh -L`) and set DOCKER_HOST=unix://…"
    )]
    Scheme(String),
    /// TLS was asked for.
    #[error("TLS to {0} is not supported; forward the engine's socket and set DOCKER_HOST=unix://…")]
    Tls(String),
    /// The named context does not exist or cannot be read.
    #[error("docker context {name:?} cannot be read: {reason}")]
    Context {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The engine is too old.
    #[error("the engine speaks API {found}, at least 1.41 (engine 20.10) is needed; upgrade the engine")]
    TooOld {
        /// What it speaks.
        found: String,
    },
}

/// Chooses the address. Reads context files and looks at sockets, nothing else.
///
/// # Errors
/// An address with a transport that is not built in, or a context that cannot be read.
pub fn choose(at: &Surroundings) -> Result<Address, AddressError> {
    if let Some(host) = &at.docker_host {
        return parse(host, at.tls_verify);
    }
    let config = at.config_dir.as_deref();
    let context = at.docker_context.clone().or_else(|| config.and_then(current_context));
    match (context.filter(|name| name != "default"), config) {
        (Some(name), Some(config)) => context_address(config, &name),
        (Some(name), None) => {
            Err(AddressError::Context { name, reason: "there is no configuration directory".into() })
        }
        (None, _) => Ok(Address::Unix(default_socket(at.runtime_dir.as_deref()))),
    }
}

fn default_socket(runtime_dir: Option<&Path>) -> PathBuf {
    let system = PathBuf::from(SYSTEM_SOCKET);
    let rootless = runtime_dir.map(|dir| dir.join("docker.sock")).filter(|socket| socket.exists());
    if system.exists() { system } else { rootless.unwrap_or(system) }
}

fn parse(host: &str, tls: bool) -> Result<Address, AddressError> {
    match host.split_once("://") {
        Some(("unix", path)) => Ok(Address::Unix(path.into())),
        None if host.starts_with('/') => Ok(Address::Unix(host.into())),
        Some(("tcp" | "http", _)) if tls => Err(AddressError::Tls(host.to_owned())),
        Some(("tcp" | "http", at)) => Ok(Address::Tcp(at.trim_end_matches('/').to_owned())),
        _ => Err(AddressError::Scheme(host.to_owned())),
    }
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(rename = "currentContext")]
    current_context: Option<String>,
}

fn current_context(config: &Path) -> Option<String> {
    let text = std::fs::read_to_string(config.join("config.json")).ok()?;
    serde_json::from_str::<ConfigFile>(&text).ok()?.current_context.filter(|name| !name.is_empty())
}

#[derive(Deserialize)]
struct ContextMeta {
    #[serde(rename = "Endpoints")]
    endpoints: std::collections::HashMap<String, ContextEndpoint>,
}

#[derive(Deserialize)]
struct ContextEndpoint {
    #[serde(rename = "Host")]
    host: Option<String>,
}

/// A context's files lie under the SHA-256 of its name.
fn context_address(config: &Path, name: &str) -> Result<Address, AddressError> {
    let broken = |reason: String| AddressError::Context { name: name.to_owned(), reason };
    let id = hex::encode(Sha256::digest(name.as_bytes()));
    let meta = config.join("contexts/meta").join(&id).join("meta.json");
    let text = std::fs::read_to_string(meta).map_err(|error| broken(error.to_string()))?;
    let meta: ContextMeta = serde_json::from_str(&text).map_err(|error| broken(error.to_string()))?;
    let host = meta.endpoints.get("docker").and_then(|endpoint| endpoint.host.clone());
    let tls = config.join("contexts/tls").join(&id).is_dir();
    parse(&host.ok_or_else(|| broken("it names no docker endpoint".into()))?, tls)
}

/// Opens the connection and checks the protocol version.
///
/// # Errors
/// `Unreachable` or `Deadline` when nobody answers, `Denied` when the socket may not be used or the engine is
/// too old. (Docker API: `GET /version`.)
pub(super) async fn open(address: &Address, deadlines: Deadlines) -> BackendResult<Docker> {
    let subject = || Subject::Engine(address.to_string());
    let failed = |error| classify::failed(Op::Connect, subject(), error);
    let docker = match address {
        Address::Unix(path) => {
            Docker::connect_with_unix(&path.to_string_lossy(), CLIENT_TIMEOUT_SECONDS, API_DEFAULT_VERSION)
        }
        Address::Tcp(at) => {
            Docker::connect_with_http(&format!("tcp://{at}"), CLIENT_TIMEOUT_SECONDS, API_DEFAULT_VERSION)
        }
    };
    // A socket path that does not exist is refused here, before any request, with an error of its own.
    let docker = docker
        .map_err(|error| BackendError::new(Op::Connect, subject(), BackendErrorKind::Unreachable, error))?;
    let limit: Duration = deadlines.of(Op::Connect);
    let docker = tokio::time::timeout(limit, docker.negotiate_version())
        .await
        .map_err(|_| BackendError::new(Op::Connect, subject(), BackendErrorKind::Deadline, Elapsed(limit)))?
        .map_err(failed)?;
    let version = docker.client_version();
    if (version.major_version, version.minor_version) < OLDEST_API {
        let found = format!("{}.{}", version.major_version, version.minor_version);
        let error = AddressError::TooOld { found };
        return Err(BackendError::new(Op::Connect, subject(), BackendErrorKind::Denied, error));
    }
    Ok(docker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Result<Address, AddressError> {
        choose(&Surroundings { docker_host: Some(text.into()), ..Surroundings::default() })
    }

    #[test]
    fn docker_host_wins_and_its_scheme_is_checked() {
        assert_eq!(host("unix:///x.sock").ok(), Some(Address::Unix("/x.sock".into())));
        assert_eq!(host("tcp://engine:2375/").ok(), Some(Address::Tcp("engine:2375".into())));
        assert!(matches!(host("ssh://me@engine"), Err(AddressError::Scheme(_))));
        let tls = Surroundings {
            docker_host: Some("tcp://engine:2376".into()),
            tls_verify: true,
            ..Surroundings::default()
        };
        assert!(matches!(choose(&tls), Err(AddressError::Tls(_))));
    }

    #[test]
    fn the_context_of_the_configuration_is_followed() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join("config.json"), r#"{"currentContext":"far","auths":{}}"#)?;
        let meta = dir.path().join("contexts/meta").join(hex::encode(Sha256::digest(b"far")));
        std::fs::create_dir_all(&meta)?;
        std::fs::write(
            meta.join("meta.json"),
            r#"{"Name":"far","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///far.sock","SkipTLSVerify":false}}}"#,
        )?;
        let at = Surroundings { config_dir: Some(dir.path().into()), ..Surroundings::default() };
        assert_eq!(choose(&at)?, Address::Unix("/far.sock".into()));
        let missing = Surroundings { docker_context: Some("nowhere".into()), ..at };
        assert!(matches!(choose(&missing), Err(AddressError::Context { .. })));
        Ok(())
    }

    #[test]
    fn a_rootless_socket_is_found_when_there_is_no_system_wide_one() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join("docker.sock"), "")?;
        let expected = if Path::new(SYSTEM_SOCKET).exists() {
            PathBuf::from(SYSTEM_SOCKET)
        } else {
            dir.path().join("docker.sock")
        };
        assert_eq!(default_socket(Some(dir.path())), expected);
        Ok(())
    }
}
