//! Journals that the library itself wrote, for the commands that read them.

use std::path::PathBuf;
use std::sync::Arc;

use bottle::egress::{AuditKind, AuditRecord, AuditVerdict};
use bottle::ids::{BottleId, OwnerId, Role, Slug};
use bottle::journal::Journal;
use bottle::lease::Lease;
use bottle::messages::{
    BottleEvent, BottleTree, ChildState, ChildTree, EventRecord, ExitNote, LogTail, PostMortem,
};
use bottle::plan::spec::Ownership;

use crate::home::Home;

/// No age: it is still to come.
pub(crate) const LATER: &str = "2999-01-01T00:00:00.000Z";
pub(crate) const ID: &str = "0011223344556677";

pub(crate) fn state(home: &Home) -> PathBuf {
    home.path().join(".local/state/bottle")
}

pub(crate) fn ownership(slug: &str, bottle: &str, owner: &OwnerId) -> Ownership {
    Ownership {
        bottle: BottleId::from(bottle),
        owner: owner.clone(),
        slug: Slug::from(slug),
        agent: slug.to_owned(),
        plan_hash: "00".to_owned(),
        generation: 1,
        host: "h".to_owned(),
        boot: "b".to_owned(),
        detached: false,
    }
}

pub(crate) fn tree(owned: &Ownership, phase: &str) -> BottleTree {
    let child = |name: &str, state| ChildTree {
        child: name.to_owned(),
        state,
        incarnation: 1,
        restarts_used: 0,
        restarts_allowed: 3,
        period_s: 60,
        since: LATER.to_owned(),
        why: None,
    };
    BottleTree {
        bottle: owned.bottle.clone(),
        slug: owned.slug.clone(),
        agent: owned.agent.clone(),
        owner: owned.owner.clone(),
        phase: phase.to_owned(),
        since: LATER.to_owned(),
        why: None,
        children: vec![
            child("pipelock", ChildState::Running),
            ChildTree {
                incarnation: 2,
                restarts_used: 1,
                why: Some("exited with code 137; last words: \u{1b}[31mred\u{1b}[0m\n\u{9b}2J".to_owned()),
                ..child("mitmproxy", ChildState::BackingOff)
            },
            child("agent", ChildState::Running),
            child("provisioner", ChildState::Ended),
        ],
        execs: 2,
    }
}

fn decision() -> AuditRecord {
    AuditRecord {
        time: LATER.to_owned(),
        bottle: ID.to_owned(),
        kind: AuditKind::Http,
        flow_id: "f".to_owned(),
        method: "POST".to_owned(),
        host: "evil.example.org".to_owned(),
        path: "/\u{1b}]0;title\u{7}".to_owned(),
        bytes: 123,
        bytes_received: 0,
        verdict: AuditVerdict::Deny,
        rule_ids: vec!["BOTTLE-HOST".to_owned()],
        scan_id: String::new(),
        policy_generation: 1,
        ms: 1.5,
        probe: false,
    }
}

/// One of each.
pub(crate) fn events() -> Vec<BottleEvent> {
    let role = Role::Mitmproxy;
    let why = |why: &str| Some(why.to_owned());
    vec![
        BottleEvent::PhaseChanged { phase: "launching".to_owned(), why: None },
        BottleEvent::MemberStarted { role, incarnation: 1, adopted: false },
        BottleEvent::PhaseChanged { phase: "ready".to_owned(), why: None },
        BottleEvent::MemberEnded {
            role,
            incarnation: 1,
            exit: "exited with code 137".to_owned(),
            tail: "first\nTraceback\u{1b}[2J\u{7}\n\n".to_owned(),
        },
        BottleEvent::PhaseChanged { phase: "degraded".to_owned(), why: why("mitmproxy is down") },
        BottleEvent::RestartScheduled { role, after_ms: 500, used: 1, allowed: 3 },
        BottleEvent::MemberStarted { role, incarnation: 2, adopted: true },
        BottleEvent::MemberRecovered { role, down_ms: 2345 },
        BottleEvent::MemberMended { role, repairs: vec![bottle::backend::Repair::Renamed] },
        BottleEvent::WorkerFailed { child: "agent".to_owned(), why: "it panicked".to_owned() },
        BottleEvent::GroundLost,
        BottleEvent::GroundRebuilt,
        BottleEvent::EngineLost,
        BottleEvent::EngineBack,
        BottleEvent::Audited(Arc::new(decision())),
        BottleEvent::Escalated { role, exit: "exited with code 1".to_owned() },
    ]
}

pub(crate) fn bundle(owned: &Ownership, time: &str, events: Vec<EventRecord>) -> PostMortem {
    PostMortem {
        time: time.to_owned(),
        bottle: owned.bottle.clone(),
        slug: owned.slug.clone(),
        reason: "too many restarts of mitmproxy".to_owned(),
        tree: tree(owned, "closing"),
        events,
        exits: vec![ExitNote {
            time: LATER.to_owned(),
            child: "mitmproxy".to_owned(),
            incarnation: 4,
            exit: "exited with code 1".to_owned(),
        }],
        logs: vec![
            LogTail { role: Role::Agent, lines: vec!["\u{1b}[2J\u{1b}[Hyou are safe".to_owned()] },
            LogTail { role: Role::Mitmproxy, lines: vec!["one\ttwo".to_owned(), "three".to_owned()] },
        ],
        audit: vec![decision(), AuditRecord { verdict: AuditVerdict::Allow, ..decision() }],
    }
}

/// Without times and ids of this run.
pub(crate) fn neutral(page: &str, lease: &Lease) -> String {
    let mut text = page.replace(lease.owner().as_str(), "[OWNER]");
    let mut from = 0;
    // An RFC 3339 time is 24 characters; those of the tests are of another century.
    while let Some(at) = text[from..].find("20").map(|at| at + from) {
        let is_time = text.as_bytes().get(at + 23) == Some(&b'Z') && text.as_bytes()[at + 10] == b'T';
        if is_time {
            text.replace_range(at..at + 24, "[TIME]");
        }
        from = at + 1;
    }
    text
}

/// Two bottles of a living owner and one that nobody owns, with a journal each.
pub(crate) fn three(home: &Home) -> (Lease, Vec<Journal>) {
    let lease = Lease::acquire(&state(home)).unwrap();
    let dead = OwnerId::from("00000000deadbeef");
    let owned = [
        ownership("coder", ID, lease.owner()),
        ownership("tester", "8899aabbccddeeff", lease.owner()),
        ownership("alone", "ffffffffffffffff", &dead),
    ];
    let open = |(number, owned): (usize, &Ownership)| {
        let mut journal = Journal::open(&state(home), owned);
        let tree = match number {
            0 => BottleTree { why: Some("mitmproxy is down".to_owned()), ..tree(owned, "degraded") },
            _ => BottleTree { execs: 0, children: Vec::new(), ..tree(owned, "ready") },
        };
        journal.tree(&tree);
        journal
    };
    (lease, owned.iter().enumerate().map(open).collect())
}
