//! Why setup failed: step, object, cause and what to do about it.

use std::{fmt, io, path::PathBuf, time::Duration};

use super::recipe::RecipeError;

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// Asking the engine who it is.
    Reach,
    /// Removing what an earlier setup left behind.
    Sweep,
    /// Reading the certificate bundle for build steps.
    ReadCertificates,
    /// Looking for the static gate binary.
    FindGate,
    /// Looking for the static first process of the agent.
    FindInit,
    /// Reading a recipe.
    ReadRecipe,
    /// Looking an image up on the engine.
    Inspect,
    /// Pulling an image from a registry.
    Pull,
    /// Making a root file system with mmdebstrap.
    Bootstrap,
    /// Turning an archive into an image.
    Import,
    /// Creating and starting a build container.
    Create,
    /// Sending files to a build container.
    Upload,
    /// Running the recipe's script.
    Install,
    /// Checking that nothing of the host stays in the image.
    Verify,
    /// Turning a build container into an image.
    Commit,
}

impl Step {
    /// An infinitive that reads after "failed to".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reach => "reach",
            Self::Sweep => "sweep leftovers of",
            Self::ReadCertificates => "read certificates of",
            Self::FindGate => "find the gate binary for",
            Self::FindInit => "find bottle-init for",
            Self::ReadRecipe => "read the recipe of",
            Self::Inspect => "inspect",
            Self::Pull => "pull",
            Self::Bootstrap => "bootstrap",
            Self::Import => "import",
            Self::Create => "create the build container of",
            Self::Upload => "upload files for",
            Self::Install => "install software into",
            Self::Verify => "verify",
            Self::Commit => "commit",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failed setup. Nothing it began is left on the engine; images finished before stay and are found again.
#[derive(Debug, thiserror::Error)]
#[error("{step} {subject}: {kind}")]
#[non_exhaustive]
pub struct SetupError {
    /// What was being done.
    pub step: Step,
    /// On which object: an image, a reference, a file.
    pub subject: String,
    /// What a caller can branch on.
    pub kind: SetupErrorKind,
    /// The last lines of output of the tool that failed, oldest first; empty where there is none.
    pub log: Vec<String>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Causes of a failed setup.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupErrorKind {
    /// No engine answers.
    #[error("engine is not reachable")]
    Unreachable,
    /// The engine is older than what a bottle needs.
    #[error("engine speaks API {found}, at least {needed} is needed")]
    TooOld {
        /// What the engine reported.
        found: String,
        /// The least version.
        needed: &'static str,
    },
    /// The recipes are for another processor.
    #[error("engine runs on {found}, recipes are for {needed}")]
    Architecture {
        /// What the engine reported.
        found: String,
        /// What the recipes build.
        needed: &'static str,
    },
    /// A program of the host that is needed is not installed.
    #[error("{program} is not installed")]
    MissingProgram {
        /// Its name.
        program: &'static str,
    },
    /// The registry of a reference does not answer.
    #[error("registry does not answer")]
    NoRegistry,
    /// The registry answers, but has no such image or does not hand it out.
    #[error("registry has no such image, or refuses to hand it out")]
    NotInRegistry,
    /// The object is not there.
    #[error("not found")]
    NotFound,
    /// A tool or script ended with a failure; [`SetupError::log`] has its last words.
    #[error("ended with {status}")]
    Failed {
        /// Exit code or signal in words.
        status: String,
    },
    /// Too slow.
    #[error("no success within {} s", after.as_secs())]
    Deadline {
        /// How long was waited.
        after: Duration,
    },
    /// The build container ended under the build: stopped by somebody, or out of memory.
    #[error("build container ended early")]
    Interrupted,
    /// A file of the host cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
    },
    /// The certificate bundle holds no certificate.
    #[error("{} holds no PEM certificate", path.display())]
    NoCertificates {
        /// The file.
        path: PathBuf,
    },
    /// No static gate binary at any of the places.
    #[error("no gate binary at {}", list(places))]
    NoGateBinary {
        /// Where it was looked for, in order.
        places: Vec<PathBuf>,
    },
    /// No static `bottle-init` at any of the places.
    #[error("no bottle-init at {}", list(places))]
    NoInitBinary {
        /// Where it was looked for, in order.
        places: Vec<PathBuf>,
    },
    /// A helper would not run in an image that has no loader.
    #[error("{} is no static executable: {reason}", path.display())]
    NotStatic {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A recipe is not valid.
    #[error("recipe is not valid")]
    Recipe,
    /// Build material is still in the container; committing it would publish the host's files.
    #[error("build material is left at {path}")]
    Leftover {
        /// First such path.
        path: String,
    },
    /// The engine refused or answered nonsense.
    #[error("engine refused")]
    Engine,
}

impl SetupErrorKind {
    /// What a person can do about it: one sentence, imperative.
    pub fn remedy(&self) -> String {
        match self {
            Self::Unreachable => "start Docker, or point DOCKER_HOST at an engine you may use".into(),
            Self::TooOld { .. } => "upgrade the engine to Docker 20.10 or later".into(),
            Self::Architecture { .. } => "use an engine on that architecture".into(),
            Self::MissingProgram { program } => format!(
                "install it (Debian, Ubuntu: apt-get install {program}), or configure a registry base such as debian:trixie-slim"
            ),
            Self::NoRegistry => {
                "check network, proxy and mirror settings of the engine, load the image by `docker load`, or use the builtin gate and a recipe".into()
            }
            Self::NotInRegistry => "check the reference, and `docker login` where the registry asks for it, then `docker pull` it".into(),
            Self::NotFound => "run setup again".into(),
            Self::Failed { .. } => {
                "read the log lines; behind a TLS-inspecting proxy pass its certificates with --ca-bundle".into()
            }
            Self::Deadline { .. } => "check the network of the engine and its load, then run setup again: finished images are kept".into(),
            Self::Interrupted => "run setup again; give the engine more memory if this repeats".into(),
            Self::Unreadable { .. } => "check path and permissions".into(),
            Self::NoCertificates { .. } => "give a file with BEGIN CERTIFICATE blocks".into(),
            Self::NoGateBinary { .. } | Self::NotStatic { .. } => {
                "build it with scripts/build-gate.sh, or name one with --gate-binary, or use the pipelock engine".into()
            }
            Self::NoInitBinary { .. } => INIT_REMEDY.into(),
            Self::Recipe => "fix the recipe file".into(),
            Self::Leftover { .. } => "this is a defect of the recipe: its files belong into $BUILD only".into(),
            Self::Engine => "read the engine's message and its log".into(),
        }
    }
}

const INIT_REMEDY: &str = "build it with scripts/build-gate.sh, and keep it beside `bottle` or beside the gate binary that is given";

fn list(places: &[PathBuf]) -> String {
    places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ")
}

impl SetupError {
    /// An error without a deeper cause.
    pub(super) fn new(step: Step, subject: impl fmt::Display, kind: SetupErrorKind) -> Self {
        Self { step, subject: subject.to_string(), kind, log: Vec::new(), source: None }
    }

    /// Keeps the cause for the chain.
    pub(super) fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Keeps the last lines of a tool.
    pub(super) fn with_log(mut self, log: impl IntoIterator<Item = String>) -> Self {
        self.log = log.into_iter().collect();
        self
    }

    /// A file that could not be read.
    pub(super) fn unreadable(
        step: Step,
        subject: impl fmt::Display,
        path: PathBuf,
        source: io::Error,
    ) -> Self {
        Self::new(step, subject, SetupErrorKind::Unreadable { path }).because(source)
    }

    /// A recipe that could not be used.
    pub(super) fn recipe(subject: impl fmt::Display, source: RecipeError) -> Self {
        Self::new(Step::ReadRecipe, subject, SetupErrorKind::Recipe).because(source)
    }

    /// What to do about it: one sentence.
    pub fn remedy(&self) -> String {
        match (self.step, &self.kind) {
            (Step::FindInit, SetupErrorKind::NotStatic { .. }) => INIT_REMEDY.to_owned(),
            (_, kind) => kind.remedy(),
        }
    }
}
