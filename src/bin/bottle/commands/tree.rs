//! `bottle tree`: the supervision trees of all bottles of this state directory, from their journals.

use std::time::Duration;

use bottle::error::chain;
use bottle::ids::BottleId;
use bottle::journal::read;
use bottle::lease;
use bottle::messages::BottleTree;
use jiff::Timestamp;
use serde::Serialize;

use crate::app::App;
use crate::cli::TreeArgs;
use crate::error::CliResult;
use crate::journals::{is_named, unknown, unreadable};
use crate::output::{SCHEMA_VERSION, Ui, draw, one_line};
use crate::{exit_code, terminal};

/// How often a watched tree is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What is there at one moment.
#[derive(PartialEq, Serialize)]
struct Document {
    schema_version: u32,
    bottles: Vec<Shown>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<Unreadable>,
}

#[derive(PartialEq, Serialize)]
struct Shown {
    #[serde(flatten)]
    tree: BottleTree,
    /// Whether its owner's lease is held on this host; absent when the leases cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_alive_here: Option<bool>,
}

#[derive(PartialEq, Serialize)]
struct Unreadable {
    bottle: BottleId,
    error: String,
}

pub(crate) async fn run(app: &App, args: TreeArgs) -> CliResult {
    let ui = app.ui;
    let mut seen = look(app)?;
    if let Some(name) = args.name.as_deref() {
        let known: Vec<_> = seen.bottles.iter().map(|shown| shown.tree.slug.clone()).collect();
        seen.narrow(name);
        if seen.is_empty() {
            return Err(unknown("the tree", name, known.iter()));
        }
    }
    if args.watch {
        return watch(app, args, seen).await;
    }
    if ui.json() {
        ui.document(&seen)?;
    } else if seen.is_empty() {
        ui.note("no bottles");
    } else {
        ui.data(&seen.text(ui))?;
    }
    Ok(exit_code::SUCCESS)
}

/// Until a signal drops it.
async fn watch(app: &App, args: TreeArgs, mut seen: Document) -> CliResult {
    let ui = app.ui;
    let mut screen = (!ui.json()).then(terminal::Redrawn::of_stdout).flatten();
    let mut is_first = true;
    loop {
        let frame = if seen.is_empty() { "no bottles\n".to_owned() } else { seen.text(ui) };
        match &mut screen {
            Some(screen) => {
                if let Some(text) = screen.draw(&frame) {
                    ui.data(&text)?;
                }
            }
            None if ui.json() => ui.json_line(&seen)?,
            None if is_first => ui.data(&frame)?,
            None => ui.data(&format!("\n{frame}"))?,
        }
        is_first = false;
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let mut now = look(app)?;
            if let Some(name) = &args.name {
                now.narrow(name);
            }
            // In place the ages go on as well; elsewhere only news is worth a block.
            if std::mem::replace(&mut seen, now) != seen || screen.is_some() {
                break;
            }
        }
    }
}

fn look(app: &App) -> CliResult<Document> {
    let state_dir = &app.paths.state_dir;
    let alive = lease::alive(state_dir).ok();
    let mut document =
        Document { schema_version: SCHEMA_VERSION, bottles: Vec::new(), unreadable: Vec::new() };
    for entry in read::bottles(state_dir).map_err(unreadable)? {
        match entry.tree {
            Ok(mut tree) => {
                // Who took the bottle over may not have told its tree yet.
                tree.owner = entry.owner.unwrap_or(tree.owner);
                let owner_alive_here = alive.as_ref().map(|alive| alive.contains(&tree.owner));
                document.bottles.push(Shown { tree, owner_alive_here });
            }
            // It has just begun, or is just gone.
            Err(error) if error.is_absent() => {}
            Err(error) => {
                document.unreadable.push(Unreadable { bottle: entry.bottle, error: chain(&error) });
            }
        }
    }
    document.bottles.sort_by(|a, b| (&a.tree.slug, &a.tree.bottle).cmp(&(&b.tree.slug, &b.tree.bottle)));
    Ok(document)
}

impl Document {
    fn is_empty(&self) -> bool {
        self.bottles.is_empty() && self.unreadable.is_empty()
    }

    /// Only the bottles of this name.
    fn narrow(&mut self, name: &str) {
        self.bottles.retain(|shown| is_named(name, &shown.tree.slug, &shown.tree.bottle));
        self.unreadable.retain(|unreadable| unreadable.bottle.as_str() == name);
    }

    fn text(&self, ui: Ui) -> String {
        let now = Timestamp::now();
        let trees = self.bottles.iter().map(|shown| draw(ui, &shown.tree, shown.owner_alive_here, now));
        let broken = self.unreadable.iter().map(|Unreadable { bottle, error }| {
            format!("{}  unreadable: failed to {}\n", one_line(bottle.as_str()), one_line(error))
        });
        trees.chain(broken).collect()
    }
}
