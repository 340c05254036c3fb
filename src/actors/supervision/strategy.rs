//! What a supervisor does about a dead child: a pure function of specs, the death and the budget.

use tokio::time::Instant;

use super::exit::ExitReason;
use super::intensity::{Budget, Intensity};
use super::spec::ChildSpec;

/// Which siblings a death touches (OTP `strategy()`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// None.
    OneForOne,
    /// Those started after it.
    RestForOne,
    /// All.
    OneForAll,
}

/// What to do. Keys are in start order; they are stopped in reverse and started in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<K> {
    /// Start these again (the dead child first among them).
    Restart(Vec<K>),
    /// The child stays down, the rest goes on.
    LeaveDown,
    /// A significant child ended normally: the supervisor ends with its work done.
    AutoShutdown,
    /// Intensity exceeded: the supervisor fails closed.
    Escalate,
}

/// Decides what follows from the death of `dead`.
///
/// `specs` is in start order. A restart is counted in `budget`. A death of a key that is not in `specs` is
/// somebody else's business: [`Decision::LeaveDown`].
pub fn decide<K: Copy + PartialEq>(
    strategy: Strategy,
    specs: &[ChildSpec<K>],
    dead: K,
    exit: &ExitReason,
    limit: Intensity,
    budget: &mut Budget,
    now: Instant,
) -> Decision<K> {
    let Some(position) = specs.iter().position(|spec| spec.key == dead) else { return Decision::LeaveDown };
    let spec = &specs[position];
    if !spec.restart.restarts_after(exit) {
        return if spec.significant { Decision::AutoShutdown } else { Decision::LeaveDown };
    }
    if !budget.spend(limit, now) {
        return Decision::Escalate;
    }
    let touched = match strategy {
        Strategy::OneForOne => &specs[position..=position],
        Strategy::RestForOne => &specs[position..],
        Strategy::OneForAll => specs,
    };
    Decision::Restart(touched.iter().map(|spec| spec.key).collect())
}

#[cfg(test)]
mod tests {
    use super::super::spec::{RestartType, Shutdown};
    use super::*;
    use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

    fn specs(restart: RestartType) -> Vec<ChildSpec<u8>> {
        (0..4)
            .map(|key| ChildSpec { key, restart, shutdown: Shutdown::BrutalKill, significant: key == 2 })
            .collect()
    }

    fn first(strategy: Strategy, restart: RestartType, dead: u8, exit: &ExitReason) -> Decision<u8> {
        let mut budget = Budget::default();
        decide(strategy, &specs(restart), dead, exit, Intensity::default(), &mut budget, Instant::now())
    }

    #[test]
    fn a_transient_child_stays_down_after_a_normal_end_and_a_significant_one_ends_the_supervisor() {
        let normal = ExitReason::Normal;
        assert_eq!(first(Strategy::OneForOne, RestartType::Transient, 1, &normal), Decision::LeaveDown);
        assert_eq!(first(Strategy::OneForOne, RestartType::Transient, 2, &normal), Decision::AutoShutdown);
        let killed = ExitReason::Killed;
        assert_eq!(
            first(Strategy::OneForOne, RestartType::Transient, 1, &killed),
            Decision::Restart(vec![1])
        );
    }

    #[test]
    fn a_stranger_changes_nothing() {
        assert_eq!(
            first(Strategy::OneForAll, RestartType::Permanent, 9, &ExitReason::Killed),
            Decision::LeaveDown
        );
    }

    proptest! {
        #[test]
        fn each_strategy_touches_what_otp_says(dead in 0u8..4) {
            let killed = ExitReason::Killed;
            let one = first(Strategy::OneForOne, RestartType::Permanent, dead, &killed);
            prop_assert_eq!(one, Decision::Restart(vec![dead]));
            let rest = first(Strategy::RestForOne, RestartType::Permanent, dead, &killed);
            prop_assert_eq!(rest, Decision::Restart((dead..4).collect()));
            let all = first(Strategy::OneForAll, RestartType::Permanent, dead, &killed);
            prop_assert_eq!(all, Decision::Restart((0..4).collect()));
        }

        #[test]
        fn never_more_restarts_than_the_intensity_allows(gaps in prop::collection::vec(0u64..40, 1..60)) {
            let (mut budget, mut now, limit) = (Budget::default(), Instant::now(), Intensity::default());
            let mut granted: Vec<Instant> = Vec::new();
            for gap in gaps {
                now += std::time::Duration::from_secs(gap);
                let specs = specs(RestartType::Permanent);
                let decision =
                    decide(Strategy::OneForOne, &specs, 0, &ExitReason::Killed, limit, &mut budget, now);
                if let Decision::Restart(_) = decision { granted.push(now); } else { break; }
                let window = granted.iter().filter(|at| now.duration_since(**at) <= limit.period).count();
                prop_assert!(window <= limit.intensity as usize);
            }
        }
    }
}
