//! The host's certificate bundle, on its way to build steps.

use std::path::Path;

use tokio::fs;

use super::{SetupError, SetupErrorKind, Step};

/// Reads a PEM bundle and checks that it is one.
pub(super) async fn read_bundle(path: &Path) -> Result<Vec<u8>, SetupError> {
    let bytes = fs::read(path).await.map_err(|error| {
        SetupError::unreadable(Step::ReadCertificates, "build steps", path.to_owned(), error)
    })?;
    let marker = b"-----BEGIN CERTIFICATE-----";
    if !bytes.windows(marker.len()).any(|window| window == marker) {
        let kind = SetupErrorKind::NoCertificates { path: path.to_owned() };
        return Err(SetupError::new(Step::ReadCertificates, "build steps", kind));
    }
    Ok(bytes)
}

/// The variables by which apt, pip, npm, curl and OpenSSL are told to use a bundle at `path`.
pub(super) fn variables(path: &str) -> Vec<String> {
    [
        "PIP_CERT",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_FILE",
        "CURL_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
        "GIT_SSL_CAINFO",
    ]
    .iter()
    .map(|name| format!("{name}={path}"))
    .collect()
}
