//! What provisioning puts into the agent container: ca → prompt → skills → ssh → git, as tar entries.
//!
//! The steps only build archives; `actors/provisioner.rs` carries them in. One streamed archive holds the
//! first four, a second one the working directory: an upload costs 60-80 ms whatever its size.

pub mod archive;
pub mod ca;
pub mod prompt;
pub mod skills;
pub mod ssh;
pub mod tree;

pub use archive::{Archive, HostFileError, stream};

/// Home of the agent user.
pub const AGENT_HOME: &str = "/home/agent";
/// Where commands start and where the working directory of the host is copied to.
pub const WORKSPACE: &str = "/workspace";
/// Where the prompt lies inside.
pub const PROMPT_PATH: &str = "/home/agent/.bottle/prompt.md";

/// The unprivileged user that commands run as: uid and gid, so that any image can be an agent's.
pub const AGENT_USER: &str = "1000:1000";

/// Who owns an entry inside the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// uid and gid 0.
    Root,
    /// The unprivileged agent user (uid and gid 1000, as the agent image makes it).
    Agent,
}

impl Owner {
    /// uid and gid.
    pub fn id(self) -> u64 {
        match self {
            Owner::Root => 0,
            Owner::Agent => 1000,
        }
    }
}
