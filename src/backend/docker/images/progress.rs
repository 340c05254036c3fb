//! The narrow channel to whoever draws progress.

use super::{ImageName, Outcome, Step};

/// Something happened that a person who waits wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProgressEvent<'a> {
    /// A step began; it ends with the next event of the same image that is `Started` or `Finished`.
    Started {
        /// The image being made.
        image: ImageName,
        /// What is being done for it.
        step: Step,
    },
    /// One line of output of the step that runs, without its line end.
    Line {
        /// The image being made.
        image: ImageName,
        /// The line as the tool wrote it; untrusted text, control characters included.
        text: &'a str,
    },
    /// Bytes moved so far by the step that runs.
    Transferred {
        /// The image being made.
        image: ImageName,
        /// Sum since the step began.
        bytes: u64,
        /// Expected sum, where it is known.
        total: Option<u64>,
    },
    /// The image is ready.
    Finished {
        /// The image.
        image: ImageName,
        /// How it came to be ready.
        outcome: Outcome,
    },
}

/// Receives progress. Called from the setup future itself: it must return at once.
///
/// Images are worked on side by side, so events of different images interleave.
pub trait SetupProgress: Send + Sync {
    /// Takes one event.
    fn report(&self, event: ProgressEvent<'_>);
}

/// Progress that nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl SetupProgress for Quiet {
    fn report(&self, _event: ProgressEvent<'_>) {}
}
