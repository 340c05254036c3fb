//! Every engine call of a launch × every kind of fault: all or nothing, and the neighbour never notices.

use std::time::Duration;

use bottle::backend::{BackendErrorKind, Op};
use bottle::testing::{Fault, FaultRule};

use crate::farm::{Farm, assert_works, chain, names, pass};

/// Longer than any deadline of a launch and its teardown, and than the last look for what came late.
const LONG: Duration = Duration::from_secs(1200);

const FAULTS: [Fault; 10] = [
    Fault::Error(BackendErrorKind::Denied),
    Fault::Error(BackendErrorKind::NotFound),
    Fault::Error(BackendErrorKind::NoSpace),
    Fault::Error(BackendErrorKind::Unreachable),
    Fault::Error(BackendErrorKind::Protocol),
    Fault::Timeout,
    Fault::LateSuccess(Duration::from_secs(2)),
    Fault::LateSuccess(Duration::from_secs(100)),
    Fault::LostAnswer,
    Fault::HalfClosed,
];

/// Whether a call's failure may be harmless: an image without a bundle is none, and output that nobody needs.
fn may_succeed(op: Op, fault: Fault) -> bool {
    match fault {
        Fault::HalfClosed => true,
        Fault::Error(BackendErrorKind::NotFound) => op == Op::GetArchive,
        _ => false,
    }
}

/// Launches with one fault at the `nth` call beside a neighbour, and checks what is left.
async fn one(nth: u32, fault: Fault) -> bool {
    let farm = Farm::new().await;
    let neighbour = farm.launch().await;
    let own = names(&farm.owned().await);
    let (plan, material) = farm.plan_of(true).await;
    farm.engine.clear_journal();
    farm.engine.fault(FaultRule::nth_call(nth, fault));
    let launched = tokio::time::timeout(LONG, farm.runtime.launch(plan, material)).await.expect("an answer");
    let hit = farm.engine.journal().get(nth as usize - 1).cloned();
    let Some(hit) = hit.filter(|call| !matches!(call.op, Op::ListOwned | Op::RemoveMember | Op::RemoveZone))
    else {
        // The launch makes fewer calls than that: the last ones were its teardown, or a close.
        return false;
    };
    match launched {
        Ok(bottle) => {
            assert!(may_succeed(hit.op, fault), "{hit:?} with {fault:?} was not noticed");
            assert_works(&bottle).await;
            assert!(bottle.close().await.failed.is_empty());
        }
        Err(error) => {
            let text = chain(&error);
            let step = error.failure.step.to_string();
            assert!(text.contains(&step) && text.contains("coder-2"), "{text}");
            assert_ne!(step, "launch", "{hit:?} with {fault:?}: {text}");
        }
    }
    farm.engine.clear_faults();
    pass(LONG).await;
    assert_eq!(names(&farm.owned().await), own, "{hit:?} with {fault:?}");
    assert_works(&neighbour).await;
    let plan = farm.runtime.prepare_cleanup(true).await.unwrap();
    assert!(plan.empty(), "{}", plan.print());
    true
}

#[tokio::test(start_paused = true)]
#[expect(clippy::print_stdout, reason = "the size of the matrix is a result")]
async fn a_launch_is_all_or_nothing_whatever_call_fails_in_whatever_way() {
    let mut cells = 0;
    for nth in 1.. {
        let mut any = false;
        for fault in FAULTS {
            let counted = one(nth, fault).await;
            any |= counted;
            cells += u32::from(counted);
        }
        if !any {
            println!("MATRIX: {} calls × {} faults, {cells} cells", nth - 1, FAULTS.len());
            break;
        }
    }
    assert!(cells > 100, "{cells}");
}

#[tokio::test(start_paused = true)]
async fn two_faults_in_one_launch_and_its_teardown_leave_nothing() {
    for first in 1..=12 {
        for second in [Op::ListOwned, Op::RemoveMember, Op::RemoveZone] {
            for fault in [Fault::Error(BackendErrorKind::Denied), Fault::Timeout, Fault::LostAnswer] {
                let farm = Farm::new().await;
                let (plan, material) = farm.plan_of(true).await;
                farm.engine.fault(FaultRule::nth_call(first, Fault::LateSuccess(Duration::from_secs(3))));
                farm.engine.fault(FaultRule::on(second, fault));
                if let Ok(bottle) = farm.runtime.launch(plan, material).await {
                    bottle.close().await;
                }
                farm.engine.clear_faults();
                pass(LONG).await;
                farm.assert_nothing_left().await;
            }
        }
    }
}
