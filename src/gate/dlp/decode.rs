//! Finds runs of encoded text and decodes them: base64 (both alphabets), hex and base32.
//!
//! One walk over the layer finds maximal runs of the base64 alphabets; hex and base32 are looked for inside them.
//! Decoded pieces that hold no readable text are dropped at once: nothing but text can be a credential.

/// Shortest run worth decoding: 12 bytes of text.
const MIN_RUN: usize = 16;

/// Runs up to this length are decoded at all four alignments; longer ones (images) only from their start.
const ALIGNED_RUN: usize = 16 * 1024;

/// Lines at least this long that consist of the alphabet only are taken for wrapped base64 (RFC 2045 wraps at 76).
const WRAPPED_LINE: usize = 48;

/// Shortest stretch of printable characters that makes a decoded piece worth keeping.
const MIN_TEXT: usize = 12;

/// Stands between decoded pieces, so that no token forms over their border.
const BORDER: &[u8] = b" | ";

/// What the runs of one layer decode to, by encoding. Pieces are separated by [`BORDER`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) base64: Vec<u8>,
    pub(super) hex: Vec<u8>,
    pub(super) base32: Vec<u8>,
}

const OTHER: u8 = 0xff;

/// Value of each base64 and base64url digit (RFC 4648, 4 and 5).
const BASE64: [u8; 256] = {
    let mut table = [OTHER; 256];
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut value = 0;
    while value < 64 {
        table[digits[value] as usize] = value as u8;
        value += 1;
    }
    table[b'-' as usize] = 62;
    table[b'_' as usize] = 63;
    table
};

/// Decodes all runs of a layer. The result is at most a little over four times as long as `text`.
pub(super) fn decode_runs(text: &[u8]) -> Decoded {
    let mut decoded = Decoded::default();
    let mut wrapped = Vec::new();
    let mut at = 0;
    while at < text.len() {
        if BASE64[usize::from(text[at])] == OTHER {
            at += 1;
            continue;
        }
        let start = at;
        while at < text.len() && BASE64[usize::from(text[at])] != OTHER {
            at += 1;
        }
        let run = &text[start..at];
        if run.len() < MIN_RUN && wrapped.is_empty() {
            continue;
        }
        let gap = line_break(&text[at..]);
        if run.len() >= WRAPPED_LINE && gap > 0 {
            wrapped.extend_from_slice(run);
            at += gap;
            continue;
        }
        if wrapped.is_empty() {
            decode_run(run, &mut decoded);
        } else {
            wrapped.extend_from_slice(run);
            decode_run(&std::mem::take(&mut wrapped), &mut decoded);
        }
    }
    if !wrapped.is_empty() {
        decode_run(&wrapped, &mut decoded);
    }
    decoded
}

/// Length of a line break with indentation (and `> ` or `# ` quoting) that leads straight to more digits, else 0.
fn line_break(text: &[u8]) -> usize {
    if !matches!(text, [b'\n', ..] | [b'\r', b'\n', ..]) {
        return 0;
    }
    let gap =
        text.iter().take(64).position(|byte| !matches!(byte, b'\r' | b'\n' | b' ' | b'\t' | b'>' | b'#'));
    match gap {
        Some(gap) if BASE64[usize::from(text[gap])] != OTHER => gap,
        _ => 0,
    }
}

fn decode_run(run: &[u8], decoded: &mut Decoded) {
    let alignments = if run.len() <= ALIGNED_RUN { 4 } else { 1 };
    for skip in 0..alignments {
        keep_text(&mut decoded.base64, |out| base64(&run[skip.min(run.len())..], out));
    }
    for part in run.split(|byte| !byte.is_ascii_hexdigit()).filter(|part| part.len() >= 2 * MIN_TEXT) {
        for skip in 0..2 {
            keep_text(&mut decoded.hex, |out| hex(&part[skip..], out));
        }
    }
    let is_base32 = |byte: &u8| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(byte);
    for part in run.split(|byte| !is_base32(byte)).filter(|part| part.len() >= 2 * MIN_TEXT) {
        keep_text(&mut decoded.base32, |out| base32(part, out));
    }
}

/// Appends what `decode` writes as far as it is text: all of it when it is UTF-8, else its readable stretches.
/// So an image leaves next to nothing, and a text with invisible characters in it stays whole.
fn keep_text(out: &mut Vec<u8>, decode: impl FnOnce(&mut Vec<u8>)) {
    let before = out.len();
    decode(out);
    let decoded = &out[before..];
    if decoded.len() >= MIN_TEXT && std::str::from_utf8(decoded).is_ok() {
        out.extend_from_slice(BORDER);
        return;
    }
    let mut kept = before;
    let mut at = before;
    while at < out.len() {
        let start = at;
        while at < out.len() && is_readable(out[at]) {
            at += 1;
        }
        // A readable stretch never overlaps what was kept so far: each gap is at least one byte, and a border is
        // written only where the gaps have made room for it.
        if at - start >= MIN_TEXT {
            out.copy_within(start..at, kept);
            kept += at - start;
            if kept < at {
                out[kept] = b'|';
                kept += 1;
            }
        }
        at += 1;
    }
    out.truncate(kept);
    if kept > before {
        out.extend_from_slice(BORDER);
    }
}

/// Printable ASCII, white space, and NUL, so that UTF-16 passes.
fn is_readable(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) || matches!(byte, 0 | b'\n' | b'\r' | b'\t')
}

fn base64(run: &[u8], out: &mut Vec<u8>) {
    let value = |byte: u8| u32::from(BASE64[usize::from(byte)]);
    let mut groups = run.chunks_exact(4);
    for group in &mut groups {
        let bits = value(group[0]) << 18 | value(group[1]) << 12 | value(group[2]) << 6 | value(group[3]);
        out.extend_from_slice(&bits.to_be_bytes()[1..]);
    }
    match *groups.remainder() {
        [a, b] => out.push((value(a) << 2 | value(b) >> 4) as u8),
        [a, b, c] => {
            let bits = value(a) << 10 | value(b) << 4 | value(c) >> 2;
            out.extend_from_slice(&bits.to_be_bytes()[2..]);
        }
        _ => {}
    }
}

fn hex(part: &[u8], out: &mut Vec<u8>) {
    let nibble = |byte: u8| match byte {
        b'0'..=b'9' => byte - b'0',
        _ => (byte | 0x20) - b'a' + 10,
    };
    out.extend(part.chunks_exact(2).map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])));
}

fn base32(part: &[u8], out: &mut Vec<u8>) {
    let mut bits = 0_u32;
    let mut held = 0;
    for &byte in part {
        let value = if byte.is_ascii_uppercase() { byte - b'A' } else { byte - b'2' + 26 };
        bits = bits << 5 | u32::from(value);
        held += 5;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    fn contains(haystack: &[u8], needle: &str) -> bool {
        String::from_utf8_lossy(haystack).contains(needle)
    }

    #[test]
    fn each_encoding_is_found_inside_other_text() {
        let secret = "correct horse battery staple";
        let base64 = STANDARD.encode(secret);
        for wrapped in
            [base64.clone(), format!("x{base64}"), format!("xy{base64}"), format!("key=\"{base64}\"")]
        {
            assert!(contains(&decode_runs(wrapped.as_bytes()).base64, "horse battery"), "{wrapped}");
        }
        let hex_text = format!("id_{}.", hex::encode_upper(secret));
        assert!(contains(&decode_runs(hex_text.as_bytes()).hex, secret));
        assert!(contains(
            &decode_runs(b"MNXXE4TFMN2CA2DPOJZWKIDCMF2HIZLSPE======").base32,
            "correct horse batter"
        ));
    }

    #[test]
    fn wrapped_lines_are_one_run() {
        let text = "The quick brown fox jumps over the lazy dog. ".repeat(5);
        let lines: Vec<String> = STANDARD
            .encode(&text)
            .as_bytes()
            .chunks(64)
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        for glue in ["\n", "\r\n", "\n    ", "\n> "] {
            let decoded = decode_runs(lines.join(glue).as_bytes());
            assert!(contains(&decoded.base64, text.trim_end()), "{glue:?}");
        }
    }

    proptest! {
        #[test]
        fn own_decoder_agrees_with_the_crate(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut out = Vec::new();
            base64(URL_SAFE_NO_PAD.encode(&bytes).as_bytes(), &mut out);
            prop_assert_eq!(out, bytes);
        }

        #[test]
        fn noise_never_panics_and_stays_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..800)) {
            let decoded = decode_runs(&bytes);
            let total = decoded.base64.len() + decoded.hex.len() + decoded.base32.len();
            prop_assert!(total <= bytes.len() * 5 + 64);
        }

        #[test]
        fn digits_never_panic_and_stay_bounded(text in "[A-Z2-7a-f0-9+/\\n-]{0,900}") {
            let decoded = decode_runs(text.as_bytes());
            let total = decoded.base64.len() + decoded.hex.len() + decoded.base32.len();
            prop_assert!(total <= text.len() * 6 + 64);
        }
    }
}
