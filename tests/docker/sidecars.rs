//! Sidecars of a bottle in use die, hang, are removed, renamed, paused and cut off: the agent never notices more
//! than a pause, and nothing leaves that should not.

use std::time::Duration;

use bottle::Bottle;
use bottle::ids::Role;
use bottle::messages::{ChildState, EndReason};

use crate::lab::{self, FAKE_KEY, Lab, Want, printed, says, shell};
use crate::support::docker;

/// A sidecar has to be back after this long; a hanging one is found by two health probes first.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until the bottle's tree satisfies the condition.
pub async fn until(bottle: &Bottle, what: &str, condition: impl Fn(&Bottle) -> bool) {
    let mut watch = bottle.watch();
    let came = tokio::time::timeout(PATIENCE, async {
        while !condition(bottle) {
            watch.changed().await.unwrap();
        }
    });
    assert!(came.await.is_ok(), "{what} did not come: {:#?}", bottle.tree());
}

/// Which incarnation of the sidecar runs; 0 for none.
pub fn running(bottle: &Bottle, role: Role) -> u32 {
    let Some(tree) = bottle.tree() else { return 0 };
    let child = tree.children.iter().find(|child| child.child == role.to_string()).unwrap();
    if child.state == ChildState::Running { child.incarnation } else { 0 }
}

/// Does something to a sidecar and waits until the next incarnation is in use.
pub async fn hurt(bottle: &Bottle, role: Role, command: &[&str]) {
    let before = running(bottle, role);
    docker(command);
    until(bottle, "the next incarnation", |bottle| {
        running(bottle, role) > before && bottle.phase() == "ready"
    })
    .await;
}

struct Same {
    pids: String,
    addresses: [String; 2],
    fingerprint: Option<bottle::ids::Fingerprint>,
}

async fn same(bottle: &Bottle) -> Same {
    let names = bottle.plan().names();
    let address = |name: &str| {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
        docker(&["inspect", "-f", format, name])
    };
    Same {
        // Everything but the shell that asks.
        pids: says(
            bottle,
            "ps -eo pid,lstart,args --no-headers | grep -v -e 'ps -eo' -e 'grep -v' -e 'bash -c'",
        )
        .await,
        addresses: [address(&names.pipelock), address(&names.mitmproxy)],
        fingerprint: bottle.fingerprint(),
    }
}

async fn assert_guarded(lab: &Lab, bottle: &Bottle, name: &str) {
    let path = lab.own_path(name);
    says(bottle, &format!("curl -sSf --max-time 30 https://api.anthropic.com{path}")).await;
    assert_eq!(lab.arrivals(&path).await.len(), 1);
    let leak = lab.own_path(&format!("leak-{name}"));
    let script = format!("curl -sS -i --max-time 30 -d '{FAKE_KEY}' https://api.anthropic.com{leak}");
    let blocked = printed(&shell(bottle, &script).await);
    assert!(blocked.contains("x-bottle-verdict: deny"), "{blocked}");
    let detour = shell(bottle, "curl -sS -i --max-time 30 https://sink.example.net/").await;
    assert!(!detour.success() && printed(&detour).contains("403"), "{}", printed(&detour));
    assert!(lab.arrivals(&leak).await.is_empty());
}

#[test]
fn a_sidecar_that_dies_is_oom_killed_or_removed_comes_back_with_its_address_and_authority() {
    lab::run(2, async |lab| {
        let one = async |role: Role| {
            lab.with_bottle(Want::default(), async |bottle| {
                let name = bottle.plan().names().member(role).to_string();
                // Lives as long as nobody touches the agent.
                says(bottle, "setsid sleep 100000 >/dev/null 2>&1 </dev/null & echo").await;
                let before = same(bottle).await;
                hurt(bottle, role, &["kill", &name]).await;
                assert_guarded(lab, bottle, &format!("{role}-killed")).await;
                hurt(bottle, role, &["rm", "-f", &name]).await;
                assert_guarded(lab, bottle, &format!("{role}-removed")).await;
                let after = same(bottle).await;
                assert_eq!(after.pids, before.pids, "the agent's processes are the same");
                assert_eq!(after.addresses, before.addresses);
                assert_eq!(after.fingerprint, before.fingerprint);
            })
            .await;
        };
        tokio::join!(one(Role::Pipelock), one(Role::Mitmproxy));
    });
}

#[test]
fn a_sidecar_paused_renamed_or_cut_off_by_hand_is_mended() {
    lab::run(1, async |lab| {
        lab.with_bottle(Want::default(), async |bottle| {
            let names = bottle.plan().names().clone();
            let running = |name: &str| docker(&["inspect", "-f", "{{.State.Status}}", name]);
            docker(&["pause", &names.pipelock]);
            until_text(|| running(&names.pipelock), "running").await;
            assert_guarded(lab, bottle, "paused").await;

            let odd = format!("{}-odd", lab.agent);
            docker(&["rename", &names.mitmproxy, &odd]);
            until_text(|| docker(&["ps", "--filter", &format!("name=^{}$", names.mitmproxy), "-q"]), "")
                .await;
            assert_guarded(lab, bottle, "renamed").await;

            docker(&["network", "disconnect", "-f", &names.mid, &names.pipelock]);
            until_text(
                || docker(&["inspect", "-f", "{{json .NetworkSettings.Networks}}", &names.pipelock]),
                &names.mid,
            )
            .await;
            until(bottle, "ready", |bottle| bottle.phase() == "ready").await;
            assert_guarded(lab, bottle, "cut-off").await;
        })
        .await;
    });
}

/// Waits until what the engine says holds `part`; for an empty `part`, until it says anything.
async fn until_text(ask: impl Fn() -> String, part: &str) {
    crate::support::eventually(PATIENCE, || async {
        let text = ask();
        if !text.trim().is_empty() && text.contains(part) { Ok(()) } else { Err(text) }
    })
    .await;
}

#[test]
fn while_the_gate_is_away_requests_wait_or_are_refused_and_open_connections_end() {
    lab::run(1, async |lab| {
        lab.with_bottle(Want::default(), async |bottle| {
            let name = bottle.plan().names().pipelock.to_string();
            // A stopped process answers nothing; only the health probe finds it.
            let pid = docker(&["inspect", "-f", "{{.State.Pid}}", &name]);
            docker(&["kill", "-s", "STOP", &name]);
            let script = "curl -sS -i --max-time 60 https://api.anthropic.com/while-away";
            let answer = printed(&shell(bottle, script).await);
            let refused = answer.contains("503") && answer.contains("x-bottle-verdict: unavailable");
            assert!(refused || answer.contains("200"), "{answer}");
            until(bottle, "another process", |bottle| running(bottle, Role::Pipelock) > 1).await;
            assert_ne!(
                docker(&["inspect", "-f", "{{.State.Pid}}", &name]),
                pid,
                "it hung, so it was replaced"
            );
            assert_guarded(lab, bottle, "hung").await;
        })
        .await;
    });
}

#[test]
fn too_many_deaths_fail_the_bottle_closed_with_a_post_mortem() {
    lab::run(1, async |lab| {
        let want = Want::default();
        let runtime = lab.runtime(&want).await;
        let bottle = lab.launch(&runtime, &want).await;
        let name = bottle.plan().names().pipelock.to_string();
        for _ in 0..3 {
            hurt(&bottle, Role::Pipelock, &["kill", &name]).await;
        }
        docker(&["kill", &name]);
        let report = tokio::time::timeout(PATIENCE, bottle.wait()).await.unwrap();
        assert!(matches!(report.reason, Some(EndReason::Escalated(Role::Pipelock, _))), "{report:?}");
        assert!(report.failed.is_empty(), "{report:?}");
        let bundles = std::fs::read_dir(lab.path("state/post-mortem")).map(Iterator::count);
        assert_eq!(bundles.unwrap(), 1, "what happened is kept");
        runtime.shutdown().await;
    });
}
