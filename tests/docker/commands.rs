//! Commands in a bottle: terminal and pipes, input, output, time-outs, many at once.

use std::time::Duration;

use bottle::backend::Output;
use bottle::messages::OperationError;
use bottle::plan::spec::TtySize;
use bottle::{ClaudeOptions, ExecEnd, ExecRequest, ExecSession};
use bytes::Bytes;
use serde_json::json;

use crate::lab::{self, Want, printed, says, sh, shell};
use crate::support::eventually;

/// A bottle whose command is a shell script in place of Claude Code.
fn command(script: &str) -> Want {
    Want { bottle: json!({ "command": ["bash", "-c", script, "bash"] }), ..Want::default() }
}

/// Reads until `part` has been seen.
async fn until(session: &mut ExecSession, part: &str) -> String {
    let mut seen = String::new();
    let reading = async {
        while !seen.contains(part) {
            match session.next_output().await {
                Some(Output::Console(b) | Output::Stdout(b) | Output::Stderr(b)) => {
                    seen.push_str(&String::from_utf8_lossy(&b));
                }
                None => panic!("ended before {part:?}: {seen:?}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reading).await.unwrap();
    seen
}

#[test]
fn a_terminal_has_the_size_it_was_given_takes_a_new_one_and_passes_the_exit_code() {
    let script = "trap 'stty size; echo changed' WINCH; stty size; echo first; \
                  while ! read -r -t 0.1 line; do :; done; echo \"got $line\"; exit 7";
    lab::run(1, async |lab| {
        lab.with_bottle(command(script), async |bottle| {
            let options = ClaudeOptions {
                tty: Some(TtySize { rows: 33, cols: 101 }),
                stdin: true,
                ..ClaudeOptions::default()
            };
            let mut session = bottle.exec_claude(vec![], options).await.unwrap();
            assert!(until(&mut session, "first").await.contains("33 101"));
            session.resize(TtySize { rows: 44, cols: 122 }).await.unwrap();
            assert!(until(&mut session, "changed").await.contains("44 122"));
            let stdin = session.take_stdin().unwrap();
            stdin.send(Bytes::from_static(b"word\n")).await.unwrap();
            until(&mut session, "got word").await;
            assert_eq!(session.wait().await.unwrap(), ExecEnd::Exited(7));
        })
        .await;
    });
}

#[test]
fn pipes_keep_the_streams_apart_and_pass_arguments_and_the_exit_code() {
    lab::run(1, async |lab| {
        let script = "echo out $@; echo err >&2; exit 9";
        lab.with_bottle(command(script), async |bottle| {
            let arguments = vec!["one".to_owned(), "two words".to_owned()];
            let mut session = bottle.exec_claude(arguments, ClaudeOptions::default()).await.unwrap();
            let (mut out, mut err) = (Vec::new(), Vec::new());
            while let Some(piece) = session.next_output().await {
                match piece {
                    Output::Stdout(bytes) => out.extend_from_slice(&bytes),
                    Output::Stderr(bytes) => err.extend_from_slice(&bytes),
                    Output::Console(_) => panic!("a console without a terminal"),
                }
            }
            assert_eq!((out.as_slice(), err.as_slice()), (&b"out one two words\n"[..], &b"err\n"[..]));
            assert_eq!(session.wait().await.unwrap(), ExecEnd::Exited(9));

            let mut session = bottle.exec_stream(ExecRequest::new(["sha256sum"]).stdin()).await.unwrap();
            let stdin = session.take_stdin().unwrap();
            for _ in 0..64 {
                stdin.send(Bytes::from(vec![b'x'; 64 * 1024])).await.unwrap();
            }
            drop(stdin);
            let seen = until(&mut session, "-").await;
            let expected = says(bottle, "head -c 4194304 /dev/zero | tr '\\0' x | sha256sum").await;
            assert_eq!(seen.trim(), expected);
        })
        .await;
    });
}

#[test]
fn a_time_out_ends_a_command_and_the_sessions_it_has_opened() {
    lab::run(1, async |lab| {
        lab.with_bottle(Want::default(), async |bottle| {
            let mark = format!("{}7", 1_000_000 + rand::random::<u32>() % 1_000_000);
            let script = format!("echo begun; setsid -f sleep {mark}; (setsid sleep {mark} &); sleep {mark}");
            let request = ExecRequest::new(["bash", "-c", &script]).timeout(Duration::from_secs(2));
            match bottle.exec(request).await {
                Err(OperationError::TimedOut { stdout, .. }) => assert_eq!(stdout, b"begun\n"),
                other => panic!("{other:?}"),
            }
            eventually(Duration::from_secs(10), || async {
                let left = shell(bottle, &format!("pgrep -af '[s]leep {mark}'")).await;
                if left.code == 1 { Ok(()) } else { Err(printed(&left)) }
            })
            .await;
            // A dropped session does the same.
            let session = bottle.exec_stream(sh(&format!("setsid -f sleep {mark}; sleep {mark}"))).await;
            drop(session.unwrap());
            eventually(Duration::from_secs(10), || async {
                let left = shell(bottle, &format!("pgrep -af '[s]leep {mark}'")).await;
                if left.code == 1 { Ok(()) } else { Err(printed(&left)) }
            })
            .await;
        })
        .await;
    });
}

#[test]
fn twenty_commands_at_once_get_their_own_output_and_exit_code() {
    lab::run(1, async |lab| {
        lab.with_bottle(Want::default(), async |bottle| {
            let work = (0..20).map(|n| async move {
                let result = shell(bottle, &format!("seq {n} $(({n} + 1000)) | tail -1; exit {n}")).await;
                assert_eq!((result.code, printed(&result)), (n, format!("{}\n", n + 1000)));
            });
            futures::future::join_all(work).await;
        })
        .await;
    });
}

#[test]
fn after_a_close_commands_are_refused_and_a_second_close_gives_the_same_report() {
    lab::run(1, async |lab| {
        let want = Want::default();
        let runtime = lab.runtime(&want).await;
        let bottle = lab.launch(&runtime, &want).await;
        let running = tokio::spawn({
            let bottle = bottle.clone();
            async move { bottle.exec(ExecRequest::new(["sleep", "600"])).await }
        });
        says(&bottle, "until pgrep -x sleep >/dev/null; do :; done").await;
        let (first, second) = tokio::join!(bottle.close(), bottle.close());
        assert_eq!(first.removed, second.removed);
        assert_eq!(bottle.close().await.removed, first.removed);
        let error = running.await.unwrap().unwrap_err().to_string();
        assert!(error.contains("closed"), "{error}");
        let error = bottle.exec(ExecRequest::new(["true"])).await.unwrap_err().to_string();
        assert_eq!(error, format!("bottle {} is gone", lab.agent));
    });
}
