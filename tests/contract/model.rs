//! The in-memory backend's own controls: faults, events by an outside hand, scripts, paused time.

use std::time::Duration;

use bottle::backend::{Backend, BackendErrorKind, Op};
use bottle::ids::{Role, Secret};
use bottle::plan::spec::{MemberState, StdinMode};
use bottle::testing::{ExecAnswer, Fault, FaultRule, MemberScript, MemoryBackend};
use futures::StreamExt as _;
use tokio::time::Instant;

use crate::hand::Hand;
use crate::lab::{Lab, finish, read_all, read_until};

fn lab() -> (Lab, MemoryBackend) {
    let backend = MemoryBackend::new();
    let hand = Hand::Memory(backend.clone());
    (Lab::over(std::sync::Arc::new(backend.clone()), "bottle-test/busybox:1".into(), hand), backend)
}

#[tokio::test(start_paused = true)]
async fn faults_hit_the_call_they_name() {
    let (lab, memory) = lab();
    let spec = lab.member_spec("a", &["sleep", "600"]);
    let kind = |result: Result<_, bottle::backend::BackendError>| result.unwrap_err().kind;

    memory.fault(FaultRule::on(Op::CreateMember, Fault::Error(BackendErrorKind::NoSpace)).role(Role::Agent));
    assert_eq!(kind(lab.backend.ensure_member(&spec).await), BackendErrorKind::NoSpace);
    assert_eq!(memory.member_named(&spec.name), None);

    memory.fault(FaultRule::on(Op::CreateMember, Fault::Timeout));
    let start = Instant::now();
    assert_eq!(kind(lab.backend.ensure_member(&spec).await), BackendErrorKind::Deadline);
    assert_eq!((start.elapsed(), memory.member_named(&spec.name)), (Duration::from_secs(30), None));

    memory.fault(FaultRule::nth_call(1, Fault::LateSuccess(Duration::from_secs(5))));
    assert_eq!(kind(lab.backend.ensure_member(&spec).await), BackendErrorKind::Deadline);
    assert_eq!(memory.member_named(&spec.name), None);
    tokio::time::sleep(Duration::from_secs(6)).await;
    let id = memory.member_named(&spec.name).unwrap();

    memory.fault(FaultRule::on(Op::StartMember, Fault::LostAnswer));
    let lost = lab.backend.start_member(&id, None).await.unwrap_err();
    assert_eq!(lost.kind, BackendErrorKind::Unreachable);
    assert_eq!(lab.backend.inspect_member(&id).await.unwrap().state, MemberState::Running);

    memory.fault(FaultRule::on(Op::AttachMember, Fault::HalfClosed));
    let mut io = lab.backend.attach_member(&id).await.unwrap();
    assert_eq!(read_all(&mut io.output).await, (String::new(), String::new()));
    assert_eq!(
        memory.journal().first().map(|call| (call.op, call.role)),
        Some((Op::CreateMember, Some(Role::Agent)))
    );
}

#[tokio::test(start_paused = true)]
async fn latency_and_programs_run_in_virtual_time() {
    let (lab, memory) = lab();
    memory.set_latency(Duration::from_secs(2));
    let start = Instant::now();
    let (id, _) = lab.started(&lab.member_spec("a", &["sleep", "3600"])).await;
    assert_eq!(start.elapsed(), Duration::from_secs(4));
    assert_eq!(lab.backend.wait_member(&id).await.unwrap().code, 0);
    assert!(start.elapsed() >= Duration::from_secs(3600));
}

#[tokio::test(start_paused = true)]
async fn events_by_an_outside_hand_are_seen() {
    let (lab, memory) = lab();
    let id = lab.sleeper("a").await;
    assert!(memory.pause(&id));
    assert_eq!(lab.backend.inspect_member(&id).await.unwrap().state, MemberState::Paused);
    assert!(memory.unpause(&id));
    let (exit, ()) = futures::join!(lab.backend.wait_member(&id), async {
        tokio::task::yield_now().await;
        assert!(memory.oom(&id));
    });
    assert!(exit.unwrap().oom_killed);
    lab.backend.start_member(&id, None).await.unwrap();

    memory.engine_down();
    assert_eq!(lab.backend.wait_member(&id).await.unwrap_err().kind, BackendErrorKind::Unreachable);
    memory.engine_up();
    assert_eq!(lab.backend.inspect_member(&id).await.unwrap().state, MemberState::Running);
    memory.engine_down();
    memory.engine_up_without_members();
    assert!(matches!(lab.backend.inspect_member(&id).await.unwrap().state, MemberState::Exited(_)));
    lab.backend.start_member(&id, None).await.unwrap();

    let (gone, ()) = futures::join!(lab.backend.wait_member(&id), async {
        tokio::task::yield_now().await;
        memory.remove_by_hand(&id);
    });
    assert_eq!(gone.unwrap_err().kind, BackendErrorKind::NotFound);

    let ground = lab.ground("a").await;
    assert!(memory.remove_network(&ground.spec.int_name));
    assert!(!memory.remove_network(&ground.spec.int_name));
}

#[tokio::test(start_paused = true)]
async fn a_hung_engine_answers_late_or_never() {
    let (lab, memory) = lab();
    let (id, mut io) =
        lab.started(&lab.member_spec("a", &["sh", "-c", "sleep 5; echo late; sleep 600"])).await;
    let mut news = lab.backend.watch().await.unwrap();
    let start = Instant::now();
    memory.engine_stall(true);
    let never = lab.backend.remove_member(&id).await.unwrap_err();
    assert_eq!((never.kind, start.elapsed()), (BackendErrorKind::Deadline, Duration::from_secs(30)));
    let silent = tokio::time::timeout(Duration::from_secs(60), io.output.next()).await;
    assert!(silent.is_err(), "no output while it hangs");
    let hung = news.next().await.unwrap().unwrap_err();
    assert_eq!(hung.kind, BackendErrorKind::Deadline);
    assert!(news.next().await.is_none());
    let (late, ()) = futures::join!(lab.backend.inspect_member(&id), async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        memory.engine_stall(false);
    });
    assert_eq!(late.unwrap().state, MemberState::Running);
    read_until(&mut io.output, "late").await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_engine_fails_what_is_under_way_also_when_it_is_back_at_once() {
    let (lab, memory) = lab();
    let (id, _io) = lab.started(&lab.member_spec("a", &["sh", "-c", "trap '' TERM; sleep 600"])).await;
    memory.set_latency_of(Op::Stats, Duration::from_secs(3));
    memory.fault(FaultRule::on(Op::Logs, Fault::Timeout));
    let mut news = lab.backend.watch().await.unwrap();
    let start = Instant::now();
    let (stats, stop, wait, logs, ()) = futures::join!(
        lab.backend.stats(&id),
        lab.backend.stop_member(&id, Duration::from_secs(60)),
        lab.backend.wait_member(&id),
        lab.backend.logs(&id, bottle::backend::LogOptions::default()),
        async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            memory.engine_down();
            memory.engine_up();
        }
    );
    let kinds = [stats.err(), stop.err(), wait.err(), logs.err()].map(|error| error.unwrap().kind);
    assert_eq!((kinds, start.elapsed()), ([BackendErrorKind::Unreachable; 4], Duration::from_secs(1)));
    assert!(news.next().await.is_none());
    assert_eq!(memory.watchers(), 0);
    assert_eq!(lab.backend.inspect_member(&id).await.unwrap().state, MemberState::Running);
    // An engine that starts without its members is lost to those who listen, and has ended what ran.
    let mut news = lab.backend.watch().await.unwrap();
    memory.engine_up_without_members();
    assert!(news.next().await.is_none());
    assert!(matches!(lab.backend.inspect_member(&id).await.unwrap().state, MemberState::Exited(_)));
}

#[tokio::test(start_paused = true)]
async fn watches_are_not_counted_and_delays_come_from_a_seed() {
    let (lab, memory) = lab();
    memory.fault(FaultRule::nth_call(2, Fault::LostAnswer));
    let _news = lab.backend.watch().await.unwrap();
    let _more = lab.backend.watch().await.unwrap();
    assert_eq!(memory.watchers(), 2);
    lab.backend.facts().await.unwrap();
    assert_eq!(lab.backend.facts().await.unwrap_err().kind, BackendErrorKind::Unreachable);
    assert!(memory.journal().iter().all(|call| call.op == Op::Connect));
    memory.fault(FaultRule::on(Op::Watch, Fault::Error(BackendErrorKind::Unreachable)));
    assert_eq!(lab.backend.watch().await.err().map(|error| error.kind), Some(BackendErrorKind::Unreachable));

    let delays = async |seed| {
        memory.set_jitter(Duration::from_secs(10), seed);
        let mut delays = Vec::new();
        for _ in 0..5 {
            let start = Instant::now();
            lab.backend.facts().await.unwrap();
            delays.push(start.elapsed());
        }
        delays
    };
    let first = delays(1).await;
    assert!(first.iter().all(|delay| *delay <= Duration::from_millis(10_001)));
    assert_eq!(delays(1).await, first);
    assert_ne!(delays(2).await, first);
}

#[tokio::test(start_paused = true)]
async fn mitmproxy_answers_its_control_channel() {
    let (lab, memory) = lab();
    let mut spec = lab.member_spec("a", &["mitmdump"]);
    (spec.role, spec.stdin) = (Role::Mitmproxy, StdinMode::Open);
    let id = lab.backend.ensure_member(&spec).await.unwrap();
    let mut io = lab.backend.start_member(&id, Some(Secret::from("{\"ca\":\"…\"}\n"))).await.unwrap();
    assert_eq!(read_until(&mut io.output, "\n").await, "{\"event\":\"ready\"}\n");
    let mut stdin = io.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stdin, b"{\"op\":\"probe\",\"id\":7}\n").await.unwrap();
    let reply: serde_json::Value = serde_json::from_str(&read_until(&mut io.output, "\n").await).unwrap();
    assert_eq!((&reply["event"], &reply["id"], &reply["ok"]), (&"probe".into(), &7.into(), &true.into()));
    let checks = reply["checks"].as_object().unwrap();
    assert!(checks.len() == 5 && checks.values().all(|passed| passed == true), "{reply}");

    memory.set_script(Role::Mitmproxy, MemberScript::new(|_| async { 9 }));
    memory.kill_member(&id);
    lab.backend.start_member(&id, None).await.unwrap();
    assert_eq!(lab.backend.wait_member(&id).await.unwrap().code, 9);
}

#[tokio::test]
async fn a_hook_answers_commands() {
    let (lab, memory) = lab();
    let id = lab.sleeper("a").await;
    memory.set_hook(|_, argv| {
        let answer = ExecAnswer { stdout: b"done\n".to_vec(), code: 4, ..ExecAnswer::default() };
        (argv.first().map(String::as_str) == Some("claude")).then_some(answer)
    });
    let done = finish(lab.exec(&id, &["claude", "-p"]).await).await;
    assert_eq!((done.code, done.stdout.as_str()), (4, "done\n"));
    assert_eq!(memory.name(), "memory");
}
