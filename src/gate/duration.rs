//! Durations as Go's `time.ParseDuration` writes them, which pipelock's file uses: `15s`, `1m30s`, `500ms`.

use std::time::Duration;

/// Text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a duration such as \"15s\", \"1m30s\" or \"500ms\"")]
pub struct DurationError(String);

/// Parses a positive duration of at most one day.
///
/// # Errors
/// [`DurationError`] on other text, on zero and on more than a day.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let refuse = || DurationError(text.to_owned());
    let mut total = 0.0_f64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or_else(refuse)?;
        let amount: f64 = rest[..digits].parse().map_err(|_| refuse())?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += amount
            * match &rest[..end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return Err(refuse()),
            };
        rest = &rest[end..];
    }
    if total > 0.0 && total <= 86_400.0 { Ok(Duration::from_secs_f64(total)) } else { Err(refuse()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_forms_are_read() {
        for (text, millis) in
            [("15s", 15_000), ("1m30s", 90_000), ("500ms", 500), ("1.5h", 5_400_000), ("24h", 86_400_000)]
        {
            assert_eq!(parse(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["", "5", "s", "-5s", "5 s", "0s", "1d", "25h", "1.2.3s", "5s5", "∞s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
