//! Service ranges and the node port range: which numbers can be given out, and which band is left to people.
//!
//! The lower band is for numbers that people choose, the upper one for those given out by chance; only when the upper
//! one is full, numbers of the lower one are given out (KEP 3070 for addresses, KEP 3668 for ports).

use std::net::IpAddr;

use weft_model::{AddressRange, Fabric, Family};

use crate::chance::Chance;

/// Size of the lower band of a service range.
pub(crate) fn address_band(size: u128) -> u128 {
    band(size, 16, 256)
}

/// Size of the lower band of a node port range.
pub(crate) fn port_band(size: u128) -> u128 {
    band(size, 32, 128)
}

fn band(size: u128, divisor: u128, most: u128) -> u128 {
    if size <= 16 { 0 } else { (size / divisor).clamp(16, most) }
}

/// First and last position of a service range that a service may have: IPv4 without network and broadcast address, IPv6
/// without the first address (RFC 4291 section 2.6.1).
pub(crate) fn usable(range: AddressRange) -> (u128, u128) {
    let size = range.size();
    (1, if range.family() == Family::V4 { size.saturating_sub(2) } else { size.saturating_sub(1) })
}

/// What a position is kept for.
pub(crate) const fn reserved(position: u128) -> Option<&'static str> {
    match position {
        1 => Some("the control plane's own service"),
        10 => Some("the cluster's DNS"),
        _ => None,
    }
}

/// The service range that may give out an address, and the address's position; reserved ones too.
pub(crate) fn position(fabric: &Fabric, address: IpAddr) -> Option<(AddressRange, u128)> {
    let range = *fabric.ranges.services.iter().find(|range| range.contains(address))?;
    let position = range.index_of(address)?;
    let (first, last) = usable(range);
    (first..=last).contains(&position).then_some((range, position))
}

/// A free number from `first` to `last`, the search beginning at a random one. `free` finds the lowest free number
/// between two.
pub(crate) fn choose(
    (first, last): (u128, u128),
    chance: &mut Chance,
    free: impl Fn(u128, u128) -> Option<u128>,
) -> Option<u128> {
    let size = last.checked_sub(first)?.saturating_add(1);
    let start = first + chance.below(size);
    let below = || start.checked_sub(1).filter(|end| *end >= first).and_then(|end| free(first, end));
    free(start, last).or_else(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_those_of_kubernetes() {
        for (size, expected) in [(16, 0), (17, 16), (256, 16), (4096, 256), (65_536, 256), (1 << 64, 256)] {
            assert_eq!(address_band(size), expected, "{size}");
        }
        for (size, expected) in [(16, 0), (100, 16), (2768, 86), (65_535, 128)] {
            assert_eq!(port_band(size), expected, "{size}");
        }
    }

    #[test]
    fn usable_positions_leave_out_what_names_the_network() {
        assert_eq!(usable("10.0.0.0/28".parse().unwrap()), (1, 14));
        assert_eq!(usable("fd00::/112".parse().unwrap()), (1, 65_535));
    }

    #[test]
    fn the_search_goes_once_around() {
        let mut chance = Chance::new([3; 16], "x");
        for only in 5..=9 {
            let free = |a, b| (a..=b).find(|n| *n == only);
            assert_eq!(choose((5, 9), &mut chance, free), Some(only));
        }
        assert_eq!(choose((5, 9), &mut chance, |_, _| None), None);
        assert_eq!(choose((9, 5), &mut chance, |a, _| Some(a)), None);
    }
}
