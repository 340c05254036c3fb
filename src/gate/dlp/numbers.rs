//! Payment numbers: they have no literal to anchor on, so one walk looks for digit runs of the right shape.

use super::checks;

/// What the walk found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbers {
    /// A card number: issuer prefix, length, grouping and Luhn digit all fit.
    pub(super) card: bool,
    /// An IBAN: country, length and MOD 97 fit.
    pub(super) iban: bool,
}

/// Length of the IBAN by country (ISO 13616 registry), for the countries that agents meet.
const IBAN_LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"AE", 23),
    (b"AT", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BR", 29),
    (b"CH", 21),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DK", 18),
    (b"EE", 20),
    (b"ES", 24),
    (b"FI", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GR", 27),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"MC", 27),
    (b"MT", 31),
    (b"NL", 18),
    (b"NO", 15),
    (b"PL", 28),
    (b"PT", 25),
    (b"RO", 24),
    (b"RS", 22),
    (b"SA", 24),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"TR", 26),
    (b"UA", 29),
];

/// Looks for the first card number and the first IBAN.
pub(super) fn find(text: &[u8]) -> Numbers {
    let mut numbers = Numbers::default();
    let mut at = 0;
    while at < text.len() && !(numbers.card && numbers.iban) {
        if !text[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let start = at;
        while at < text.len() && (text[at].is_ascii_digit() || separates(text, at)) {
            at += 1;
        }
        numbers.card |= !touches_word(text, start, at) && is_card(&text[start..at]);
        if start >= 2 && !numbers.iban {
            numbers.iban = is_iban(text, start - 2);
        }
    }
    numbers
}

/// A single space or hyphen between two digits.
fn separates(text: &[u8], at: usize) -> bool {
    matches!(text[at], b' ' | b'-') && text.get(at + 1).is_some_and(u8::is_ascii_digit)
}

/// True when the run is part of a longer identifier, number or path.
fn touches_word(text: &[u8], start: usize, end: usize) -> bool {
    let joins = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'/' | b'%' | b'+' | b'#')
    };
    let before = start.checked_sub(1).is_some_and(|at| joins(text[at]));
    // A full stop may end a sentence; before another digit or letter it makes a version or a fraction.
    let after = match text.get(end..) {
        Some([b'.', next, ..]) => next.is_ascii_alphanumeric(),
        Some([b'.']) => false,
        Some([next, ..]) => joins(*next),
        _ => false,
    };
    before || after
}

fn is_card(run: &[u8]) -> bool {
    let groups: Vec<usize> = run.split(|byte| !byte.is_ascii_digit()).map(<[u8]>::len).collect();
    let digits: Vec<u8> = run.iter().copied().filter(u8::is_ascii_digit).collect();
    let lead = |n: usize| digits[..n].iter().fold(0_u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    let one_separator = !(run.contains(&b' ') && run.contains(&b'-'));
    let known = match digits.len() {
        15 => matches!(lead(2), 34 | 37) && matches!(groups[..], [15] | [4, 6, 5]),
        16 => {
            let issuer = digits[0] == b'4'
                || (51..=55).contains(&lead(2))
                || (2221..=2720).contains(&lead(4))
                || matches!(lead(4), 6011)
                || matches!(lead(2), 62 | 65)
                || (644..=649).contains(&lead(3))
                || (3528..=3589).contains(&lead(4));
            issuer && matches!(groups[..], [16] | [4, 4, 4, 4])
        }
        _ => false,
    };
    known && one_separator && checks::luhn(&digits)
}

fn is_iban(text: &[u8], start: usize) -> bool {
    let country = &text[start..start + 2];
    if start.checked_sub(1).is_some_and(|before| text[before].is_ascii_alphanumeric()) {
        return false;
    }
    let Some(&(_, length)) = IBAN_LENGTHS.iter().find(|(code, _)| code[..] == *country) else { return false };
    let mut compact = Vec::with_capacity(length);
    for &byte in text[start..].iter().take(length + length / 4 + 1) {
        match byte {
            b' ' if compact.len() < length => {}
            b'0'..=b'9' | b'A'..=b'Z' => compact.push(byte),
            _ => break,
        }
    }
    compact.len() == length && checks::mod97(&compact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_and_ibans_in_their_usual_writing() {
        for text in
            ["4111111111111111", "pay 4111-1111-1111-1111.", "3782 822463 10005", "card: 5555555555554444,"]
        {
            assert!(find(text.as_bytes()).card, "{text}");
        }
        for text in ["GB82WEST12345698765432", "IBAN DE89 3704 0044 0532 0130 00"] {
            assert!(find(text.as_bytes()).iban, "{text}");
        }
    }

    #[test]
    fn other_numbers_are_left_alone() {
        for text in [
            "4111111111111112",
            "1763929807123456",
            "0.4111111111111111",
            "sha-4111111111111111",
            "a4111111111111111",
            "/4111111111111111/",
            "41111-11111-11111-1",
            "4111 1111-1111 1111",
            "2026-11-23 20 30 10 1234",
        ] {
            assert_eq!(find(text.as_bytes()), Numbers::default(), "{text}");
        }
    }
}
