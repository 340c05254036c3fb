//! A supervision tree, drawn.

use bottle::messages::{BottleTree, ChildState, ChildTree};
use jiff::Timestamp;

use super::happenings::phase_tone;
use super::{Tone, Ui, elapsed, one_line};

/// One bottle and its children, a line each, with ages as of `now`. `owned`: whether its runtime lives; `None` when
/// nobody can tell.
pub(crate) fn draw(ui: Ui, tree: &BottleTree, owned: Option<bool>, now: Timestamp) -> String {
    let mut text = format!(
        "{} {}  {} since {}",
        one_line(tree.slug.as_str()),
        ui.paint(Tone::Faint, &one_line(tree.bottle.as_str())),
        ui.paint(phase_tone(&tree.phase), &one_line(&tree.phase)),
        age(&tree.since, now),
    );
    if owned == Some(false) {
        text.push_str(&format!(", {} (its process is gone)", ui.paint(Tone::Bad, "unowned")));
    }
    text.push_str(&because(&tree.why, ": "));
    text.push('\n');
    let rows: Vec<Row> = tree.children.iter().map(|child| Row::of(child, now)).collect();
    let mut widths = [0; Row::CELLS];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(&row.cells) {
            *width = (*width).max(cell.chars().count());
        }
    }
    // Commands are under the agent, or under the bottle when it shows no agent.
    let holder = tree.children.iter().position(|child| child.child == "agent");
    let execs = (tree.execs > 0).then(|| format!("exec × {}\n", tree.execs));
    for (number, row) in rows.iter().enumerate() {
        let is_last = number + 1 == rows.len();
        let (branch, below) = if is_last && (execs.is_none() || holder.is_some()) {
            ("└─", "   ")
        } else {
            ("├─", "│  ")
        };
        text.push_str(&format!("{branch} {}\n", row.line(ui, &widths)));
        if let Some(execs) = execs.as_ref().filter(|_| holder == Some(number)) {
            text.push_str(&format!("{below}└─ {execs}"));
        }
    }
    if let Some(execs) = execs.filter(|_| holder.is_none()) {
        text.push_str(&format!("└─ {execs}"));
    }
    text
}

/// One child: cells that line up, and what comes after them.
struct Row {
    cells: [String; Self::CELLS],
    tone: Tone,
    why: String,
}

impl Row {
    /// Name, state, incarnation, restarts, since.
    const CELLS: usize = 5;

    fn of(child: &ChildTree, now: Timestamp) -> Self {
        let (tone, state) = match child.state {
            ChildState::Waiting => (Tone::Faint, "waiting"),
            ChildState::Starting => (Tone::Warning, "starting"),
            ChildState::Running => (Tone::Good, "running"),
            ChildState::Probing => (Tone::Warning, "being probed"),
            ChildState::BackingOff => (Tone::Bad, "backing off"),
            ChildState::Paused => (Tone::Bad, "paused"),
            ChildState::Unheard => (Tone::Bad, "unheard"),
            ChildState::Stopping => (Tone::Warning, "stopping"),
            ChildState::Ended => (Tone::Faint, "ended"),
        };
        let incarnation = match child.incarnation {
            0 => String::new(),
            number => format!("#{number}"),
        };
        let restarts =
            format!("restarts {}/{} in {} s", child.restarts_used, child.restarts_allowed, child.period_s);
        let since = format!("since {}", age(&child.since, now));
        let cells = [one_line(&child.child), state.to_owned(), incarnation, restarts, since];
        Self { cells, tone, why: because(&child.why, "  ") }
    }

    fn line(&self, ui: Ui, widths: &[usize; Self::CELLS]) -> String {
        let padded = self.cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        let mut cells: Vec<String> = padded.collect();
        cells[1] = ui.paint(self.tone, &cells[1]);
        format!("{}{}", cells.join("  "), self.why).trim_end().to_owned()
    }
}

fn because(why: &Option<String>, before: &str) -> String {
    why.as_deref().map(|why| format!("{before}{}", one_line(why))).unwrap_or_default()
}

/// How long ago a time was. A broken one is no reason to show nothing.
fn age(since: &str, now: Timestamp) -> String {
    match since.parse::<Timestamp>() {
        Ok(since) => elapsed(now.as_second().saturating_sub(since.as_second())),
        Err(_) => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Global;

    fn drawn(value: serde_json::Value, owned: Option<bool>) -> String {
        let tree: BottleTree = serde_json::from_value(value).unwrap();
        let now = "2026-11-23T10:03:12.500Z".parse().unwrap();
        draw(Ui::new(&Global::default(), true), &tree, owned, now)
    }

    fn child(name: &str, state: &str) -> serde_json::Value {
        serde_json::json!({
            "child": name, "state": state, "incarnation": 1, "restarts_used": 0, "restarts_allowed": 3,
            "period_s": 60, "since": "2026-11-23T10:00:00.000Z", "why": null,
        })
    }

    fn bottle() -> serde_json::Value {
        serde_json::json!({
            "bottle": "0011223344556677", "slug": "coder", "agent": "coder", "owner": "o1", "phase": "ready",
            "since": "2026-11-23T10:00:00.000Z", "why": null, "execs": 0,
            "children": [child("pipelock", "running"), child("mitmproxy", "backing_off"),
                child("agent", "running"), child("provisioner", "ended")],
        })
    }

    #[test]
    fn a_tree_reads_like_the_one_of_the_manual() {
        let mut tree = bottle();
        tree["phase"] = "degraded".into();
        tree["why"] = "mitmproxy\u{1b}[2J\nis down".into();
        tree["execs"] = 2.into();
        tree["children"][1]["incarnation"] = 12.into();
        tree["children"][1]["restarts_used"] = 2.into();
        tree["children"][1]["why"] = "exited with code 137".into();
        tree["children"][3]["incarnation"] = 0.into();
        assert_eq!(
            drawn(tree, Some(true)),
            "coder 0011223344556677  degraded since 3m12s: mitmproxy\u{fffd}[2J is down\n\
             ├─ pipelock     running      #1   restarts 0/3 in 60 s  since 3m12s\n\
             ├─ mitmproxy    backing off  #12  restarts 2/3 in 60 s  since 3m12s  exited with code 137\n\
             ├─ agent        running      #1   restarts 0/3 in 60 s  since 3m12s\n\
             │  └─ exec × 2\n\
             └─ provisioner  ended             restarts 0/3 in 60 s  since 3m12s\n"
        );
    }

    #[test]
    fn odd_trees_are_drawn_too() {
        let mut tree = bottle();
        tree["children"] = serde_json::json!([child("agent", "paused")]);
        tree["execs"] = 1.into();
        tree["since"] = "long ago".into();
        assert_eq!(
            drawn(tree.clone(), Some(false)),
            "coder 0011223344556677  ready since ?, unowned (its process is gone)\n\
             └─ agent  paused  #1  restarts 0/3 in 60 s  since 3m12s\n   \
                └─ exec × 1\n"
        );
        tree["children"] = serde_json::json!([child("pipelock", "unheard")]);
        assert_eq!(
            drawn(tree.clone(), None),
            "coder 0011223344556677  ready since ?\n\
             ├─ pipelock  unheard  #1  restarts 0/3 in 60 s  since 3m12s\n\
             └─ exec × 1\n"
        );
        tree["children"] = serde_json::json!([]);
        assert_eq!(drawn(tree, None), "coder 0011223344556677  ready since ?\n└─ exec × 1\n");
    }
}
