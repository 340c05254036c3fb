//! The recipes that ship inside the binary, so that an installed `bottle` needs no checkout.

use serde::Deserialize;

use super::{BuildFile, ImageName, Recipe, RecipeError, SetupError};
use crate::ids::ImageRef;

/// The addon package, listed by the build script.
const ADDON: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/addon_files.rs"));

const FINISH: &str = include_str!("../../../../assets/images/finish.sh");
const REFERENCES: &str = include_str!("../../../../assets/images/references.toml");

/// The recipes of a setup. The embedded ones by default; any can be replaced before the build.
#[derive(Clone, Debug)]
pub struct RecipeSet {
    /// Root file system of all but the gate.
    pub base: Recipe,
    /// Software of the agent's image.
    pub agent_base: Recipe,
    /// The agent's image: one layer over `agent_base`; its binary is added when setup has found it.
    pub agent: Recipe,
    /// The content lock's image.
    pub mitmproxy: Recipe,
    /// The builtin gate's image; its binary is added when setup has found it.
    pub gate: Recipe,
}

impl RecipeSet {
    /// The recipes this binary was built with.
    ///
    /// # Errors
    /// [`SetupError`] naming the recipe; only a defect of this build can cause it.
    pub fn embedded() -> Result<Self, SetupError> {
        macro_rules! asset {
            ($path:literal) => {
                include_str!(concat!("../../../../assets/images/", $path))
            };
        }
        Ok(Self {
            base: bind(ImageName::Base, asset!("base/recipe.toml"), &[])?,
            agent_base: bind(
                ImageName::AgentBase,
                asset!("agent-base/recipe.toml"),
                &[
                    ("install.sh", asset!("agent-base/install.sh")),
                    ("node.txt", asset!("agent-base/node.txt")),
                    ("finish.sh", FINISH),
                ],
            )?,
            agent: bind(
                ImageName::Agent,
                asset!("agent/recipe.toml"),
                &[("install.sh", asset!("agent/install.sh")), ("finish.sh", FINISH)],
            )?,
            mitmproxy: bind(
                ImageName::Mitmproxy,
                asset!("mitmproxy/recipe.toml"),
                &[
                    ("install.sh", asset!("mitmproxy/install.sh")),
                    ("requirements.txt", asset!("mitmproxy/requirements.txt")),
                    ("finish.sh", FINISH),
                ],
            )?,
            gate: bind(ImageName::Gate, asset!("gate/recipe.toml"), &[])?,
        })
    }
}

fn bind(name: ImageName, text: &str, files: &[(&str, &'static str)]) -> Result<Recipe, SetupError> {
    let files = files
        .iter()
        .map(|(path, text)| BuildFile { path: (*path).to_owned(), bytes: text.as_bytes().into() })
        .collect();
    let mut recipe = Recipe::parse(text, files).map_err(|error| SetupError::recipe(name, error))?;
    if recipe.spec.addon {
        for (path, bytes) in ADDON {
            recipe = recipe.with_file(BuildFile { path: format!("addon/{path}"), bytes: (*bytes).into() });
        }
    }
    Ok(recipe)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct References {
    pipelock: Reference,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reference {
    reference: ImageRef,
}

/// Where the official pipelock image is published.
///
/// # Errors
/// [`SetupError`]; only a defect of this build can cause it.
pub fn pipelock_reference() -> Result<ImageRef, SetupError> {
    let references: References = toml::from_str(REFERENCES)
        .map_err(|error| SetupError::recipe("references.toml", RecipeError::from(error)))?;
    Ok(references.pipelock.reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_recipes_are_valid_and_named_as_their_images() {
        let set = RecipeSet::embedded().expect("valid");
        for (recipe, name) in [
            (&set.base, ImageName::Base),
            (&set.agent_base, ImageName::AgentBase),
            (&set.agent, ImageName::Agent),
            (&set.mitmproxy, ImageName::Mitmproxy),
            (&set.gate, ImageName::Gate),
        ] {
            assert_eq!(recipe.name(), name.as_str());
        }
        assert!(pipelock_reference().expect("valid").as_str().contains(':'));
    }
}
