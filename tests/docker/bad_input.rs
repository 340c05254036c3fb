//! Launches that cannot work: each says why, and nothing is left.

use bottle::backend::Backend;
use bottle::error::chain;
use bottle::{Config, ExecRequest};
use serde_json::json;

use crate::farm::leftovers;
use crate::lab::{self, Lab, Want, says};
use crate::support::{self, docker};

async fn refused(lab: &Lab, want: &Want) -> String {
    let runtime = lab.runtime(want).await;
    let error = lab.try_launch(&runtime, want).await.expect_err("this launch cannot work");
    assert!(error.teardown.is_empty(), "{error:?}");
    runtime.shutdown().await;
    assert_eq!(leftovers(&lab.agent), Vec::<String>::new());
    chain(&error)
}

#[test]
fn a_missing_image_is_named_before_anything_is_made() {
    lab::run(1, async |lab| {
        let want = Want { bottle: json!({ "image": "bottle-test/absent:1" }), ..Want::default() };
        let runtime = lab.runtime(&want).await;
        let error = chain(&lab.plan(&runtime, &want).await.unwrap_err());
        assert!(error.contains("bottle-test/absent:1"), "{error}");
        assert!(leftovers(&lab.agent).is_empty());
    });
}

#[test]
fn an_image_that_vanishes_between_plan_and_launch_is_named() {
    lab::run(1, async |lab| {
        let image = format!("bottle-test/{}:1", lab.agent);
        docker(&["tag", support::image::busybox(), &image]);
        let want = Want { bottle: json!({ "image": image }), ..Want::default() };
        let runtime = lab.runtime(&want).await;
        let plan = lab.plan(&runtime, &want).await.unwrap();
        docker(&["rmi", &image]);
        let material = bottle::Material::gather(&plan, &lab.host(&want), &mut bottle::NoPrompt).await;
        let error = runtime.launch(plan, material.unwrap()).await.unwrap_err();
        assert!(chain(&error).contains(&image) && error.teardown.is_empty(), "{}", chain(&error));
    });
}

#[test]
fn a_used_up_pool_says_what_to_widen() {
    lab::run(1, async |lab| {
        let pool: ipnet::Ipv4Net = format!("{}/29", support::pool().network()).parse().unwrap();
        let config = Config { address_pool: pool, ..lab.farm.config.clone() };
        let text = refused(lab, &Want { config: Some(config), ..Want::default() }).await;
        assert!(text.contains("no free subnet is left in") && text.contains("widen the pool"), "{text}");
    });
}

#[test]
fn a_name_that_belongs_to_a_stranger_is_answered_by_the_next_number() {
    lab::run(1, async |lab| {
        let name = format!("claude-bottle-mitm-{}", lab.agent);
        docker(&["create", "--name", &name, support::image::busybox(), "sleep", "1"]);
        lab.with_bottle(Want::default(), async |bottle| {
            assert_eq!(bottle.slug().as_str(), format!("{}-2", lab.agent));
            assert_eq!(says(bottle, "echo alive").await, "alive");
        })
        .await;
        docker(&["inspect", &name]);
        docker(&["rm", &name]);
    });
}

#[test]
fn two_runtimes_that_launch_the_same_agent_at_once_get_two_bottles() {
    lab::run(4, async |lab| {
        let want = Want::default();
        let runtimes = [lab.runtime(&want).await, lab.runtime(&want).await];
        let launches = [0, 1, 0, 1].map(|index: usize| lab.launch(&runtimes[index], &want));
        let bottles = futures::future::join_all(launches).await;
        let mut slugs: Vec<_> = bottles.iter().map(|bottle| bottle.slug().to_string()).collect();
        slugs.sort();
        slugs.dedup();
        assert_eq!(slugs.len(), 4, "{slugs:?}");
        for bottle in &bottles {
            assert!(bottle.exec(ExecRequest::new(["true"])).await.unwrap().success());
        }
        // Nobody else's bottles are swept by one runtime's end.
        runtimes[0].shutdown().await;
        assert!(bottles[1].exec(ExecRequest::new(["true"])).await.unwrap().success());
        assert!(
            runtimes[1]
                .prepare_cleanup(false)
                .await
                .unwrap()
                .orphans
                .iter()
                .all(|orphan| { orphan.agent != lab.agent })
        );
        runtimes[1].shutdown().await;
    });
}

#[test]
fn an_image_without_what_a_bottle_needs_fails_with_its_last_words() {
    lab::run(1, async |lab| {
        let gate = lab.farm.config.images.pipelock.as_ref().unwrap().reference.as_str().to_owned();
        let text = refused(lab, &Want { bottle: json!({ "image": gate }), ..Want::default() }).await;
        assert!(text.contains("agent container") && text.contains("sleep"), "{text}");
    });
}

#[test]
fn a_state_directory_without_room_for_the_audit_is_an_error_before_anything_is_made() {
    lab::run(1, async |lab| {
        // As root there are no permissions to run into: a file stands where the directory should be.
        std::fs::write(lab.path("state/audit"), "").unwrap();
        let text = refused(lab, &Want::default()).await;
        assert!(text.contains("audit"), "{text}");
        assert!(lab.farm.backend.owned(&bottle::backend::OwnedBy::Anyone).await.is_ok());
    });
}
