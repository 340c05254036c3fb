//! Newtypes for every name and number that crosses a module border, and [`Secret`].
//!
//! Owns no behaviour beyond parsing and display. Signatures take these instead of `String`, so that a
//! bottle id cannot be handed over where a container id is meant.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps text that is already known to be valid.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text as it appears on the engine, in labels and in messages.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

string_id!(
    /// Identifies one bottle for its whole life: 16 hex digits, random, written into every label.
    BottleId
);
string_id!(
    /// The part of a bottle's names that people see: `claude-bottle-<slug>`.
    Slug
);
string_id!(
    /// Identifies the runtime that owns a bottle; names its lease file.
    OwnerId
);
string_id!(
    /// A reference to an image: `name:tag` or `name@sha256:…`.
    ImageRef
);
string_id!(
    /// What the engine calls a member after creation (a container id on Docker).
    MemberId
);
string_id!(
    /// SHA-256 fingerprint of a certificate: upper-case hex pairs joined by colons.
    Fingerprint
);

/// The three containers of a bottle, in start order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Destination lock: the only member with a way out.
    Pipelock,
    /// Content lock: TLS interception and verdicts.
    Mitmproxy,
    /// Where the agent's processes run.
    Agent,
}

impl Role {
    /// All roles in start order; teardown walks it backwards.
    pub const ALL: [Role; 3] = [Role::Pipelock, Role::Mitmproxy, Role::Agent];

    /// The text used in labels and output.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Pipelock => "pipelock",
            Role::Mitmproxy => "mitmproxy",
            Role::Agent => "agent",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A value that must never be shown: no `Display`, no `Serialize`, a redacted `Debug`, zeroed on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T: Zeroize = String>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes ownership of a secret value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. The name is long on purpose: each use is a place to review.
    pub fn expose_secret(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl From<&str> for Secret<String> {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Secret<String> {
    fn from(text: String) -> Self {
        Self(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_secret_shows_nothing() {
        let secret = Secret::from("hunter2-hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn roles_are_in_start_order() {
        assert_eq!(Role::ALL.map(Role::as_str), ["pipelock", "mitmproxy", "agent"]);
    }
}
