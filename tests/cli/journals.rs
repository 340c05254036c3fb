//! `tree`, `events`, `post-mortem`: what other processes see of bottles, from files that the library itself wrote.

use std::io::{BufReader, Read as _, Write as _};
use std::process::{Child, Stdio};

use bottle::journal::Journal;
use bottle::messages::{BottleEvent, BottleTree, EventRecord, PostMortem};
use rustix::process::{Pid, Signal, kill_process};

use crate::home::{BOTTLE, Home};
use crate::journal_files::{ID, LATER, bundle, events, neutral, ownership, state, three, tree};

/// A command that goes on, its standard output line by line.
fn going_on(home: &Home, args: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut command = home.command(args);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

fn line(out: &mut impl std::io::BufRead) -> String {
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    line
}

fn interrupted(mut child: Child) -> (Option<i32>, String) {
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let status = child.wait().unwrap();
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    (status.code(), error)
}

#[test]
fn trees_of_all_bottles_are_drawn() {
    let home = Home::new();
    insta::assert_snapshot!("tree_none", home.run(&["tree"]).page());
    let (lease, _journals) = three(&home);
    let broken = state(&home).join("bottles/00");
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join("tree.json"), "{\"bottle\":\"00\",\u{1b}").unwrap();
    insta::assert_snapshot!("tree", home.run(&["tree"]).page());
    insta::assert_snapshot!("tree_of_one", home.run(&["tree", "tester"]).page());
    for name in ["8899aabbccddeeff", "claude-bottle-tester"] {
        assert_eq!(home.run(&["tree", name]).out, home.run(&["tree", "tester"]).out);
    }
    insta::assert_snapshot!("tree_unknown", home.run(&["tree", "testr"]).page());
    insta::assert_snapshot!("tree_json", neutral(&home.run(&["tree", "tester", "--json"]).page(), &lease));
    let all: serde_json::Value = serde_json::from_str(&home.run(&["tree", "--json"]).out).unwrap();
    let alive = |at: usize| all["bottles"][at]["owner_alive_here"].as_bool().unwrap();
    assert_eq!((alive(0), alive(1), alive(2)), (false, true, true));
    assert_eq!(all["unreadable"][0]["bottle"], "00");
    assert!(home.run(&["tree", "00"]).out.starts_with("00  unreadable"));
    let read: BottleTree = serde_json::from_value(all["bottles"][1].clone()).unwrap();
    assert_eq!(read.slug.as_str(), "coder");
}

#[test]
fn a_watched_tree_is_told_when_it_changes_and_ends_with_success() {
    let home = Home::new();
    let (lease, mut journals) = three(&home);
    let owned = ownership("tester", "8899aabbccddeeff", lease.owner());
    let (child, mut out) = going_on(&home, &["tree", "tester", "--watch"]);
    assert_eq!(line(&mut out), "tester 8899aabbccddeeff  ready since 0s\n");
    journals[1].tree(&BottleTree { children: Vec::new(), execs: 0, ..tree(&owned, "suspended") });
    assert_eq!(line(&mut out), "\n");
    assert_eq!(line(&mut out), "tester 8899aabbccddeeff  suspended since 0s\n");
    let (json, mut documents) = going_on(&home, &["tree", "tester", "-w", "--json"]);
    let mut phase = || -> String {
        let value: serde_json::Value = serde_json::from_str(&line(&mut documents)).unwrap();
        value["bottles"][0]["phase"].as_str().unwrap_or("none").to_owned()
    };
    assert_eq!(phase(), "suspended");
    journals[1].close();
    assert_eq!(phase(), "none");
    assert_eq!((line(&mut out), line(&mut out)), ("\n".to_owned(), "no bottles\n".to_owned()));
    for child in [child, json] {
        assert_eq!(interrupted(child), (Some(0), String::new()));
    }
}

#[test]
fn on_a_terminal_a_watched_tree_is_drawn_in_its_place() {
    let home = Home::new().var("TERM", "xterm");
    let (lease, mut journals) = three(&home);
    let owned = ownership("tester", "8899aabbccddeeff", lease.owner());
    let mut child = home.terminal("stty cols 40; trap : INT; \"$BOTTLE\" tree tester --watch; echo code $?");
    let (mut input, mut out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut seen = String::new();
    let mut byte = [0];
    let mut until = |word: &str| {
        while !seen.contains(word) && out.read(&mut byte).unwrap() == 1 {
            seen.push(byte[0].into());
        }
        seen.clone()
    };
    let first = until("\u{1b}[?7h");
    assert!(first.contains("ready") && first.contains("\u{1b}[32m"), "{first}");
    journals[1].tree(&BottleTree { children: Vec::new(), execs: 0, ..tree(&owned, "suspended") });
    assert!(until("suspended").contains("\u{1b}[1F\u{1b}[J"), "one line up");
    input.write_all(b"\x03").unwrap();
    assert!(until("code 0\r\n").ends_with("code 0\r\n"));
    child.wait().unwrap();
}

#[test]
fn events_are_sentences_for_people_and_records_for_programs() {
    let home = Home::new();
    insta::assert_snapshot!("events_none", home.run(&["events"]).page());
    let (lease, mut journals) = three(&home);
    for event in events() {
        journals[0].event(&event);
    }
    journals[1].event(&BottleEvent::PhaseChanged { phase: "ready".to_owned(), why: None });
    insta::assert_snapshot!("events", neutral(&home.run(&["events", "coder"]).page(), &lease));
    insta::assert_snapshot!("events_unknown", home.run(&["events", "codr"]).page());
    assert_eq!(home.run(&["events", "alone"]).page(), "exit 0\n", "it is there, but nothing happened");
    let json = home.run(&["events", "coder", "--json"]).out;
    let read: Vec<EventRecord> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, journals[0].last_events(99));
    let kept = std::fs::read_to_string(state(&home).join("bottles").join(ID).join("events.jsonl")).unwrap();
    assert_eq!(json, kept, "as they are");
    assert_eq!(home.run(&["events"]).out.lines().count(), 17);
    assert_eq!(home.run(&["events", "--since", "1h"]).out.lines().count(), 17);
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(home.run(&["events", "--since", "0.001"]).out, "");
    assert_eq!(home.run(&["events", "--since", "yesterday"]).code, 2);
    let path = state(&home).join("bottles").join(ID).join("events.jsonl");
    std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(b"\0\x1b[2J\n{}\n").unwrap();
    let run = home.run(&["events", "coder"]);
    assert_eq!((run.code, run.out.lines().count()), (0, 16));
    assert_eq!(run.err, "left out what could not be understood: lines: 2\n");
}

#[test]
fn followed_events_go_on_also_of_bottles_that_come_and_go() {
    let home = Home::new();
    let (lease, mut journals) = three(&home);
    journals[0].event(&BottleEvent::EngineLost);
    let (child, mut out) = going_on(&home, &["events", "--follow"]);
    assert!(line(&mut out).ends_with(" coder: the engine cannot be reached\n"));
    let mut new = Journal::open(&state(&home), &ownership("new", "0123456789abcdef", lease.owner()));
    new.event(&BottleEvent::GroundLost);
    assert!(line(&mut out).ends_with(" new: a network was removed by an outside hand\n"));
    journals[0].event(&BottleEvent::PhaseChanged { phase: "gone".to_owned(), why: None });
    journals[0].close();
    assert!(line(&mut out).ends_with(" coder: it is gone\n"));
    assert_eq!(interrupted(child).0, Some(130));

    let (child, mut out) = going_on(&home, &["events", "-f", "late", "--json"]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    new.event(&BottleEvent::EngineBack);
    let mut late = Journal::open(&state(&home), &ownership("late", "00000000000000aa", lease.owner()));
    late.event(&BottleEvent::EngineBack);
    let record: EventRecord = serde_json::from_str(&line(&mut out)).unwrap();
    assert_eq!(record.slug.as_str(), "late");
    assert!(interrupted(child).1.starts_with("no bottle \"late\" yet; waiting for one\n"));
}

#[test]
fn a_post_mortem_tells_what_happened() {
    let home = Home::new();
    insta::assert_snapshot!("post_mortem_none", home.run(&["post-mortem"]).page());
    insta::assert_snapshot!("post_mortem_empty_list", home.run(&["post-mortem", "--list"]).page());
    let (lease, mut journals) = three(&home);
    for event in events() {
        journals[0].event(&event);
    }
    let coder = ownership("coder", ID, lease.owner());
    let tester = ownership("tester", "8899aabbccddeeff", lease.owner());
    let events = journals[0].last_events(99);
    journals[0].post_mortem(&bundle(&coder, "2990-01-01T00:00:00.000Z", Vec::new()));
    journals[0].post_mortem(&bundle(&coder, LATER, events));
    journals[1].post_mortem(&bundle(&tester, "2980-01-01T00:00:00.000Z", Vec::new()));
    journals.iter_mut().for_each(Journal::close);
    insta::assert_snapshot!("post_mortem", neutral(&home.run(&["post-mortem", "coder"]).page(), &lease));
    assert_eq!(home.run(&["post-mortem"]).out, home.run(&["post-mortem", ID]).out);
    insta::assert_snapshot!("post_mortem_list", home.run(&["post-mortem", "--list"]).page());
    assert_eq!(home.run(&["post-mortem", "tester", "--list"]).out.lines().count(), 2);
    insta::assert_snapshot!("post_mortem_unknown", home.run(&["post-mortem", "codr"]).page());
    let value: serde_json::Value =
        serde_json::from_str(&home.run(&["post-mortem", "tester", "--json"]).out).unwrap();
    let read: PostMortem = serde_json::from_value(value["post_mortem"].clone()).unwrap();
    assert_eq!(read, bundle(&tester, "2980-01-01T00:00:00.000Z", Vec::new()));
    let listed: serde_json::Value =
        serde_json::from_str(&home.run(&["post-mortem", "--list", "--json"]).out).unwrap();
    assert_eq!(listed["post_mortems"].as_array().unwrap().len(), 3);

    let path = |at: usize| {
        let shown = listed["post_mortems"][at]["path"].as_str().unwrap();
        shown.replace("[HOME]", &home.path().display().to_string())
    };
    let newest = path(0);
    std::fs::write(&newest, "{\"time\": ").unwrap();
    insta::assert_snapshot!("post_mortem_older", {
        let run = home.run(&["post-mortem", "coder"]);
        format!("{}{}", run.out.lines().next().unwrap(), run.err)
    });
    std::fs::remove_file(newest).unwrap();
    std::fs::write(path(1), [0xff; 99]).unwrap();
    insta::assert_snapshot!("post_mortem_broken", home.run(&["post-mortem", "coder"]).page());
}

#[test]
fn nothing_from_a_journal_reaches_a_terminal_as_it_is() {
    let home = Home::new();
    let (lease, mut journals) = three(&home);
    for event in events() {
        journals[0].event(&event);
    }
    let hostile = ownership("\u{1b}[2Jslug\u{202e}", ID, lease.owner());
    journals[0].tree(&tree(&hostile, "\u{1b}c"));
    let events = journals[0].last_events(99);
    journals[0].post_mortem(&bundle(&hostile, LATER, events));
    for args in [&["tree"][..], &["events"], &["post-mortem"], &["post-mortem", "--list"], &["tree", "x"]] {
        let page = home.run(args).page();
        let shown = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
        assert!(page.chars().all(shown), "{args:?}: {page:?}");
        assert!(page.contains(['\u{fffd}', 's']), "{page}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_them_quietly() {
    let home = Home::new();
    let (_lease, mut journals) = three(&home);
    for _ in 0..3000 {
        journals[0].event(&BottleEvent::EngineLost);
    }
    let line = format!(
        "'{BOTTLE}' events | head -1; '{BOTTLE}' events --json -f | head -1; '{BOTTLE}' tree -w | true"
    );
    let mut command = std::process::Command::new("timeout");
    command.args(["60", "sh", "-c", &line]).env_clear().env("HOME", home.path());
    command.env("PATH", std::env::var("PATH").unwrap());
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2);
}

#[test]
fn cleanup_takes_the_journals_of_the_dead() {
    if !crate::support::wants_engine() {
        return;
    }
    let home = Home::with_engine();
    let (_lease, _journals) = three(&home);
    let there = |id: &str| state(&home).join("bottles").join(id).exists();
    home.run(&["cleanup", "--dry-run"]);
    assert!(there("ffffffffffffffff"), "a dry run removes nothing");
    let run = home.run(&["cleanup", "--yes"]);
    assert_eq!(run.code, 0, "{}", run.page());
    assert!(!there("ffffffffffffffff") && there(ID) && there("8899aabbccddeeff"), "{}", run.page());
}
