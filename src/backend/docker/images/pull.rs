//! Images of registries: used when on the engine, pulled otherwise.

use std::{collections::HashMap, time::Duration, time::Instant};

use bollard::{Docker, errors::Error, query_parameters::CreateImageOptionsBuilder};
use futures::StreamExt;
use tokio::time::timeout;

use super::{
    ImageName, Outcome, ProgressEvent, ReadyImage, SetupError, SetupErrorKind, SetupProgress, Step,
    call::classify, setup::inspect,
};
use crate::ids::ImageRef;

/// Without a word from the engine for this long, the registry counts as not answering.
const SILENCE: Duration = Duration::from_secs(60);

/// Makes a registry image ready. With `force` the registry is asked even where the image is on the engine.
///
/// Dropping the future stops the pull; complete layers stay with the engine and are used next time.
///
/// # Errors
/// `NoRegistry` when it does not answer (no network, no name, no proxy), `NotInRegistry` when it has no such image or
/// wants a login, `Deadline` after 60 s without progress.
pub async fn pull(
    engine: &Docker,
    name: ImageName,
    reference: &ImageRef,
    force: bool,
    progress: &dyn SetupProgress,
) -> Result<ReadyImage, SetupError> {
    let begun = Instant::now();
    let found = if force { None } else { inspect(engine, name, reference).await? };
    let outcome = match found {
        Some(_) => Outcome::Present,
        None => {
            progress.report(ProgressEvent::Started { image: name, step: Step::Pull });
            transfer(engine, name, reference, progress).await?;
            Outcome::Pulled
        }
    };
    let facts = match found {
        Some(facts) => facts,
        None => inspect(engine, name, reference)
            .await?
            .ok_or_else(|| SetupError::new(Step::Inspect, reference, SetupErrorKind::NotFound))?,
    };
    progress.report(ProgressEvent::Finished { image: name, outcome });
    Ok(ReadyImage {
        name,
        // The digest names the very image that was judged; a tag may move.
        reference: facts.digest.clone().unwrap_or_else(|| reference.clone()),
        id: facts.id,
        digest: facts.digest,
        size_bytes: facts.size_bytes,
        outcome,
        took: begun.elapsed(),
    })
}

async fn transfer(
    engine: &Docker,
    name: ImageName,
    reference: &ImageRef,
    progress: &dyn SetupProgress,
) -> Result<(), SetupError> {
    let fail = |kind| SetupError::new(Step::Pull, reference, kind);
    let options = CreateImageOptionsBuilder::default().from_image(&tagged(reference.as_str())).build();
    let mut stream = Box::pin(engine.create_image(Some(options), None, None));
    let mut layers: HashMap<String, (u64, u64)> = HashMap::new();
    loop {
        let next = timeout(SILENCE, stream.next()).await;
        let state = match next.map_err(|_| fail(SetupErrorKind::Deadline { after: SILENCE }))? {
            None => return Ok(()),
            Some(Ok(state)) => state,
            Some(Err(error)) => return Err(fail(refusal(&error)).because(error)),
        };
        let status = state.status.unwrap_or_default();
        if status != "Downloading" {
            progress.report(ProgressEvent::Line { image: name, text: &status });
            continue;
        }
        let (Some(layer), Some(detail)) = (state.id, state.progress_detail) else { continue };
        let bytes = |number: Option<i64>| number.and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
        layers.insert(layer, (bytes(detail.current), bytes(detail.total)));
        let (bytes, total) = layers.values().fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1));
        progress.report(ProgressEvent::Transferred { image: name, bytes, total: Some(total) });
    }
}

/// A reference without tag or digest would pull every tag of the repository.
fn tagged(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains([':', '@']) { reference.to_owned() } else { format!("{reference}:latest") }
}

/// The engine passes the registry's failures on as text only.
fn refusal(error: &Error) -> SetupErrorKind {
    const SILENT: [&str; 9] = [
        "no such host",
        "connection refused",
        "i/o timeout",
        "network is unreachable",
        "no route to host",
        "client.timeout",
        "tls handshake timeout",
        "certificate",
        "temporary failure in name resolution",
    ];
    const REFUSED: [&str; 5] =
        ["manifest unknown", "not found", "pull access denied", "unauthorized", "denied"];
    let text = match error {
        Error::DockerResponseServerError { message, .. } => message,
        Error::DockerStreamError { error } => error,
        _ => return classify(error),
    }
    .to_lowercase();
    if SILENT.iter().any(|word| text.contains(word)) {
        SetupErrorKind::NoRegistry
    } else if REFUSED.iter().any(|word| text.contains(word)) {
        SetupErrorKind::NotInRegistry
    } else {
        classify(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_repository_never_pulls_every_tag() {
        assert_eq!(tagged("127.0.0.1:5000/a/b"), "127.0.0.1:5000/a/b:latest");
        assert_eq!(tagged("a:1"), "a:1");
        assert_eq!(tagged("a@sha256:00"), "a@sha256:00");
    }

    #[test]
    fn failures_of_registries_are_told_apart() {
        let server =
            |message: &str| Error::DockerResponseServerError { status_code: 500, message: message.into() };
        // Replies of Docker 20.10.24.
        for (message, kind) in [
            (
                "Get \"https://r.test/v2/\": dial tcp: lookup r.test on 10.0.0.1:53: no such host",
                SetupErrorKind::NoRegistry,
            ),
            (
                "Get \"http://127.0.0.1:9/v2/\": dial tcp 127.0.0.1:9: connect: connection refused",
                SetupErrorKind::NoRegistry,
            ),
            (
                "manifest for 127.0.0.1:5000/a:1 not found: manifest unknown: manifest unknown",
                SetupErrorKind::NotInRegistry,
            ),
            (
                "pull access denied for a, repository does not exist or may require 'docker login'",
                SetupErrorKind::NotInRegistry,
            ),
            ("no space left on device", SetupErrorKind::Engine),
        ] {
            assert_eq!(refusal(&server(message)), kind, "{message}");
        }
    }
}
