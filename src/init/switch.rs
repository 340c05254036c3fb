//! The dead man's switch: how long nobody was heard. Pure; the time is given to it.

use std::time::{Duration, Instant};

/// How many looks a time-out is divided into.
const LOOKS: u32 = 10;

/// Counts running time without a heartbeat.
///
/// Time is counted from look to look, and never more than was planned between two of them: what exceeds the plan was
/// spent paused or starved, and says nothing about the controller. So a container that was paused for an hour has not
/// been silent for an hour when it goes on; it has the rest of its time-out to be heard.
#[derive(Debug)]
pub(super) struct Switch {
    orphan_after: Duration,
    /// Counted so far.
    silent: Duration,
    /// When it was counted last, or a heartbeat came.
    looked: Instant,
}

impl Switch {
    /// The first time-out begins now.
    pub(super) fn armed(orphan_after: Duration, now: Instant) -> Self {
        Self { orphan_after, silent: Duration::ZERO, looked: now }
    }

    /// A heartbeat came.
    pub(super) fn heard(&mut self, now: Instant) {
        self.silent = Duration::ZERO;
        self.looked = now;
    }

    /// How long to wait for the next look at most.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.planned().saturating_sub(now.saturating_duration_since(self.looked))
    }

    /// Counts up to now. Whether the time-out has passed.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.looked);
        self.silent += elapsed.min(self.planned());
        self.looked = now;
        self.silent >= self.orphan_after
    }

    fn planned(&self) -> Duration {
        (self.orphan_after / LOOKS)
            .max(Duration::from_millis(1))
            .min(self.orphan_after.saturating_sub(self.silent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Looks as the loop does until the time-out has passed; the time that took.
    fn lasts(switch: &mut Switch, mut now: Instant) -> Duration {
        let began = now;
        for _ in 0..1000 {
            now += switch.wait(now);
            if switch.look(now) {
                return now - began;
            }
        }
        panic!("never ends: {switch:?}");
    }

    #[test]
    fn the_time_out_passes_exactly_once_it_is_over() {
        let now = Instant::now();
        for time_out in [SECOND * 30, SECOND / 3, Duration::from_nanos(7), Duration::from_millis(1)] {
            assert_eq!(lasts(&mut Switch::armed(time_out, now), now), time_out);
        }
    }

    #[test]
    fn each_heartbeat_begins_it_anew() {
        let now = Instant::now();
        let mut switch = Switch::armed(SECOND * 30, now);
        for at in 1..100 {
            let now = now + at * 29 * SECOND;
            assert!(!switch.look(now));
            switch.heard(now);
            assert_eq!(switch.wait(now), SECOND * 3);
        }
        let last = now + 99 * 29 * SECOND;
        assert_eq!(lasts(&mut switch, last), SECOND * 30);
    }

    #[test]
    fn a_pause_is_no_silence() {
        let now = Instant::now();
        let mut switch = Switch::armed(SECOND * 30, now);
        // Paused one second after a look, for an hour.
        assert!(!switch.look(now + SECOND * 3));
        let back = now + SECOND * 3604;
        assert!(!switch.look(back));
        assert_eq!(lasts(&mut switch, back), SECOND * 24);
    }

    #[test]
    fn a_clock_that_goes_back_is_no_harm() {
        let now = Instant::now();
        let mut switch = Switch::armed(SECOND, now + SECOND);
        assert!(!switch.look(now));
        assert_eq!(lasts(&mut switch, now), SECOND);
    }
}
