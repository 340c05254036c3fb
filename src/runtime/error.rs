//! Errors of the crate's front door.

use std::path::PathBuf;
use std::sync::Arc;

use crate::backend::BackendError;
use crate::error::ErrorKind;
use crate::ids::Slug;
use crate::messages::{LaunchFailure, Step, StepError};
use crate::plan::PlanErrors;
use crate::plan::provision::HostFileError;

/// A runtime could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The state directory cannot be written.
    #[error("claim the state directory {}", dir.display())]
    State {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The root supervisor did not start.
    #[error("start the root supervisor: {0}")]
    Root(String),
}

/// A plan could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The wish cannot be fulfilled; all problems at once.
    #[error(transparent)]
    Plan(#[from] PlanErrors),
    /// The engine cannot be asked.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The state directory cannot be read.
    #[error("read the leases in {}", dir.display())]
    State {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl PrepareError {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            PrepareError::Plan(_) => ErrorKind::Input,
            PrepareError::Backend(error) => error.kind.kind(),
            PrepareError::State { .. } => ErrorKind::Refused,
        }
    }
}

/// A launch failed: the cause, and what its rollback could not remove.
#[derive(Debug)]
pub struct LaunchError {
    /// Bottle, step and cause.
    pub failure: LaunchFailure,
    /// Empty when nothing is left.
    pub teardown: Vec<Arc<BackendError>>,
}

impl std::fmt::Display for LaunchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.failure.fmt(f)
    }
}

impl std::error::Error for LaunchError {
    /// The failure's own cause: this error already shows the failure itself.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.failure.source()
    }
}

impl LaunchError {
    pub(super) fn actor(slug: Slug, why: String) -> Self {
        let failure = LaunchFailure { slug, step: Step::Launch, source: StepError::Actor(why) };
        Self { failure, teardown: Vec::new() }
    }

    pub(super) fn host(slug: Slug, path: PathBuf, source: std::io::Error) -> Self {
        let source = StepError::Host(HostFileError { path, source });
        Self { failure: LaunchFailure { slug, step: Step::Launch, source }, teardown: Vec::new() }
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match &self.failure.source {
            StepError::Backend(error) => error.kind.kind(),
            StepError::Host(_) => ErrorKind::Input,
            StepError::Audit(_) => ErrorKind::Refused,
            StepError::Deadline(_) => ErrorKind::Deadline,
            StepError::Closed => ErrorKind::Cancelled,
            _ => ErrorKind::Internal,
        }
    }
}
