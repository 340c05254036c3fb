//! Reading: from a file or from standard input, whole, before anything is parsed.

use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::file::File;
use super::validate;
use crate::gate::error::ConfigError;
use crate::gate::policy::Policy;

/// A file larger than this is a mistake.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Where the configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Read once and never again: it may hold secrets, and never touches a disk.
    Stdin,
    /// Read at start and at each `SIGHUP`.
    File(PathBuf),
}

impl Source {
    /// Understands `-` and `/dev/stdin` as standard input.
    pub fn from_argument(argument: &str) -> Self {
        match argument {
            "-" | "/dev/stdin" | "/proc/self/fd/0" => Self::Stdin,
            path => Self::File(path.into()),
        }
    }

    /// Only a file can be read again.
    pub fn can_reload(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

/// Reads and validates the configuration. Blocks until standard input ends.
///
/// # Errors
/// [`ConfigError`] with everything that is wrong with the file. It never quotes a token, a secret or a pattern.
pub fn read(source: &Source) -> Result<Policy, ConfigError> {
    let mut bytes = Vec::new();
    let directory = match source {
        Source::Stdin => {
            let input = std::io::stdin().lock();
            input
                .take(MAX_FILE_BYTES + 1)
                .read_to_end(&mut bytes)
                .map_err(|source| ConfigError::Read { path: "standard input".into(), source })?;
            PathBuf::from(".")
        }
        Source::File(path) => {
            let fail = |source| ConfigError::Read { path: path.display().to_string(), source };
            let file = std::fs::File::open(path).map_err(fail)?;
            file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
            path.parent().map(Path::to_path_buf).unwrap_or_default()
        }
    };
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ConfigError::TooLarge { limit_bytes: MAX_FILE_BYTES });
    }
    parse(&bytes, &directory)
}

/// Parses and validates the bytes of a file; `directory` is where `dlp.secrets_file` is looked for.
///
/// # Errors
/// As [`read`].
pub(super) fn parse(bytes: &[u8], directory: &Path) -> Result<Policy, ConfigError> {
    if bytes.trim_ascii().is_empty() {
        return Err(ConfigError::Empty);
    }
    let file: File = serde_yaml_ng::from_slice(bytes).map_err(|error| ConfigError::Syntax(syntax(&error)))?;
    validate::policy(&file, directory, hex::encode(Sha256::digest(bytes)))
}

/// The parser's message with quoted *values* taken out: a token in the wrong place must not reach a log.
/// Names of keys stay, since they are what the reader needs.
fn syntax(error: &serde_yaml_ng::Error) -> String {
    let text = error.to_string();
    if text.contains("unknown field") || text.contains("missing field") || text.contains("duplicate") {
        return text;
    }
    match (text.find('"'), text.rfind('"')) {
        (Some(first), Some(last)) if first < last => format!("{}\"…\"{}", &text[..first], &text[last + 1..]),
        _ => text,
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
