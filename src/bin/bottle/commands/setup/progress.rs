//! Progress of a setup: one line an image, on standard error. Without a terminal: one line a step.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bottle::backend::docker::images::{ImageName, ProgressEvent, SetupProgress};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::{Ui, bytes};

/// Between two frames of a spinner.
const TICK: Duration = Duration::from_millis(120);

/// Draws what setup reports.
pub(super) struct Bars {
    ui: Ui,
    /// Whether lines can be redrawn.
    live: bool,
    all: MultiProgress,
    by_image: Mutex<BTreeMap<ImageName, ProgressBar>>,
}

impl Bars {
    pub(super) fn new(ui: Ui) -> Self {
        let target = if ui.quiet() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let all = MultiProgress::with_draw_target(target);
        Self { ui, live: !all.is_hidden(), all, by_image: Mutex::default() }
    }

    /// Takes the lines off the screen.
    pub(super) fn finish(&self) {
        let _ = self.all.clear();
    }

    fn bar(&self, image: ImageName) -> ProgressBar {
        let mut bars = self.by_image.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let bar = self.all.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:<10} {wide_msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(image.as_str());
            bar.enable_steady_tick(TICK);
            bar
        };
        bars.entry(image).or_insert_with(make).clone()
    }
}

impl SetupProgress for Bars {
    fn report(&self, event: ProgressEvent<'_>) {
        if !self.live {
            match event {
                ProgressEvent::Started { image, step } => self.ui.note(&format!("{image}: {step}")),
                ProgressEvent::Finished { image, outcome } => {
                    self.ui.note(&format!("{image}: {}", format!("{outcome:?}").to_lowercase()));
                }
                _ => {}
            }
            return;
        }
        match event {
            ProgressEvent::Started { image, step } => self.bar(image).set_message(step.to_string()),
            ProgressEvent::Line { image, text } => self.bar(image).set_message(printable(text)),
            ProgressEvent::Transferred { image, bytes: done, total } => {
                let of = total.map(|total| format!(" of {}", bytes(total))).unwrap_or_default();
                self.bar(image).set_message(format!("{}{of}", bytes(done)));
            }
            ProgressEvent::Finished { image, outcome } => {
                self.bar(image).finish_with_message(format!("{outcome:?}").to_lowercase());
            }
            _ => {}
        }
    }
}

/// Lines of tools are untrusted.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
