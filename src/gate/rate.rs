//! Token buckets for a fixed set of keys, so that no caller can make the table grow.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::Instant;

/// Size and refill of a bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) per_minute: u32,
    pub(super) burst: u32,
}

/// One bucket a key, full at the start.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    limits: Limits,
    levels: Mutex<HashMap<K, (f64, Instant)>>,
}

impl<K: Hash + Eq> Buckets<K> {
    pub(super) fn new(limits: Limits, keys: impl IntoIterator<Item = K>) -> Self {
        let now = Instant::now();
        let full = f64::from(limits.burst);
        Self { limits, levels: Mutex::new(keys.into_iter().map(|key| (key, (full, now))).collect()) }
    }

    /// Takes one token at `now`; false when there is none, or no such key.
    pub(super) fn take(&self, key: &K, now: Instant) -> bool {
        // A poisoned table means a panic in four lines of arithmetic; its numbers are still usable.
        let mut levels = self.levels.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some((level, last)) = levels.get_mut(key) else { return false };
        let refill =
            now.saturating_duration_since(*last).as_secs_f64() * f64::from(self.limits.per_minute) / 60.0;
        *level = (*level + refill).min(f64::from(self.limits.burst));
        *last = now;
        let admitted = *level >= 1.0;
        if admitted {
            *level -= 1.0;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn buckets_empty_and_refill() {
        let buckets = Buckets::new(Limits { per_minute: 60, burst: 2 }, [1]);
        let start = Instant::now();
        assert!(buckets.take(&1, start) && buckets.take(&1, start) && !buckets.take(&1, start));
        assert!(buckets.take(&1, start + Duration::from_millis(1100)));
        assert!(!buckets.take(&2, start));
    }
}
