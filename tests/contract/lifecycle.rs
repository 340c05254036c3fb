//! Start, streams, wait, stop, remove, logs, statistics.

use std::time::Duration;

use bottle::backend::{BackendErrorKind, LogOptions};
use bottle::ids::{MemberId, Secret};
use bottle::plan::spec::{MemberState, StdinMode};
use tokio::io::AsyncWriteExt as _;

use crate::lab::{Lab, read_all, read_until};

pub async fn nothing_of_the_first_output_is_lost(lab: &Lab) {
    let (_, mut io) =
        lab.started(&lab.member_spec("a", &["sh", "-c", "echo first; echo second >&2; exit 3"])).await;
    assert!(io.stdin.is_none());
    assert_eq!(read_all(&mut io.output).await, ("first\n".into(), "second\n".into()));
}

pub async fn material_reaches_standard_input_and_ends(lab: &Lab) {
    let mut spec = lab.member_spec("a", &["cat"]);
    spec.stdin = StdinMode::Once;
    let id = lab.backend.ensure_member(&spec).await.unwrap();
    for _ in 0..2 {
        let material = Secret::from("material\nof two lines");
        let mut io = lab.backend.start_member(&id, Some(material)).await.unwrap();
        assert_eq!(read_all(&mut io.output).await.0, "material\nof two lines");
        assert_eq!(lab.backend.wait_member(&id).await.unwrap().code, 0);
    }
    let closed = lab.backend.ensure_member(&lab.member_spec("b", &["cat"])).await.unwrap();
    let refused = lab.backend.start_member(&closed, Some(Secret::from("x"))).await.unwrap_err();
    assert_eq!(refused.kind, BackendErrorKind::Denied);
}

pub async fn open_input_takes_lines_and_survives_a_new_attachment(lab: &Lab) {
    let mut spec = lab.member_spec("a", &["cat"]);
    spec.stdin = StdinMode::Open;
    let id = lab.backend.ensure_member(&spec).await.unwrap();
    let mut io = lab.backend.start_member(&id, Some(Secret::from("one\n"))).await.unwrap();
    read_until(&mut io.output, "one\n").await;
    drop(io);
    let mut again = lab.backend.attach_member(&id).await.unwrap();
    let mut stdin = again.stdin.take().unwrap();
    stdin.write_all(b"two\n").await.unwrap();
    stdin.flush().await.unwrap();
    assert_eq!(read_until(&mut again.output, "two\n").await, "two\n");
    assert_eq!(lab.backend.inspect_member(&id).await.unwrap().state, MemberState::Running);
}

pub async fn starting_a_running_member_attaches_without_material(lab: &Lab) {
    let mut spec = lab.member_spec("a", &["cat"]);
    spec.stdin = StdinMode::Open;
    let id = lab.backend.ensure_member(&spec).await.unwrap();
    let _first = lab.backend.start_member(&id, None).await.unwrap();
    let mut io = lab.backend.start_member(&id, Some(Secret::from("not written\n"))).await.unwrap();
    let mut stdin = io.stdin.take().unwrap();
    stdin.write_all(b"end\n").await.unwrap();
    stdin.flush().await.unwrap();
    assert_eq!(read_until(&mut io.output, "end\n").await, "end\n");
}

pub async fn attaching_to_what_does_not_run_is_refused(lab: &Lab) {
    let id = lab.backend.ensure_member(&lab.member_spec("a", &["true"])).await.unwrap();
    assert_eq!(lab.backend.attach_member(&id).await.unwrap_err().kind, BackendErrorKind::NotRunning);
    lab.backend.remove_member(&id).await.unwrap();
    assert_eq!(lab.backend.attach_member(&id).await.unwrap_err().kind, BackendErrorKind::NotFound);
    assert_eq!(lab.backend.start_member(&id, None).await.unwrap_err().kind, BackendErrorKind::NotFound);
}

pub async fn wait_gives_the_exit_code_also_afterwards(lab: &Lab) {
    let spec = lab.member_spec("a", &["sh", "-c", "sleep 0.3; exit 7"]);
    let id = lab.backend.ensure_member(&spec).await.unwrap();
    assert_eq!(lab.backend.wait_member(&id).await.unwrap_err().kind, BackendErrorKind::NotRunning);
    lab.backend.start_member(&id, None).await.unwrap();
    for _ in 0..2 {
        let exit = lab.backend.wait_member(&id).await.unwrap();
        assert_eq!((exit.code, exit.oom_killed), (7, false));
    }
    let status = lab.backend.inspect_member(&id).await.unwrap();
    assert!(matches!(status.state, MemberState::Exited(exit) if exit.code == 7));
    assert!(status.started_at.is_some());
    assert_eq!(status.pid, 0);
}

pub async fn waiting_for_a_missing_member_is_not_found(lab: &Lab) {
    let missing = MemberId::new("f".repeat(64));
    assert_eq!(lab.backend.wait_member(&missing).await.unwrap_err().kind, BackendErrorKind::NotFound);
    let logs = lab.backend.logs(&missing, LogOptions::default()).await;
    assert_eq!(logs.err().unwrap().kind, BackendErrorKind::NotFound);
}

pub async fn stop_ends_a_member_within_its_grace(lab: &Lab) {
    let obedient = lab.member_spec("a", &["sh", "-c", "echo ready; sleep 600"]);
    assert!(obedient.init, "the kernel drops a TERM for a first process that has no handler");
    // Once the command speaks, the init before it handles signals.
    let (id, mut io) = lab.started(&obedient).await;
    read_until(&mut io.output, "ready").await;
    lab.backend.stop_member(&id, Duration::from_secs(60)).await.unwrap();
    // 143 is TERM; a grace that had passed would show as 137.
    let state = lab.backend.inspect_member(&id).await.unwrap().state;
    assert!(matches!(state, MemberState::Exited(exit) if exit.code == 143), "{state:?}");
    lab.backend.stop_member(&id, Duration::ZERO).await.unwrap();
    let mut stubborn = lab.member_spec("b", &["sh", "-c", "trap '' TERM; echo ready; sleep 600"]);
    stubborn.init = false;
    let (id, mut io) = lab.started(&stubborn).await;
    read_until(&mut io.output, "ready").await;
    lab.backend.stop_member(&id, Duration::from_millis(300)).await.unwrap();
    assert_eq!(lab.backend.wait_member(&id).await.unwrap().code, 137);
}

pub async fn gone_is_a_state(lab: &Lab) {
    let id = lab.sleeper("a").await;
    assert!(lab.backend.inspect_member(&id).await.unwrap().pid > 0);
    lab.backend.remove_member(&id).await.unwrap();
    let status = lab.backend.inspect_member(&id).await.unwrap();
    assert_eq!((status.state, status.pid), (MemberState::Gone, 0));
    lab.backend.remove_member(&id).await.unwrap();
    lab.backend.stop_member(&id, Duration::ZERO).await.unwrap();
    let id = lab.sleeper("b").await;
    let (one, two) = futures::join!(lab.backend.remove_member(&id), lab.backend.remove_member(&id));
    one.unwrap();
    two.unwrap();
}

pub async fn an_ended_member_starts_again(lab: &Lab) {
    let (id, mut io) = lab.started(&lab.member_spec("a", &["echo", "hello"])).await;
    assert_eq!(read_all(&mut io.output).await.0, "hello\n");
    lab.backend.wait_member(&id).await.unwrap();
    let mut io = lab.backend.start_member(&id, None).await.unwrap();
    assert_eq!(read_all(&mut io.output).await.0, "hello\n");
}

pub async fn logs_hold_both_streams(lab: &Lab) {
    let spec = lab.member_spec("a", &["sh", "-c", "echo one; echo two; echo bad >&2; exit 0"]);
    let (id, _) = lab.started(&spec).await;
    lab.backend.wait_member(&id).await.unwrap();
    let mut logs = lab.backend.logs(&id, LogOptions::default()).await.unwrap();
    assert_eq!(read_all(&mut logs).await, ("one\ntwo\n".into(), "bad\n".into()));
    let options = LogOptions { tail: Some(1), ..LogOptions::default() };
    let mut logs = lab.backend.logs(&id, options).await.unwrap();
    let (stdout, stderr) = read_all(&mut logs).await;
    assert_eq!(stdout.lines().count() + stderr.lines().count(), 1);
    let options = LogOptions { timestamps: true, ..LogOptions::default() };
    let mut logs = lab.backend.logs(&id, options).await.unwrap();
    let line = read_all(&mut logs).await.0;
    assert!(line.starts_with("20") && line.lines().next().unwrap().ends_with(" one"), "{line}");
}

pub async fn statistics_of_a_running_member(lab: &Lab) {
    let id = lab.sleeper("a").await;
    let stats = lab.backend.stats(&id).await.unwrap();
    assert_eq!(stats.memory_limit_bytes, 64 << 20);
    assert!(stats.pids >= 1 && stats.memory_bytes < stats.memory_limit_bytes);
    lab.backend.stop_member(&id, Duration::ZERO).await.unwrap();
    assert_eq!(lab.backend.stats(&id).await.unwrap_err().kind, BackendErrorKind::NotRunning);
    lab.backend.remove_member(&id).await.unwrap();
    assert_eq!(lab.backend.stats(&id).await.unwrap_err().kind, BackendErrorKind::NotFound);
}
