//! Archive → image.

use bollard::{
    Docker,
    query_parameters::{CreateImageOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder},
};
use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use tokio::time::timeout;

use super::{
    ImageName, SetupError, SetupErrorKind, Step,
    build::BUILD_LABEL,
    call::{self, call, classify},
    recipe::Spec,
};
use crate::ids::ImageRef;

/// Imports a root file system; the image has no tag yet. Returns its id.
pub(super) async fn import(
    engine: &Docker,
    image: ImageName,
    spec: &Spec,
    hash: &str,
    archive: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
) -> Result<String, SetupError> {
    let mut options = CreateImageOptionsBuilder::default().from_src("-").build();
    options.changes = changes(spec, hash);
    let stream = engine.create_image(Some(options), Some(bollard::body_try_stream(archive)), None);
    let fail = |kind| SetupError::new(Step::Import, image, kind);
    let states = timeout(call::LONG, stream.try_collect::<Vec<_>>())
        .await
        .map_err(|_| fail(SetupErrorKind::Deadline { after: call::LONG }))?
        .map_err(|error| fail(classify(&error)).because(error))?;
    // The engine's last status line is the id.
    states
        .into_iter()
        .rev()
        .filter_map(|state| state.status)
        .find(|status| status.starts_with("sha256:"))
        .ok_or_else(|| fail(SetupErrorKind::Engine).because("engine reported no image id"))
}

/// The image's configuration as Dockerfile lines, the only form an import takes.
fn changes(spec: &Spec, hash: &str) -> Vec<String> {
    let list = |words: &[String]| serde_json::Value::from(words.to_vec()).to_string();
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    let mut lines = vec![format!("LABEL {}={}", quote(BUILD_LABEL), quote(hash))];
    lines.extend(spec.labels.iter().map(|(key, value)| format!("LABEL {}={}", quote(key), quote(value))));
    lines.extend(spec.env.iter().map(|(key, value)| format!("ENV {key}={}", quote(value))));
    lines.extend(spec.user.iter().map(|user| format!("USER {user}")));
    lines.extend(spec.workdir.iter().map(|dir| format!("WORKDIR {dir}")));
    if !spec.entrypoint.is_empty() {
        lines.push(format!("ENTRYPOINT {}", list(&spec.entrypoint)));
    }
    if !spec.cmd.is_empty() {
        lines.push(format!("CMD {}", list(&spec.cmd)));
    }
    lines
}

/// Names a finished image; from here on it counts as ready.
pub(super) async fn tag(
    engine: &Docker,
    image: ImageName,
    id: &str,
    reference: &ImageRef,
) -> Result<(), SetupError> {
    let (repo, tag) = split(reference);
    let options = TagImageOptionsBuilder::default().repo(repo).tag(tag).build();
    call(Step::Commit, image, call::SHORT, engine.tag_image(id, Some(options))).await
}

/// Removes an image that will not be tagged. Its failure would hide the real one, so it is only traced.
pub(super) async fn discard(engine: &Docker, id: &str) {
    let options = RemoveImageOptionsBuilder::default().noprune(false).build();
    if let Err(error) =
        call(Step::Import, id, call::SHORT, engine.remove_image(id, Some(options), None)).await
    {
        tracing::warn!(image = id, %error, "unfinished image could not be removed");
    }
}

/// Repository and tag of a reference made by a recipe.
pub(super) fn split(reference: &ImageRef) -> (&str, &str) {
    reference.as_str().rsplit_once(':').unwrap_or((reference.as_str(), "latest"))
}
