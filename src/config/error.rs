//! What can be wrong with the configuration file.

use std::path::PathBuf;

use crate::error::ErrorKind;

/// A configuration that cannot be read, understood or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file exists but cannot be read.
    #[error("read configuration {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file says something that is not allowed.
    #[error("configuration {}: {problems}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, each problem on its own line, with the nearest known name.
        problems: String,
    },
    /// The file cannot be written.
    #[error("write configuration {}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl ConfigError {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { .. } | Self::Invalid { .. } => ErrorKind::Input,
            Self::Write { .. } => ErrorKind::Refused,
        }
    }
}
