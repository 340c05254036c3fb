//! `bottle events`: what happened in the bottles of this state directory, from their journals; then what happens.

use std::collections::BTreeSet;

use bottle::ids::{BottleId, Slug};
use bottle::journal::read::{self, Follow};
use bottle::messages::EventRecord;
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};

use crate::app::App;
use crate::cli::EventsArgs;
use crate::error::{CliError, CliResult};
use crate::exit_code;
use crate::journals::{is_named, unknown, unreadable};
use crate::output::event;

/// Text that is collected before it is written.
const PIECE_BYTES: usize = 64 << 10;

pub(crate) async fn run(app: &App, args: EventsArgs) -> CliResult {
    let ui = app.ui;
    let is_wanted = wanted(&args);
    let mut known = Known::of(app, &args)?;
    let mut follow = Follow::new(&app.paths.state_dir);
    follow.look();
    let mut text = String::new();
    while let Some(record) = follow.next() {
        if is_wanted(&record) {
            text.push_str(&shown(app, &record)?);
        }
        known.note(&args, &record.slug, &record.bottle);
        if text.len() > PIECE_BYTES {
            ui.data(&std::mem::take(&mut text))?;
        }
    }
    ui.data(&text)?;
    if follow.skipped() > 0 {
        ui.note(&format!("left out what could not be understood: lines: {}", follow.skipped()));
    }
    if let Some(name) = args.name.as_deref().filter(|_| !known.is_met) {
        if !args.follow {
            return Err(unknown("events", name, known.slugs.iter()));
        }
        ui.note(&format!("no bottle {name:?} yet; waiting for one"));
    }
    if args.follow {
        let mut live = std::pin::pin!(follow.into_stream());
        while let Some(record) = live.next().await {
            if is_wanted(&record) {
                ui.data(&shown(app, &record)?)?;
            }
        }
    }
    Ok(exit_code::SUCCESS)
}

fn shown(app: &App, record: &EventRecord) -> CliResult<String> {
    if !app.ui.json() {
        return Ok(event(app.ui, record));
    }
    let line = serde_json::to_string(record);
    line.map(|line| line + "\n").map_err(|source| {
        CliError::new(bottle::error::ErrorKind::Internal, "write an event as JSON").because(source)
    })
}

/// By name and age. Times of one form compare as texts do.
fn wanted(args: &EventsArgs) -> impl Fn(&EventRecord) -> bool + use<> {
    let name = args.name.clone();
    let after = match args.since {
        None => String::new(),
        Some(since) => {
            let since = SignedDuration::try_from(since).unwrap_or(SignedDuration::MAX);
            format!("{:.3}", Timestamp::now().saturating_sub(since).unwrap_or(Timestamp::MIN))
        }
    };
    move |record: &EventRecord| {
        let is_meant = name.as_deref().is_none_or(|name| is_named(name, &record.slug, &record.bottle));
        is_meant && record.time >= after
    }
}

/// Bottles that there are, and whether the one that was asked for is among them.
struct Known {
    slugs: BTreeSet<Slug>,
    is_met: bool,
}

impl Known {
    /// Those that have a tree.
    fn of(app: &App, args: &EventsArgs) -> CliResult<Self> {
        let mut known = Self { slugs: BTreeSet::new(), is_met: false };
        for entry in read::bottles(&app.paths.state_dir).map_err(unreadable)? {
            if let Ok(tree) = entry.tree {
                known.note(args, &tree.slug, &tree.bottle);
            }
        }
        Ok(known)
    }

    fn note(&mut self, args: &EventsArgs, slug: &Slug, bottle: &BottleId) {
        self.is_met |= args.name.as_deref().is_some_and(|name| is_named(name, slug, bottle));
        if !self.slugs.contains(slug) {
            self.slugs.insert(slug.clone());
        }
    }
}
