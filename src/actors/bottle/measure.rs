//! What is measured of one bottle: its phase on the gauge; the steps of its launch as spans and durations.

use tokio::time::Instant;
use tracing::Span;

use super::phase::Step;
use crate::ids::Slug;
use crate::metrics;

/// The measures of one bottle. With its end, however it comes, the bottle is counted in no phase any more.
#[derive(Debug)]
pub(super) struct Measures {
    phase: &'static str,
    /// The span of the launch, until that has ended.
    launch: Option<Span>,
    /// Steps under way; members are started side by side.
    steps: Vec<(Step, Instant, Span)>,
}

impl Measures {
    /// Of a bottle in its first phase.
    pub(super) fn new(slug: &Slug, phase: &'static str) -> Self {
        metrics::phase_changed(None, phase);
        let launch =
            (phase == "launching").then(|| tracing::info_span!(parent: None, "launch", bottle = %slug));
        Self { phase, launch, steps: Vec::new() }
    }

    /// The phase is another.
    pub(super) fn phase(&mut self, now: &'static str) {
        metrics::phase_changed(Some(self.phase), now);
        self.phase = now;
        if now != "launching" {
            self.steps.clear();
            self.launch = None;
        }
    }

    /// A step of the launch begins; its work goes into the span. Later than the launch nothing is measured.
    pub(super) fn begin(&mut self, step: Step) -> Span {
        let Some(launch) = &self.launch else { return Span::none() };
        if let Some((_, _, span)) = self.steps.iter().find(|(known, ..)| *known == step) {
            return span.clone();
        }
        let span = tracing::info_span!(parent: launch, "launch_step", %step);
        self.steps.push((step, Instant::now(), span.clone()));
        span
    }

    /// It is done.
    pub(super) fn done(&mut self, step: Step) {
        if let Some(at) = self.steps.iter().position(|(known, ..)| *known == step) {
            let (_, begun, _span) = self.steps.swap_remove(at);
            metrics::launch_phase(step, begun.elapsed().as_secs_f64());
        }
    }
}

impl Drop for Measures {
    fn drop(&mut self) {
        metrics::phase_changed(Some(self.phase), "gone");
    }
}
