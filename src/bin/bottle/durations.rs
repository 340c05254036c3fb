//! Durations as people type them.

use std::time::Duration;

/// Seconds, also with a fraction.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a number of seconds");
    let number: f64 = text.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number).map_err(|_| wrong())
}

/// Numbers with units, the largest first or not: `90s`, `1h30m`. A number alone is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as 90s, 10m, 1h30m or 2d");
    if text.ends_with(|c: char| c.is_ascii_digit()) && !text.contains(|c: char| c.is_ascii_alphabetic()) {
        return seconds(text).map_err(|_| wrong());
    }
    let mut total = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..end].parse().map_err(|_| wrong())?;
        let unit = match rest[end..].chars().next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 86_400,
            _ => return Err(wrong()),
        };
        total = number.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = &rest[end + 1..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Duration::from_secs(total)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        let shown = |text| duration(text).map(|duration| duration.as_secs());
        assert_eq!(
            ["0s", "90s", "10m", "1h30m", "2d", "45"].map(shown),
            [0, 90, 600, 5400, 172_800, 45].map(Ok)
        );
        let huge = "9".repeat(30) + "s";
        for text in ["", "m", "10x", "-5m", "1h30", "1.5h", "5 m", "ü", "9999999999999999999d", &huge] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
