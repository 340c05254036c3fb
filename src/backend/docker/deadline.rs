//! How long each engine call may take. No call of this backend runs without one of these.
//!
//! Figures: an unloaded engine answers inspect in 1 ms and start in 0.3 s; with 24 bottles starting at once
//! a start waits about 20 s for its turn. The table leaves a factor of five on top of that.

use std::time::Duration;

use super::super::Op;

/// Deadlines per operation, multiplied by a factor for slow or remote engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    factor: u32,
    heartbeat: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { factor: 1, heartbeat: Duration::from_secs(5) }
    }
}

impl Deadlines {
    /// All deadlines `factor` times as long; 0 counts as 1.
    pub fn scaled(factor: u32) -> Self {
        Self { factor: factor.max(1), ..Self::default() }
    }

    /// Another pause between two questions of a watch whether the engine still answers.
    #[must_use]
    pub fn with_heartbeat(self, heartbeat: Duration) -> Self {
        Self { heartbeat, ..self }
    }

    /// How often a watch asks whether the engine still answers; 5 s times the factor at first.
    pub fn heartbeat(self) -> Duration {
        self.heartbeat * self.factor
    }

    /// How long an engine may leave that question unanswered: two heartbeats. A hung engine is lost to a watch
    /// after at most three.
    pub fn silence(self) -> Duration {
        self.heartbeat() * 2
    }

    /// The deadline of `op`. A stop adds the member's grace to it; a wait has none.
    pub fn of(self, op: Op) -> Duration {
        let seconds = match op {
            Op::Connect => 5,
            Op::FindImage | Op::InspectMember | Op::AttachMember | Op::Logs | Op::Stats | Op::Watch => 15,
            Op::CreateZone | Op::RemoveZone | Op::ConnectMember | Op::StopMember | Op::ListOwned => 30,
            Op::CreateMember | Op::RemoveMember | Op::MendMember | Op::Exec | Op::GetArchive => 60,
            Op::StartMember => 120,
            Op::PutArchive => 600,
            _ => 60,
        };
        Duration::from_secs(seconds) * self.factor
    }
}

/// What [`tokio::time::timeout`] lost.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", .0.as_secs_f32())]
pub(super) struct Elapsed(pub(super) Duration);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_stretches_every_deadline() {
        let slow = Deadlines::scaled(3);
        assert_eq!(slow.of(Op::StartMember), Deadlines::default().of(Op::StartMember) * 3);
        assert_eq!(slow.silence(), Duration::from_secs(30));
        assert_eq!(Deadlines::scaled(0), Deadlines::default());
    }
}
