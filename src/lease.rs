//! The lease: one runtime's claim on what it created, as a locked file.
//!
//! The kernel drops the lock when the process dies, however it dies (flock(2)); no pid is guessed.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use crate::ids::OwnerId;

/// A held lease. Dropping it gives the claim up and removes the file.
#[derive(Debug)]
pub struct Lease {
    owner: OwnerId,
    path: PathBuf,
    _locked: File,
}

impl Lease {
    /// Makes a new owner and locks its file in `state_dir/owners` (mode 0700, made when missing).
    ///
    /// # Errors
    /// The state directory cannot be written.
    pub fn acquire(state_dir: &Path) -> io::Result<Self> {
        let dir = dir(state_dir);
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        loop {
            let owner = OwnerId::new(format!("{:016x}", rand::random::<u64>()));
            let path = dir.join(owner.as_str());
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            // Whoever asks for the living holds a lock for a moment, and may have taken the file for a dead one's.
            flock(&file, FlockOperation::LockExclusive)?;
            if is_at(&file, &path) {
                return Ok(Self { owner, path, _locked: file });
            }
        }
    }

    /// Who holds it.
    pub fn owner(&self) -> &OwnerId {
        &self.owner
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The owners whose lease is held right now. Files of the dead are removed on the way.
///
/// # Errors
/// The directory exists but cannot be read: then nothing may be called an orphan.
pub fn alive(state_dir: &Path) -> io::Result<BTreeSet<OwnerId>> {
    let entries = match std::fs::read_dir(dir(state_dir)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error),
    };
    let mut alive = BTreeSet::new();
    for entry in entries {
        let entry = entry?;
        let Ok(file) = File::open(entry.path()) else { continue };
        // Shared: two who ask at the same time must not take each other for the owner.
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            // Removed under the lock: an owner that is about to lock it sees that, and makes another one.
            Ok(()) => drop(std::fs::remove_file(entry.path())),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                alive.insert(OwnerId::new(entry.file_name().to_string_lossy().into_owned()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(alive)
}

/// Names this machine and state directory in labels: hashed, so that nothing about the host is told.
///
/// A runtime with another state directory cannot see this one's leases, so it must count as another host:
/// what it cannot judge it leaves alone.
pub fn host_id(state_dir: &Path) -> String {
    let machine = std::fs::read("/etc/machine-id").unwrap_or_default();
    let place = std::fs::canonicalize(state_dir).unwrap_or_else(|_| state_dir.to_owned());
    let mut hash = Sha256::new();
    hash.update(machine);
    hash.update(rustix::system::uname().nodename().to_bytes());
    hash.update(place.as_os_str().as_encoded_bytes());
    hex::encode(&hash.finalize()[..8])
}

/// This boot of the machine; empty where the kernel does not say.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// Whether the open file is the one at the path.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |meta: Metadata| (meta.dev(), meta.ino());
    let there = std::fs::metadata(path).map(identity).ok();
    there.is_some() && there == file.metadata().map(identity).ok()
}

fn dir(state_dir: &Path) -> PathBuf {
    state_dir.join("owners")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_alive_while_it_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let lease = Lease::acquire(dir.path()).unwrap();
        let other = Lease::acquire(dir.path()).unwrap();
        assert_eq!(alive(dir.path()).unwrap().len(), 2);
        drop(other);
        assert_eq!(alive(dir.path()).unwrap(), BTreeSet::from([lease.owner().clone()]));
    }

    #[test]
    fn a_file_without_a_lock_is_a_dead_owner() {
        let dir = tempfile::tempdir().unwrap();
        drop(Lease::acquire(dir.path()).unwrap());
        std::fs::write(dir.path().join("owners/dead"), "").unwrap();
        assert!(alive(dir.path()).unwrap().is_empty());
        assert!(!dir.path().join("owners/dead").exists());
    }

    #[test]
    fn asking_for_the_living_never_disturbs_who_takes_a_lease_or_asks_too() {
        let dir = tempfile::tempdir().unwrap();
        let held = Lease::acquire(dir.path()).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let lease = Lease::acquire(dir.path()).unwrap();
                        let seen = alive(dir.path()).unwrap();
                        assert!(seen.contains(lease.owner()) && seen.contains(held.owner()));
                    }
                });
            }
        });
        assert_eq!(alive(dir.path()).unwrap().len(), 1);
    }

    #[test]
    fn two_state_directories_are_two_hosts() {
        assert_ne!(host_id(Path::new("/a")), host_id(Path::new("/b")));
    }
}
