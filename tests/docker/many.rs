//! Eight bottles of one process: all answer; what is killed in one concerns nobody else.

use std::time::Instant;

use bottle::ids::Role;
use bottle::messages::EndReason;
use futures::future::join_all;

use crate::lab::{self, Want, claude, printed, says};
use crate::sidecars;
use crate::support::docker;

#[test]
fn eight_bottles_answer_at_once_and_killing_some_leaves_the_others_alone() {
    lab::run(8, async |lab| {
        let want = Want::default();
        let runtime = lab.runtime(&want).await;
        let began = Instant::now();
        let bottles = join_all((0..8).map(|_| lab.launch(&runtime, &want))).await;
        eprintln!("eight bottles ready after {:.2} s", began.elapsed().as_secs_f64());
        let slugs: std::collections::BTreeSet<_> = bottles.iter().map(|bottle| bottle.slug()).collect();
        assert_eq!(slugs.len(), 8, "{slugs:?}");

        let began = Instant::now();
        join_all(bottles.iter().map(|bottle| async move {
            let answer = bottle.exec(claude(&format!("I am {}.", bottle.slug()))).await.unwrap();
            assert!(printed(&answer).contains(bottle.slug().as_str()), "{}", printed(&answer));
        }))
        .await;
        eprintln!("eight answers of Claude Code after {:.2} s", began.elapsed().as_secs_f64());

        docker(&["kill", &bottles[0].plan().names().agent]);
        let report = bottles[0].wait().await;
        assert!(matches!(report.reason, Some(EndReason::AgentEnded(_))), "{report:?}");
        let sidecar = &bottles[1].plan().names().mitmproxy;
        sidecars::hurt(&bottles[1], Role::Mitmproxy, &["kill", sidecar]).await;

        join_all(bottles[1..].iter().map(|bottle| async move {
            assert_eq!(says(bottle, "echo alive").await, "alive");
            let path = lab.own_path(bottle.slug().as_str());
            says(bottle, &format!("curl -sSf https://api.anthropic.com{path}")).await;
            assert_eq!(lab.arrivals(&path).await.len(), 1);
        }))
        .await;
        let reports = runtime.shutdown().await;
        assert_eq!(reports.len(), 7, "{reports:?}");
        assert!(reports.iter().all(|(_, report)| report.failed.is_empty()), "{reports:?}");
    });
}
