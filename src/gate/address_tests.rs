//! Every special range is refused, its neighbours are not, and exemptions reach only what they name.

use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn special_ranges_are_reserved() {
    for text in [
        "0.1.2.3",
        "10.1.2.3",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "0.0.0.0",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:0:1:2::3",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ] {
        assert!(classify(ip(text)).is_err(), "{text}");
    }
}

#[test]
fn neighbours_are_global() {
    for text in [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.1",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2003::1",
        "2600::1",
        "2a00:1450::1",
    ] {
        assert_eq!(classify(ip(text)), Ok(()), "{text}");
    }
}

#[test]
fn exemptions_lift_ranges_but_never_multicast() {
    let nets: Vec<IpNet> = vec!["10.20.0.0/16".parse().unwrap(), "224.0.0.0/4".parse().unwrap()];
    assert!(permit(ip("10.20.1.1"), false, &nets, &[]).is_ok());
    assert!(permit(ip("::ffff:10.20.1.1"), false, &nets, &[]).is_ok());
    assert!(permit(ip("10.21.1.1"), false, &nets, &[]).is_err());
    assert!(permit(ip("10.21.1.1"), true, &[], &[]).is_ok());
    assert!(permit(ip("224.0.0.1"), true, &nets, &[]).is_err());
    assert!(permit(ip("0.0.0.0"), true, &nets, &[]).is_err());
}

#[test]
fn owner_can_declare_more_ranges_internal() {
    let internal: Vec<IpNet> = vec!["8.8.8.0/24".parse().unwrap()];
    assert!(permit(ip("8.8.8.8"), false, &[], &internal).is_err());
    assert!(permit(ip("8.8.9.8"), false, &[], &internal).is_ok());
    assert!(permit(ip("8.8.8.8"), true, &[], &internal).is_ok());
}

proptest! {
    #[test]
    fn mapped_addresses_are_judged_as_what_they_carry(n: u32) {
        let v4 = Ipv4Addr::from(n);
        let mapped = IpAddr::V6(v4.to_ipv6_mapped());
        prop_assert_eq!(permit(mapped, false, &[], &[]).is_ok(), classify(v4.into()).is_ok());
    }

    #[test]
    fn whatever_std_calls_private_is_reserved(n: u32) {
        let v4 = Ipv4Addr::from(n);
        if v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_documentation() {
            prop_assert!(classify(v4.into()).is_err());
        }
    }
}
