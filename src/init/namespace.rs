//! The processes of our pid namespace: counting, reaping, signalling.

use std::fs;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process_group, test_kill_process, wait,
};

/// Proof that this process is the first of its pid namespace.
///
/// Only with it can "all processes" be signalled: anywhere else that would be every process of the machine.
#[derive(Debug)]
pub(super) struct Namespace(());

impl Namespace {
    /// `None` unless this is the first process.
    pub(super) fn claim() -> Option<Self> {
        (getpid() == Pid::INIT).then_some(Self(()))
    }

    /// Processes besides ourselves.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.others().count()).unwrap_or(u32::MAX)
    }

    /// Whether a process is left that we may signal: one that can still obey, so that waiting makes sense.
    pub(super) fn anyone_hears(&self) -> bool {
        self.others().any(|pid| test_kill_process(pid).is_ok())
    }

    /// Sends a signal to every process that we may signal. Whether there is any process besides ourselves.
    pub(super) fn signal_all(&self, signal: Signal) -> bool {
        // The kernel takes the negative of 1 for "all but myself and the first".
        kill_process_group(Pid::INIT, signal) != Err(Errno::SRCH)
    }

    /// Takes the status of one child that has ended, our own or inherited.
    pub(super) fn reap(&self) -> Option<(Pid, WaitStatus)> {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(ended) => return ended,
                Err(Errno::INTR) => {}
                // No children.
                Err(_) => return None,
            }
        }
    }

    fn others(&self) -> impl Iterator<Item = Pid> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(Pid::from_raw)
            .filter(|pid| *pid != Pid::INIT)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_among_others_claims_nothing() {
        assert!(super::Namespace::claim().is_none());
    }
}
