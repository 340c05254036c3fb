//! Decisions: kept in the file, told to observers; and no traffic when they cannot be kept.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bottle::audit_log::AuditLog;
use bottle::egress::AuditRecord;
use bottle::ids::Role;
use bottle::messages::BottleEvent;
use bottle::testing::{MemberScript, ScriptIo};

use crate::farm::{Farm, pass, probe_answer};

fn decision(path: &str) -> String {
    serde_json::json!({
        "event": "audit", "time": "2026-01-01T00:00:00.000Z", "bottle": "b", "kind": "http", "flow_id": "f",
        "method": "GET", "host": "api.anthropic.com", "path": path, "bytes": 0, "verdict": "allow",
        "rule_ids": [], "scan_id": "s", "policy_generation": 1, "ms": 1.0,
    })
    .to_string()
}

type Heard = Arc<Mutex<Vec<String>>>;

/// mitmproxy that notes what it is told, and tells `decisions` a second after each probe.
fn talking(heard: Heard, decisions: usize) -> MemberScript {
    MemberScript::new(move |mut io: ScriptIo| {
        let heard = Arc::clone(&heard);
        async move {
            while let Some(line) = io.line().await {
                heard.lock().unwrap().push(line.clone());
                let message: serde_json::Value = serde_json::from_str(&line).unwrap();
                match message["op"].as_str() {
                    None => io.print(r#"{"event":"ready"}"#),
                    Some("probe") => {
                        io.print(&probe_answer(message["id"].as_u64().unwrap(), true, ""));
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        (0..decisions).for_each(|n| io.print(&decision(&format!("/{n}"))));
                        io.print("not json");
                        io.print(r#"{"event":"unheard of"}"#);
                    }
                    Some(_) => {}
                }
            }
            std::future::pending().await
        }
    })
}

fn halts(heard: &Heard) -> usize {
    heard.lock().unwrap().iter().filter(|line| line.contains("\"halt\"")).count()
}

#[tokio::test(start_paused = true)]
async fn decisions_are_appended_to_the_file_and_told_as_events() {
    let (farm, heard) = (Farm::new().await, Heard::default());
    farm.engine.set_script(Role::Mitmproxy, talking(Arc::clone(&heard), 3));
    let bottle = farm.launch().await;
    let mut events = bottle.events();
    pass(Duration::from_secs(2)).await;
    bottle.close().await;
    let text = std::fs::read_to_string(AuditLog::path(&farm.state_dir(), bottle.id())).unwrap();
    let paths: Vec<_> =
        text.lines().map(|line| serde_json::from_str::<AuditRecord>(line).unwrap().path).collect();
    assert_eq!(paths, ["/0", "/1", "/2"]);
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let BottleEvent::Audited(record) = event {
            told.push(record.path.clone());
        }
    }
    assert_eq!(told, paths);
    assert_eq!(halts(&heard), 0);
}

#[tokio::test(start_paused = true)]
async fn a_decision_that_cannot_be_kept_halts_the_egress_once() {
    let (farm, heard) = (Farm::new().await, Heard::default());
    farm.engine.set_script(Role::Mitmproxy, talking(Arc::clone(&heard), 10));
    let id = "00000000000000aa";
    std::fs::create_dir_all(farm.state_dir().join("audit")).unwrap();
    let file = AuditLog::path(&farm.state_dir(), &id.into());
    std::os::unix::fs::symlink("/dev/full", file).unwrap();
    let root = farm.root().await;
    let mut bottle = farm.spawn(&root, id).await;
    bottle.ready().await;
    pass(Duration::from_secs(2)).await;
    assert_eq!(halts(&heard), 1);
    let mut told = 0;
    while let Ok(event) = bottle.events.try_recv() {
        told += usize::from(matches!(event, BottleEvent::Audited(_)));
    }
    assert!(told > 0, "observers are told nevertheless");
    assert_eq!(bottle.status.borrow().phase, "ready");
}

#[tokio::test(start_paused = true)]
async fn a_mitmproxy_that_cannot_be_halted_is_replaced_by_one_that_is_halted_first() {
    let farm = Farm::new().await;
    let runs: Arc<Mutex<Vec<Vec<String>>>> = Arc::default();
    let seen = Arc::clone(&runs);
    farm.engine.set_script(
        Role::Mitmproxy,
        MemberScript::new(move |mut io: ScriptIo| {
            let seen = Arc::clone(&seen);
            async move {
                let run = {
                    let mut runs = seen.lock().unwrap();
                    runs.push(Vec::new());
                    runs.len() - 1
                };
                io.line().await;
                io.print(r#"{"event":"ready"}"#);
                if run == 0 {
                    // Answers the probe, tells a decision, and then has closed its input.
                    io.line().await;
                    io.print(&probe_answer(1, true, ""));
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    io.print(&decision("/"));
                    drop(io);
                } else {
                    while let Some(line) = io.line().await {
                        seen.lock().unwrap()[run].push(line);
                    }
                }
                std::future::pending().await
            }
        }),
    );
    let id = "00000000000000bb";
    std::fs::create_dir_all(farm.state_dir().join("audit")).unwrap();
    std::os::unix::fs::symlink("/dev/full", AuditLog::path(&farm.state_dir(), &id.into())).unwrap();
    let root = farm.root().await;
    let bottle = farm.spawn(&root, id).await;
    pass(Duration::from_secs(120)).await;
    assert_eq!(bottle.status.borrow().phase, "degraded");
    let runs = runs.lock().unwrap();
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[1].len(), 1, "nothing but the halt: {:?}", runs[1]);
    assert!(runs[1][0].contains("halt"), "{:?}", runs[1]);
}

#[tokio::test(start_paused = true)]
async fn decisions_that_could_not_be_kept_are_kept_later_and_then_the_egress_opens() {
    let farm = Farm::new().await;
    let heard = Arc::default();
    farm.engine.set_script(Role::Mitmproxy, talking(Arc::clone(&heard), 10));
    let id = "00000000000000ab";
    let file = AuditLog::path(&farm.state_dir(), &id.into());
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let (full, room) = (farm.dir.path().join("full"), farm.dir.path().join("room"));
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    std::os::unix::fs::symlink(&full, &file).unwrap();
    let root = farm.root().await;
    let mut bottle = farm.spawn(&root, id).await;
    bottle.ready().await;
    pass(Duration::from_secs(2)).await;
    assert_eq!(halts(&heard), 1);
    assert_eq!(bottle.status.borrow().phase, "ready");
    // There is room again.
    std::fs::write(&room, "").unwrap();
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&room, &file).unwrap();
    pass(Duration::from_secs(30)).await;
    let lines = std::fs::read_to_string(&room).unwrap();
    assert!(lines.lines().count() >= 10, "{lines}");
    assert!(heard.lock().unwrap().iter().any(|line: &String| line.contains("resume")));
}

#[tokio::test(start_paused = true)]
async fn a_state_directory_that_cannot_be_written_refuses_the_launch_before_the_first_create() {
    let farm = Farm::new().await;
    let (plan, material) = farm.plan_of(false).await;
    std::fs::write(farm.state_dir().join("audit"), "in the way").unwrap();
    let error = farm.runtime.launch(plan, material).await.unwrap_err();
    assert!(crate::farm::chain(&error).contains("audit"), "{}", crate::farm::chain(&error));
    farm.assert_nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_launch_leaves_no_empty_audit_file() {
    let farm = Farm::new().await;
    farm.engine.set_script(Role::Mitmproxy, MemberScript::idle());
    farm.try_launch().await.unwrap_err();
    assert_eq!(std::fs::read_dir(farm.state_dir().join("audit")).unwrap().count(), 0);
}
