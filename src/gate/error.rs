//! What can go wrong before the gate serves: all of it ends the process (or the reload) with a message.

use std::net::SocketAddr;

use super::allowlist::EntryError;
use super::dlp::PatternError;
use super::duration::DurationError;

/// A configuration that is not put in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read {path}")]
    Read {
        /// What was read.
        path: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// Nothing but white space; most often a closed pipe.
    #[error("the configuration is empty")]
    Empty,
    /// More than a configuration can be.
    #[error("the configuration is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// Not YAML, an unknown key, or a value of the wrong type.
    #[error("the configuration does not parse: {0}")]
    Syntax(String),
    /// Parsed, but not acceptable. Holds every finding.
    #[error("the configuration is not valid: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Finding>),
}

/// One thing that is wrong, with the key it is wrong at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct Finding {
    /// Dotted path of the key.
    pub key: String,
    /// What is wrong and what would be right.
    pub reason: Reason,
}

/// Why a key is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The value would loosen the gate or is not known; the text says what is expected.
    #[error("{0}")]
    Expected(&'static str),
    /// The switch asks for a protection that only the real engine has.
    #[error("not supported by the builtin engine; leave it off or use the pipelock engine")]
    Unsupported,
    /// A host pattern.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A duration.
    #[error(transparent)]
    Duration(#[from] DurationError),
    /// A pattern.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A range.
    #[error("\"{0}\" is not a CIDR range without host bits and longer than /0")]
    Range(String),
    /// An address to listen on.
    #[error("\"{0}\" is not an address and port, as in \"127.0.0.1:8888\"")]
    Listen(String),
    /// The secrets file as a whole.
    #[error("cannot read the secrets file ({0})")]
    SecretsFile(std::io::ErrorKind),
    /// Readable by others.
    #[error("the secrets file is readable by others; its mode has to be 0640 or less")]
    SecretsMode,
    /// A line that would be skipped in silence elsewhere.
    #[error("line {line} of the secrets file is {length} bytes long; allowed are {min} to 4096")]
    SecretLength {
        /// Counted from 1.
        line: usize,
        /// Bytes.
        length: usize,
        /// `dlp.min_env_secret_length`.
        min: usize,
    },
}

/// The gate could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A listener.
    #[error("listen on {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The runtime or its signal handlers.
    #[error("start the runtime")]
    Runtime(#[source] std::io::Error),
}
