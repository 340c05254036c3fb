//! What only a real engine can show: nothing secret is visible, members are confined, facts have remedies.

use std::collections::BTreeMap;
use std::time::Duration;

use bottle::backend::{BackendErrorKind, ExecSpec, Happening, Mended, Repair};
use bottle::ids::{Role, Secret};
use bottle::plan::spec::{StdinMode, Zone};
use futures::StreamExt as _;
use tokio::io::AsyncWriteExt as _;

use crate::hand::Hand;
use crate::lab::{Lab, endpoint, finish, read_until};
use crate::support;

/// A lab whose engine is reached by a line of the test's own.
async fn on_a_line(
    heartbeat: Duration,
    check: impl for<'a> FnOnce(&'a Lab) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
) {
    if let Some(lab) = Lab::docker_with(heartbeat).await {
        lab.run(check).await;
    }
}

const CANARY: &str = "canary-3f9c1b";

async fn on_docker(
    check: impl for<'a> FnOnce(&'a Lab) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
) {
    if let Some(lab) = Lab::docker().await {
        lab.run(check).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn material_and_command_environment_are_not_visible() {
    on_docker(|lab| Box::pin(hidden(lab))).await;
}

async fn hidden(lab: &Lab) {
    let mut spec = lab.member_spec("a", &["cat"]);
    spec.stdin = StdinMode::Open;
    let id = lab.backend.ensure_member(&spec).await.unwrap();
    let mut io = lab.backend.start_member(&id, Some(Secret::from(format!("{CANARY}\n")))).await.unwrap();
    read_until(&mut io.output, CANARY).await;
    let mut command = ExecSpec::new(["sh", "-c", "echo count-$(env | grep -c ^TOKEN=); read wait"]);
    command.env = BTreeMap::from([("TOKEN".to_owned(), Secret::from(CANARY))]);
    command.stdin = true;
    let mut running = lab.backend.exec(&id, command).await.unwrap();
    read_until(&mut running.output, "count-1").await;
    let inspected = support::docker(&["inspect", id.as_str()]);
    assert!(inspected.contains("PLAIN=plain") && !inspected.contains(CANARY));
    let top = support::docker(&["top", id.as_str(), "-eo", "pid,args"]);
    assert!(top.contains("read wait") && !top.contains(CANARY));
    let mut stdin = running.stdin.take().unwrap();
    stdin.shutdown().await.unwrap();
    finish(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_confined() {
    on_docker(|lab| Box::pin(confined(lab))).await;
}

async fn confined(lab: &Lab) {
    let mut spec = lab.member_spec("a", &["sleep", "600"]);
    spec.read_only = true;
    spec.tmpfs =
        vec![bottle::plan::spec::Tmpfs { path: "/work".into(), size_bytes: 1 << 20, mode: 0o700, uid: 1000 }];
    let (id, _) = lab.started(&spec).await;
    let status =
        lab.finish(&id, &["grep", "-E", "CapEff|CapBnd|NoNewPrivs|Seccomp:", "/proc/self/status"]).await;
    for line in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.stdout.contains(line), "{}", status.stdout);
    }
    assert_ne!(lab.finish(&id, &["touch", "/data/x"]).await.code, 0);
    let mut inside = ExecSpec::new(["sh", "-c", "echo '#!/bin/sh' > /work/x; chmod +x /work/x; /work/x"]);
    inside.user = bottle::plan::spec::ExecUser::Named("1000:1000".into());
    let done = finish(lab.backend.exec(&id, inside).await.unwrap()).await;
    assert_eq!(done.code, 0, "{done:?}");
    let format = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.PidsLimit}} \
                  {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.LogConfig.Type}} {{.HostConfig.Privileged}}";
    let limits = support::docker(&["inspect", "-f", format, id.as_str()]);
    assert_eq!(limits, "67108864 67108864 64 no local false");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unlabelled_network_of_the_same_name_is_a_conflict() {
    on_docker(|lab| Box::pin(unlabelled(lab))).await;
}

async fn unlabelled(lab: &Lab) {
    let spec = lab.ground_spec("a");
    let subnet = format!("{}/29", lab.pool.network());
    support::docker(&["network", "create", "--internal", "--subnet", &subnet, &spec.int_name]);
    let answer = lab.backend.ensure_ground(&spec).await;
    support::docker(&["network", "rm", &spec.int_name]);
    assert_eq!(answer.unwrap_err().kind, BackendErrorKind::NameConflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_network_was_made_anew_is_made_anew() {
    on_docker(|lab| Box::pin(remade(lab))).await;
}

async fn remade(lab: &Lab) {
    let ground = lab.ground("a").await;
    let mut spec = lab.member_spec("a", &["sleep", "600"]);
    spec.endpoints = vec![endpoint(Zone::Int, &ground.spec.int_name, Some(ground.agent_int))];
    let first = lab.backend.ensure_member(&spec).await.unwrap();
    assert_eq!(lab.backend.ensure_member(&spec).await.unwrap(), first);
    lab.backend.remove_ground(&ground.spec.ownership.bottle).await.unwrap();
    let ground = lab.ground("a").await;
    spec.endpoints[0].address = Some(ground.agent_int);
    let second = lab.backend.ensure_member(&spec).await.unwrap();
    assert_ne!(first, second);
    lab.backend.start_member(&second, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_name_version_runtimes_and_remedies() {
    on_docker(|lab| {
        Box::pin(async move {
            let facts = lab.backend.facts().await.unwrap();
            assert!(facts.version.starts_with("Docker ") && facts.runtimes.contains(&"runc".to_owned()));
            assert!(facts.weaknesses.iter().all(|text| text.contains("; ") || text.contains(", ")));
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_whose_own_connection_was_forgotten_is_given_up() {
    on_a_line(Duration::from_millis(100), |lab| Box::pin(forgotten(lab))).await;
}

/// What a NAT box does to a connection that was idle for too long: nothing comes, and nobody is told.
async fn forgotten(lab: &Lab) {
    let Hand::Docker(Some(line)) = &lab.hand else { panic!("a lab on a line") };
    let mut news = lab.backend.watch().await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(300), news.next()).await.is_err());
    line.forget_connections();
    lab.backend.facts().await.unwrap();
    let end = tokio::time::timeout(Duration::from_secs(10), news.next()).await.expect("it is noticed");
    assert_eq!(end.unwrap().unwrap_err().kind, BackendErrorKind::Deadline);
    assert!(news.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn news_are_told_once_over_several_windows() {
    on_a_line(Duration::from_millis(100), |lab| Box::pin(windows(lab))).await;
}

async fn windows(lab: &Lab) {
    let id = lab.sleeper("a").await;
    let bottle = lab.ownership("a").bottle;
    let mut news = lab.backend.watch().await.unwrap();
    let hand = async {
        for _ in 0..12 {
            lab.hand.pause(&id);
            tokio::time::sleep(Duration::from_millis(230)).await;
            lab.hand.unpause(&id);
            tokio::time::sleep(Duration::from_millis(230)).await;
        }
        lab.hand.kill(&id);
    };
    let heard = async {
        let mut heard = Vec::new();
        while heard.last() != Some(&Happening::Ended) {
            let news = news.next().await.expect("the news go on").unwrap();
            if news.bottle == bottle {
                heard.push(news.what);
            }
        }
        heard
    };
    let (heard, ()) = futures::join!(heard, hand);
    let mut expected = [Happening::Paused, Happening::Resumed].repeat(12);
    expected.push(Happening::Ended);
    assert_eq!(heard, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_engine_says_so_once() {
    on_a_line(Duration::from_secs(5), |lab| Box::pin(said_once(lab))).await;
}

async fn said_once(lab: &Lab) {
    lab.hand.cut();
    let error = lab.backend.facts().await.unwrap_err();
    lab.hand.restore();
    assert_eq!(error.kind, BackendErrorKind::Unreachable);
    let chain = bottle::error::chain(&error);
    let said = chain.split_once(".sock: ").map(|(_, cause)| cause);
    assert_eq!(said, Some("the connection was lost: connection closed before message completed"), "{chain}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mended_way_out_is_the_default_route_again() {
    on_docker(|lab| Box::pin(routes(lab))).await;
}

async fn routes(lab: &Lab) {
    let ground = lab.ground("a").await;
    let mut spec = lab.member_spec("a", &["sleep", "600"]);
    spec.role = Role::Pipelock;
    spec.endpoints = vec![
        endpoint(Zone::Mid, &ground.spec.mid_name, Some(ground.pipelock_mid)),
        endpoint(Zone::Egress, &ground.spec.egress_name, None),
    ];
    let (id, _io) = lab.started(&spec).await;
    let routes = async || lab.finish(&id, &["ip", "route"]).await.stdout;
    let default = |text: &str| text.lines().find(|line| line.starts_with("default ")).map(via);
    let before = routes().await;
    assert!(default(&before).is_some(), "{before}");
    lab.hand.disconnect(&id, Zone::Egress, &ground.spec.egress_name);
    // The engine takes the middle zone's router then, an address that nobody has.
    assert_ne!(default(&routes().await), default(&before));
    for (zone, network) in [(Zone::Egress, &ground.spec.egress_name), (Zone::Mid, &ground.spec.mid_name)] {
        if zone == Zone::Mid {
            lab.hand.disconnect(&id, zone, network);
        }
        let mended = lab.backend.mend_member(&id, &spec).await.unwrap();
        assert_eq!(mended, Mended::Repaired(vec![Repair::Reconnected(zone)]));
        let after = routes().await;
        assert_eq!(default(&after), default(&before), "{after}");
    }
}

/// The router of a line of the routing table.
fn via(line: &str) -> String {
    line.split(' ').nth(2).unwrap_or_default().to_owned()
}
