//! What setup produces: names of images, and facts about one that is ready.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::ids::{ImageRef, Role};

/// The images setup knows, built or pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ImageName {
    /// The root file system under all built images but the gate's; never launched itself.
    Base,
    /// The software under the agent's image; never launched itself.
    #[serde(rename = "agent-base")]
    AgentBase,
    /// Where the agent's processes run.
    Agent,
    /// The content lock.
    Mitmproxy,
    /// The builtin gate: this repository's own destination lock.
    Gate,
    /// The official pipelock image.
    Pipelock,
}

impl ImageName {
    /// The text used in tags, labels and progress.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::AgentBase => "agent-base",
            Self::Agent => "agent",
            Self::Mitmproxy => "mitmproxy",
            Self::Gate => "gate",
            Self::Pipelock => "pipelock",
        }
    }

    /// The member of a bottle that runs this image; none for what only lies under others.
    pub fn role(self) -> Option<Role> {
        match self {
            Self::Base | Self::AgentBase => None,
            Self::Agent => Some(Role::Agent),
            Self::Mitmproxy => Some(Role::Mitmproxy),
            Self::Gate | Self::Pipelock => Some(Role::Pipelock),
        }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an image came to be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was on the engine already.
    Present,
    /// Built from its recipe.
    Built,
    /// Pulled from a registry.
    Pulled,
}

/// One image that a launch can use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReadyImage {
    /// Which image it is.
    pub name: ImageName,
    /// What a container is created from: `bottle/<name>:<hash>`, or `repository@sha256:…` for a pulled one.
    pub reference: ImageRef,
    /// The engine's image id, `sha256:…`; what the configuration pins for images that were built.
    pub id: String,
    /// The registry's digest, `repository@sha256:…`; only pulled images have one.
    pub digest: Option<ImageRef>,
    /// Size on the engine, layers shared with other images included.
    pub size_bytes: u64,
    /// What setup did.
    pub outcome: Outcome,
    /// Wall time of this image, waiting for the one below excluded.
    pub took: Duration,
}
