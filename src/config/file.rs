//! [`Config`]: the file `config.toml`, its defaults, and how it is read and written.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Format, Serialized, Toml};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::ids::{ImageRef, Role};

/// Which gate runs in the role `pipelock`. Chosen once, by `bottle setup`; a launch never changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The official image, pinned by digest.
    #[default]
    Pipelock,
    /// This project's own `bottle-gate`.
    Builtin,
}

impl Engine {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pipelock => "pipelock",
            Self::Builtin => "builtin",
        }
    }
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageConfig {
    /// Name and tag, or name and digest.
    pub reference: ImageRef,
    /// The content that was chosen at set-up; a different one at launch is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// The images by role; `None` until `bottle setup` has chosen them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Images {
    /// The gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipelock: Option<ImageConfig>,
    /// TLS interception.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mitmproxy: Option<ImageConfig>,
    /// The agent, unless its bottle names another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<ImageConfig>,
}

impl Images {
    /// The image of a role.
    pub fn get(&self, role: Role) -> Option<&ImageConfig> {
        match role {
            Role::Pipelock => self.pipelock.as_ref(),
            Role::Mitmproxy => self.mitmproxy.as_ref(),
            Role::Agent => self.agent.as_ref(),
        }
    }

    /// Sets the image of a role.
    pub fn set(&mut self, role: Role, image: ImageConfig) {
        let slot = match role {
            Role::Pipelock => &mut self.pipelock,
            Role::Mitmproxy => &mut self.mitmproxy,
            Role::Agent => &mut self.agent,
        };
        *slot = Some(image);
    }
}

/// The configuration of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which gate runs.
    pub engine: Engine,
    /// Where the subnets of bottles are taken from; private IPv4.
    pub address_pool: Ipv4Net,
    /// Name of the shared network with the way out.
    pub egress_network: String,
    /// Proxy of the gate's own way out. Reserved: setting it is refused until both engines can do it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_proxy: Option<String>,
    /// PEM bundle trusted upstream by every bottle, besides the public roots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_ca: Option<PathBuf>,
    /// Launches at the same time.
    pub launch_concurrency: usize,
    /// Images by role.
    pub images: Images,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            engine: Engine::default(),
            address_pool: Ipv4Net::new_assert([10, 213, 0, 0].into(), 16),
            egress_network: "claude-bottle-egress".to_owned(),
            upstream_proxy: None,
            extra_ca: None,
            launch_concurrency: 2 * std::thread::available_parallelism().map_or(2, usize::from),
            images: Images::default(),
        }
    }
}

impl Config {
    /// Reads the file. A missing one means defaults.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, has unknown keys or values that are not allowed.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(ConfigError::Read { path: path.to_owned(), source }),
        }
    }

    /// Understands the text of a file; `path` is for messages only.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let invalid = |problems: String| ConfigError::Invalid { path: path.to_owned(), problems };
        let config: Self = Figment::from(Serialized::defaults(Self::default()))
            .merge(Toml::string(text))
            .extract()
            .map_err(|error| invalid(error.into_iter().map(describe).collect::<Vec<_>>().join("\n")))?;
        let problems = config.problems();
        if problems.is_empty() { Ok(config) } else { Err(invalid(problems.join("\n"))) }
    }

    /// Writes the file, owner-readable only, in one step: a reader sees the old or the new one. Parent
    /// directories are made.
    ///
    /// # Errors
    /// A directory or the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), ConfigError> {
        let failed = |source| ConfigError::Write { path: path.to_owned(), source };
        let text = toml::to_string_pretty(self).map_err(|error| failed(std::io::Error::other(error)))?;
        replace_file(path, text.as_bytes()).map_err(failed)
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let pool = self.address_pool;
        if !pool.network().is_private() || !pool.broadcast().is_private() {
            problems
                .push(format!("address_pool: {pool} is not a private IPv4 network (default 10.213.0.0/16)"));
        }
        if !(8..=27).contains(&pool.prefix_len()) {
            problems.push(format!("address_pool: /{} is not between /8 and /27", pool.prefix_len()));
        }
        if !is_network_name(&self.egress_network) {
            problems.push(format!(
                "egress_network: {:?} is not a network name (letters, digits, `_`, `.`, `-`)",
                self.egress_network
            ));
        }
        if self.upstream_proxy.is_some() {
            problems.push("upstream_proxy: not supported yet; remove it".to_owned());
        }
        if self.launch_concurrency == 0 {
            problems.push("launch_concurrency: 0 would launch nothing; use 1 or more".to_owned());
        }
        if self.extra_ca.as_ref().is_some_and(|path| !path.is_absolute()) {
            problems.push("extra_ca: must be an absolute path".to_owned());
        }
        problems
    }
}

fn is_network_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// One problem as a line: key path, what was found, nearest known name.
fn describe(error: figment::Error) -> String {
    let is_unknown = matches!(error.kind, Kind::UnknownField(..));
    // Of an unknown key the path ends in the key itself.
    let place = error.path[..error.path.len().saturating_sub(usize::from(is_unknown))].join(".");
    let text = match &error.kind {
        Kind::UnknownField(found, known) => {
            let nearest = known
                .iter()
                .max_by(|a, b| strsim::jaro_winkler(found, a).total_cmp(&strsim::jaro_winkler(found, b)));
            let nearest = nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            format!("unknown key `{found}`{nearest} (known: {})", known.join(", "))
        }
        kind => kind.to_string(),
    };
    if place.is_empty() { text } else { format!("{place}: {text}") }
}

/// Writes a temporary file beside `path`, then renames it.
fn replace_file(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)?;
    let temporary = parent.join(format!(".config.{}.{:08x}", std::process::id(), rand::random::<u32>()));
    let written = (|| {
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("config.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_missing_file_means_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::load(&dir.path().join("none.toml")).unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.address_pool.to_string(), "10.213.0.0/16");
    }

    #[test]
    fn what_is_written_is_read_back_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/config.toml");
        let mut config = Config { engine: Engine::Builtin, launch_concurrency: 3, ..Config::default() };
        let digest = Some(format!("sha256:{}", "a".repeat(64)));
        config.images.set(Role::Agent, ImageConfig { reference: "bottle-agent:1".into(), digest });
        config.write(&path).unwrap();
        config.write(&path).unwrap();
        assert_eq!(Config::load(&path).unwrap(), config);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        let text = parse("adress_pool = '10.0.0.0/16'").unwrap_err();
        assert!(text.contains("unknown key `adress_pool`; did you mean `address_pool`?"), "{text}");
        let text = parse("[images.agent]\nrefrence = 'x'").unwrap_err();
        assert!(text.contains("images.agent: unknown key `refrence`; did you mean `reference`?"), "{text}");
    }

    #[test]
    fn values_that_cannot_work_are_refused_together() {
        let text = "address_pool = '8.8.0.0/30'\nupstream_proxy = 'p'\nlaunch_concurrency = 0\negress_network=''\nextra_ca='x'";
        insta::assert_snapshot!(parse(text).unwrap_err());
        assert!(parse("engine = 'other'").is_err());
        assert!(parse("not toml").is_err());
    }
}
