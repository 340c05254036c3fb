//! [`HostFacts`]: what resolving has to know about the host and the engine. Gathered here, read-only.
//!
//! The one impure part of making a plan: looks at files, asks the engine for images and names. Creates
//! nothing, so that a dry run creates nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::bottle_spec::BottleSpec;
use super::egress::OAUTH_VAR;
use crate::backend::{Backend, BackendErrorKind, BackendResult, OwnedBy};
use crate::config::{Config, HostEnv, Paths};
use crate::ids::{ImageRef, Role, Slug};
use crate::manifest::{BottleManifest, CredentialSource};

/// A private key on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFact {
    /// Can be loaded.
    Usable,
    /// Needs a passphrase; nobody is there to give it.
    Encrypted,
    /// Not a private key in a known form.
    NotAKey,
    /// Not there, not a file, or not readable.
    Unreadable(String),
}

/// A file that only has to be readable, or hold certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileFact {
    /// As wanted.
    Usable,
    /// Readable, but not what is wanted.
    Wrong(String),
    /// Not there, not a file, or not readable.
    Unreadable(String),
}

/// An image on the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageFact {
    /// At hand, with its content digest.
    Present(String),
    /// Not at hand; a launch never pulls.
    Missing,
}

/// Everything resolving knows about its surroundings. Names of variables only, never values.
#[derive(Clone, Debug, Default)]
pub struct HostFacts {
    /// Name of the backend.
    pub backend: String,
    /// OCI runtimes of the backend.
    pub runtimes: Vec<String>,
    /// Images that were looked up.
    pub images: BTreeMap<ImageRef, ImageFact>,
    /// Slugs that bottles on the engine use.
    pub used_slugs: BTreeSet<Slug>,
    /// Names of the host's variables.
    pub vars: BTreeSet<String>,
    /// Whether somebody can be asked.
    pub terminal: bool,
    /// Where skills are looked for.
    pub skills_dir: PathBuf,
    /// Names of the directories there.
    pub skills: BTreeSet<String>,
    /// The home directory, for `~/`.
    pub home: PathBuf,
    /// Private keys by the path in the manifest.
    pub keys: BTreeMap<String, KeyFact>,
    /// Bundles by path as written.
    pub bundles: BTreeMap<String, FileFact>,
    /// Credential files by path as written.
    pub credential_files: BTreeMap<String, FileFact>,
    /// Whether the caller's working directory is a directory.
    pub cwd_is_dir: bool,
}

impl HostFacts {
    /// Looks at everything the wish names. `terminal` says whether somebody can be asked.
    ///
    /// # Errors
    /// The engine cannot be asked. A missing image or file is a fact, not an error.
    pub async fn gather(
        spec: &BottleSpec,
        config: &Config,
        host: &HostEnv,
        terminal: bool,
        backend: &dyn Backend,
    ) -> BackendResult<Self> {
        let mut facts = Self::of_host(spec, config, host, terminal);
        facts.backend = backend.name().to_owned();
        facts.runtimes = backend.facts().await?.runtimes;
        for reference in wanted_images(spec, config) {
            let fact = match backend.image(&reference).await {
                Ok(found) => ImageFact::Present(found.digest),
                Err(error) if error.kind == BackendErrorKind::NotFound => ImageFact::Missing,
                Err(error) => return Err(error),
            };
            facts.images.insert(reference, fact);
        }
        let owned = backend.owned(&OwnedBy::Anyone).await?;
        facts.used_slugs = owned.into_iter().map(|owned| owned.ownership.slug).collect();
        Ok(facts)
    }

    /// The part of the facts that needs no engine.
    pub fn of_host(spec: &BottleSpec, config: &Config, host: &HostEnv, terminal: bool) -> Self {
        let skills_dir = Paths::resolve(host).skills_dir;
        let mut facts = Self {
            // An empty token is no token.
            vars: host
                .names()
                .filter(|name| *name != OAUTH_VAR || host.var_non_empty(OAUTH_VAR).is_some())
                .map(str::to_owned)
                .collect(),
            terminal,
            skills: directories(&skills_dir),
            skills_dir,
            home: host.home().to_owned(),
            cwd_is_dir: spec.user_cwd.is_dir(),
            ..Self::default()
        };
        if let Some(path) = &config.extra_ca {
            facts.bundles.insert(path.display().to_string(), bundle(path));
        }
        let Some(bottle) = bottle_of(spec) else { return facts };
        for entry in &bottle.ssh {
            let fact = key(&host.expand(&entry.identity_file));
            facts.keys.insert(entry.identity_file.clone(), fact);
        }
        if let Some(path) = &bottle.egress.extra_ca {
            facts.bundles.insert(path.clone(), bundle(&host.expand(path)));
        }
        for credential in &bottle.egress.credentials {
            if let CredentialSource::File { path } = &credential.source {
                let fact = std::fs::read(host.expand(path))
                    .map_or_else(|error| FileFact::Unreadable(error.to_string()), |_| FileFact::Usable);
                facts.credential_files.insert(path.clone(), fact);
            }
        }
        facts
    }
}

/// The bottle of the wished agent, if manifest and wish fit together.
pub(super) fn bottle_of(spec: &BottleSpec) -> Option<&BottleManifest> {
    spec.manifest.bottles.get(&spec.manifest.agents.get(&spec.agent_name)?.bottle)
}

fn wanted_images(spec: &BottleSpec, config: &Config) -> BTreeSet<ImageRef> {
    let configured = Role::ALL.into_iter().filter_map(|role| config.images.get(role));
    let own = bottle_of(spec).and_then(|bottle| bottle.image.as_deref()).map(ImageRef::from);
    configured.map(|image| image.reference.clone()).chain(own).collect()
}

fn directories(parent: &Path) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(parent) else { return BTreeSet::new() };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// What a private key file is good for. Pure but for the reading.
fn key(path: &Path) -> KeyFact {
    if path.is_dir() {
        return KeyFact::Unreadable("is a directory".to_owned());
    }
    match std::fs::read(path) {
        Ok(bytes) => classify_key(&crate::ids::Secret::new(bytes)),
        Err(error) => KeyFact::Unreadable(error.to_string()),
    }
}

/// OpenSSH's own form is parsed; of the older PEM forms the header tells whether a passphrase is needed.
pub(super) fn classify_key(bytes: &crate::ids::Secret<Vec<u8>>) -> KeyFact {
    let Ok(text) = std::str::from_utf8(bytes.expose_secret()) else { return KeyFact::NotAKey };
    let text = text.trim_start();
    if text.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----") {
        return match ssh_key::PrivateKey::from_openssh(text) {
            Ok(key) if key.is_encrypted() => KeyFact::Encrypted,
            Ok(_) => KeyFact::Usable,
            Err(_) => KeyFact::NotAKey,
        };
    }
    if !text.starts_with("-----BEGIN ") || !text.contains("PRIVATE KEY-----") {
        return KeyFact::NotAKey;
    }
    if text.contains("ENCRYPTED") { KeyFact::Encrypted } else { KeyFact::Usable }
}

fn bundle(path: &Path) -> FileFact {
    match std::fs::read_to_string(path) {
        Ok(text) if text.contains("PRIVATE KEY-----") => {
            FileFact::Wrong("holds a private key; only certificates belong in a bundle".to_owned())
        }
        Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => FileFact::Usable,
        Ok(_) => FileFact::Wrong("holds no PEM certificate".to_owned()),
        Err(error) => FileFact::Unreadable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Secret;

    fn classify(text: &str) -> KeyFact {
        classify_key(&Secret::new(text.as_bytes().to_vec()))
    }

    #[test]
    fn keys_are_told_apart() {
        assert_eq!(classify("hello"), KeyFact::NotAKey);
        assert_eq!(classify(""), KeyFact::NotAKey);
        assert_eq!(classify("-----BEGIN OPENSSH PRIVATE KEY-----\nnope"), KeyFact::NotAKey);
        assert_eq!(classify("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA"), KeyFact::Encrypted);
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nAAAA";
        assert_eq!(classify(old), KeyFact::Encrypted);
        assert_eq!(classify("-----BEGIN RSA PRIVATE KEY-----\nAAAA"), KeyFact::Usable);
        assert_eq!(classify("-----BEGIN CERTIFICATE-----\nAAAA"), KeyFact::NotAKey);
    }

    #[test]
    fn bundles_hold_certificates_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        assert!(matches!(bundle(&path), FileFact::Unreadable(_)));
        std::fs::write(&path, "text").unwrap();
        assert!(matches!(bundle(&path), FileFact::Wrong(_)));
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----").unwrap();
        assert_eq!(bundle(&path), FileFact::Usable);
    }
}
