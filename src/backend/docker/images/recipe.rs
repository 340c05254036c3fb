//! A recipe: what goes into one image, and the hash that names the result.
//!
//! Pure: reads no file, talks to no engine.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::ids::ImageRef;

/// How the image is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A root file system from mmdebstrap, imported.
    Bootstrap,
    /// `install.sh` run in a container of the base image, committed.
    Container,
    /// One static binary, imported.
    Binary,
}

/// The content of `recipe.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spec {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Debian suite of a bootstrap.
    pub(super) suite: Option<String>,
    /// Name of the recipe below; containers only.
    pub(super) base: Option<String>,
    #[serde(default)]
    pub(super) packages: Vec<String>,
    /// Files beside the recipe that the script reads.
    #[serde(default)]
    pub(super) files: Vec<String>,
    /// Whether the addon package goes to the script.
    #[serde(default)]
    pub(super) addon: bool,
    /// Where this repository's binary lies in the image; given to a script under the same path below `$BUILD`.
    pub(super) binary: Option<String>,
    pub(super) user: Option<String>,
    pub(super) workdir: Option<String>,
    #[serde(default)]
    pub(super) entrypoint: Vec<String>,
    #[serde(default)]
    pub(super) cmd: Vec<String>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    /// Pinned versions and hashes, given to the script as variables in capitals.
    #[serde(default)]
    pub(super) inputs: BTreeMap<String, String>,
}

/// One file of a recipe, named as the script sees it below `$BUILD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildFile {
    /// Relative path, `/` between parts.
    pub path: String,
    /// Content.
    pub bytes: Cow<'static, [u8]>,
}

/// A valid recipe with all its files.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub(super) spec: Spec,
    text: String,
    pub(super) files: Vec<BuildFile>,
}

/// Why a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// Not TOML, an unknown key, or a wrong type.
    #[error("parse recipe.toml")]
    Syntax(#[from] toml::de::Error),
    /// A key that this kind of recipe needs is missing.
    #[error("{kind:?} recipe {name} needs {key}")]
    Missing {
        /// The recipe.
        name: String,
        /// Its kind.
        kind: Kind,
        /// The key or file.
        key: String,
    },
    /// The name would not make a valid tag, or a path leaves the build directory.
    #[error("{text:?} is not valid here")]
    Invalid {
        /// What was found.
        text: String,
    },
}

impl Recipe {
    /// Reads a recipe and binds it to its files.
    ///
    /// # Errors
    /// [`RecipeError`] for a syntax error, a missing key or file, and names that cannot be used.
    pub fn parse(text: &str, files: Vec<BuildFile>) -> Result<Self, RecipeError> {
        let spec: Spec = toml::from_str(text)?;
        let missing = |key: &str| RecipeError::Missing {
            name: spec.name.clone(),
            kind: spec.kind,
            key: key.to_owned(),
        };
        let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if spec.name.is_empty() || !spec.name.chars().all(valid) {
            return Err(RecipeError::Invalid { text: spec.name });
        }
        if let Some(file) =
            files.iter().find(|file| file.path.starts_with('/') || file.path.split('/').any(|p| p == ".."))
        {
            return Err(RecipeError::Invalid { text: file.path.clone() });
        }
        match spec.kind {
            Kind::Bootstrap if spec.suite.is_none() => return Err(missing("suite")),
            Kind::Binary if spec.binary.is_none() => return Err(missing("binary")),
            Kind::Container if spec.base.is_none() => return Err(missing("base")),
            Kind::Container => {
                for wanted in spec.files.iter().map(String::as_str).chain(["install.sh", "finish.sh"]) {
                    if !files.iter().any(|file| file.path == wanted) {
                        return Err(missing(wanted));
                    }
                }
            }
            Kind::Bootstrap | Kind::Binary => {}
        }
        Ok(Self { spec, text: text.to_owned(), files })
    }

    /// The recipe's name, the second part of `bottle/<name>`.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// How the image is made.
    pub fn kind(&self) -> Kind {
        self.spec.kind
    }

    /// The same recipe with another file in it: a binary that is known only at run time.
    #[must_use]
    pub fn with_file(mut self, file: BuildFile) -> Self {
        self.files.push(file);
        self
    }

    /// Twelve hex digits over the recipe, its files and the image below (`parent`, any text that identifies it).
    pub fn hash(&self, parent: &str) -> String {
        let mut hash = Sha256::new();
        // Lengths go in as well, so that no two different recipes give the same byte string.
        let mut field = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        field(b"bottle image 1");
        field(parent.as_bytes());
        field(self.text.as_bytes());
        for file in &self.files {
            field(file.path.as_bytes());
            field(&file.bytes);
        }
        hex::encode(hash.finalize())[..12].to_owned()
    }

    /// The tag the image gets: `bottle/<name>:<hash>`.
    pub fn reference(&self, parent: &str) -> ImageRef {
        ImageRef::new(format!("bottle/{}:{}", self.spec.name, self.hash(parent)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> BuildFile {
        BuildFile { path: path.into(), bytes: text.as_bytes().to_vec().into() }
    }

    fn scripts() -> Vec<BuildFile> {
        vec![file("install.sh", "a"), file("finish.sh", "b")]
    }

    const TEXT: &str = "name = 'x'\nkind = 'container'\nbase = 'base'\n";

    #[test]
    fn every_input_changes_the_hash() {
        let plain = Recipe::parse(TEXT, scripts()).expect("valid");
        let hashes = [
            plain.hash("p"),
            plain.hash("q"),
            Recipe::parse(&format!("{TEXT}user = '1'\n"), scripts()).expect("valid").hash("p"),
            Recipe::parse(TEXT, vec![file("install.sh", "ab"), file("finish.sh", "")])
                .expect("valid")
                .hash("p"),
            plain.clone().with_file(file("c", "")).hash("p"),
        ];
        for (i, one) in hashes.iter().enumerate() {
            assert_eq!(one.len(), 12);
            assert!(hashes[i + 1..].iter().all(|other| other != one), "{hashes:?}");
        }
        assert_eq!(plain.hash("p"), Recipe::parse(TEXT, scripts()).expect("valid").hash("p"));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        assert!(matches!(
            Recipe::parse("name = 'x'\nkind = 'binary'", vec![]),
            Err(RecipeError::Missing { .. })
        ));
        assert!(
            matches!(Recipe::parse(TEXT, vec![]), Err(RecipeError::Missing { key, .. }) if key == "install.sh")
        );
        assert!(matches!(
            Recipe::parse("name = 'x'\nkind = 'binary'\nnmae = 1", vec![]),
            Err(RecipeError::Syntax(_))
        ));
        assert!(matches!(
            Recipe::parse(&TEXT.replace("'x'", "'../x'"), scripts()),
            Err(RecipeError::Invalid { .. })
        ));
        let mut files = scripts();
        files.push(file("a/../../b", ""));
        assert!(matches!(Recipe::parse(TEXT, files), Err(RecipeError::Invalid { .. })));
    }
}
