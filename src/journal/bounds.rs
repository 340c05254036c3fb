//! What is kept of texts and lists that come from inside containers: their sizes are anybody's choice.

use std::sync::Arc;

use crate::messages::{BottleEvent, BottleTree, PostMortem};

/// Longest sentence: a reason, an exit.
const SENTENCE_BYTES: usize = 2 << 10;
/// Longest tail of output in an event.
const TAIL_BYTES: usize = 8 << 10;
/// Longest line of a container's output in a post-mortem.
const LOG_LINE_BYTES: usize = 4 << 10;
/// Most lines of a container in a post-mortem.
const LOG_LINES: usize = 200;
/// Most entries of any other list of a post-mortem.
const ENTRIES: usize = 256;

/// An event whose texts have an end.
pub(super) fn event(event: &BottleEvent) -> BottleEvent {
    let mut event = event.clone();
    match &mut event {
        BottleEvent::PhaseChanged { why, .. } => why.iter_mut().for_each(sentence),
        BottleEvent::MemberEnded { exit, tail, .. } => {
            sentence(exit);
            keep_end(tail, TAIL_BYTES);
        }
        BottleEvent::MemberMended { repairs, .. } => repairs.truncate(ENTRIES),
        BottleEvent::WorkerFailed { child, why } => [child, why].into_iter().for_each(sentence),
        BottleEvent::Escalated { exit, .. } => sentence(exit),
        BottleEvent::Audited(record) => {
            let record = Arc::make_mut(record);
            [&mut record.host, &mut record.path, &mut record.method].into_iter().for_each(sentence);
            record.rule_ids.truncate(ENTRIES);
        }
        BottleEvent::MemberStarted { .. }
        | BottleEvent::RestartScheduled { .. }
        | BottleEvent::MemberRecovered { .. }
        | BottleEvent::GroundLost
        | BottleEvent::GroundRebuilt
        | BottleEvent::EngineLost
        | BottleEvent::EngineBack => {}
    }
    event
}

/// A tree whose texts have an end.
pub(super) fn tree(tree: &BottleTree) -> BottleTree {
    let mut tree = tree.clone();
    tree.why.iter_mut().for_each(sentence);
    tree.children.truncate(ENTRIES);
    tree.children.iter_mut().filter_map(|child| child.why.as_mut()).for_each(sentence);
    tree
}

/// A bundle that ends: of each list the newest entries.
pub(super) fn post_mortem(bundle: &PostMortem) -> PostMortem {
    let mut bundle = bundle.clone();
    sentence(&mut bundle.reason);
    bundle.tree = tree(&bundle.tree);
    newest(&mut bundle.events, ENTRIES);
    for record in &mut bundle.events {
        record.event = event(&record.event);
    }
    newest(&mut bundle.exits, ENTRIES);
    bundle.exits.iter_mut().for_each(|note| sentence(&mut note.exit));
    newest(&mut bundle.audit, ENTRIES);
    newest(&mut bundle.logs, ENTRIES);
    for tail in &mut bundle.logs {
        newest(&mut tail.lines, LOG_LINES);
        tail.lines.iter_mut().for_each(|line| keep_start(line, LOG_LINE_BYTES));
    }
    bundle
}

fn newest<T>(list: &mut Vec<T>, most: usize) {
    list.drain(..list.len().saturating_sub(most));
}

fn sentence(text: &mut String) {
    keep_start(text, SENTENCE_BYTES);
}

fn keep_start(text: &mut String, most: usize) {
    if text.len() > most {
        let mut end = most;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
}

fn keep_end(text: &mut String, most: usize) {
    if text.len() > most {
        let mut from = text.len() - most;
        while !text.is_char_boundary(from) {
            from += 1;
        }
        text.replace_range(..from, "…");
    }
}
