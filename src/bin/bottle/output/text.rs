//! Text for people: errors, tables, ages and sizes.

use std::fmt::Write as _;

use super::{Tone, Ui};
use crate::error::CliError;
use crate::terminal;

/// `error: failed to …`, further lines, causes, what to do.
pub(super) fn error(ui: Ui, error: &CliError) -> String {
    let mut text = format!("{} failed to {}\n", ui.paint(Tone::Bad, "error:"), printable(&error.message));
    for cause in error.causes() {
        let _ = writeln!(text, "  caused by: {}", printable(&cause).replace('\n', "\n    "));
    }
    if let Some(details) = &error.details {
        text.push_str(&printable(details));
    }
    if let Some(remedy) = &error.remedy {
        let _ = writeln!(text, "{} {remedy}", ui.paint(Tone::Good, "help:"));
    }
    text
}

/// Names and messages of engines may hold control characters, which could rewrite the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if rewrites(c) && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// As [`printable`], and on one line whatever it was: for texts that come from inside containers or from disk.
pub(crate) fn one_line(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => ' ',
        c if rewrites(c) => '\u{fffd}',
        c => c,
    };
    text.trim_end().chars().map(shown).collect()
}

/// Control characters, and those that change the direction of what follows or hide in it.
fn rewrites(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Columns under a header; as narrow as the content, cut at the terminal's width.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let limit = terminal::size_of_stdout().map(|size| usize::from(size.cols)).filter(|cols| *cols > 0);
    let head: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(line, "{:<width$}  ", printable(cell));
        }
        let line = line.trim_end();
        match limit {
            Some(limit) if line.chars().count() > limit => {
                text.extend(line.chars().take(limit.saturating_sub(1)));
                text.push('…');
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

/// Seconds as the largest unit that fits: `45s`, `3m`, `5h`, `2d`.
pub(crate) fn age(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..=119 => format!("{s}s"),
        s @ 120..=7199 => format!("{}m", s / 60),
        s @ 7200..=172_799 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}

/// Seconds to the second while that says something: `12s`, `3m12s`, `2h05m`, `3d04h`.
pub(crate) fn elapsed(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..=59 => format!("{s}s"),
        s @ 60..=3599 => format!("{}m{:02}s", s / 60, s % 60),
        s @ 3600..=86_399 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        s => format!("{}d{:02}h", s / 86_400, s / 3600 % 24),
    }
}

/// Bytes with a binary unit and one digit.
pub(crate) fn bytes(count: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if count >= 1 << shift {
            return format!("{:.1} {unit}", count as f64 / f64::from(1u32 << shift));
        }
    }
    format!("{count} B")
}

/// The first line of a text, for one-line summaries.
pub(crate) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_sizes_read_at_a_glance() {
        assert_eq!([0, 119, 120, 7200, 200_000].map(age), ["0s", "119s", "2m", "2h", "2d"]);
        assert_eq!([0, 1023, 1536, 3 << 30].map(bytes), ["0 B", "1023 B", "1.5 KiB", "3.0 GiB"]);
    }

    #[test]
    fn elapsed_time_is_told_in_two_units() {
        let shown = [-5, 59, 192, 3600, 7500, 86_399, 273_600].map(elapsed);
        assert_eq!(shown, ["0s", "59s", "3m12s", "1h00m", "2h05m", "23h59m", "3d04h"]);
    }

    #[test]
    fn columns_are_as_wide_as_their_content() {
        let rows = [vec!["coder".to_owned(), "Up 3 minutes".to_owned()]];
        assert_eq!(table(&["NAME", "STATUS"], &rows), "NAME   STATUS\ncoder  Up 3 minutes\n");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[2J\nb"), "a\u{fffd}[2J\nb");
        let hostile = "a\u{1b}]0;x\u{7}\u{9b}2J\tb\r\nc\u{202e}d\u{200b}\n\n";
        assert_eq!(one_line(hostile), "a\u{fffd}]0;x\u{fffd}\u{fffd}2J b\u{fffd} c\u{fffd}d\u{fffd}");
    }
}
