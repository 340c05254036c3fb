//! Which subnet to try next. Pure.
//!
//! Inner zones walk the pool upwards from a place that the bottle's id decides, so that bottles of different
//! processes seldom ask for the same one; the shared zone walks it downwards from the top.

use ipnet::Ipv4Net;
use sha2::{Digest as _, Sha256};

use crate::ids::BottleId;

/// Prefix of an inner zone: network, bridge, broadcast and five members.
pub(in crate::backend) const ZONE_PREFIX: u8 = 29;

/// The subnets of an inner zone in the order in which they are tried, those that overlap `taken` left out.
pub(in crate::backend) fn inner(
    pool: Ipv4Net,
    bottle: &BottleId,
    taken: Vec<Ipv4Net>,
) -> impl Iterator<Item = Ipv4Net> {
    let count = count(pool, ZONE_PREFIX);
    let start = if count == 0 { 0 } else { place(bottle) % count };
    (0..count)
        .map(move |step| nth(pool, ZONE_PREFIX, (start + step) % count))
        .filter(move |candidate| free(*candidate, &taken))
}

/// The subnets of the shared zone in the order in which they are tried.
pub(in crate::backend) fn shared(pool: Ipv4Net, taken: Vec<Ipv4Net>) -> impl Iterator<Item = Ipv4Net> {
    let prefix = shared_prefix(pool);
    let count = count(pool, prefix);
    (0..count)
        .rev()
        .map(move |index| nth(pool, prefix, index))
        .filter(move |candidate| free(*candidate, &taken))
}

/// A sixteenth of the pool, at most 1022 members, never smaller than an inner zone nor larger than the pool.
fn shared_prefix(pool: Ipv4Net) -> u8 {
    (pool.prefix_len() + 4).clamp(22, ZONE_PREFIX).max(pool.prefix_len())
}

fn count(pool: Ipv4Net, prefix: u8) -> u32 {
    prefix.checked_sub(pool.prefix_len()).map_or(0, |bits| 1u32.checked_shl(bits.into()).unwrap_or(0))
}

fn nth(pool: Ipv4Net, prefix: u8, index: u32) -> Ipv4Net {
    let size = 1u32 << (32 - u32::from(prefix));
    let base = u32::from(pool.network()) + index * size;
    Ipv4Net::new_assert(base.into(), prefix)
}

/// Whether a subnet overlaps none of `taken`.
pub(in crate::backend) fn free(candidate: Ipv4Net, taken: &[Ipv4Net]) -> bool {
    !taken.iter().any(|other| other.contains(&candidate.network()) || candidate.contains(&other.network()))
}

fn place(bottle: &BottleId) -> u32 {
    let digest = Sha256::digest(bottle.as_str().as_bytes());
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn a_full_pool_offers_nothing() {
        let id = BottleId::from("a");
        assert_eq!(inner(net("10.9.0.0/28"), &id, vec![net("10.0.0.0/8")]).count(), 0);
        assert_eq!(inner(net("10.9.0.0/30"), &id, vec![]).count(), 0);
    }

    #[test]
    fn the_shared_zone_takes_the_top_of_the_pool() {
        assert_eq!(shared(net("10.9.0.0/16"), vec![]).next(), Some(net("10.9.252.0/22")));
        assert_eq!(shared(net("10.9.0.0/20"), vec![]).next(), Some(net("10.9.15.0/24")));
        assert_eq!(shared(net("10.9.0.0/28"), vec![]).next(), Some(net("10.9.0.8/29")));
    }

    proptest! {
        #[test]
        fn every_subnet_is_offered_once_inside_the_pool_and_never_on_taken_ground(
            base in any::<u32>(), prefix in 20u8..=29, id in "[0-9a-f]{16}",
            taken in proptest::collection::vec((any::<u32>(), 16u8..=30), 0..8),
        ) {
            let pool = Ipv4Net::new(Ipv4Addr::from(base), prefix).unwrap().trunc();
            let taken: Vec<Ipv4Net> = taken.into_iter()
                .map(|(offset, prefix)| {
                    let near = u32::from(pool.network()) ^ (offset & 0xffff);
                    Ipv4Net::new(near.into(), prefix).unwrap().trunc()
                }).collect();
            let id = BottleId::new(id);
            let offered: Vec<Ipv4Net> = inner(pool, &id, taken.clone()).collect();
            let mut sorted = offered.clone();
            sorted.sort();
            sorted.dedup();
            prop_assert_eq!(sorted.len(), offered.len());
            for subnet in &offered {
                prop_assert!(pool.contains(subnet));
                prop_assert!(free(*subnet, &taken));
            }
            let all: Vec<Ipv4Net> = pool.subnets(ZONE_PREFIX).unwrap().filter(|s| free(*s, &taken)).collect();
            prop_assert_eq!(all.len(), offered.len());
        }
    }
}
