//! `bottle post-mortem`: what is kept of bottles that failed for good.

use bottle::egress::AuditVerdict;
use bottle::error::{ErrorKind, chain};
use bottle::journal::read::{self, PostMortemFile};
use bottle::messages::PostMortem;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::app::App;
use crate::cli::PostMortemArgs;
use crate::error::{CliError, CliResult};
use crate::exit_code;
use crate::journals::{is_named, unknown, unreadable};
use crate::output::{SCHEMA_VERSION, Tone, Ui, decision, draw, one_line, sentence, table};

pub(crate) fn run(app: &App, args: PostMortemArgs) -> CliResult {
    let ui = app.ui;
    let all = read::post_mortems(&app.paths.state_dir).map_err(unreadable)?;
    let meant = |file: &&PostMortemFile| {
        args.name.as_deref().is_none_or(|name| is_named(name, &file.slug, &file.bottle))
    };
    let found: Vec<&PostMortemFile> = all.iter().filter(meant).collect();
    if let Some(name) = args.name.as_deref().filter(|_| found.is_empty()) {
        return Err(unknown("a post-mortem", name, all.iter().map(|file| &file.slug)));
    }
    if args.list {
        return list(ui, &found);
    }
    let (file, bundle) = newest(ui, &found)?;
    if ui.json() {
        let path = file.path.display().to_string();
        ui.document(&json!({ "schema_version": SCHEMA_VERSION, "path": path, "post_mortem": bundle }))?;
    } else {
        ui.data(&text(ui, &bundle))?;
        ui.note(&format!("from {}", file.path.display()));
    }
    Ok(exit_code::SUCCESS)
}

fn list(ui: Ui, found: &[&PostMortemFile]) -> CliResult {
    if ui.json() {
        let entry = |file: &&PostMortemFile| -> Value {
            let path = file.path.display().to_string();
            json!({ "time": file.time, "slug": file.slug, "bottle": file.bottle, "path": path })
        };
        let entries: Vec<Value> = found.iter().map(entry).collect();
        ui.document(&json!({ "schema_version": SCHEMA_VERSION, "post_mortems": entries }))?;
    } else if found.is_empty() {
        ui.note("no post-mortems");
    } else {
        let row =
            |file: &&PostMortemFile| vec![file.time.clone(), file.slug.to_string(), file.bottle.to_string()];
        ui.data(&table(&["TIME", "NAME", "BOTTLE"], &found.iter().map(row).collect::<Vec<_>>()))?;
    }
    Ok(exit_code::SUCCESS)
}

/// The newest that can be read; what cannot is told.
fn newest<'a>(ui: Ui, found: &[&'a PostMortemFile]) -> CliResult<(&'a PostMortemFile, PostMortem)> {
    let mut last = None;
    for file in found {
        match read::post_mortem(file) {
            Ok(bundle) => {
                if let Some(error) = last {
                    ui.note(&format!("a newer one is left out: failed to {}", one_line(&chain(&error))));
                }
                return Ok((file, bundle));
            }
            Err(error) => last = last.or(Some(error)),
        }
    }
    Err(last.map_or_else(
        || {
            CliError::new(ErrorKind::NotFound, "show a post-mortem: there is none")
                .remedy("one is written when a bottle restarts too often and is given up")
        },
        unreadable,
    ))
}

fn text(ui: Ui, bundle: &PostMortem) -> String {
    let headline = format!(
        "{} {} failed at {}: {}\n",
        one_line(bundle.slug.as_str()),
        one_line(bundle.bottle.as_str()),
        one_line(&bundle.time),
        ui.paint(Tone::Bad, &one_line(&bundle.reason)),
    );
    let then = bundle.time.parse().unwrap_or_else(|_| Timestamp::now());
    let tree = draw(ui, &bundle.tree, None, then).lines().map(str::to_owned).collect();
    let ends = bundle.exits.iter().map(|note| {
        let [time, child, exit] = [&note.time, &note.child, &note.exit].map(|text| one_line(text));
        format!("{time} {child} (incarnation {}): {exit}", note.incarnation)
    });
    let events = bundle
        .events
        .iter()
        .map(|record| format!("{} {}", one_line(&record.time), sentence(ui, &record.event)));
    let audit =
        bundle.audit.iter().map(|record| format!("{} {}", one_line(&record.time), decision(ui, record)));
    let refused = bundle
        .audit
        .iter()
        .filter(|record| matches!(record.verdict, AuditVerdict::Deny | AuditVerdict::Unavailable))
        .count();
    let mut text = headline;
    let mut part = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            text.push_str(&format!("\n{title}:\n"));
            text.extend(lines.into_iter().map(|line| format!("  {line}\n")));
        }
    };
    part("the tree when it failed", tree);
    part("ends", ends.collect());
    part("last events", events.collect());
    for tail in &bundle.logs {
        let lines = tail.lines.iter().map(|line| one_line(line)).collect();
        part(&format!("last lines of {}", tail.role), lines);
    }
    part(&format!("last egress decisions ({refused} refused)"), audit.collect());
    text
}
