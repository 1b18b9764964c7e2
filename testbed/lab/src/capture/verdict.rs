//! What a capture of an underlay link holds: every frame in a class, and everything that has no business there. Pure.
//!
//! Pod addresses are looked for in the headers of every IP packet, also of those quoted in ICMP errors and named by ARP and
//! neighbour discovery; a 16-byte IPv6 address and the marker are looked for anywhere in a frame. (Four bytes of an IPv4 address turn
//! up in ciphertext by chance.)

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::decode::{ARP, Frame, ICMP, ICMPV6, Packet, TCP, UDP, frame, packet};

/// UDP ports of the mesh.
const MESH_PORTS: [u16; 2] = [51820, 51821];
/// TCP port of the control plane.
const CONTROL_PORT: u16 = 7443;
const SYN: u8 = 0x02;
/// Offenders described in words; the others are counted.
const MOST_DESCRIBED: usize = 20;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// UDP on a port of the mesh.
    WireGuard,
    /// TCP on the port of the control plane.
    ControlPlane,
    /// ARP.
    Arp,
    /// Neighbour and router solicitation and advertisement.
    Discovery,
    /// Multicast listener discovery.
    Listener,
    /// An ICMP error about one of the above.
    ErrorAbout,
    /// Anything else.
    Offender,
}

/// What to look for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Addresses of pods.
    pub addresses: Vec<IpAddr>,
    /// Bytes that the payloads carry.
    pub marker: Vec<u8>,
}

struct Needle {
    bytes: Vec<u8>,
    /// The address that it is; none for the marker.
    address: Option<IpAddr>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Frames looked at.
    pub frames: u64,
    /// Frames of each class.
    pub classes: BTreeMap<Class, u64>,
    /// Frames of class [`Class::Offender`], the first few in words.
    pub offenders: Vec<String>,
    /// Frames that hold an address of a pod, by address.
    pub addresses: BTreeMap<IpAddr, u64>,
    /// Frames that hold the marker.
    pub markers: u64,
}

/// Judges frames one after the other; fragments and streams are remembered.
pub struct Judge {
    /// Addresses that are looked for in headers.
    headers: Vec<IpAddr>,
    /// Bytes that are looked for everywhere.
    needles: Vec<Needle>,
    /// Which bytes a needle begins with: one pass over a frame serves all of them.
    beginnings: [bool; 256],
    verdict: Verdict,
    fragments: BTreeSet<(IpAddr, IpAddr, u32)>,
    starts: BTreeMap<(IpAddr, u16, IpAddr, u16), u32>,
}

impl Judge {
    /// A judge that looks for `wanted`.
    pub fn new(wanted: Wanted) -> Self {
        let long = wanted.addresses.iter().filter_map(|address| match address {
            IpAddr::V6(v6) => Some(Needle { bytes: v6.octets().to_vec(), address: Some(*address) }),
            IpAddr::V4(_) => None,
        });
        let mut needles: Vec<Needle> = long.collect();
        if !wanted.marker.is_empty() {
            needles.push(Needle { bytes: wanted.marker, address: None });
        }
        let mut beginnings = [false; 256];
        for first in needles.iter().filter_map(|needle| needle.bytes.first()) {
            beginnings[usize::from(*first)] = true;
        }
        Self {
            headers: wanted.addresses.into_iter().filter(IpAddr::is_ipv4).collect(),
            needles,
            beginnings,
            verdict: Verdict::default(),
            fragments: BTreeSet::new(),
            starts: BTreeMap::new(),
        }
    }

    /// Looks at one frame.
    pub fn frame(&mut self, bytes: &[u8]) {
        self.verdict.frames += 1;
        let Some(frame) = frame(bytes) else {
            return self.offender("a frame shorter than its header".to_owned());
        };
        let class = self.classify(&frame);
        if class == Class::Offender {
            self.offender(describe(&frame));
        } else {
            *self.verdict.classes.entry(class).or_default() += 1;
        }
        for address in self.headers.iter().filter(|address| holds_address(&frame, **address)) {
            *self.verdict.addresses.entry(*address).or_default() += 1;
        }
        for needle in self.found(bytes) {
            match self.needles[needle].address {
                Some(address) => *self.verdict.addresses.entry(address).or_default() += 1,
                None => self.verdict.markers += 1,
            }
        }
    }

    /// Which needles a frame holds.
    fn found(&self, bytes: &[u8]) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        for (at, byte) in bytes.iter().enumerate() {
            if self.beginnings[usize::from(*byte)] {
                let here = self.needles.iter().enumerate().filter(|(_, n)| bytes[at..].starts_with(&n.bytes));
                found.extend(here.map(|(i, _)| i));
            }
        }
        found
    }

    /// The verdict on all frames so far.
    pub fn end(self) -> Verdict {
        self.verdict
    }

    fn classify(&mut self, frame: &Frame<'_>) -> Class {
        match (&frame.packet, frame.ethertype) {
            (_, ARP) => Class::Arp,
            (Some(packet), _) => self.classify_packet(packet),
            (None, _) => Class::Offender,
        }
    }

    fn classify_packet(&mut self, packet: &Packet<'_>) -> Class {
        if let Some(fragment) = packet.fragment {
            let key = (packet.source, packet.destination, fragment.id);
            if fragment.offset > 0 {
                return if self.fragments.contains(&key) { Class::WireGuard } else { Class::Offender };
            }
            if plain_class(packet) == Class::WireGuard {
                self.fragments.insert(key);
            }
        }
        let class = plain_class(packet);
        if class == Class::ControlPlane && !self.speaks_tls(packet) {
            return Class::Offender;
        }
        if class == Class::Offender
            && packet.quoted().is_some_and(|quoted| plain_class(&quoted) != Class::Offender)
        {
            return Class::ErrorAbout;
        }
        class
    }

    /// The first bytes of each direction of a stream whose beginning was seen are a TLS handshake or alert record.
    fn speaks_tls(&mut self, packet: &Packet<'_>) -> bool {
        let (Some((from, to)), Some((flags, sequence, data))) = (packet.ports(), packet.tcp()) else {
            return true;
        };
        let key = (packet.source, from, packet.destination, to);
        if flags & SYN != 0 {
            self.starts.insert(key, sequence.wrapping_add(1));
            return data.is_empty();
        }
        match self.starts.get(&key) {
            Some(start) if *start == sequence && !data.is_empty() => {
                matches!(data, [0x15 | 0x16] | [0x15 | 0x16, 3, ..])
            }
            _ => true,
        }
    }

    fn offender(&mut self, what: String) {
        *self.verdict.classes.entry(Class::Offender).or_default() += 1;
        if self.verdict.offenders.len() < MOST_DESCRIBED {
            self.verdict.offenders.push(format!("frame {}: {what}", self.verdict.frames));
        }
    }
}

impl Verdict {
    /// Frames of `class`.
    pub fn count(&self, class: Class) -> u64 {
        self.classes.get(&class).copied().unwrap_or(0)
    }

    /// Whether nothing but the fabric's own protocols was seen, and neither address nor marker.
    pub fn is_clean(&self) -> bool {
        self.count(Class::Offender) == 0 && self.addresses.is_empty() && self.markers == 0
    }
}

fn plain_class(packet: &Packet<'_>) -> Class {
    let ports = packet.ports();
    let on = |port: u16| ports.is_some_and(|(from, to)| from == port || to == port);
    match (packet.protocol, packet.icmp()) {
        (UDP, _) if MESH_PORTS.into_iter().any(on) => Class::WireGuard,
        (TCP, _) if on(CONTROL_PORT) => Class::ControlPlane,
        (ICMPV6, Some((133..=136, _))) => Class::Discovery,
        (ICMPV6, Some((130..=132 | 143, _))) => Class::Listener,
        _ => Class::Offender,
    }
}

fn holds_address(frame: &Frame<'_>, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) if frame.ethertype == ARP => contains(frame.body, &v4.octets()),
        IpAddr::V4(_) | IpAddr::V6(_) => frame.packet.as_ref().is_some_and(|p| names(p, address)),
    }
}

/// Whether the packet, the one it quotes, or one that it carries in clear (IP in IP) is from or for `address`.
fn names(outer: &Packet<'_>, address: IpAddr) -> bool {
    let by = |p: &Packet<'_>| p.source == address || p.destination == address;
    let inner = matches!(outer.protocol, 4 | 41).then(|| packet(outer.payload)).flatten();
    by(outer) || outer.quoted().is_some_and(|q| by(&q)) || inner.is_some_and(|p| by(&p))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// One frame in words, as `capture` prints it.
pub fn describe(frame: &Frame<'_>) -> String {
    let Some(packet) = &frame.packet else {
        return match frame.ethertype {
            ARP => "ARP".to_owned(),
            other => format!("EtherType 0x{other:04x}, {} bytes", frame.body.len()),
        };
    };
    let (from, to) = (packet.source, packet.destination);
    let length = packet.payload.len();
    match (packet.protocol, packet.ports(), packet.icmp()) {
        (TCP, Some((a, b)), _) => {
            let (flags, _, data) = packet.tcp().unwrap_or((0, 0, &[]));
            format!("{} -> {} tcp {} {} bytes", end(from, a), end(to, b), flag_words(flags), data.len())
        }
        (UDP, Some((a, b)), _) => {
            format!("{} -> {} udp {} bytes", end(from, a), end(to, b), length.saturating_sub(8))
        }
        (ICMP, _, Some((kind, code))) => format!("{from} -> {to} icmp type {kind} code {code}"),
        (ICMPV6, _, Some((kind, code))) => format!("{from} -> {to} icmp6 type {kind} code {code}"),
        (protocol, ..) => format!("{from} -> {to} protocol {protocol} {length} bytes"),
    }
}

fn end(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

fn flag_words(flags: u8) -> String {
    let names = ["FIN", "SYN", "RST", "PSH", "ACK"];
    let set: Vec<&str> =
        names.iter().enumerate().filter(|(i, _)| flags >> i & 1 == 1).map(|(_, n)| *n).collect();
    set.join(",")
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
