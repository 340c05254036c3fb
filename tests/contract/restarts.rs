//! An ended member runs again as itself: same id, name, address; new material, fresh memory.

use std::time::Duration;

use bottle::backend::{ExecSpec, MemberIo};
use bottle::ids::{MemberId, Secret};
use bottle::plan::spec::{ExecUser, MemberState, StdinMode, Tmpfs};
use tokio::io::AsyncWriteExt as _;

use crate::lab::{Lab, finish, read_all, read_until};
use crate::news::on_int;

async fn say(io: &mut MemberIo, line: &str) {
    let stdin = io.stdin.as_mut().unwrap();
    stdin.write_all(line.as_bytes()).await.unwrap();
    stdin.flush().await.unwrap();
}

async fn killed(lab: &Lab, id: &MemberId) {
    lab.hand.kill(id);
    assert_eq!(lab.backend.wait_member(id).await.unwrap().code, 137);
}

pub async fn a_killed_member_starts_again_as_itself(lab: &Lab) {
    let ground = lab.ground("a").await;
    let spec = on_int(lab, &ground, "a");
    let (id, io) = lab.started(&spec).await;
    assert!(!io.found_running);
    let first = lab.backend.inspect_member(&id).await.unwrap();
    killed(lab, &id).await;
    assert_eq!(lab.backend.ensure_member(&spec).await.unwrap(), id);
    assert!(!lab.backend.start_member(&id, None).await.unwrap().found_running);
    assert!(lab.backend.start_member(&id, None).await.unwrap().found_running);
    assert!(lab.backend.attach_member(&id).await.unwrap().found_running);
    assert_eq!(lab.hand.name_of(&id), spec.name);
    assert_eq!(lab.hand.attachments(&id), [(ground.spec.int_name, ground.agent_int)]);
    let second = lab.backend.inspect_member(&id).await.unwrap();
    assert_eq!(second.state, MemberState::Running);
    assert_ne!((first.pid, first.started_at), (second.pid, second.started_at));
}

pub async fn material_once_is_read_anew_with_its_end(lab: &Lab) {
    let mut spec = lab.member_spec("a", &["sh", "-c", "cat; echo end; sleep 600"]);
    spec.stdin = StdinMode::Once;
    let id = lab.backend.ensure_member(&spec).await.unwrap();
    for material in ["first\n", "second\n"] {
        let mut io = lab.backend.start_member(&id, Some(Secret::from(material))).await.unwrap();
        assert!(io.stdin.is_none() && !io.found_running);
        assert_eq!(read_until(&mut io.output, "end\n").await, format!("{material}end\n"));
        killed(lab, &id).await;
    }
}

pub async fn open_input_starts_anew_without_what_was_left_unread(lab: &Lab) {
    let mut spec = lab.member_spec("a", &["sh", "-c", "read x; echo ready; sleep 600"]);
    spec.stdin = StdinMode::Open;
    let first = lab.backend.ensure_member(&spec).await.unwrap();
    let mut old = lab.backend.start_member(&first, Some(Secret::from("first\n"))).await.unwrap();
    read_until(&mut old.output, "ready\n").await;
    say(&mut old, "left unread\n").await;
    killed(lab, &first).await;
    // The old connection is still held: it must not reach the new process.
    let mut io = lab.backend.start_member(&first, None).await.unwrap();
    let silent = tokio::time::timeout(Duration::from_millis(500), read_until(&mut io.output, "ready\n"));
    assert!(silent.await.is_err(), "the new process read what was not written to it");
    say(&mut io, "second\n").await;
    read_until(&mut io.output, "ready\n").await;
    drop(old);
}

pub async fn open_input_takes_new_material(lab: &Lab) {
    let mut spec = lab.member_spec("a", &["cat"]);
    spec.stdin = StdinMode::Open;
    let id = lab.backend.ensure_member(&spec).await.unwrap();
    for material in ["first\n", "second\n"] {
        let mut io = lab.backend.start_member(&id, Some(Secret::from(material))).await.unwrap();
        say(&mut io, "more\n").await;
        assert_eq!(read_until(&mut io.output, "more\n").await, format!("{material}more\n"));
        killed(lab, &id).await;
        // What is attached ends with the process.
        read_all(&mut io.output).await;
    }
}

pub async fn memory_file_systems_are_fresh_and_the_layer_stays(lab: &Lab) {
    let mut spec = lab.member_spec("a", &["sleep", "600"]);
    spec.tmpfs = vec![Tmpfs { path: "/scratch".into(), size_bytes: 1 << 20, mode: 0o700, uid: 0 }];
    let (id, _io) = lab.started(&spec).await;
    let run = async |argv: [&str; 2]| {
        let mut command = ExecSpec::new(argv);
        command.user = ExecUser::Root;
        finish(lab.backend.exec(&id, command).await.unwrap()).await.code
    };
    for path in ["/scratch/mark", "/tmp/mark"] {
        assert_eq!((run(["touch", path]).await, run(["cat", path]).await), (0, 0), "{path}");
    }
    killed(lab, &id).await;
    lab.backend.start_member(&id, None).await.unwrap();
    assert_ne!(run(["cat", "/scratch/mark"]).await, 0);
    assert_eq!(run(["cat", "/tmp/mark"]).await, 0);
}

pub async fn a_wait_after_the_second_start_waits_for_the_second_end(lab: &Lab) {
    let mut spec = lab.member_spec("a", &["sh", "-c", "read x; exit 5"]);
    spec.stdin = StdinMode::Open;
    let id = lab.backend.ensure_member(&spec).await.unwrap();
    let _first = lab.backend.start_member(&id, None).await.unwrap();
    killed(lab, &id).await;
    let mut io = lab.backend.start_member(&id, None).await.unwrap();
    let mut waiting = lab.backend.wait_member(&id);
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut waiting).await.is_err());
    say(&mut io, "now\n").await;
    assert_eq!(waiting.await.unwrap().code, 5);
}

pub async fn a_wait_for_a_paused_member_goes_on(lab: &Lab) {
    let id = lab.sleeper("a").await;
    let mut waiting = lab.backend.wait_member(&id);
    lab.hand.pause(&id);
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut waiting).await.is_err());
    lab.hand.unpause(&id);
    lab.hand.kill(&id);
    assert_eq!(waiting.await.unwrap().code, 137);
}
