//! Restart intensity: at most `intensity` restarts within `period` (OTP `supervisor:sup_flags()`).

use std::collections::VecDeque;
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

/// The restarts within the window so far.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    restarts: VecDeque<Instant>,
}

impl Budget {
    /// Counts a restart at `now`. `false` when it is one too many.
    pub fn spend(&mut self, limit: Intensity, now: Instant) -> bool {
        while self.restarts.front().is_some_and(|first| now.duration_since(*first) > limit.period) {
            self.restarts.pop_front();
        }
        self.restarts.push_back(now);
        self.restarts.len() <= limit.intensity as usize
    }

    /// Restarts counted in the window.
    pub fn used(&self) -> usize {
        self.restarts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fourth_restart_within_a_minute_is_one_too_many() {
        let (mut budget, start) = (Budget::default(), Instant::now());
        for second in 0..3 {
            assert!(budget.spend(Intensity::default(), start + Duration::from_secs(second)));
        }
        assert!(!budget.spend(Intensity::default(), start + Duration::from_secs(3)));
    }

    #[test]
    fn old_restarts_leave_the_window() {
        let (mut budget, start) = (Budget::default(), Instant::now());
        for minute in 0..100 {
            assert!(budget.spend(Intensity::default(), start + Duration::from_secs(61 * minute)));
        }
        assert_eq!(budget.used(), 1);
    }
}
