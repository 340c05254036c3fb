//! One canonical form for the host of a `CONNECT` line, a URL, an allowlist entry or an SNI.
//!
//! The WHATWG host parser does the folding (percent-encoding, IDNA, full-width digits, and IPv4 numbers in
//! decimal, octal, hex or short form), so that `0x7f.1` is an address here too and not a name.

use std::fmt;
use std::net::IpAddr;

/// A host after canonicalisation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A DNS name: lower case, punycode, no trailing dot.
    Name(String),
    /// An address, with the text the client wrote: only that exact text may be on an allowlist.
    Address {
        /// What the text means to a resolver.
        ip: IpAddr,
        /// The text as written, lower case, without brackets.
        text: String,
    },
}

/// Text that names no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing left after trimming.
    #[error("the host is empty")]
    Empty,
    /// Longer than a DNS name can be (RFC 1035, 2.3.4).
    #[error("the host is longer than 253 characters")]
    TooLong,
    /// Not a name and not an address.
    #[error("the host is not a valid name or address")]
    Malformed,
}

impl Host {
    /// Parses the host part of an authority (no port). IPv6 may be bare or in brackets.
    ///
    /// # Errors
    /// [`HostError`] when no resolver could make sense of the text; callers refuse.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if text.len() > 1024 {
            return Err(HostError::TooLong);
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        let lower = bare.to_ascii_lowercase();
        if bare.contains(':') {
            // `url` wants brackets; std parses the same RFC 4291 text. A zone id is never global: refused.
            let ip = bare.parse().map(IpAddr::V6).map_err(|_| HostError::Malformed)?;
            return Ok(Self::Address { ip, text: lower });
        }
        // One trailing dot is the DNS root; the WHATWG parser would keep it in names.
        let rooted = lower.strip_suffix('.').unwrap_or(&lower);
        if rooted.is_empty() {
            return Err(HostError::Empty);
        }
        match url::Host::parse(rooted).map_err(|_| HostError::Malformed)? {
            url::Host::Ipv4(ip) => Ok(Self::Address { ip: ip.into(), text: rooted.to_owned() }),
            url::Host::Ipv6(ip) => Ok(Self::Address { ip: ip.into(), text: rooted.to_owned() }),
            url::Host::Domain(name) => {
                let name = name.strip_suffix('.').unwrap_or(&name).to_owned();
                if name.len() > 253 {
                    return Err(HostError::TooLong);
                }
                if !name.split('.').all(is_resolvable_label) {
                    return Err(HostError::Malformed);
                }
                Ok(Self::Name(name))
            }
        }
    }

    /// The text that allowlist entries are compared with.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Address { text, .. } => text,
        }
    }

    /// The address, when the host is a literal.
    pub fn literal(&self) -> Option<IpAddr> {
        match self {
            Self::Name(_) => None,
            Self::Address { ip, .. } => Some(*ip),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Letters, digits, hyphen, and the underscore that real service names use; 1 to 63 octets.
fn is_resolvable_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
