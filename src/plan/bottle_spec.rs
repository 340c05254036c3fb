//! [`BottleSpec`]: what a caller asks for.

use std::path::PathBuf;

use crate::manifest::Manifest;

/// A wish for one bottle: which agent of which manifest, and how it sees the caller's files.
#[derive(Clone, Debug, PartialEq)]
pub struct BottleSpec {
    /// The validated manifest.
    pub manifest: Manifest,
    /// The agent to launch.
    pub agent_name: String,
    /// Whether `user_cwd` is copied into the bottle.
    pub copy_cwd: bool,
    /// The caller's working directory.
    pub user_cwd: PathBuf,
    /// Whether `CLAUDE_BOTTLE_OAUTH_TOKEN` (if set) serves as the credential of api.anthropic.com.
    pub forward_oauth_token: bool,
    /// Whether Claude Code is started with remote control.
    pub remote_control: bool,
    /// Whether the bottle outlives its owner until it is adopted.
    pub detach: bool,
}

impl BottleSpec {
    /// A wish with the defaults of the command line: no copy, token forwarded, in the foreground.
    pub fn new(manifest: Manifest, agent_name: impl Into<String>, user_cwd: impl Into<PathBuf>) -> Self {
        Self {
            manifest,
            agent_name: agent_name.into(),
            copy_cwd: false,
            user_cwd: user_cwd.into(),
            forward_oauth_token: true,
            remote_control: false,
            detach: false,
        }
    }
}
