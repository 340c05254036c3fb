//! One place where an engine call gets its deadline and its failure a kind.

use std::{fmt::Display, future::Future, time::Duration};

use bollard::errors::Error;
use tokio::time::timeout;

use super::{SetupError, SetupErrorKind, Step};

/// For calls that only look or do a little.
pub(super) const SHORT: Duration = Duration::from_secs(60);

/// For calls that move a whole file system: import, commit, upload.
pub(super) const LONG: Duration = Duration::from_secs(15 * 60);

/// For a build script from start to end.
pub(super) const BUILD: Duration = Duration::from_secs(45 * 60);

/// Awaits an engine call at most `deadline`.
pub(super) async fn call<T>(
    step: Step,
    subject: impl Display,
    deadline: Duration,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, SetupError> {
    match timeout(deadline, future).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(SetupError::new(step, subject, classify(&error)).because(error)),
        Err(_) => Err(SetupError::new(step, subject, SetupErrorKind::Deadline { after: deadline })),
    }
}

/// What a caller can branch on, from what the client says.
pub(super) fn classify(error: &Error) -> SetupErrorKind {
    match error {
        Error::DockerResponseServerError { status_code: 404, .. } => SetupErrorKind::NotFound,
        Error::HyperResponseError { .. }
        | Error::HyperLegacyError { .. }
        | Error::HttpClientError { .. }
        | Error::SocketNotFoundError(_)
        | Error::IOError { .. }
        | Error::RequestTimeoutError => SetupErrorKind::Unreachable,
        _ => SetupErrorKind::Engine,
    }
}
