//! Restart intensity: at most `intensity` restarts within `period` (OTP `supervisor:sup_flags()`).

use std::time::Duration;

use tokio::time::Instant;

/// The limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// Restarts that are tolerated within `period`.
    pub intensity: u32,
    /// The window.
    pub period: Duration,
}

impl Default for Intensity {
    fn default() -> Self {
        Self { intensity: 3, period: Duration::from_secs(60) }
    }
}

/// Whose restarts share one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetScope {
    /// One window for all children, as OTP.
    Supervisor,
    /// One window for each child.
    Child,
}

/// The restarts granted so far that may still lie in the window.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    granted: Vec<Instant>,
}

impl Budget {
    /// Counts a restart at `now`. `false` when it is one too many; then it is not counted.
    ///
    /// A restart exactly `period` ago still counts, as in OTP.
    pub fn spend(&mut self, limit: Intensity, now: Instant) -> bool {
        self.granted.retain(|at| in_window(*at, limit, now));
        if self.granted.len() >= limit.intensity as usize {
            return false;
        }
        self.granted.push(now);
        true
    }

    /// Restarts granted in the window that ends at `now`.
    pub fn used(&self, limit: Intensity, now: Instant) -> u32 {
        let inside = self.granted.iter().filter(|at| in_window(**at, limit, now)).count();
        u32::try_from(inside).unwrap_or(u32::MAX)
    }
}

fn in_window(at: Instant, limit: Intensity, now: Instant) -> bool {
    now.saturating_duration_since(at) <= limit.period
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert, proptest};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_fourth_restart_within_a_minute_is_one_too_many_and_is_not_counted() {
        let (mut budget, start, limit) = (Budget::default(), Instant::now(), Intensity::default());
        for second in 0..3 {
            assert!(budget.spend(limit, start + SECOND * second));
        }
        assert!(!budget.spend(limit, start + SECOND * 3));
        assert_eq!(budget.used(limit, start + SECOND * 3), 3);
    }

    #[test]
    fn a_restart_leaves_the_window_just_after_the_period() {
        let limit = Intensity { intensity: 1, period: SECOND };
        let (mut budget, start) = (Budget::default(), Instant::now());
        assert!(budget.spend(limit, start));
        assert!(!budget.spend(limit, start + SECOND));
        assert!(budget.spend(limit, start + SECOND + Duration::from_nanos(1)));
    }

    #[test]
    fn an_intensity_of_zero_grants_nothing() {
        let limit = Intensity { intensity: 0, period: SECOND };
        assert!(!Budget::default().spend(limit, Instant::now()));
    }

    #[test]
    fn a_clock_that_goes_back_grants_no_more() {
        let limit = Intensity { intensity: 1, period: SECOND };
        let (mut budget, start) = (Budget::default(), Instant::now() + 100 * SECOND);
        assert!(budget.spend(limit, start));
        assert!(!budget.spend(limit, start - 50 * SECOND));
    }

    proptest! {
        #[test]
        fn never_more_restarts_than_the_intensity_allows(gaps in prop::collection::vec(0u64..40, 1..60)) {
            let (mut budget, mut now, limit) = (Budget::default(), Instant::now(), Intensity::default());
            let mut granted: Vec<Instant> = Vec::new();
            for gap in gaps {
                now += Duration::from_secs(gap);
                if budget.spend(limit, now) { granted.push(now); }
                let window = granted.iter().filter(|at| now.duration_since(**at) <= limit.period).count();
                prop_assert!(window <= limit.intensity as usize);
                prop_assert!(window == budget.used(limit, now) as usize);
            }
        }
    }
}
