//! [`CliError`]: what a command ends with when it fails. Printed once, by `main`.

use std::error::Error;
use std::io;

use bottle::backend::BackendError;
use bottle::config::ConfigError;
use bottle::error::{ErrorKind, chain};
use bottle::manifest::{self, ManifestErrors};
use bottle::messages::OperationError;
use bottle::plan::{MaterialErrors, PlanErrors};
use bottle::{AttachError, LaunchError, PrepareError, RuntimeError};
use serde_json::Value;

use crate::exit_code;

/// A failed command.
#[derive(Debug)]
pub(crate) struct CliError {
    /// What a caller can do about it.
    pub(crate) kind: ErrorKind,
    /// Reads after "failed to".
    pub(crate) message: String,
    /// Further lines for people, shown as they are.
    pub(crate) details: Option<String>,
    /// The same for programs.
    pub(crate) findings: Option<Box<Value>>,
    /// What to do.
    pub(crate) remedy: Option<String>,
    /// In place of the kind's code.
    pub(crate) code: Option<u8>,
    /// Why.
    pub(crate) source: Option<Box<dyn Error + Send + Sync>>,
}

/// What every command returns: its exit code.
pub(crate) type CliResult<T = u8> = Result<T, CliError>;

impl CliError {
    /// An error without a cause. `message` reads after "failed to".
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            details: None,
            findings: None,
            remedy: None,
            code: None,
            source: None,
        }
    }

    /// A command line that says two things at once. Ends with the code of usage errors.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Input, message).code(exit_code::USAGE)
    }

    /// A file of the host that could not be used.
    pub(crate) fn io(message: impl Into<String>, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::AlreadyExists => ErrorKind::Conflict,
            _ => ErrorKind::Refused,
        };
        Self::new(kind, message).because(source)
    }

    /// With the cause.
    pub(crate) fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// With one sentence on what to do.
    pub(crate) fn remedy(mut self, text: impl Into<String>) -> Self {
        self.remedy = Some(text.into());
        self
    }

    /// With its own exit code.
    pub(crate) fn code(mut self, code: u8) -> Self {
        self.code = Some(code);
        self
    }

    /// In `start` and `exec` every code but this one belongs to the agent. Usage and signals keep theirs.
    pub(crate) fn or_own_failure(mut self) -> Self {
        if self.code.is_none() {
            self.code = Some(exit_code::OWN_FAILURE);
        }
        self
    }

    /// The exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        self.code.unwrap_or_else(|| exit_code::of(self.kind))
    }

    /// The causes, outermost first, without repeats.
    pub(crate) fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = Vec::new();
        let mut next: Option<&dyn Error> = self.source.as_deref().map(|source| source as &dyn Error);
        while let Some(error) = next {
            let text = error.to_string();
            if text != self.message && causes.last() != Some(&text) {
                causes.push(text);
            }
            next = error.source();
        }
        causes
    }
}

impl From<ManifestErrors> for CliError {
    fn from(errors: ManifestErrors) -> Self {
        let mut error = Self::new(errors.kind(), "read the manifest");
        error.findings = serde_json::to_value(&errors.findings).ok().map(Box::new);
        error.details = Some(manifest::render(&errors));
        error
    }
}

impl From<PlanErrors> for CliError {
    fn from(errors: PlanErrors) -> Self {
        // The display is the headline and one indented line a problem.
        let text = errors.to_string();
        let (message, details) = text.split_once('\n').unwrap_or((&text, ""));
        let mut error = Self::new(errors.kind(), message);
        error.details = Some(format!("{details}\n"));
        error.findings = serde_json::to_value(&errors.problems).ok().map(Box::new);
        error
    }
}

impl From<MaterialErrors> for CliError {
    fn from(errors: MaterialErrors) -> Self {
        let text = errors.to_string();
        let (message, details) = text.split_once('\n').unwrap_or((&text, ""));
        let mut error = Self::new(ErrorKind::Input, message);
        error.details = Some(format!("{details}\n"));
        error.findings = Some(Box::new(errors.problems.iter().map(ToString::to_string).collect()));
        error
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        let remedy = "fix the file, or remove it and run `bottle setup`";
        match error {
            ConfigError::Invalid { path, problems } => {
                let message = format!("understand configuration {}", path.display());
                let mut built = Self::new(ErrorKind::Input, message).remedy(remedy);
                built.details = Some(problems.lines().map(|line| format!("  {line}\n")).collect());
                built.findings = Some(Box::new(problems.lines().collect()));
                built
            }
            error => of(error.kind(), error).remedy(remedy),
        }
    }
}

impl From<BackendError> for CliError {
    fn from(error: BackendError) -> Self {
        of(error.kind.kind(), error)
    }
}

/// An error of the library whose message already reads after "failed to".
pub(crate) fn of(kind: ErrorKind, error: impl Error + Send + Sync + 'static) -> CliError {
    let message = error.to_string();
    let remedy = match kind {
        ErrorKind::Unreachable => {
            Some("start the engine, or point DOCKER_HOST at one you may use; `bottle doctor` tells more")
        }
        ErrorKind::Deadline => Some("look at the engine's load and try again; `bottle doctor` tells more"),
        _ => None,
    };
    let mut built = CliError::new(kind, message).because(error);
    built.remedy = remedy.map(str::to_owned);
    built
}

impl From<RuntimeError> for CliError {
    fn from(error: RuntimeError) -> Self {
        of(ErrorKind::Refused, error).remedy("make the directory writable, or set XDG_STATE_HOME")
    }
}

impl From<PrepareError> for CliError {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Plan(errors) => errors.into(),
            PrepareError::Backend(error) => error.into(),
            error => of(error.kind(), error),
        }
    }
}

impl From<LaunchError> for CliError {
    fn from(error: LaunchError) -> Self {
        let left: Vec<String> = error.teardown.iter().map(|failure| chain(failure.as_ref())).collect();
        let mut built = of(error.kind(), error);
        if !left.is_empty() {
            built.details = Some(left.iter().map(|line| format!("  not removed: {line}\n")).collect());
            built.findings = Some(Box::new(left.into()));
            built.remedy = Some("`bottle cleanup` removes the rest".to_owned());
        }
        built
    }
}

impl From<AttachError> for CliError {
    fn from(error: AttachError) -> Self {
        match error {
            AttachError::Backend(error) => error.into(),
            error => of(ErrorKind::NotFound, error).remedy("`bottle list` shows the running bottles"),
        }
    }
}

impl From<OperationError> for CliError {
    fn from(error: OperationError) -> Self {
        let plain = |kind, error: OperationError| CliError::new(kind, "use the bottle").because(error);
        match error {
            OperationError::Backend(error) => error.into(),
            OperationError::Host { path, source } => CliError::io(format!("copy {}", path.display()), source),
            error @ (OperationError::NotReady { .. } | OperationError::Closed(_)) => {
                plain(ErrorKind::NotRunning, error)
            }
            error @ (OperationError::TimedOut { .. } | OperationError::Deadline { .. }) => {
                plain(ErrorKind::Deadline, error)
            }
            error => plain(ErrorKind::Internal, error),
        }
    }
}
