//! Canonicalisation: every spelling of an address is an address, every spelling of a name is one name.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;

#[test]
fn spellings_of_one_address_meet() {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    for text in [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "0177.0.0.1",
        "2130706433",
        "0x7f000001",
        "127.0.0.1.",
        "１２７.0.0.1",
    ] {
        assert_eq!(Host::parse(text).unwrap().literal(), Some(loopback), "{text}");
    }
    for text in ["::1", "[::1]", "[0:0::0001]"] {
        assert_eq!(Host::parse(text).unwrap().literal(), Some("::1".parse().unwrap()), "{text}");
    }
}

#[test]
fn spellings_of_one_name_meet() {
    for text in ["api.example.test", "API.Example.TEST", "api.example.test.", "api%2Eexample.test"] {
        assert_eq!(Host::parse(text).unwrap(), Host::Name("api.example.test".into()), "{text}");
    }
}

#[test]
fn nonsense_is_refused() {
    for text in
        ["", ".", "..", "a..b", "a b", "a/b", "a\0b", "fe80::1%eth0", "[::1", "a@b", "-.\u{7f}", "300.1.1.1"]
    {
        assert!(Host::parse(text).is_err(), "{text:?}");
    }
    assert!(Host::parse(&"a.".repeat(200)).is_err());
}

proptest! {
    #[test]
    fn any_ipv4_number_form_is_seen_as_its_address(n: u32) {
        let ip = IpAddr::V4(Ipv4Addr::from(n));
        let [a, b, c, d] = n.to_be_bytes();
        for text in [
            n.to_string(), format!("{n:#x}"), format!("0{n:o}"), format!("{a}.{b}.{c}.{d}"),
            format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"), format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
            format!("{a}.{}", n & 0xff_ffff), format!("{a}.{b}.{}", n & 0xffff),
        ] {
            prop_assert_eq!(Host::parse(&text).unwrap().literal(), Some(ip));
        }
    }

    #[test]
    fn parsing_never_panics_and_is_idempotent(text in "\\PC{0,80}") {
        if let Ok(host) = Host::parse(&text) {
            let again = Host::parse(host.as_str()).unwrap();
            prop_assert_eq!(again, host);
        }
    }
}
