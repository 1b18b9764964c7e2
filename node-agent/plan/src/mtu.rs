//! How large packets may be: of the mesh device, of pods, on the path to one peer.
//!
//! Sizes are those of IP packets in bytes. WireGuard pads what it encrypts to a multiple of 16 but never beyond the MTU of its
//! own device (`drivers/net/wireguard/send.c`, `calculate_skb_padding`): the device may use the whole underlay, while a
//! smaller path behind it must leave room for the padding.

use weft_model::{Family, Overlay, ownership::WIREGUARD_OVERHEAD};

use crate::Error;

/// Least MTU of a link that carries IPv6 (RFC 8200 section 5).
pub const IPV6_MINIMUM: u32 = 1280;
/// Least MTU we make a link with: what every IPv4 host must accept (RFC 791).
pub const IPV4_MINIMUM: u32 = 576;
const UDP_HEADER: u32 = 8;
const PADDING: u32 = 16;

/// Length of an IP header without options or extensions.
pub const fn ip_header(family: Family) -> u32 {
    match family {
        Family::V4 => 20,
        Family::V6 => 40,
    }
}

/// What the mesh adds to a packet: outer IP and UDP headers and WireGuard's own (60 over IPv4, 80 over IPv6).
pub const fn mesh_overhead(outer: Family) -> u32 {
    ip_header(outer) + UDP_HEADER + WIREGUARD_OVERHEAD
}

/// MTU of the mesh device over an underlay of `underlay` bytes: 1500 gives 1440 over IPv4, 1420 over IPv6.
pub const fn mesh_mtu(underlay: u32, outer: Family) -> u32 {
    underlay.saturating_sub(mesh_overhead(outer))
}

/// Largest inner packet on a path whose outer packets may have `path` bytes, in a device of MTU `device`.
///
/// Below the device's MTU it is a multiple of 16, since padding is bounded by the device only.
pub const fn inner_mtu(path: u32, outer: Family, device: u32) -> u32 {
    let room = mesh_mtu(path, outer);
    if room >= device { device } else { room - room % PADDING }
}

/// MTU of pods, checked: in mode wireguard what the mesh leaves, in mode routed the underlay's.
///
/// Fails with `MtuTooSmall` when the pods have IPv6 and less than 1280 is left, or IPv4 and less than 576.
pub fn pod_mtu(overlay: Overlay, underlay: u32, outer: Family, families: &[Family]) -> Result<u32, Error> {
    let left = match overlay {
        Overlay::Wireguard => mesh_mtu(underlay, outer),
        Overlay::Routed => underlay,
    };
    if left < least(families) {
        return Err(Error::MtuTooSmall { underlay, left });
    }
    Ok(left)
}

/// Least MTU of a link that carries these families.
pub fn least(families: &[Family]) -> u32 {
    if families.contains(&Family::V6) { IPV6_MINIMUM } else { IPV4_MINIMUM }
}

/// MTU metric of a route, where a path is narrower than its device: never below the minimum of the family, under which
/// packets are fragmented instead (RFC 8200 section 5; IPv4: RFC 791).
pub fn route_mtu(path: u32, device: u32, family: Family) -> Option<u32> {
    (path < device).then(|| path.max(least(&[family])))
}

/// TCP maximum segment size for an MTU: without IP and TCP headers (RFC 9293 section 3.7.1).
pub const fn mss(mtu: u32, family: Family) -> u32 {
    mtu.saturating_sub(ip_header(family) + 20)
}

/// What a search for the largest packet found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathSize {
    /// Nothing passes, not even a small packet: nothing is known.
    Silent,
    /// The largest that the device takes passes.
    Whole,
    /// The largest that passes, bytes: less than the device takes.
    Narrow(u32),
}

/// A search for the largest packet that reaches a peer and comes back, by echo requests that are never fragmented.
///
/// A small packet goes first, since a peer that is down isn't a narrow path, then the largest, then what is in between. What
/// is narrow must be so twice: packets get lost by chance. Sans-IO: ask [`Probe::next_size`], send it (a few times before it
/// counts as lost), tell [`Probe::learn`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    small: u32,
    least: u32,
    device: u32,
    stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Is the peer there?
    Small,
    /// Is the path as wide as the device?
    Whole,
    /// The largest that is taken to pass, and the smallest that was lost.
    Between(u32, u32),
    /// Is the peer still there? Then this much passes.
    SmallAgain(u32),
    /// Was the largest lost by chance only? Else this much passes.
    WholeAgain(u32),
    Over(PathSize),
}

impl Probe {
    /// A search up to the MTU of the device and down to what the family needs at least; `small` is a size that any path takes.
    pub fn new(small: u32, device: u32, family: Family) -> Self {
        Self { small, least: least(&[family]).min(device), device, stage: Stage::Small }
    }

    /// The next size to try, bytes of the inner IP packet; `None`: the search is over.
    pub const fn next_size(&self) -> Option<u32> {
        match self.stage {
            Stage::Small | Stage::SmallAgain(_) => Some(self.small),
            Stage::Whole | Stage::WholeAgain(_) => Some(self.device),
            Stage::Between(passed, lost) => middle(passed, lost),
            Stage::Over(_) => None,
        }
    }

    /// Takes whether the next size passed.
    pub fn learn(&mut self, passed: bool) {
        let over = |size| Stage::Over(size);
        let stage = match (&self.stage, passed) {
            (Stage::Small | Stage::SmallAgain(_), false) => over(PathSize::Silent),
            (Stage::Whole | Stage::WholeAgain(_), true) => over(PathSize::Whole),
            (Stage::Small, true) => Stage::Whole,
            (Stage::Whole, false) => Stage::Between(self.least, self.device),
            (Stage::Between(good, bad), passed) => match (middle(*good, *bad), passed) {
                (Some(size), true) => Stage::Between(size, *bad),
                (Some(size), false) => Stage::Between(*good, size),
                (None, _) => Stage::SmallAgain(*good),
            },
            (Stage::SmallAgain(good), true) => Stage::WholeAgain(*good),
            (Stage::WholeAgain(good), false) => over(PathSize::Narrow(*good)),
            (Stage::Over(found), _) => over(*found),
        };
        self.stage = if let Stage::Between(good, bad) = stage
            && middle(good, bad).is_none()
        {
            Stage::SmallAgain(good)
        } else {
            stage
        };
    }

    /// What was found, once the search is over.
    pub const fn result(&self) -> Option<PathSize> {
        if let Stage::Over(found) = self.stage { Some(found) } else { None }
    }
}

/// Below the device's MTU only multiples of the padding are told apart.
const fn middle(passed: u32, lost: u32) -> Option<u32> {
    let middle = passed + lost.saturating_sub(passed) / 2;
    let middle = middle - middle % PADDING;
    let next = passed - passed % PADDING + PADDING;
    let size = if middle > next { middle } else { next };
    if size < lost { Some(size) } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_usual_sizes() {
        assert_eq!(mesh_mtu(1500, Family::V4), 1440);
        assert_eq!(mesh_mtu(1500, Family::V6), 1420);
        assert_eq!(mesh_mtu(9000, Family::V4), 8940);
        assert_eq!(mss(1440, Family::V4), 1400);
        assert_eq!(mss(1440, Family::V6), 1380);
        assert_eq!(inner_mtu(1500, Family::V4, 1440), 1440, "the path is no narrower");
        assert_eq!(inner_mtu(1400, Family::V4, 1440), 1328, "1340 left, padding fits");
        assert_eq!(route_mtu(1440, 1440, Family::V4), None);
        assert_eq!(route_mtu(1328, 1440, Family::V4), Some(1328));
        assert_eq!(route_mtu(1200, 1440, Family::V6), Some(1280));
    }

    #[test]
    fn ipv6_pods_need_1280_bytes() {
        let v6 = &[Family::V4, Family::V6];
        assert_eq!(pod_mtu(Overlay::Wireguard, 1340, Family::V4, v6), Ok(1280));
        let refused = pod_mtu(Overlay::Wireguard, 1339, Family::V4, v6);
        assert_eq!(refused, Err(Error::MtuTooSmall { underlay: 1339, left: 1279 }));
        assert_eq!(
            pod_mtu(Overlay::Wireguard, 1339, Family::V4, &[Family::V4]),
            Ok(1279),
            "IPv4 alone goes on"
        );
        assert_eq!(pod_mtu(Overlay::Routed, 1500, Family::V4, v6), Ok(1500));
    }

    /// What is found, and with how many echoes.
    fn search(device: u32, family: Family, mut passes: impl FnMut(u32) -> bool) -> (PathSize, u32) {
        let mut probe = Probe::new(64, device, family);
        let mut sent = 0;
        while let Some(size) = probe.next_size() {
            sent += 1;
            assert!(sent < 100, "{probe:?}");
            probe.learn(passes(size));
        }
        (probe.result().unwrap(), sent)
    }

    #[test]
    fn the_largest_size_is_found_with_few_echoes() {
        for (limit, expected, most) in [
            (0, PathSize::Silent, 1),
            (1440, PathSize::Whole, 2),
            (9000, PathSize::Whole, 2),
            (1439, PathSize::Narrow(1424), 12),
            (1328, PathSize::Narrow(1328), 12),
            (1300, PathSize::Narrow(1296), 12),
            (600, PathSize::Narrow(592), 12),
            (100, PathSize::Narrow(576), 12),
        ] {
            let (found, sent) = search(1440, Family::V4, |size| size <= limit);
            assert_eq!(found, expected, "{limit}");
            assert!(sent <= most, "{limit}: {sent} echoes");
        }
    }

    #[test]
    fn losses_by_chance_make_no_path_narrow() {
        let mut first = true;
        let (found, _) = search(1440, Family::V6, |size| size < 1440 || !std::mem::take(&mut first));
        assert_eq!(found, PathSize::Whole, "a single loss");
        let mut left = 4;
        let (found, _) = search(1440, Family::V6, |size| {
            left -= i32::from(left > 0);
            left > 0 && size < 1440
        });
        assert_eq!(found, PathSize::Silent, "the peer went away in the middle");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn a_search_finds_the_largest_padded_size(path in 500u32..1600, device in 1280u32..1500, v6: bool) {
            let family = if v6 { Family::V6 } else { Family::V4 };
            let passes = |size: u32| size.next_multiple_of(16).min(device) <= path;
            let (found, sent) = search(device, family, passes);
            prop_assert!(sent <= 12, "{sent} echoes");
            let narrow = (path - path % 16).max(least(&[family]));
            prop_assert_eq!(found, if path >= device { PathSize::Whole } else { PathSize::Narrow(narrow) });
        }

        #[test]
        fn a_padded_packet_never_outgrows_its_path(path in 700u32..9100, size in 1u32..9100, v6: bool) {
            let outer = if v6 { Family::V6 } else { Family::V4 };
            let device = mesh_mtu(1500, outer);
            let inner = inner_mtu(path, outer, device);
            let size = size.min(inner);
            let padded = size.next_multiple_of(16).min(device);
            prop_assert!(padded + mesh_overhead(outer) <= path.max(device + mesh_overhead(outer)));
            if path < 1500 {
                prop_assert!(padded + mesh_overhead(outer) <= path, "{size} in {path}");
            }
        }
    }
}
