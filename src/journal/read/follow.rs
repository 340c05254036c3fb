//! [`Follow`]: the events of all bottles of a state directory, what is there and then what comes.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::Stream;

use super::tail::{Look, Tail};
use crate::ids::BottleId;
use crate::messages::EventRecord;

/// How often the files are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Events that are read before anything is done with them.
const BATCH: usize = 256;

/// Events of all bottles: new ones, files that take turns, bottles that go. Holds one file open for each bottle, so
/// that the last events of a bottle whose files are removed are still seen; only those of a file that was begun and
/// removed between two looks are not.
///
/// Events are sorted by time among those that are there at the same moment; those of one bottle keep their order.
#[derive(Debug)]
pub struct Follow {
    state_dir: PathBuf,
    bottles: BTreeMap<BottleId, Followed>,
    skipped: u64,
}

#[derive(Debug)]
struct Followed {
    tail: Tail,
    /// Read, but not yet given.
    next: Option<Box<EventRecord>>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There may be more.
    Unread,
    /// There was no more at the last look.
    Ended,
    /// There will be no more.
    Gone,
}

impl Follow {
    /// From the oldest events that are there.
    pub fn new(state_dir: &Path) -> Self {
        Self { state_dir: state_dir.to_owned(), bottles: BTreeMap::new(), skipped: 0 }
    }

    /// Lines so far that could not be understood.
    pub fn skipped(&self) -> u64 {
        self.skipped + self.bottles.values().map(|followed| followed.tail.skipped).sum::<u64>()
    }

    /// How many bottles it has open.
    #[cfg(test)]
    pub(super) fn bottles_followed(&self) -> usize {
        self.bottles.len()
    }

    /// Looks for new bottles and for what was written since. What is found comes out of [`next`](Self::next).
    pub fn look(&mut self) {
        match super::ids(&self.state_dir) {
            Ok(ids) => {
                for id in ids {
                    let tail = || Tail::new(&self.state_dir, &id);
                    let new = || Followed { tail: tail(), next: None, state: State::Unread };
                    self.bottles.entry(id.clone()).or_insert_with(new);
                }
            }
            Err(error) => tracing::warn!(%error, "the journals cannot be listed"),
        }
        let mut skipped = 0;
        self.bottles.retain(|_, followed| {
            let stays = followed.state != State::Gone || followed.next.is_some();
            skipped += if stays { 0 } else { followed.tail.skipped };
            stays
        });
        self.skipped += skipped;
        for followed in self.bottles.values_mut().filter(|followed| followed.state == State::Ended) {
            followed.state = State::Unread;
        }
    }

    /// The next event of the last look; `None` when all are out.
    #[expect(
        clippy::should_implement_trait,
        reason = "an end here is no end for good, as an iterator's would be"
    )]
    pub fn next(&mut self) -> Option<EventRecord> {
        let mut oldest: Option<&mut Followed> = None;
        for followed in self.bottles.values_mut() {
            followed.fill();
            if followed.next.is_some()
                && oldest.as_deref().is_none_or(|oldest| followed.time() < oldest.time())
            {
                oldest = Some(followed);
            }
        }
        oldest.and_then(|followed| followed.next.take()).map(|record| *record)
    }

    /// What is there, then what comes, for ever. Dropping the stream ends it. Needs a tokio runtime.
    pub fn into_stream(self) -> impl Stream<Item = EventRecord> + Send {
        futures::stream::unfold((self, VecDeque::new(), false), async |(mut follow, mut ready, mut ended)| {
            loop {
                if let Some(record) = ready.pop_front() {
                    return Some((record, (follow, ready, ended)));
                }
                if ended {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                // A disk that dawdles must not stop whoever shares the thread. A panic there ends the stream.
                (follow, ready) = tokio::task::spawn_blocking(move || follow.batch(ended)).await.ok()?;
                ended = ready.len() < BATCH;
            }
        })
    }

    fn batch(mut self, look: bool) -> (Self, VecDeque<EventRecord>) {
        if look || self.bottles.is_empty() {
            self.look();
        }
        let ready = std::iter::from_fn(|| self.next()).take(BATCH).collect();
        (self, ready)
    }
}

impl Followed {
    fn time(&self) -> Option<&str> {
        self.next.as_ref().map(|record| record.time.as_str())
    }

    fn fill(&mut self) {
        if self.next.is_some() || self.state != State::Unread {
            return;
        }
        match self.tail.look() {
            Look::Event(record) => self.next = Some(record),
            Look::End => self.state = State::Ended,
            Look::Gone => self.state = State::Gone,
        }
    }
}
