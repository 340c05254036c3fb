//! Which addresses may be dialled: the global unicast ones, and those the policy exempts by name or by range.
//!
//! Ranges after the IANA special-purpose registries (RFC 6890 and its successors). Addresses that carry another
//! address inside (mapped, NAT64, 6to4, Teredo) are refused whole: no upstream is published under them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Why an address is not dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reserved {
    /// A private, loopback, link-local, shared or otherwise special range; an exemption lifts it.
    #[error("the address is in the reserved range {0}")]
    Range(&'static str),
    /// Unspecified, multicast or broadcast: means no single peer, so that no exemption lifts it.
    #[error("the address is not a unicast address ({0})")]
    NotUnicast(&'static str),
}

const V4_RANGES: &[(Ipv4Addr, u8, &str)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8, "0.0.0.0/8"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "10.0.0.0/8"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "100.64.0.0/10"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "127.0.0.0/8"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "169.254.0.0/16"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "172.16.0.0/12"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "192.0.0.0/24"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "192.0.2.0/24"),
    (Ipv4Addr::new(192, 31, 196, 0), 24, "192.31.196.0/24"),
    (Ipv4Addr::new(192, 52, 193, 0), 24, "192.52.193.0/24"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "192.88.99.0/24"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "192.168.0.0/16"),
    (Ipv4Addr::new(192, 175, 48, 0), 24, "192.175.48.0/24"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "198.18.0.0/15"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "198.51.100.0/24"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "203.0.113.0/24"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "240.0.0.0/4"),
];

const fn v6(a: u16, b: u16, c: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)
}

// Everything outside 2000::/3 is refused by one comparison below; these are the exceptions inside it.
const V6_RANGES: &[(Ipv6Addr, u8, &str)] = &[
    (v6(0x2001, 0, 0), 23, "2001::/23"),
    (v6(0x2001, 0xdb8, 0), 32, "2001:db8::/32"),
    (v6(0x2002, 0, 0), 16, "2002::/16"),
    (v6(0x2620, 0x4f, 0x8000), 48, "2620:4f:8000::/48"),
    (v6(0x3fff, 0, 0), 20, "3fff::/20"),
];

/// Says whether an address is global unicast, and if not, what it is.
///
/// # Errors
/// [`Reserved`] with the range, for the message and for the exemption rule.
pub fn classify(ip: IpAddr) -> Result<(), Reserved> {
    match ip {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => classify_v6(v6),
    }
}

fn classify_v4(ip: Ipv4Addr) -> Result<(), Reserved> {
    if ip.is_unspecified() {
        return Err(Reserved::NotUnicast("unspecified"));
    }
    if ip.is_multicast() {
        return Err(Reserved::NotUnicast("multicast"));
    }
    if ip.is_broadcast() {
        return Err(Reserved::NotUnicast("broadcast"));
    }
    let bits = u32::from(ip);
    match V4_RANGES.iter().find(|(net, len, _)| (bits ^ u32::from(*net)) >> (32 - len) == 0) {
        Some((_, _, name)) => Err(Reserved::Range(name)),
        None => Ok(()),
    }
}

fn classify_v6(ip: Ipv6Addr) -> Result<(), Reserved> {
    if ip.is_unspecified() {
        return Err(Reserved::NotUnicast("unspecified"));
    }
    if ip.is_multicast() {
        return Err(Reserved::NotUnicast("multicast"));
    }
    let first = ip.segments()[0];
    if first & 0xe000 != 0x2000 {
        return Err(Reserved::Range(match first {
            0xfc00..=0xfdff => "fc00::/7",
            0xfe80..=0xfebf => "fe80::/10",
            0xfec0..=0xfeff => "fec0::/10",
            0x0064 => "64:ff9b::/16",
            0x0000 => "::/16",
            _ => "outside 2000::/3",
        }));
    }
    let bits = u128::from(ip);
    match V6_RANGES.iter().find(|(net, len, _)| (bits ^ u128::from(*net)) >> (128 - len) == 0) {
        Some((_, _, name)) => Err(Reserved::Range(name)),
        None => Ok(()),
    }
}

/// The address whose exemption counts: an IPv4 address in its mapped form is that IPv4 address.
fn unmapped(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

/// Decides whether one resolved address may be dialled.
///
/// `trusted` says that the host's name is in `trusted_domains`; `exempt` is `ssrf.ip_allowlist`;
/// `internal` holds ranges that the owner declares internal in addition to the reserved ones.
///
/// # Errors
/// [`Reserved`] when the address is reserved or internal and nothing exempts it.
pub fn permit(ip: IpAddr, trusted: bool, exempt: &[IpNet], internal: &[IpNet]) -> Result<(), Reserved> {
    let ip = unmapped(ip);
    let verdict = classify(ip).and_then(|()| {
        let declared = internal.iter().any(|net| net.contains(&ip));
        if declared { Err(Reserved::Range("internal")) } else { Ok(()) }
    });
    match verdict {
        Err(Reserved::Range(_)) if trusted || exempt.iter().any(|net| net.contains(&ip)) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
