//! What an embedder can measure: names, labels and the calls that count, on the facade of the `metrics` crate.
//!
//! Nothing is exported here: whoever embeds the library installs a recorder (Prometheus, OpenTelemetry, …), and
//! without one every call costs next to nothing. Label values come from closed sets; no bottle, host or path ever
//! becomes one, since agents choose those.
//!
//! | name | kind | labels | |
//! |---|---|---|---|
//! | [`BOTTLES`] | gauge | `phase` | bottles in each phase |
//! | [`RESTARTS`] | counter | `role` | restarts of members |
//! | [`LAUNCH_SECONDS`] | histogram | `outcome`: ok, failed | launches, from the call to ready or rolled back |
//! | [`LAUNCH_STEP_SECONDS`] | histogram | `step` | steps of launches; certificate, prompt and skills are one archive, `provisioning (ca)` |
//! | [`DENIED`] | counter | `kind`, `reason`: rule, unjudged | refused egress, without the runtime's own probes |
//! | [`ENGINE_LOST`] | counter | | times that the engine could not be reached any more |
//! | [`RECOVERY_SECONDS`] | histogram | `role` | from the news of a member's end to the passed probe |

use std::fmt::Display;

use ::metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::egress::{AuditKind, AuditRecord, AuditVerdict};
use crate::ids::Role;

/// Gauge: bottles in each phase.
pub const BOTTLES: &str = "bottle_bottles";
/// Counter: restarts of members.
pub const RESTARTS: &str = "bottle_restarts_total";
/// Histogram: duration of launches.
pub const LAUNCH_SECONDS: &str = "bottle_launch_seconds";
/// Histogram: duration of launch steps.
pub const LAUNCH_STEP_SECONDS: &str = "bottle_launch_step_seconds";
/// Counter: refused egress.
pub const DENIED: &str = "bottle_egress_denied_total";
/// Counter: times that the engine was lost.
pub const ENGINE_LOST: &str = "bottle_engine_lost_total";
/// Histogram: how long a member was down.
pub const RECOVERY_SECONDS: &str = "bottle_recovery_seconds";

/// The phases that a gauge is kept of. A bottle that is gone is counted in none.
const PHASES: [&str; 5] = ["launching", "ready", "degraded", "suspended", "closing"];

/// Gives the recorder that is installed the descriptions and units of all metrics. Safe to repeat.
pub fn describe() {
    describe_gauge!(BOTTLES, Unit::Count, "Bottles in each phase");
    describe_counter!(RESTARTS, Unit::Count, "Restarts of members");
    describe_histogram!(LAUNCH_SECONDS, Unit::Seconds, "Launches, from the call to ready or rolled back");
    describe_histogram!(LAUNCH_STEP_SECONDS, Unit::Seconds, "Steps of launches");
    describe_counter!(DENIED, Unit::Count, "Egress that was refused, without the runtime's own probes");
    describe_counter!(ENGINE_LOST, Unit::Count, "Times that the engine could not be reached any more");
    describe_histogram!(
        RECOVERY_SECONDS,
        Unit::Seconds,
        "From the news of a member's end to the passed probe of the chain"
    );
}

/// A member is started again.
pub fn restart(role: Role) {
    counter!(RESTARTS, "role" => role.as_str()).increment(1);
}

/// A bottle goes from one phase to another; `from` is `None` for its first one. The last phase, `gone`, has no gauge.
///
/// The gauge is right as long as each bottle reports each change once: also a bottle whose supervisor is given up has
/// to report `gone`.
pub fn phase_changed(from: Option<&str>, to: &str) {
    if let Some(phase) = from.and_then(known) {
        gauge!(BOTTLES, "phase" => phase).decrement(1.0);
    }
    if let Some(phase) = known(to) {
        gauge!(BOTTLES, "phase" => phase).increment(1.0);
    }
}

/// A launch ended, with a bottle or with everything rolled back.
pub fn launch_finished(seconds: f64, ok: bool) {
    let outcome = if ok { "ok" } else { "failed" };
    histogram!(LAUNCH_SECONDS, "outcome" => outcome).record(seconds);
}

/// A step of a launch ended. `step` is one of a closed set: [`Step`](crate::messages::Step).
pub fn launch_phase(step: impl Display, seconds: f64) {
    histogram!(LAUNCH_STEP_SECONDS, "step" => step.to_string()).record(seconds);
}

/// An egress decision was made. Only refusals are counted, and not the runtime's own probes.
pub fn denied(record: &AuditRecord) {
    let reason = match record.verdict {
        AuditVerdict::Deny => "rule",
        AuditVerdict::Unavailable => "unjudged",
        AuditVerdict::Allow | AuditVerdict::Warn => return,
    };
    if record.probe {
        return;
    }
    let kind = match record.kind {
        AuditKind::Http => "http",
        AuditKind::Connect => "connect",
        AuditKind::Ssh => "ssh",
        AuditKind::Websocket => "websocket",
    };
    counter!(DENIED, "kind" => kind, "reason" => reason).increment(1);
}

/// The engine cannot be reached any more. To be called once for an outage, not once for each bottle.
pub fn engine_lost() {
    counter!(ENGINE_LOST).increment(1);
}

/// A member is back and the chain has been probed.
pub fn sidecar_recovered(role: Role, seconds: f64) {
    histogram!(RECOVERY_SECONDS, "role" => role.as_str()).record(seconds);
}

fn known(phase: &str) -> Option<&'static str> {
    PHASES.into_iter().find(|known| *known == phase)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::{Arc, Mutex};

    use ::metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
        SharedString,
    };

    use super::*;

    /// Keeps sums, by name and labels.
    #[derive(Default)]
    struct Sums {
        values: Arc<Mutex<BTreeMap<String, f64>>>,
        described: Mutex<BTreeSet<String>>,
    }

    struct Sum(Arc<Mutex<BTreeMap<String, f64>>>, String);

    impl Sum {
        fn add(&self, value: f64) {
            *self.0.lock().unwrap().entry(self.1.clone()).or_default() += value;
        }
    }

    impl CounterFn for Sum {
        fn increment(&self, value: u64) {
            self.add(value as f64);
        }
        fn absolute(&self, _: u64) {}
    }

    impl GaugeFn for Sum {
        fn increment(&self, value: f64) {
            self.add(value);
        }
        fn decrement(&self, value: f64) {
            self.add(-value);
        }
        fn set(&self, _: f64) {}
    }

    impl HistogramFn for Sum {
        fn record(&self, value: f64) {
            self.add(value);
        }
    }

    impl Sums {
        fn of(&self, key: &Key) -> Arc<Sum> {
            let labels: Vec<_> =
                key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            Arc::new(Sum(Arc::clone(&self.values), format!("{}{{{}}}", key.name(), labels.join(","))))
        }

        fn describe(&self, name: &KeyName, unit: Option<Unit>, text: &SharedString) {
            assert!(unit.is_some() && !text.is_empty());
            self.described.lock().unwrap().insert(name.as_str().to_owned());
        }

        fn values(&self) -> Vec<(String, f64)> {
            self.values.lock().unwrap().clone().into_iter().collect()
        }
    }

    impl Recorder for Sums {
        fn describe_counter(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
            self.describe(&name, unit, &text);
        }
        fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
            self.describe(&name, unit, &text);
        }
        fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
            self.describe(&name, unit, &text);
        }
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.of(key))
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.of(key))
        }
        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(self.of(key))
        }
    }

    fn measured(calls: impl FnOnce()) -> Vec<(String, f64)> {
        let sums = Sums::default();
        ::metrics::with_local_recorder(&sums, calls);
        sums.values()
    }

    fn record(kind: AuditKind, verdict: AuditVerdict, probe: bool) -> AuditRecord {
        let text = || "chosen-by-the-agent".to_owned();
        AuditRecord {
            time: text(),
            bottle: text(),
            kind,
            flow_id: text(),
            method: text(),
            host: text(),
            path: text(),
            bytes: 0,
            bytes_received: 0,
            verdict,
            rule_ids: vec![text()],
            scan_id: text(),
            policy_generation: 1,
            ms: 1.0,
            probe,
        }
    }

    #[test]
    fn everything_that_is_measured_is_described() {
        let sums = Sums::default();
        ::metrics::with_local_recorder(&sums, || {
            describe();
            restart(Role::Mitmproxy);
            phase_changed(None, "ready");
            launch_finished(1.5, true);
            launch_finished(2.0, false);
            launch_phase(crate::messages::Step::Ground, 0.25);
            denied(&record(AuditKind::Http, AuditVerdict::Deny, false));
            engine_lost();
            sidecar_recovered(Role::Pipelock, 3.0);
        });
        let expected = [
            ("bottle_bottles{phase=ready}", 1.0),
            ("bottle_egress_denied_total{kind=http,reason=rule}", 1.0),
            ("bottle_engine_lost_total{}", 1.0),
            ("bottle_launch_seconds{outcome=failed}", 2.0),
            ("bottle_launch_seconds{outcome=ok}", 1.5),
            ("bottle_launch_step_seconds{step=networks}", 0.25),
            ("bottle_recovery_seconds{role=pipelock}", 3.0),
            ("bottle_restarts_total{role=mitmproxy}", 1.0),
        ];
        assert_eq!(sums.values(), expected.map(|(name, value)| (name.to_owned(), value)));
        let described = sums.described.lock().unwrap().clone();
        let names: BTreeSet<String> =
            sums.values().iter().filter_map(|(name, _)| Some(name.split_once('{')?.0.to_owned())).collect();
        assert_eq!(described, names);
    }

    #[test]
    fn a_bottle_is_counted_in_one_phase_and_in_none_once_it_is_gone() {
        let walk = ["launching", "ready", "degraded", "ready", "suspended", "closing", "gone", "gone"];
        let values = measured(|| {
            phase_changed(None, walk[0]);
            for pair in walk.windows(2) {
                phase_changed(Some(pair[0]), pair[1]);
            }
        });
        assert_eq!(values.len(), PHASES.len());
        assert!(values.iter().all(|(_, value)| *value == 0.0), "{values:?}");
        assert!(measured(|| phase_changed(Some("odd"), "odder")).is_empty(), "no label by chance");
    }

    #[test]
    fn refusals_are_counted_without_what_the_agent_chose() {
        let values = measured(|| {
            for kind in [AuditKind::Http, AuditKind::Connect, AuditKind::Ssh, AuditKind::Websocket] {
                denied(&record(kind, AuditVerdict::Unavailable, false));
                denied(&record(kind, AuditVerdict::Allow, false));
                denied(&record(kind, AuditVerdict::Warn, false));
                denied(&record(kind, AuditVerdict::Deny, true));
            }
        });
        assert_eq!(values.len(), 4);
        assert!(values.iter().all(|(name, value)| *value == 1.0 && !name.contains("chosen")), "{values:?}");
    }
}
