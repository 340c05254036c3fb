//! Data-loss prevention: finds credentials in text, plain or wrapped in layers of encoding.
//!
//! A text is looked at as a stack of *layers*. Each layer is matched as it is, folded (zero-width and control
//! characters out, look-alikes to ASCII) and joined (white space out); then its percent escapes, character
//! escapes, base64, hex and base32 runs are undone into further layers. Depth and bytes are bounded; a text that
//! exceeds the byte budget is denied, not skipped.
//!
//! Matching is anchored: one Aho-Corasick pass finds the literal every format contains, and only there a small
//! regular expression runs. Pure: no clock but the caller's deadline, no logging, and a finding never holds text.

mod checks;
mod custom;
mod decode;
mod engine;
mod fold;
mod numbers;
mod rule;
mod rules;
mod scanner;

pub use custom::{CustomPattern, PatternError};
pub use rule::Severity;
pub use scanner::{Expired, Finding, Options, Scanner};

pub(crate) use checks::shannon_entropy;
pub use custom::Validator;
