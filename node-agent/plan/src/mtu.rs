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

/// A search for the largest packet that reaches a peer and comes back, by echo requests that are never fragmented.
///
/// Sans-IO: ask [`Probe::next_size`], send it (a few times before it counts as lost), tell [`Probe::learn`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    device: u32,
    /// Largest size that passed; 0 while none has.
    passed: u32,
    /// Smallest size that was lost; beyond the device's MTU while none was.
    lost: u32,
    least: u32,
}

impl Probe {
    /// A search up to the MTU of the device and down to what the family needs at least.
    pub fn new(device: u32, family: Family) -> Self {
        Self { device, passed: 0, lost: device + 1, least: least(&[family]).min(device) }
    }

    /// The next size to try, bytes of the inner IP packet; `None`: the search is over.
    pub const fn next_size(&self) -> Option<u32> {
        if self.lost > self.device {
            return if self.passed == self.device { None } else { Some(self.device) };
        }
        if self.passed == 0 {
            // Either the least passes, or the peer isn't reached at all, which says nothing of sizes.
            return if self.lost > self.least { Some(self.least) } else { None };
        }
        // Below the device's MTU only multiples of the padding are told apart.
        let middle = self.passed + (self.lost - self.passed) / 2;
        let middle = middle - middle % PADDING;
        if middle > self.passed { Some(middle) } else { self.step_up() }
    }

    /// Takes what came of a size.
    pub const fn learn(&mut self, size: u32, passed: bool) {
        if passed {
            if size > self.passed {
                self.passed = size;
            }
        } else if size < self.lost {
            self.lost = size;
        }
    }

    /// The largest size that is known to pass, once the search is over; `None` when the peer wasn't reached.
    pub fn result(&self) -> Option<u32> {
        (self.next_size().is_none() && self.passed > 0).then_some(self.passed)
    }

    const fn step_up(&self) -> Option<u32> {
        let next = self.passed - self.passed % PADDING + PADDING;
        if next < self.lost { Some(next) } else { None }
    }
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn a_search_finds_the_largest_padded_size(path in 500u32..1600, device in 1280u32..1500, v6: bool) {
            let family = if v6 { Family::V6 } else { Family::V4 };
            let mut probe = Probe::new(device, family);
            let mut sent = 0;
            while let Some(size) = probe.next_size() {
                sent += 1;
                prop_assert!(sent <= 12, "{probe:?}");
                probe.learn(size, size.next_multiple_of(16).min(device) <= path);
            }
            let least = least(&[family]);
            let reachable = path >= least.next_multiple_of(16).min(device);
            let expected = if path >= device { device } else { path - path % 16 };
            prop_assert_eq!(probe.result(), reachable.then_some(expected));
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
