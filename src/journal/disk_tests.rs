//! The writing side on a disk that fails, is full, or comes back.

use super::tests::{bundle, lines, ownership, phase, tree_of};
use super::*;

#[test]
fn a_disk_that_comes_back_gets_what_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    std::fs::write(&state, "a file in the place of the directory").unwrap();
    let owned = ownership("00aa", "o1");
    let mut journal = Journal::open_with(&state, &owned, ROTATE_BYTES, Duration::ZERO);
    journal.event(&phase("launching"));
    let tree = tree_of(&owned, "launching");
    journal.tree(&tree);
    journal.post_mortem(&bundle(&owned, &journal));
    std::fs::remove_file(&state).unwrap();
    journal.event(&phase("ready"));
    let place = Journal::dir(&state, &owned.bottle);
    assert_eq!(lines(&place.join("events.jsonl")).len(), 2);
    assert!(place.join("tree.json").exists());
    // And again, when it is removed under the open journal.
    std::fs::remove_dir_all(&state).unwrap();
    journal.tree(&BottleTree { execs: 7, ..tree });
    journal.event(&phase("degraded"));
    assert!(place.join("tree.json").exists());
}

#[test]
fn a_disk_that_fails_is_left_alone_for_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    std::fs::write(&state, "in the way").unwrap();
    let mut journal = Journal::open(&state, &ownership("00aa", "o1"));
    std::fs::remove_file(&state).unwrap();
    journal.event(&phase("ready"));
    assert!(!state.exists(), "not yet");
    journal.disk.as_mut().unwrap().muted = Some(Instant::now());
    journal.event(&phase("degraded"));
    assert_eq!(lines(&Journal::dir(&state, &BottleId::from("00aa")).join("events.jsonl")).len(), 2);
}

/// A tiny file system; unmounted when dropped.
struct Tiny(tempfile::TempDir);

impl Tiny {
    #[expect(clippy::print_stderr, reason = "nothing is skipped in silence")]
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        let mount =
            mount.args(["-t", "tmpfs", "-o", "size=64k", "journal"]).arg(dir.path()).output().unwrap();
        if !mount.status.success() {
            eprintln!("skipped: a tmpfs cannot be mounted here: {}", String::from_utf8_lossy(&mount.stderr));
            return None;
        }
        Some(Self(dir))
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_costs_no_event_that_is_still_remembered() {
    let Some(tiny) = Tiny::mount() else { return };
    let state = tiny.0.path();
    let owned = ownership("00aa", "o1");
    let mut journal = Journal::open_with(state, &owned, ROTATE_BYTES, Duration::ZERO);
    journal.event(&phase("launching"));
    let tree = tree_of(&owned, "launching");
    journal.tree(&tree);
    let fill = state.join("fill");
    let mut full = std::fs::File::create(&fill).unwrap();
    while io::Write::write_all(&mut full, &[0; 4096]).is_ok() {}
    for number in 0..100 {
        journal.event(&phase(&format!("{number}")));
        journal.tree(&BottleTree { execs: number, ..tree.clone() });
    }
    journal.post_mortem(&bundle(&owned, &journal));
    assert!(journal.disk.as_ref().unwrap().told, "the disk was full");
    // What is there is whole: an old tree, not half of a new one.
    assert!(read::tree(state, &owned.bottle).is_ok());
    drop(full);
    std::fs::remove_file(&fill).unwrap();
    journal.event(&phase("ready"));
    assert!(!journal.disk.as_ref().unwrap().told);
    let mut follow = read::Follow::new(state);
    follow.look();
    let seen: Vec<u64> = std::iter::from_fn(|| follow.next()).map(|record| record.seq).collect();
    assert_eq!(seen, (1..=102).collect::<Vec<_>>());
    assert_eq!(read::tree(state, &owned.bottle).unwrap().execs, 99);
    journal.close();
    let left: Vec<_> = std::fs::read_dir(state.join("bottles")).unwrap().collect();
    assert!(left.is_empty());
}
