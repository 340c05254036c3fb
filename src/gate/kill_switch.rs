//! Denies everything: by setting, by file, or by `SIGUSR1`, which toggles as in pipelock.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};

use super::policy::KillPolicy;

/// The part of the switch that outlives reloads.
#[derive(Debug, Default)]
pub(super) struct KillSwitch {
    signalled: AtomicBool,
}

impl KillSwitch {
    /// Flips the signal's part and returns its new state.
    pub(super) fn toggle(&self) -> bool {
        !self.signalled.fetch_xor(true, Ordering::SeqCst)
    }

    /// True when everything is to be denied. A sentinel that cannot be looked for counts as present.
    pub(super) fn is_active(&self, policy: &KillPolicy) -> bool {
        let sentinel = policy.sentinel.as_ref().is_some_and(|path| {
            !matches!(std::fs::symlink_metadata(path), Err(error) if error.kind() == ErrorKind::NotFound)
        });
        policy.enabled || sentinel || self.signalled.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_is_enough() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("KILL");
        let switch = KillSwitch::default();
        let by_file = KillPolicy { sentinel: Some(path.clone()), ..KillPolicy::default() };
        assert!(!switch.is_active(&by_file));
        std::fs::write(&path, "").unwrap();
        assert!(switch.is_active(&by_file));
        // "Not a directory" is not "not found".
        let unreadable = KillPolicy { sentinel: Some(path.join("below")), ..KillPolicy::default() };
        assert!(switch.is_active(&unreadable));
        assert!(switch.is_active(&KillPolicy { enabled: true, ..KillPolicy::default() }));
        assert!(!switch.is_active(&KillPolicy::default()));
        assert!(switch.toggle() && switch.is_active(&KillPolicy::default()) && !switch.toggle());
    }
}
