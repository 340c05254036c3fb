//! What a caller asks of setup.

use std::{fmt, path::PathBuf};

use serde::Serialize;

use super::RecipeSet;
use crate::ids::{ImageRef, Secret};

/// Which engine is to stand behind the role `pipelock`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GateChoice {
    /// The official image where it is at hand or can be pulled, else the builtin gate.
    #[default]
    Auto,
    /// The official image, or an error.
    Pipelock,
    /// The builtin gate.
    Builtin,
}

/// Which engine stands behind the role `pipelock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GateEngine {
    /// The official image.
    Pipelock,
    /// This repository's static binary.
    Builtin,
}

impl From<GateEngine> for crate::config::Engine {
    fn from(gate: GateEngine) -> Self {
        match gate {
            GateEngine::Pipelock => Self::Pipelock,
            GateEngine::Builtin => Self::Builtin,
        }
    }
}

/// Images of registries to use in place of what setup would do on its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryBases {
    /// A Debian image under the agent and mitmproxy images, for example `debian:trixie-slim`; none: mmdebstrap.
    /// It has to be Debian 13: the pinned wheels are for its Python.
    pub base: Option<ImageRef>,
    /// Another place of the official pipelock image; none: the published one.
    pub pipelock: Option<ImageRef>,
}

/// What setup is to make ready.
#[derive(Clone)]
pub struct SetupRequest {
    /// Which gate engine.
    pub gate: GateChoice,
    /// PEM bundle that build steps trust, for networks that intercept TLS. Never reaches an image.
    pub ca_bundle: Option<PathBuf>,
    /// The static gate; none: looked for beside the running executable.
    pub gate_binary: Option<PathBuf>,
    /// The static first process of the agent; none: looked for beside `gate_binary`, then as that.
    pub init_binary: Option<PathBuf>,
    /// Registry images to build on.
    pub registry: RegistryBases,
    /// Environment of build steps: proxies and mirrors. Never reaches an image. A proxy's value may hold a password.
    pub build_env: Vec<(String, Secret)>,
    /// Network mode of build containers, as the engine names it; none: the engine's default bridge.
    pub build_network: Option<String>,
    /// Recipes to use; none: the embedded ones.
    pub recipes: Option<RecipeSet>,
    /// Build and pull also what is there.
    pub force: bool,
}

impl Default for SetupRequest {
    /// Automatic gate, embedded recipes, mmdebstrap, proxies and mirrors of this process's environment.
    fn default() -> Self {
        Self {
            gate: GateChoice::Auto,
            ca_bundle: None,
            gate_binary: None,
            init_binary: None,
            registry: RegistryBases::default(),
            build_env: build_env_of_host(),
            build_network: None,
            recipes: None,
            force: false,
        }
    }
}

impl fmt::Debug for SetupRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.build_env.iter().map(|(name, _)| name).collect();
        f.debug_struct("SetupRequest")
            .field("gate", &self.gate)
            .field("ca_bundle", &self.ca_bundle)
            .field("gate_binary", &self.gate_binary)
            .field("init_binary", &self.init_binary)
            .field("registry", &self.registry)
            .field("build_env", &names)
            .field("build_network", &self.build_network)
            .field("force", &self.force)
            .finish_non_exhaustive()
    }
}

/// The proxy and mirror variables of this process that package clients in a build container understand too.
pub fn build_env_of_host() -> Vec<(String, Secret)> {
    const NAMES: [&str; 10] = [
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
        "NPM_CONFIG_REGISTRY",
        "npm_config_registry",
    ];
    NAMES.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?.into()))).collect()
}
