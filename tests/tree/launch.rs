//! From a plan to a ready bottle: order, labels, admission.

use std::time::Duration;

use bottle::backend::{Op, OwnedBy, Subject};
use bottle::ids::Role;
use bottle::messages::{BottleEvent, OperationError};
use bottle::testing::{Call, MemberScript};

use crate::farm::{Farm, assert_works, probe_answer, sh};

fn position(journal: &[Call], op: Op, role: Option<Role>) -> usize {
    journal.iter().position(|call| call.op == op && (role.is_none() || call.role == role)).expect("is called")
}

#[tokio::test(start_paused = true)]
async fn the_ground_comes_before_the_members_and_each_start_after_its_create() {
    let farm = Farm::new().await;
    farm.engine.clear_journal();
    let bottle = farm.try_launch().await.unwrap();
    let journal = farm.engine.journal();
    let ground = position(&journal, Op::CreateZone, None);
    for role in Role::ALL {
        let create = position(&journal, Op::CreateMember, Some(role));
        assert!(ground < create && create < position(&journal, Op::StartMember, Some(role)), "{journal:?}");
    }
    let started = position(&journal, Op::StartMember, Some(Role::Agent));
    assert!(started < position(&journal, Op::PutArchive, Some(Role::Agent)));
    assert_works(&bottle).await;
}

#[tokio::test(start_paused = true)]
async fn provisioning_is_two_archives_and_one_command_a_key() {
    let farm = Farm::new().await;
    farm.engine.clear_journal();
    let _bottle = farm.try_launch().await.unwrap();
    let ops = [Op::GetArchive, Op::PutArchive, Op::Exec];
    let calls: Vec<Op> =
        farm.engine.journal().iter().map(|call| call.op).filter(|op| ops.contains(op)).collect();
    // The image's bundle; ca, prompt, skills and ssh; the key; git.
    assert_eq!(calls, [Op::GetArchive, Op::PutArchive, Op::Exec, Op::PutArchive]);
}

#[tokio::test(start_paused = true)]
async fn a_launch_without_work_to_provision_asks_for_as_little() {
    let farm = Farm::new().await;
    farm.engine.clear_journal();
    let _bottle = farm.launch().await;
    let launch = farm.engine.journal().into_iter().filter(|call| !matches!(call.subject, Subject::Image(_)));
    let calls: Vec<Op> =
        launch.map(|call| call.op).filter(|op| !matches!(op, Op::Connect | Op::ListOwned)).collect();
    // Network, three creates, three starts, the bundle out, the certificate in.
    assert_eq!(calls.len(), 9, "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn everything_carries_the_labels_of_bottle_owner_and_plan_from_its_birth() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    let owned = farm.owned().await;
    assert_eq!(owned.len(), 5);
    let first = &owned[0].ownership;
    for item in &owned {
        assert_eq!(&item.ownership, first);
    }
    assert_eq!((&first.bottle, &first.slug), (bottle.id(), bottle.slug()));
    assert_eq!((first.plan_hash.clone(), first.agent.as_str()), (bottle.plan().hash(), "coder"));
    assert_eq!(farm.engine_owned(OwnedBy::Owner(first.owner.clone())).await, 5);
    let lease = farm.state_dir().join("owners").join(first.owner.as_str());
    assert!(lease.exists(), "the label names the lease");
}

/// mitmproxy whose probe succeeds only after `refusals` answers that say no.
fn late_chain(refusals: u64) -> MemberScript {
    MemberScript::answering(move |line| {
        let message: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        match message["op"].as_str() {
            Some("probe") => {
                let id = message["id"].as_u64().unwrap();
                let ok = id > refusals;
                let detail = if ok { "" } else { "gate_health: connection refused" };
                vec![probe_answer(id, ok, detail)]
            }
            Some(_) => Vec::new(),
            None => vec![serde_json::json!({ "event": "ready" }).to_string()],
        }
    })
}

#[tokio::test(start_paused = true)]
async fn nobody_is_admitted_before_the_probe_has_passed() {
    let farm = Farm::new().await;
    farm.engine.set_script(Role::Mitmproxy, late_chain(3));
    let (plan, material) = farm.plan_of(false).await;
    let begun = tokio::time::Instant::now();
    let bottle = farm.runtime.launch(plan, material).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(150), "three pauses, took {:?}", begun.elapsed());
    assert_works(&bottle).await;
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_refused_to_the_end_is_told_with_its_reason() {
    let farm = Farm::new().await;
    farm.engine.set_script(Role::Mitmproxy, late_chain(u64::MAX));
    let error = farm.try_launch().await.unwrap_err();
    let text = crate::farm::chain(&error);
    assert!(text.contains("egress probe") && text.contains("gate_health: connection refused"), "{text}");
    farm.assert_nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn observers_see_the_phases_in_order() {
    let farm = Farm::new().await;
    let bottle = farm.launch().await;
    let mut events = bottle.events();
    let report = bottle.close().await;
    assert!(report.failed.is_empty());
    let mut phases = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let BottleEvent::PhaseChanged { phase, .. } = event {
            phases.push(phase);
        }
    }
    assert_eq!(phases, ["closing", "gone"]);
    let refused = bottle.exec(sh("true")).await.unwrap_err();
    assert!(matches!(refused, OperationError::NotReady { phase: "gone", .. }), "{refused}");
}

impl Farm {
    async fn engine_owned(&self, by: OwnedBy) -> usize {
        use bottle::backend::Backend as _;
        self.engine.owned(&by).await.unwrap().len()
    }
}
