//! Exact secrets: values of this bottle that must not leave it, and the forms they may travel in.
//!
//! The same forms are searched by the addon (`assets/addon/bottle_addon/exact.py`).

use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::ids::Secret;

/// Shorter values would match ordinary text; they are not made into rules.
pub const MIN_EXACT_SECRET_BYTES: usize = 8;

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One value; `name` appears in findings and audit lines (the name of an environment variable is fine).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactSecret {
    /// What findings call it.
    pub name: String,
    /// The value itself.
    pub value: Secret<String>,
}

impl ExactSecret {
    /// Whether the value is long enough to be searched for without false findings.
    pub fn is_searchable(&self) -> bool {
        self.value.expose_secret().len() >= MIN_EXACT_SECRET_BYTES
    }

    /// Raw, base64 and base64url at each of the three alignments, hex, percent-encoded; each form once.
    ///
    /// Gate patterns ignore letter case, so one spelling of hex and percent escapes is enough.
    pub(super) fn forms(&self) -> Vec<String> {
        let value = self.value.expose_secret();
        let mut forms = vec![value.clone()];
        for (lead, skip) in [(0, 0), (1, 2), (2, 3)] {
            let core = base64_core(value.as_bytes(), lead, skip);
            forms.push(core.replace('+', "-").replace('/', "_"));
            forms.push(core);
        }
        forms.push(hex::encode(value));
        forms.push(utf8_percent_encode(value, UNRESERVED).to_string());
        let mut seen = std::collections::BTreeSet::new();
        forms.retain(|form| seen.insert(form.clone()));
        forms
    }

    /// One regular expression that matches any form.
    pub(super) fn pattern(&self) -> String {
        self.forms().iter().map(|form| regex::escape(form)).collect::<Vec<_>>().join("|")
    }
}

/// The base64 characters that depend on `value` alone when `lead` unknown bytes stand before it.
fn base64_core(value: &[u8], lead: usize, skip: usize) -> String {
    let mut padded = vec![0; lead];
    padded.extend_from_slice(value);
    let full = padded.len() * 8 / 6;
    STANDARD.encode(&padded)[skip..full].to_owned()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;

    fn pattern(value: &str) -> regex::Regex {
        let secret = ExactSecret { name: "n".into(), value: value.into() };
        regex::RegexBuilder::new(&secret.pattern()).case_insensitive(true).build().expect("valid pattern")
    }

    proptest! {
        #[test]
        fn every_encoding_at_every_alignment_matches(value in "\\PC{8,40}", lead in "\\PC{0,7}", tail in "\\PC{0,7}") {
            let pattern = pattern(&value);
            let text = format!("{lead}{value}{tail}");
            let forms = [
                text.clone(), STANDARD.encode(&text), URL_SAFE_NO_PAD.encode(&text), hex::encode(&text),
                hex::encode_upper(&text), utf8_percent_encode(&text, UNRESERVED).to_string(),
            ];
            for form in forms {
                prop_assert!(pattern.is_match(&form));
            }
        }
    }

    #[test]
    fn ordinary_text_does_not_match() {
        assert!(!pattern("hunter2-hunter2").is_match("the quick brown fox jumps over the lazy dog"));
    }
}
