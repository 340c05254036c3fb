//! Commands inside a running member.

use std::collections::BTreeMap;
use std::time::Duration;

use bottle::backend::{BackendErrorKind, ExecSpec};
use bottle::ids::{MemberId, Secret};
use bottle::plan::spec::{ExecUser, TtySize};
use tokio::io::AsyncWriteExt as _;

use crate::lab::{Finished, Lab, finish, read_all, read_until};
use crate::support::eventually;

pub async fn exit_codes_pass_through(lab: &Lab) {
    let id = lab.sleeper("a").await;
    assert_eq!(lab.finish(&id, &["true"]).await, Finished::default());
    assert_eq!(lab.finish(&id, &["false"]).await.code, 1);
    assert_eq!(lab.finish(&id, &["sh", "-c", "exit 42"]).await.code, 42);
    let running = lab.exec(&id, &["sleep", "600"]).await;
    assert_eq!(running.control.exit_code().await.unwrap(), None);
}

pub async fn output_streams_are_separate(lab: &Lab) {
    let id = lab.sleeper("a").await;
    let done = lab.finish(&id, &["sh", "-c", "echo out; echo err >&2"]).await;
    assert_eq!(done, Finished { code: 0, stdout: "out\n".into(), stderr: "err\n".into() });
}

pub async fn input_is_read_to_its_end(lab: &Lab) {
    let id = lab.sleeper("a").await;
    let mut spec = ExecSpec::new(["cat"]);
    spec.stdin = true;
    let mut io = lab.backend.exec(&id, spec).await.unwrap();
    let mut stdin = io.stdin.take().unwrap();
    let text = "line\n".repeat(20_000);
    let write = async {
        stdin.write_all(text.as_bytes()).await.unwrap();
        stdin.shutdown().await.unwrap();
    };
    let ((stdout, _), ()) = futures::join!(read_all(&mut io.output), write);
    assert_eq!(stdout.len(), text.len());
}

pub async fn environment_user_and_directory_are_applied(lab: &Lab) {
    let id = lab.sleeper("a").await;
    let mut spec = ExecSpec::new(["sh", "-c", "env; id -u; pwd"]);
    spec.env = BTreeMap::from([("ADDED".to_owned(), Secret::from("added"))]);
    spec.user = ExecUser::Named("1000:1000".into());
    spec.cwd = Some("/tmp".into());
    let done = finish(lab.backend.exec(&id, spec).await.unwrap()).await;
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert!(lines.contains(&"ADDED=added") && lines.contains(&"PLAIN=plain"), "{lines:?}");
    assert!(lines.ends_with(&["1000", "/tmp"]), "{lines:?}");
    let mut root = ExecSpec::new(["id", "-u"]);
    root.user = ExecUser::Root;
    assert_eq!(finish(lab.backend.exec(&id, root).await.unwrap()).await.stdout, "0\n");
}

pub async fn a_missing_program_is_an_exit_code(lab: &Lab) {
    let id = lab.sleeper("a").await;
    let code = lab.finish(&id, &["no-such-program"]).await.code;
    assert!(matches!(code, 126 | 127), "{code}");
}

pub async fn a_terminal_has_one_stream_and_a_size(lab: &Lab) {
    let id = lab.sleeper("a").await;
    let mut spec = ExecSpec::new(["sh", "-c", "sleep 0.4; stty size; read line; stty size"]);
    spec.tty = Some(TtySize { rows: 40, cols: 100 });
    spec.stdin = true;
    let mut io = lab.backend.exec(&id, spec).await.unwrap();
    read_until(&mut io.output, "40 100").await;
    io.control.resize(TtySize { rows: 50, cols: 123 }).await.unwrap();
    let mut stdin = io.stdin.take().unwrap();
    stdin.write_all(b"go\n").await.unwrap();
    stdin.flush().await.unwrap();
    read_until(&mut io.output, "50 123").await;
}

pub async fn resizing_without_a_terminal_is_denied(lab: &Lab) {
    let id = lab.sleeper("a").await;
    let io = lab.exec(&id, &["true"]).await;
    let error = io.control.resize(TtySize { rows: 1, cols: 1 }).await.unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Denied);
}

pub async fn kill_reaches_processes_that_left_the_group(lab: &Lab) {
    let id = lab.sleeper("a").await;
    let mut io = lab.exec(&id, &["sh", "-c", "setsid sleep 7531 & echo up; sleep 7532"]).await;
    read_until(&mut io.output, "up").await;
    // The shell may have become the last command: two or three processes.
    eventually(Duration::from_secs(5), || async {
        let found = listed(lab, &id, "sleep 753").await;
        if found.len() >= 2 { Ok(()) } else { Err(found) }
    })
    .await;
    io.control.kill().await.unwrap();
    assert_eq!(finish(io).await.code, 137);
    assert_eq!(listed(lab, &id, "sleep 753").await, Vec::<String>::new());
}

/// Command lines in the member that contain `text`.
async fn listed(lab: &Lab, id: &MemberId, text: &str) -> Vec<String> {
    let all = lab.finish(id, &["ps"]).await.stdout;
    all.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

pub async fn kill_spares_other_commands(lab: &Lab) {
    let id = lab.sleeper("a").await;
    let spared = lab.exec(&id, &["sleep", "8641"]).await;
    let killed = lab.exec(&id, &["sleep", "8642"]).await;
    eventually(Duration::from_secs(5), || async {
        let found = listed(lab, &id, "sleep 864").await;
        if found.len() == 2 { Ok(()) } else { Err(found) }
    })
    .await;
    killed.control.kill().await.unwrap();
    killed.control.kill().await.unwrap();
    assert_eq!(finish(killed).await.code, 137);
    assert_eq!(spared.control.exit_code().await.unwrap(), None);
}

pub async fn a_member_that_does_not_run_refuses_commands(lab: &Lab) {
    let id = lab.backend.ensure_member(&lab.member_spec("a", &["true"])).await.unwrap();
    let error = lab.backend.exec(&id, ExecSpec::new(["true"])).await.unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::NotRunning);
    lab.backend.remove_member(&id).await.unwrap();
    let error = lab.backend.exec(&id, ExecSpec::new(["true"])).await.unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::NotFound);
}
