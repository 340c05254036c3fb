//! JSON lines on standard output, in the shape of pipelock's log. No URL beyond its host, no header, no content.
//!
//! A thread of its own writes: a reader of the pipe that stops must not stop a verdict. When the queue is full,
//! lines are dropped and the next one that fits says how many.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

const QUEUE_LINES: usize = 4096;

/// Handle to the writer; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Log {
    lines: SyncSender<String>,
    dropped: Arc<AtomicU64>,
}

impl Log {
    /// Starts the writer. It ends when the last handle is dropped.
    pub(super) fn start() -> std::io::Result<Self> {
        let (lines, queue) = sync_channel::<String>(QUEUE_LINES);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            for line in queue {
                let mut out = std::io::stdout().lock();
                // A closed standard output is nobody's fault here and no reason to stop judging.
                let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
            }
        })?;
        Ok(Self { lines, dropped: Arc::default() })
    }

    /// Something that went as it should.
    pub(super) fn info(&self, event: &str, message: &str, facts: Value) {
        self.write("info", event, message, facts);
    }

    /// A refusal or a failure.
    pub(super) fn warn(&self, event: &str, message: &str, facts: Value) {
        self.write("warn", event, message, facts);
    }

    fn write(&self, level: &str, event: &str, message: &str, facts: Value) {
        let mut line = json!({
            "level": level, "component": "bottle-gate", "event": event, "message": message, "time": timestamp(SystemTime::now()),
        });
        if let (Some(line), Value::Object(facts)) = (line.as_object_mut(), facts) {
            line.extend(facts);
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                line.insert("dropped_lines".to_owned(), dropped.into());
            }
        }
        if self.lines.try_send(format!("{line}\n")).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// RFC 3339 in UTC, whole seconds. Days to date after Howard Hinnant's `civil_from_days`.
fn timestamp(now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    let shifted = day + 719_468;
    let era_day = shifted % 146_097;
    let era_year = (era_day - era_day / 1_460 + era_day / 36_524 - era_day / 146_096) / 365;
    let year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
    let shifted_month = (5 * year_day + 2) / 153;
    let date = year_day - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = shifted / 146_097 * 400 + era_year + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timestamps_know_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_795_392_000, "2026-11-23T00:00:00Z"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
