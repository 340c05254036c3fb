//! Commands: streams, ends, time-outs, and what happens when somebody stops listening.

use std::time::Duration;

use bottle::ExecRequest;
use bottle::backend::{ExecSpec, Op, Output};
use bottle::ids::Role;
use bottle::messages::{ExecEnd, OperationError};
use bottle::testing::{Fault, FaultRule};
use futures::future::join_all;

use crate::farm::{Farm, assert_works, pass, sh};

/// Whether a process with these words runs in the agent.
async fn runs(farm: &Farm, bottle: &bottle::Bottle, words: &str) -> bool {
    use bottle::backend::Backend as _;
    let agent = farm.member(bottle, Role::Agent);
    let mut io = farm.engine.exec(&agent, ExecSpec::new(["ps"])).await.unwrap();
    let mut listed = String::new();
    while let Some(piece) = futures::StreamExt::next(&mut io.output).await {
        let (Output::Stdout(bytes) | Output::Stderr(bytes) | Output::Console(bytes)) = piece.unwrap();
        listed.push_str(&String::from_utf8_lossy(&bytes));
    }
    assert!(listed.contains("ps"), "the list shows at least the process that makes it: {listed}");
    listed.contains(words)
}

#[tokio::test(start_paused = true)]
async fn exit_codes_and_both_streams_pass_through() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    for code in [0, 1, 3, 125, 255] {
        let result = bottle.exec(sh(&format!("echo out; echo err >&2; exit {code}"))).await.unwrap();
        assert_eq!((result.code, result.success()), (code, code == 0));
        assert_eq!(
            (result.stdout.as_slice(), result.stderr.as_slice()),
            (b"out\n".as_slice(), b"err\n".as_slice())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn input_is_read_to_its_end() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    let mut session = bottle.exec_stream(ExecRequest::new(["cat"]).stdin()).await.unwrap();
    let stdin = session.take_stdin().unwrap();
    for piece in ["one ", "two ", "three"] {
        stdin.send(piece.into()).await.unwrap();
    }
    drop(stdin);
    let mut seen = Vec::new();
    while let Some(Output::Stdout(piece)) = session.next_output().await {
        seen.extend_from_slice(&piece);
    }
    assert_eq!((seen, session.wait().await.unwrap()), (b"one two three".to_vec(), ExecEnd::Exited(0)));
}

#[tokio::test(start_paused = true)]
async fn a_time_out_kills_and_gives_what_was_printed() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    let begun = tokio::time::Instant::now();
    let request = sh("echo partial; echo bad >&2; sleep 1000").timeout(Duration::from_secs(7));
    match bottle.exec(request).await.unwrap_err() {
        OperationError::TimedOut { after, stdout, stderr } => {
            assert_eq!(after, Duration::from_secs(7));
            assert_eq!(
                (stdout.as_slice(), stderr.as_slice()),
                (b"partial\n".as_slice(), b"bad\n".as_slice())
            );
        }
        other => panic!("{other}"),
    }
    assert!(begun.elapsed() < Duration::from_secs(13), "{:?}", begun.elapsed());
    assert!(!runs(&farm, &bottle, "sleep 1000").await);
    assert_works(&bottle).await;
}

#[tokio::test(start_paused = true)]
async fn a_command_that_closed_its_output_is_still_under_its_time_out() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    farm.engine.fault(FaultRule::on(Op::Exec, Fault::HalfClosed));
    let ended = bottle.exec(sh("sleep 1000").timeout(Duration::from_secs(5)));
    let ended = tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the time-out is kept");
    assert!(matches!(ended, Err(OperationError::TimedOut { .. })));
    assert!(!runs(&farm, &bottle, "sleep 1000").await);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_closed_its_output_is_still_ended_by_a_close() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    farm.engine.fault(FaultRule::on(Op::Exec, Fault::HalfClosed));
    let session = bottle.exec_stream(sh("sleep 1000")).await.unwrap();
    let (ended, _) = tokio::join!(session.wait(), bottle.close());
    assert!(matches!(ended, Err(OperationError::Closed(_))), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn dropping_a_session_kills_its_command_also_a_quiet_one() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    for script in ["sleep 1000", "echo a; echo b; sleep 1000"] {
        let session = bottle.exec_stream(sh(script)).await.unwrap();
        pass(Duration::from_millis(10)).await;
        assert!(runs(&farm, &bottle, "sleep 1000").await);
        drop(session);
        pass(Duration::from_millis(100)).await;
        assert!(!runs(&farm, &bottle, "sleep 1000").await, "{script}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_before_its_command_starts_leaves_no_command() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    farm.engine.set_latency(Duration::from_secs(1));
    let request = bottle.exec(sh("sleep 1000"));
    assert!(tokio::time::timeout(Duration::from_millis(500), request).await.is_err());
    pass(Duration::from_secs(5)).await;
    farm.engine.set_latency(Duration::ZERO);
    assert!(!runs(&farm, &bottle, "sleep 1000").await);
    assert_works(&bottle).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_stalls_nobody_and_loses_nothing() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    let words = 2000;
    let script: String = (0..words).map(|n| format!("echo {n};")).collect();
    let mut slow = bottle.exec_stream(sh(&script)).await.unwrap();
    pass(Duration::from_secs(1)).await;
    assert_works(&bottle).await;
    let mut seen = Vec::new();
    while let Some(Output::Stdout(piece)) = slow.next_output().await {
        seen.extend_from_slice(&piece);
    }
    let expected: String = (0..words).map(|n| format!("{n}\n")).collect();
    assert_eq!(String::from_utf8(seen).unwrap(), expected);
    assert_eq!(slow.wait().await.unwrap(), ExecEnd::Exited(0));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_cannot_hold_a_close_up() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    let script: String = (0..500).map(|n| format!("echo {n};")).collect();
    let unread = bottle.exec_stream(sh(&script)).await.unwrap();
    let begun = tokio::time::Instant::now();
    bottle.close().await;
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!(unread.wait().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn fifty_commands_at_once_keep_their_output_apart() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    let results = join_all((0..50).map(|n| {
        let bottle = bottle.clone();
        async move { bottle.exec(sh(&format!("echo {n}; sleep 1; exit {n}"))).await.unwrap() }
    }));
    let begun = tokio::time::Instant::now();
    for (n, result) in results.await.into_iter().enumerate() {
        assert_eq!((result.code, result.stdout), (n as i64, format!("{n}\n").into_bytes()));
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "side by side, took {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn commands_under_way_at_a_close_end_with_closed() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    let running: Vec<_> = (0..10)
        .map(|_| {
            let bottle = bottle.clone();
            tokio::spawn(async move { bottle.exec(sh("echo a; sleep 1000")).await })
        })
        .collect();
    pass(Duration::from_millis(10)).await;
    bottle.close().await;
    for one in running {
        let ended = tokio::time::timeout(Duration::from_secs(30), one).await.expect("never hangs").unwrap();
        assert!(matches!(ended, Err(OperationError::Closed(_))), "{ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn commands_asked_for_while_closing_are_refused_at_once() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    farm.engine.set_latency(Duration::from_secs(2));
    let closing = tokio::spawn({
        let bottle = bottle.clone();
        async move { bottle.close().await }
    });
    pass(Duration::from_secs(1)).await;
    assert_eq!(bottle.phase(), "closing");
    let refused = tokio::time::timeout(Duration::from_millis(100), bottle.exec(sh("true"))).await;
    assert!(matches!(refused, Ok(Err(OperationError::NotReady { phase: "closing", .. }))), "{refused:?}");
    closing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_fault_of_an_exec_is_an_answer_and_leaves_the_bottle_ready() {
    use bottle::backend::BackendErrorKind::{Denied, Unreachable};
    let late = Fault::LateSuccess(Duration::from_secs(5));
    for fault in [Fault::Error(Denied), Fault::Error(Unreachable), Fault::Timeout, late, Fault::LostAnswer] {
        let farm = Farm::new().await;
        let bottle = farm.launch().await;
        farm.engine.fault(FaultRule::on(Op::Exec, fault));
        let refused = bottle.exec(sh("echo hi")).await.unwrap_err();
        assert!(matches!(refused, OperationError::Backend(_)), "{refused}");
        assert_works(&bottle).await;
    }
}
