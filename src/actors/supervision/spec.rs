//! Child specifications: what a supervisor knows of a child before it starts it (OTP `supervisor:child_spec()`).

use std::time::Duration;

use super::exit::ExitReason;

/// When a child is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartType {
    /// Always.
    Permanent,
    /// After an abnormal end only.
    Transient,
    /// Never.
    Temporary,
}

impl RestartType {
    /// Whether a child of this type is started again after `exit`.
    pub fn restarts_after(self, exit: &ExitReason) -> bool {
        match self {
            RestartType::Permanent => true,
            RestartType::Transient => !exit.is_normal(),
            RestartType::Temporary => false,
        }
    }
}

/// How a child is brought down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Asked to stop, killed after the time-out.
    Timeout(Duration),
    /// Killed at once.
    BrutalKill,
}

/// What a supervisor knows of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildSpec<K> {
    /// Which child.
    pub key: K,
    /// When it is started again.
    pub restart: RestartType,
    /// How it is brought down.
    pub shutdown: Shutdown,
    /// Whether its end can end the supervisor ([`AutoShutdown`](super::supervisor::AutoShutdown)). Without meaning for
    /// a permanent child.
    pub significant: bool,
}
