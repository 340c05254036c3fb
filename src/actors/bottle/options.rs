//! How a bottle's supervision is tuned.

use std::time::Duration;

use crate::actors::supervision::{Backoff, Intensity};

/// Restart intensity, backoff and health checks of each bottle. The defaults suit people; tests that hurt a
/// bottle more often than life does raise the intensity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SupervisionOptions {
    /// Restarts of one child that are tolerated; default 3 within 60 s. One more fails the bottle closed.
    pub intensity: Intensity,
    /// Pause before a restart: none before the first, then 200 ms doubled up to 5 s, a quarter of it random.
    pub backoff: Backoff,
    /// From one health probe to the next, through the whole chain; default 10 s.
    pub health_interval: Duration,
    /// How long the answer to a probe may take; default 10 s. After two unanswered ones mitmproxy is replaced.
    pub health_patience: Duration,
    /// From a sidecar's restart to the passed probe; default 20 s. Then the one to blame is replaced.
    pub recovery_deadline: Duration,
}

impl Default for SupervisionOptions {
    fn default() -> Self {
        Self {
            intensity: Intensity::default(),
            backoff: Backoff {
                first: Duration::ZERO,
                base: Duration::from_millis(200),
                max: Duration::from_secs(5),
                jitter: 0.25,
            },
            health_interval: Duration::from_secs(10),
            health_patience: Duration::from_secs(10),
            recovery_deadline: Duration::from_secs(20),
        }
    }
}
