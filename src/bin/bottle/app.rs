//! [`App`]: what every command gets: surroundings, paths, how to talk, and the way to the engine.

use std::path::Path;
use std::sync::Arc;

use bottle::AttachedBottle;
use bottle::backend::Backend;
use bottle::backend::docker::DockerBackend;
use bottle::config::{Config, HostEnv, Paths};
use bottle::error::ErrorKind;
use bottle::manifest::{self, Manifest};

use crate::cli::Global;
use crate::error::{CliError, CliResult};
use crate::output::Ui;
use crate::signals::Signals;

/// The variable that chooses the backend.
const BACKEND: &str = "CLAUDE_BOTTLE_BACKEND";
/// The names it knows.
pub(crate) const BACKENDS: [&str; 1] = ["docker"];

/// What every command gets.
#[derive(Debug)]
pub(crate) struct App {
    /// Snapshot of this process's surroundings.
    pub(crate) host: HostEnv,
    /// Where configuration and state live.
    pub(crate) paths: Paths,
    /// How to talk.
    pub(crate) ui: Ui,
    /// The person's wish to end.
    pub(crate) signals: Signals,
}

impl App {
    /// Looks at the surroundings; touches neither disk nor engine.
    pub(crate) fn new(global: &Global) -> Result<Self, (Ui, CliError)> {
        let ui = Ui::new(global, std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()));
        let host = HostEnv::from_process()
            .map_err(|source| (ui, CliError::io("find the working directory", source)))?;
        let signals = Signals::listen(ui).map_err(|source| (ui, CliError::io("handle signals", source)))?;
        Ok(Self { paths: Paths::resolve(&host), host, ui, signals })
    }

    /// The configuration; defaults without a file.
    pub(crate) fn config(&self) -> CliResult<Config> {
        Ok(Config::load(&self.paths.config_file)?)
    }

    /// The manifest; all findings at once.
    pub(crate) fn manifest(&self, explicit: Option<&Path>) -> CliResult<Manifest> {
        Ok(manifest::load(&self.host, explicit)?)
    }

    /// Name of the chosen backend.
    pub(crate) fn backend_name(&self) -> CliResult<&str> {
        let name = self.host.var_non_empty(BACKEND).unwrap_or(BACKENDS[0]);
        if BACKENDS.contains(&name) {
            return Ok(name);
        }
        let message = format!("choose a backend: {BACKEND} names {name:?}, which is unknown");
        let known = format!("known backends: {}", BACKENDS.join(", "));
        Err(CliError::new(ErrorKind::Input, message).remedy(known))
    }

    /// Connects to the chosen backend.
    pub(crate) async fn backend(&self) -> CliResult<Arc<dyn Backend>> {
        self.backend_name()?;
        Ok(Arc::new(DockerBackend::connect().await?))
    }

    /// A bottle of any process, by name.
    pub(crate) async fn attach(&self, name: &str) -> CliResult<AttachedBottle> {
        Ok(AttachedBottle::find(self.backend().await?, name).await?)
    }
}
