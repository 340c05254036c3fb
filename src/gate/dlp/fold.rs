//! Views of one layer: invisible characters out and look-alikes to ASCII; white space out; escapes undone.

/// Removes control and zero-width characters and maps common look-alikes to ASCII.
///
/// `None` when the result would be the same text. Tab, line feed and carriage return stay: they separate words.
pub(super) fn fold(text: &[u8]) -> Option<Vec<u8>> {
    let suspicious = |byte: &u8| *byte >= 0x7f || (*byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r'));
    let first = text.iter().position(suspicious)?;
    let mut folded = Vec::with_capacity(text.len());
    folded.extend_from_slice(&text[..first]);
    let mut changed = false;
    for chunk in text[first..].utf8_chunks() {
        for c in chunk.valid().chars() {
            match fold_char(c) {
                Folded::Same => folded.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                Folded::To(ascii) => {
                    folded.push(ascii);
                    changed = true;
                }
                Folded::Nothing => changed = true,
            }
        }
        folded.extend_from_slice(chunk.invalid());
    }
    changed.then_some(folded)
}

enum Folded {
    Same,
    To(u8),
    Nothing,
}

/// Cyrillic, Greek and other letters that look like the ASCII letter beside them.
const LOOK_ALIKES: &[(&str, &str)] = &[
    ("аеорсухіјѕһԁԛԝАВЕКМНОРСТУХІЈЅҮԌԚԜ", "aeopcyxijshdqwABEKMHOPCTYXIJSYGQW"),
    ("αορυνικΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "aopuvikABEZHIKMNOPTYX"),
    ("ıȷɡɑ‐‑‒–−", "ijga-----"),
];

fn fold_char(c: char) -> Folded {
    match c {
        '\t' | '\n' | '\r' | ' '..='~' => Folded::Same,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => Folded::Nothing,
        // Soft hyphen, joiners, marks of direction, invisible operators, variation selectors, tags, fillers.
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{e0000}'..='\u{e0fff}' => Folded::Nothing,
        // Combining marks laid over letters (U+0300..): a struck-through token is still that token.
        '\u{300}'..='\u{36f}' => Folded::Nothing,
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => Folded::To(b' '),
        '\u{ff01}'..='\u{ff5e}' => ascii(u32::from(c) - 0xff01 + 0x21),
        '\u{1d400}'..='\u{1d6a3}' => ascii(math_letter(u32::from(c) - 0x1d400)),
        '\u{1d7ce}'..='\u{1d7ff}' => ascii((u32::from(c) - 0x1d7ce) % 10 + u32::from(b'0')),
        '\u{24b6}'..='\u{24cf}' => ascii(u32::from(c) - 0x24b6 + u32::from(b'A')),
        '\u{24d0}'..='\u{24e9}' => ascii(u32::from(c) - 0x24d0 + u32::from(b'a')),
        // Han, Hangul, emoji and the like: nothing there looks like ASCII.
        '\u{3fff}'.. => Folded::Same,
        _ => LOOK_ALIKES
            .iter()
            .find_map(|(from, to)| to.as_bytes().get(from.chars().position(|known| known == c)?).copied())
            .map_or(Folded::Same, Folded::To),
    }
}

fn ascii(code: u32) -> Folded {
    u8::try_from(code).map_or(Folded::Same, Folded::To)
}

/// The mathematical alphabets repeat A-Z then a-z every 52 code points.
fn math_letter(offset: u32) -> u32 {
    let place = offset % 52;
    if place < 26 { u32::from(b'A') + place } else { u32::from(b'a') + place - 26 }
}

/// The text without ASCII white space; `None` when there is none inside.
pub(super) fn join(text: &[u8]) -> Option<Vec<u8>> {
    let trimmed = text.trim_ascii();
    let first = trimmed.iter().position(u8::is_ascii_whitespace)?;
    let mut joined = Vec::with_capacity(trimmed.len());
    joined.extend_from_slice(&trimmed[..first]);
    joined.extend(trimmed[first..].iter().filter(|byte| !byte.is_ascii_whitespace()));
    Some(joined)
}

/// Undoes percent-encoding once (RFC 3986, 2.1) in the words that hold some; `None` when there is none.
pub(super) fn percent_decode(text: &[u8]) -> Option<Vec<u8>> {
    let escape = |rest: &[u8]| match rest {
        [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => Some(3),
        _ => None,
    };
    decode_words(
        text,
        |byte| byte == b'%',
        escape,
        |word, out| out.extend(percent_encoding::percent_decode(word)),
    )
}

/// Undoes `\u0041`, `\u{41}`, `\x41` and `&#65;` once in the words that hold some; `None` when there is none.
pub(super) fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let begins = |byte| byte == b'\\' || byte == b'&';
    decode_words(
        text,
        begins,
        |rest| escape_at(rest).map(|(_, length)| length),
        |word, out| {
            let mut at = 0;
            while let Some(rest) = word.get(at..).filter(|rest| !rest.is_empty()) {
                match escape_at(rest) {
                    Some((c, length)) => {
                        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                        at += length;
                    }
                    None => {
                        out.push(rest[0]);
                        at += 1;
                    }
                }
            }
        },
    )
}

/// How far around an escape a word is decoded. Longer than the fixed part of any token.
const WORD_REACH: usize = 512;

/// Decodes the words (up to white space, or [`WORD_REACH`]) that hold an escape, and only those: a long text with
/// one escape in it must not become two long texts.
fn decode_words(
    text: &[u8],
    begins: impl Fn(u8) -> bool,
    escape: impl Fn(&[u8]) -> Option<usize>,
    decode: impl Fn(&[u8], &mut Vec<u8>),
) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut at = 0;
    // Everything before this index was decoded already.
    let mut done = 0;
    while let Some(step) = text[at..].iter().position(|&byte| begins(byte)) {
        at += step;
        let Some(length) = escape(&text[at..]) else {
            at += 1;
            continue;
        };
        let from = done.max(at.saturating_sub(WORD_REACH));
        let start =
            text[from..at].iter().rposition(u8::is_ascii_whitespace).map_or(from, |space| from + space + 1);
        // The word goes on as long as escapes follow each other within reach.
        let mut end = at + length;
        let mut reach = end + WORD_REACH;
        while end < text.len().min(reach) && !text[end].is_ascii_whitespace() {
            if begins(text[end])
                && let Some(length) = escape(&text[end..])
            {
                end += length;
                reach = end + WORD_REACH;
            } else {
                end += 1;
            }
        }
        let end = end.min(text.len());
        decode(&text[start..end], &mut out);
        out.push(b' ');
        (at, done) = (end, end);
    }
    (!out.is_empty()).then_some(out)
}

/// The character and length of the escape at the start of `text`.
fn escape_at(text: &[u8]) -> Option<(char, usize)> {
    let number = |from: usize, digits: usize, radix: u32| {
        let digits = std::str::from_utf8(text.get(from..from + digits)?).ok()?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        char::from_u32(u32::from_str_radix(digits, radix).ok()?)
    };
    let delimited = |from: usize, end: u8, radix: u32| {
        let length = text.get(from..)?.iter().take(8).position(|&byte| byte == end)?;
        Some((number(from, length, radix)?, from + length + 1))
    };
    match text {
        [b'\\', b'u', b'{', ..] => delimited(3, b'}', 16),
        [b'\\', b'u', ..] => Some((number(2, 4, 16)?, 6)),
        [b'\\', b'x', ..] => Some((number(2, 2, 16)?, 4)),
        [b'&', b'#', b'x' | b'X', ..] => delimited(3, b';', 16),
        [b'&', b'#', ..] => delimited(2, b';', 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folded(text: &str) -> String {
        String::from_utf8(fold(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn invisible_characters_and_look_alikes_go() {
        assert_eq!(folded("A\u{200b}K\u{ad}I\0A"), "AKIA");
        assert_eq!(folded("ＡＫＩＡ\u{1d400}\u{1d41a}\u{1d7cf}"), "AKIAAa1");
        assert_eq!(folded("АКІА"), "AKIA");
        assert_eq!(folded("A\0K\0I\0A\0"), "AKIA");
        assert!(fold("plain text\n\twith lines".as_bytes()).is_none());
        assert!(fold("日本語".as_bytes()).is_none());
    }

    #[test]
    fn look_alike_tables_line_up() {
        for (from, to) in LOOK_ALIKES {
            assert_eq!(from.chars().count(), to.len(), "{from}");
        }
    }

    #[test]
    fn escapes_are_undone_once() {
        assert_eq!(unescape(br"A\u004b\x49&#65;&#x42;\u{43}").unwrap(), b"AKIABC ");
        assert!(unescape(br"\n & \u00 &#; \xg1 \u{110000}").is_none());
        assert_eq!(percent_decode(b"A%4bIA").unwrap(), b"AKIA ");
        assert!(percent_decode(b"100% sure").is_none());
        assert_eq!(join(b" gh p_\nab ").unwrap(), b"ghp_ab");
    }

    proptest! {
        #[test]
        fn noise_never_panics_and_does_not_grow_much(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            for view in [fold(&text), join(&text), percent_decode(&text), unescape(&text)].into_iter().flatten() {
                prop_assert!(view.len() <= text.len() + 1);
            }
        }
    }
}
