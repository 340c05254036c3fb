//! The engine goes away in the middle of a launch: the error says so, and what is left is found again.

use std::sync::Arc;

use bottle::backend::docker::{Address, Deadlines, DockerBackend};
use bottle::error::{ErrorKind, chain};
use bottle::{Material, NoPrompt};

use crate::farm::leftovers;
use crate::lab::{self, Want, says};
use crate::proxy::Proxy;

#[test]
fn an_engine_that_is_down_is_named_with_its_address() {
    lab::run(1, async |lab| {
        let address = Address::Unix(lab.path("none.sock"));
        let error = DockerBackend::connect_to(&address, Deadlines::default()).await.unwrap_err();
        let text = chain(&error);
        assert!(text.contains(&address.to_string()), "{text}");
        assert_eq!(error.kind.kind(), ErrorKind::Unreachable, "{text}");
    });
}

#[test]
fn an_engine_lost_at_any_request_of_a_launch_fails_it_and_cleanup_finds_what_is_left() {
    lab::run(1, async |lab| {
        let proxy = Proxy::start(lab.path("engine.sock"));
        let address = Address::Unix(proxy.socket.clone());
        for requests in [0, 2, 5, 9, 14, 20, 27] {
            proxy.mend();
            let backend = DockerBackend::connect_to(&address, Deadlines::default()).await.unwrap();
            let want = Want { backend: Some(Arc::new(backend)), ..Want::default() };
            let runtime = lab.runtime(&want).await;
            let plan = lab.plan(&runtime, &want).await.unwrap();
            let material = Material::gather(&plan, &lab.host(&want), &mut NoPrompt).await.unwrap();
            proxy.cut_after(requests);
            match runtime.launch(plan, material).await {
                Err(error) => {
                    assert!(proxy.is_cut());
                    let text = chain(&error);
                    eprintln!("cut after {requests}: {text}");
                    assert!(text.starts_with(&format!("launch bottle {}: ", lab.agent)), "{text}");
                    assert_eq!(error.kind(), ErrorKind::Unreachable, "{text}");
                    assert!(!error.teardown.is_empty(), "what could not be removed is reported");
                }
                Ok(bottle) => assert!(bottle.phase() == "ready" && !proxy.is_cut()),
            }
            proxy.mend();
            runtime.shutdown().await;
            drop(runtime);
            // Another owner, on a healthy line: the dead one's leavings are orphans to it.
            let want = Want::default();
            let runtime = lab.runtime(&want).await;
            let mut plan = runtime.prepare_cleanup(false).await.unwrap();
            plan.orphans.retain(|orphan| orphan.agent == lab.agent);
            for (_, report) in runtime.cleanup(&plan).await {
                assert!(report.failed.is_empty(), "{report:?}");
            }
            assert_eq!(leftovers(&lab.agent), Vec::<String>::new(), "after {requests} requests");
            runtime.shutdown().await;
        }
    });
}

#[test]
fn a_bottle_works_through_any_socket() {
    lab::run(1, async |lab| {
        let proxy = Proxy::start(lab.path("engine.sock"));
        let address = Address::Unix(proxy.socket.clone());
        let backend = DockerBackend::connect_to(&address, Deadlines::default()).await.unwrap();
        lab.with_bottle(Want { backend: Some(Arc::new(backend)), ..Want::default() }, async |bottle| {
            assert_eq!(says(bottle, "echo alive").await, "alive");
        })
        .await;
    });
}
