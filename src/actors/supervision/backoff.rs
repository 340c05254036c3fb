//! The pause before a restart. OTP has none; a container that fails at once would burn its intensity at once.

use std::time::Duration;

/// How long a supervisor waits before it starts a dead child again.
///
/// The first restart within the window waits [`first`](Self::first), the second [`base`](Self::base), each later one
/// twice as long as the one before it, none longer than [`max`](Self::max).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// Pause before the first restart; zero restarts at once.
    pub first: Duration,
    /// Pause before the second restart; the doubling starts here.
    pub base: Duration,
    /// Longest pause.
    pub max: Duration,
    /// Share of the pause that is random, 0.0 to 1.0; what is outside counts as the nearer end.
    pub jitter: f64,
}

impl Backoff {
    /// No pause at all, as OTP.
    pub const NONE: Backoff =
        Backoff { first: Duration::ZERO, base: Duration::ZERO, max: Duration::ZERO, jitter: 0.0 };

    /// Pause before the `nth` restart (from 1) within the window.
    ///
    /// `random` lies in 0.0..1.0; a pause is never longer than without jitter, and with `random` 0.0 it is shorter
    /// by the whole random share.
    pub fn pause(&self, nth: u32, random: f64) -> Duration {
        let full = match nth.checked_sub(2) {
            None => self.first.min(self.max),
            Some(doublings) => doubled(self.base, doublings, self.max),
        };
        let cut = full.as_secs_f64() * share(self.jitter) * (1.0 - share(random));
        // Only the largest durations do not survive the way through a float; they are cut to nothing.
        full.saturating_sub(Duration::try_from_secs_f64(cut).unwrap_or(full))
    }
}

/// `base` doubled so many times, at most `max`.
fn doubled(base: Duration, times: u32, max: Duration) -> Duration {
    let nanos = base.as_nanos().saturating_mul(1 << times.min(127));
    if nanos >= max.as_nanos() {
        return max;
    }
    // Below `max`, so the seconds fit.
    Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32)
}

/// A number from 0.0 to 1.0, whatever came in.
fn share(number: f64) -> f64 {
    if number.is_nan() { 0.0 } else { number.clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn backoff(jitter: f64) -> Backoff {
        Backoff { first: Duration::ZERO, base: SECOND, max: 10 * SECOND, jitter }
    }

    #[test]
    fn the_first_restart_is_at_once_then_the_pause_doubles_up_to_the_longest() {
        let seconds: Vec<u64> = (0..8).map(|nth| backoff(0.0).pause(nth, 0.5).as_secs()).collect();
        assert_eq!(seconds, [0, 0, 1, 2, 4, 8, 10, 10]);
    }

    #[test]
    fn jitter_is_the_share_of_the_pause_that_is_random() {
        assert_eq!(backoff(0.5).pause(2, 0.0), SECOND / 2);
        assert_eq!(backoff(0.5).pause(2, 0.5), SECOND * 3 / 4);
        assert_eq!(backoff(1.0).pause(2, 0.0), Duration::ZERO);
        assert_eq!(backoff(0.0).pause(2, 0.0), SECOND);
    }

    #[test]
    fn the_first_pause_is_no_longer_than_the_longest() {
        let backoff = Backoff { first: 20 * SECOND, ..backoff(0.0) };
        assert_eq!(backoff.pause(1, 0.0), 10 * SECOND);
    }

    #[test]
    fn no_pause_at_all_stays_none() {
        assert_eq!(Backoff::NONE.pause(u32::MAX, 0.9), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn any_numbers_give_a_pause_within_the_bounds(
            first in any::<Duration>(),
            base in any::<Duration>(),
            max in any::<Duration>(),
            jitter in any::<f64>(),
            random in any::<f64>(),
            nth in any::<u32>(),
        ) {
            let backoff = Backoff { first, base, max, jitter };
            let full = Backoff { jitter: 0.0, ..backoff }.pause(nth, random);
            prop_assert!(full <= max);
            prop_assert!(backoff.pause(nth, random) <= full);
        }
    }
}
