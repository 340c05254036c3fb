//! The shape of one built-in rule.

use serde::{Deserialize, Serialize};

/// How bad a finding is, in the words of the scan API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A live credential of a known format.
    Critical,
    /// A credential of a weaker or narrower kind.
    High,
    /// Personal or payment data.
    Medium,
    /// Worth a line in the log.
    Low,
}

/// What beyond the regular expression has to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Nothing: the format alone is proof.
    None,
    /// GitHub's and npm's CRC-32 tail. Not asked of a plainly written token: pipelock blocks those whatever their
    /// tail, and so do we. It decides only where the token had to be put together from pieces.
    Crc32Tail,
    /// The first segment decodes to a JSON header with `alg` (RFC 7515).
    JoseHeader,
    /// The password between `:` and `@` is not one of the stand-ins that documentation uses.
    RealPassword,
    /// Digits and letters mixed as in random text: for formats whose literal part is weak.
    Random,
}

/// One credential format. All texts are ours, written from the vendors' public descriptions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) severity: Severity,
    /// Stays in force under `dlp.include_defaults: false`.
    pub(super) core: bool,
    /// Literals of which every match contains one; compared without regard to case.
    pub(super) anchors: &'static [&'static str],
    /// Bytes before the anchor that the expression may need; 0 means the match begins at the anchor.
    pub(super) lookback: usize,
    /// The byte before a match must not be a letter, digit or underscore.
    pub(super) word: bool,
    /// Searched from the anchor (or `lookback` before it) over at most [`super::engine::WINDOW_BYTES`].
    pub(super) regex: &'static str,
    pub(super) check: Check,
    /// Must be found. In pieces, so that no other secret scanner trips over this file.
    #[cfg_attr(not(test), expect(dead_code, reason = "evidence for the table's test"))]
    pub(super) sample: &'static [&'static str],
    /// Looks similar and must not be found.
    #[cfg_attr(not(test), expect(dead_code, reason = "evidence for the table's test"))]
    pub(super) decoy: &'static str,
}

impl Rule {
    pub(super) const fn core(mut self) -> Self {
        self.core = true;
        self
    }

    pub(super) const fn word(mut self) -> Self {
        self.word = true;
        self
    }

    pub(super) const fn lookback(mut self, bytes: usize) -> Self {
        self.lookback = bytes;
        self
    }

    pub(super) const fn check(mut self, check: Check) -> Self {
        self.check = check;
        self
    }

    pub(super) const fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }
}

/// A critical rule without further conditions; the methods above add them.
pub(super) const fn rule(
    name: &'static str,
    anchors: &'static [&'static str],
    regex: &'static str,
    sample: &'static [&'static str],
    decoy: &'static str,
) -> Rule {
    let severity = Severity::Critical;
    Rule {
        name,
        severity,
        core: false,
        anchors,
        lookback: 0,
        word: false,
        regex,
        check: Check::None,
        sample,
        decoy,
    }
}
