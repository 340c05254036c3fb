//! The writing side: what is kept and where it ends.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use super::*;
use crate::egress::{AuditKind, AuditRecord};
use crate::ids::{OwnerId, Role};
use crate::messages::{ChildState, ChildTree, ExitNote, LogTail};

pub(super) fn ownership(bottle: &str, owner: &str) -> Ownership {
    Ownership {
        bottle: BottleId::from(bottle),
        owner: OwnerId::from(owner),
        slug: Slug::from("coder"),
        agent: "coder".to_owned(),
        plan_hash: "00".to_owned(),
        generation: 1,
        host: "h".to_owned(),
        boot: "b".to_owned(),
        detached: false,
    }
}

pub(super) fn tree_of(ownership: &Ownership, phase: &str) -> BottleTree {
    BottleTree {
        bottle: ownership.bottle.clone(),
        slug: ownership.slug.clone(),
        agent: ownership.agent.clone(),
        owner: ownership.owner.clone(),
        phase: phase.to_owned(),
        since: now(),
        why: None,
        children: vec![ChildTree {
            child: "agent".to_owned(),
            state: ChildState::Running,
            incarnation: 1,
            restarts_used: 0,
            restarts_allowed: 3,
            period_s: 60,
            since: now(),
            why: None,
        }],
        execs: 0,
    }
}

pub(super) fn phase(word: &str) -> BottleEvent {
    BottleEvent::PhaseChanged { phase: word.to_owned(), why: None }
}

pub(super) fn decision(verdict: AuditVerdict, probe: bool) -> BottleEvent {
    BottleEvent::Audited(Arc::new(AuditRecord {
        time: now(),
        bottle: "b".to_owned(),
        kind: AuditKind::Http,
        flow_id: "f".to_owned(),
        method: "GET".to_owned(),
        host: "example.org".to_owned(),
        path: "/".to_owned(),
        bytes: 0,
        bytes_received: 0,
        verdict,
        rule_ids: Vec::new(),
        scan_id: String::new(),
        policy_generation: 1,
        ms: 1.5,
        probe,
    }))
}

pub(super) fn bundle(ownership: &Ownership, journal: &Journal) -> PostMortem {
    PostMortem {
        time: now(),
        bottle: ownership.bottle.clone(),
        slug: ownership.slug.clone(),
        reason: "too many restarts of mitmproxy".to_owned(),
        tree: tree_of(ownership, "closing"),
        events: journal.last_events(50),
        exits: vec![ExitNote {
            time: now(),
            child: "mitmproxy".to_owned(),
            incarnation: 4,
            exit: "exited with code 1".to_owned(),
        }],
        logs: vec![LogTail { role: Role::Mitmproxy, lines: vec!["last words".to_owned()] }],
        audit: Vec::new(),
    }
}

pub(super) fn lines(path: &Path) -> Vec<EventRecord> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_is_written_is_what_was_said_and_only_this_user_can_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let owned = ownership("00aa", "o1");
    let mut journal = Journal::open(&state, &owned);
    let tree = tree_of(&owned, "launching");
    journal.event(&phase("launching"));
    journal.tree(&tree);
    journal.event(&BottleEvent::GroundLost);
    let place = Journal::dir(&state, &owned.bottle);
    assert_eq!(lines(&place.join("events.jsonl")), journal.last_events(9));
    assert_eq!(journal.last_events(1)[0].event, BottleEvent::GroundLost);
    assert_eq!(journal.last_events(9).iter().map(|record| record.seq).collect::<Vec<_>>(), [1, 2]);
    let read: BottleTree = serde_json::from_slice(&std::fs::read(place.join("tree.json")).unwrap()).unwrap();
    assert_eq!(read, tree);
    assert_eq!(std::fs::read_to_string(place.join("owner")).unwrap(), "o1");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for dir in [&state, &state.join("bottles"), &place] {
        assert_eq!(mode(dir), 0o700, "{}", dir.display());
    }
    let names: BTreeSet<_> =
        std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["events.jsonl", "owner", "tree.json"].map(Into::into).into());
    for name in names {
        assert_eq!(mode(&place.join(name)), 0o600);
    }
}

#[test]
fn the_same_tree_is_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let owned = ownership("00aa", "o1");
    let mut journal = Journal::open(dir.path(), &owned);
    let tree = tree_of(&owned, "ready");
    journal.tree(&tree);
    let path = Journal::dir(dir.path(), &owned.bottle).join("tree.json");
    let before = files::identity_at(&path);
    journal.tree(&tree);
    assert_eq!(files::identity_at(&path), before);
    let _keeps_the_inode = std::fs::File::open(&path).unwrap();
    journal.tree(&BottleTree { execs: 1, ..tree });
    assert_ne!(files::identity_at(&path), before);
}

#[test]
fn two_files_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let owned = ownership("00aa", "o1");
    let mut journal = Journal::open_with(dir.path(), &owned, 2000, PAUSE);
    for number in 0..200 {
        journal.event(&phase(&format!("{number}")));
    }
    let place = Journal::dir(dir.path(), &owned.bottle);
    let mut found = Vec::new();
    for name in ["events.1.jsonl", "events.jsonl"] {
        assert!(std::fs::metadata(place.join(name)).unwrap().len() < 2400);
        found.extend(lines(&place.join(name)));
    }
    let last: Vec<_> = journal.last_events(found.len());
    assert!(found.len() > 10 && found == last, "no event between the files is lost");
    assert_eq!(std::fs::read_dir(place).unwrap().count(), 3);
}

#[test]
fn a_journal_is_continued() {
    let dir = tempfile::tempdir().unwrap();
    let owned = ownership("00aa", "o1");
    let mut first = Journal::open_with(dir.path(), &owned, 700, PAUSE);
    for word in ["launching", "ready", "degraded", "ready", "suspended", "ready"] {
        first.event(&phase(word));
    }
    drop(first);
    let path = Journal::dir(dir.path(), &owned.bottle).join("events.jsonl");
    let mut torn = std::fs::read(&path).unwrap();
    torn.extend(b"{\"time\":\"2026");
    std::fs::write(&path, torn).unwrap();
    let mut second = Journal::open_with(dir.path(), &ownership("00aa", "o2"), 700, PAUSE);
    assert_eq!(second.last_events(2).iter().map(|record| record.seq).collect::<Vec<_>>(), [5, 6]);
    second.event(&BottleEvent::EngineBack);
    assert_eq!(second.last_events(1)[0].seq, 7);
    let text = std::fs::read_to_string(&path).unwrap();
    let last: EventRecord = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last.seq, 7, "a torn line takes nothing with it");
    let owner = Journal::dir(dir.path(), &owned.bottle).join("owner");
    assert_eq!(std::fs::read_to_string(owner).unwrap(), "o2");
}

#[test]
fn a_broken_number_does_not_stop_the_count() {
    let dir = tempfile::tempdir().unwrap();
    let owned = ownership("00aa", "o1");
    let mut journal = Journal::open(dir.path(), &owned);
    journal.event(&BottleEvent::EngineLost);
    let path = Journal::dir(dir.path(), &owned.bottle).join("events.jsonl");
    let broken =
        std::fs::read_to_string(&path).unwrap().replace("\"seq\":1", &format!("\"seq\":{}", u64::MAX));
    std::fs::write(&path, broken).unwrap();
    let mut again = Journal::open(dir.path(), &owned);
    again.event(&BottleEvent::EngineBack);
    assert_eq!(again.last_events(9).iter().map(|record| record.seq).collect::<Vec<_>>(), [1]);
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
}

#[test]
fn refusals_are_noted_but_not_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path(), &ownership("00aa", "o1"));
    journal.event(&phase("ready"));
    journal.event(&decision(AuditVerdict::Allow, false));
    journal.event(&decision(AuditVerdict::Warn, false));
    journal.event(&decision(AuditVerdict::Deny, true));
    assert_eq!(journal.last_events(99).len(), 1, "what went through and probes are in the audit file alone");
    for _ in 0..500 {
        journal.event(&decision(AuditVerdict::Deny, false));
    }
    assert_eq!(journal.last_events(999).len(), 1 + DENIED_PER_WINDOW as usize);
    for _ in 0..500 {
        journal.denied = None;
        journal.event(&decision(AuditVerdict::Unavailable, false));
    }
    let kept = journal.last_events(999);
    assert_eq!(kept.len(), 1 + REMEMBERED_DENIED);
    assert_eq!(kept[0].event, phase("ready"), "an agent cannot push out what happened to it");
}

#[test]
fn memory_holds_the_last_events_with_and_without_files() {
    let mut journal = Journal::none();
    for number in 0..1000 {
        journal.event(&phase(&format!("{number}")));
    }
    let kept = journal.last_events(999);
    assert_eq!((kept.len(), kept[0].seq, kept[REMEMBERED - 1].seq), (REMEMBERED, 745, 1000));
    assert!(journal.last_events(0).is_empty());
    journal.tree(&tree_of(&ownership("00aa", "o1"), "ready"));
    journal.post_mortem(&bundle(&ownership("00aa", "o1"), &journal));
    journal.close();
}

#[test]
fn closing_takes_the_files_and_leaves_the_post_mortem() {
    let dir = tempfile::tempdir().unwrap();
    let owned = ownership("00aa", "o1");
    let mut journal = Journal::open(dir.path(), &owned);
    journal.event(&phase("ready"));
    let bundle = bundle(&owned, &journal);
    journal.post_mortem(&bundle);
    journal.close();
    journal.close();
    journal.event(&phase("gone"));
    journal.tree(&tree_of(&owned, "gone"));
    assert!(!Journal::dir(dir.path(), &owned.bottle).exists());
    assert_eq!(journal.last_events(9).len(), 2);
    let kept = bundles::list(&dir.path().join("post-mortem")).unwrap();
    assert_eq!((kept.len(), kept[0].slug.as_str(), kept[0].bottle.as_str()), (1, "coder", "00aa"));
    let read: PostMortem = serde_json::from_slice(&std::fs::read(&kept[0].path).unwrap()).unwrap();
    assert_eq!(read, bundle);
}

#[test]
fn the_newest_fifty_post_mortems_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let owned = ownership("00aa", "o1");
    let mut journal = Journal::open(dir.path(), &owned);
    let mut bundle = bundle(&owned, &journal);
    for number in 0..60 {
        bundle.time = format!("2026-11-23T10:{number:02}:00.000Z");
        journal.post_mortem(&bundle);
    }
    let kept = bundles::list(&dir.path().join("post-mortem")).unwrap();
    assert_eq!(kept.len(), bundles::KEPT);
    assert_eq!((&*kept[0].time, &*kept[49].time), ("2026-11-23T10:59:00.000Z", "2026-11-23T10:10:00.000Z"));
    bundle.time = "yesterday/../..".to_owned();
    bundle.slug = Slug::from("../../etc/passwd");
    bundle.bottle = BottleId::from("..");
    journal.post_mortem(&bundle);
    let newest = &bundles::list(&dir.path().join("post-mortem")).unwrap()[0];
    assert_eq!((newest.slug.as_str(), newest.bottle.as_str()), ("etcpasswd", "unnamed"));
}

#[test]
fn texts_from_inside_have_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let owned = ownership("00aa", "o1");
    let mut journal = Journal::open(dir.path(), &owned);
    let long = "ü".repeat(1 << 20);
    journal.event(&BottleEvent::MemberEnded {
        role: Role::Agent,
        incarnation: 1,
        exit: long.clone(),
        tail: format!("{long}the end"),
    });
    let path = Journal::dir(dir.path(), &owned.bottle).join("events.jsonl");
    assert!(std::fs::metadata(path).unwrap().len() < 16 << 10);
    assert!(format!("{:?}", journal.last_events(1)).contains("the end"));
    let mut bundle = bundle(&owned, &journal);
    bundle.reason = long.clone();
    bundle.logs = vec![LogTail { role: Role::Agent, lines: vec![long; 300] }];
    journal.post_mortem(&bundle);
    let kept = bundles::list(&dir.path().join("post-mortem")).unwrap();
    assert!(std::fs::metadata(&kept[0].path).unwrap().len() < 2 << 20);
}

#[test]
fn links_and_pipes_in_the_place_of_files_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let owned = ownership("00aa", "o1");
    let place = Journal::dir(dir.path(), &owned.bottle);
    std::fs::create_dir_all(&place).unwrap();
    let victim = dir.path().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, place.join("events.jsonl")).unwrap();
    std::os::unix::fs::symlink(&victim, place.join(".tree.json.tmp")).unwrap();
    let mut journal = Journal::open(dir.path(), &owned);
    journal.event(&phase("ready"));
    journal.tree(&tree_of(&owned, "ready"));
    assert_eq!(std::fs::read_to_string(victim).unwrap(), "precious");
    for id in ["..", "", "a/b", ".hidden", &"x".repeat(300)] {
        let mut journal = Journal::open(dir.path(), &ownership(id, "o1"));
        journal.event(&phase("ready"));
        journal.close();
    }
    assert!(dir.path().join("bottles").exists(), "an id is no path");
}
