//! [`LaunchPlan`]: everything a launch needs to know, but no secret. Printed, stored for adoption, hashed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::egress::EgressPlan;
use super::names::Names;
use super::spec::Resources;
use crate::config::Engine;
use crate::ids::{ImageRef, Role, Slug};
use crate::manifest::{EnvValue, Restart};

/// An image and the content it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedImage {
    /// What is run.
    pub reference: ImageRef,
    /// Its content (`sha256:…`).
    pub digest: String,
}

/// A skill to copy into the bottle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkillDir {
    /// Its name.
    pub name: String,
    /// Its directory on the host.
    pub path: PathBuf,
}

/// One SSH server with the key that signs for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshKeyFile {
    /// The alias the agent uses.
    pub host: String,
    /// The server's DNS name.
    pub hostname: String,
    /// Port.
    pub port: u16,
    /// Login name.
    pub user: Option<String>,
    /// The private key on the host; loaded into the bottle's ssh-agent, never stored here.
    pub identity_file: PathBuf,
    /// The server's public key in OpenSSH form; without it the first connection is refused.
    pub known_host_key: Option<String>,
}

/// What a launch makes. Built by [`resolve`](super::resolve()) only; holds names of secrets, never values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaunchPlan {
    pub(super) backend: String,
    pub(super) agent: String,
    pub(super) bottle: String,
    pub(super) slug: Slug,
    pub(super) base_slug: Slug,
    pub(super) names: Names,
    pub(super) engine: Engine,
    pub(super) images: BTreeMap<Role, PlannedImage>,
    pub(super) runtime: Option<String>,
    pub(super) pool: Ipv4Net,
    pub(super) egress_network: String,
    pub(super) env: BTreeMap<String, EnvValue>,
    pub(super) prompt: Option<String>,
    pub(super) skills: Vec<SkillDir>,
    pub(super) ssh: Vec<SshKeyFile>,
    pub(super) egress: EgressPlan,
    pub(super) copy_cwd: bool,
    pub(super) user_cwd: PathBuf,
    pub(super) remote_control: bool,
    pub(super) detach: bool,
    pub(super) resources: Resources,
    pub(super) restart: Restart,
    pub(super) command: Option<Vec<String>>,
    pub(super) notes: Vec<String>,
}

impl LaunchPlan {
    /// The backend it was resolved for.
    pub fn backend(&self) -> &str {
        &self.backend
    }

    /// The agent's name in the manifest.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// The bottle's name in the manifest.
    pub fn bottle(&self) -> &str {
        &self.bottle
    }

    /// The visible name.
    pub fn slug(&self) -> &Slug {
        &self.slug
    }

    /// The slug before any number was added: where the search for a free one starts.
    pub fn base_slug(&self) -> &Slug {
        &self.base_slug
    }

    /// Names of containers and networks.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Which gate runs.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// The image of a role. `None` cannot happen in a plan made by `resolve`.
    pub fn image(&self, role: Role) -> Option<&PlannedImage> {
        self.images.get(&role)
    }

    /// OCI runtime of the agent; `None` = the engine's default.
    pub fn runtime(&self) -> Option<&str> {
        self.runtime.as_deref()
    }

    /// Where subnets are taken from.
    pub fn pool(&self) -> Ipv4Net {
        self.pool
    }

    /// Name of the shared network with the way out.
    pub fn egress_network(&self) -> &str {
        &self.egress_network
    }

    /// The manifest's variables of the agent, with where their values come from.
    pub fn env(&self) -> &BTreeMap<String, EnvValue> {
        &self.env
    }

    /// Text for the system prompt.
    pub fn prompt(&self) -> Option<&str> {
        self.prompt.as_deref()
    }

    /// Skills to copy in.
    pub fn skills(&self) -> &[SkillDir] {
        &self.skills
    }

    /// SSH servers and keys.
    pub fn ssh(&self) -> &[SshKeyFile] {
        &self.ssh
    }

    /// What may leave.
    pub fn egress(&self) -> &EgressPlan {
        &self.egress
    }

    /// Whether [`LaunchPlan::user_cwd`] is copied in.
    pub fn copy_cwd(&self) -> bool {
        self.copy_cwd
    }

    /// The caller's working directory.
    pub fn user_cwd(&self) -> &Path {
        &self.user_cwd
    }

    /// Whether Claude Code is started with remote control.
    pub fn remote_control(&self) -> bool {
        self.remote_control
    }

    /// Whether the bottle outlives its owner.
    pub fn detach(&self) -> bool {
        self.detach
    }

    /// Limits of the agent.
    pub fn resources(&self) -> Resources {
        self.resources
    }

    /// What happens when the agent ends.
    pub fn restart(&self) -> Restart {
        self.restart
    }

    /// Command in place of Claude Code.
    pub fn command(&self) -> Option<&[String]> {
        self.command.as_deref()
    }

    /// Things the user should know before saying yes, each a sentence.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The same plan under another visible name: the answer to a name conflict.
    #[must_use]
    pub fn with_slug(mut self, next: Slug) -> Self {
        self.names = Names::of(&next);
        self.slug = next;
        self
    }

    /// SHA-256 of the plan in hex, to recognise a resource that was made from another plan.
    pub fn hash(&self) -> String {
        // Maps are ordered and keys are strings, so serialisation neither fails nor varies.
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        hex::encode(Sha256::digest(&bytes))
    }
}
