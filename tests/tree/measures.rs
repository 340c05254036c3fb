//! What an embedder measures: launches, phases, restarts, refusals and lost engines on the `metrics` facade, and a
//! span of `tracing` for each step of a launch.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::time::Duration;

use bottle::ids::Role;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use crate::farm::{Farm, pass};

/// Values by name and labels; of a histogram, how many.
fn values(snapshotter: &Snapshotter, into: &mut BTreeMap<String, f64>) {
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let key = key.key();
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        match value {
            // A snapshot takes what it shows.
            DebugValue::Counter(count) => *into.entry(name).or_default() += count as f64,
            DebugValue::Histogram(all) => *into.entry(name).or_default() += all.len() as f64,
            DebugValue::Gauge(change) => *into.entry(name).or_default() += change.into_inner(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn launches_phases_restarts_and_lost_engines_are_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _here = metrics::set_default_local_recorder(&recorder);
    let farm = Farm::new().await;
    let bottle = farm.try_launch().await.unwrap();
    let mut seen = BTreeMap::new();
    values(&snapshotter, &mut seen);
    let steps = [
        "networks",
        "pipelock container",
        "mitmproxy container",
        "agent container",
        "egress probe",
        // One archive: certificate, prompt, skills.
        "provisioning (ca)",
        "provisioning (ssh)",
        "provisioning (git)",
    ];
    for step in steps {
        assert_eq!(seen[&format!("bottle_launch_step_seconds{{step={step}}}")], 1.0, "{step}: {seen:?}");
    }
    assert_eq!(seen["bottle_launch_seconds{outcome=ok}"], 1.0);
    assert_eq!(seen["bottle_bottles{phase=ready}"], 1.0);
    assert_eq!(seen["bottle_bottles{phase=launching}"], 0.0);

    assert!(farm.engine.kill_member(&farm.member(&bottle, Role::Pipelock)));
    pass(Duration::from_secs(5)).await;
    farm.engine.engine_down();
    pass(Duration::from_secs(60)).await;
    values(&snapshotter, &mut seen);
    assert_eq!(seen["bottle_restarts_total{role=pipelock}"], 1.0, "{seen:?}");
    assert_eq!(seen["bottle_recovery_seconds{role=pipelock}"], 1.0);
    assert_eq!(seen["bottle_engine_lost_total{}"], 1.0, "once for an outage");
    assert_eq!(seen["bottle_bottles{phase=suspended}"], 1.0);
    farm.engine.engine_up();
    pass(Duration::from_secs(60)).await;
    bottle.close().await;
    pass(Duration::from_secs(1)).await;
    values(&snapshotter, &mut seen);
    let phases = seen.iter().filter(|(name, _)| name.starts_with("bottle_bottles"));
    assert!(phases.clone().count() >= 4 && phases.clone().all(|(_, count)| *count == 0.0), "{seen:?}");
    farm.assert_nothing_left().await;
}

thread_local! {
    /// Spans of this thread's test, from its wish on.
    static SPANS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Keeps each span's name and fields, with its parent's name. The only subscriber of this process: one for each
/// thread would decide for the others which spans exist.
struct Spans;

struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = fmt::Write::write_fmt(&mut self.0, format_args!(" {field}={value:?}"));
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let parent = span.parent().map(|parent| format!("{} > ", parent.name())).unwrap_or_default();
        let mut words = Words(format!("{parent}{}", span.name()));
        attributes.record(&mut words);
        SPANS.with_borrow_mut(|spans| spans.iter_mut().for_each(|spans| spans.push(words.0.clone())));
    }
}

#[tokio::test(start_paused = true)]
async fn each_step_of_a_launch_has_a_span_within_that_of_the_launch() {
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Spans)).unwrap();
    SPANS.set(Some(Vec::new()));
    let farm = Farm::new().await;
    let bottle = farm.try_launch().await.unwrap();
    let expected = [
        "launch bottle=coder",
        "launch > launch_step step=networks",
        "launch > launch_step step=pipelock container",
        "launch > launch_step step=mitmproxy container",
        "launch > launch_step step=agent container",
        "launch > launch_step step=provisioning (ca)",
        "launch > launch_step step=egress probe",
        "launch > launch_step step=provisioning (ssh)",
        "launch > launch_step step=provisioning (git)",
    ];
    let mut seen = SPANS.take().unwrap();
    seen.retain(|span| span.starts_with("launch"));
    assert_eq!(seen, expected);
    bottle.close().await;
}
