//! The tables as a kernel asks them. **This is the specification for whoever writes the rules**: the same questions in the
//! same order.
//!
//! Where: every packet to and from local pods, after destinations were translated (services, port mappings) and before
//! sources are. What is judged is the original direction of the packet's connection: a reply asks with the roles of the
//! connection's first packet, so what is denied from now on stops at once. `source`, `destination`, `protocol` and `port` (the
//! destination's) are those of the original direction behind translation. Fragments are judged once they are whole.
//!
//! Before all questions:
//! 1. Errors about a known connection (ICMP types 3, 11, 12; ICMPv6 1 to 4), and neighbour discovery: pass.
//! 2. `source` and `destination` are the same pod's (its own address behind its own service, hairpin): pass.
//! 3. Packets that a process of this node sent (output hook) pass the question of ingress; what the node forwards doesn't,
//!    whatever its source address.
//! 4. Packets to this node's own addresses (input hook) are asked for egress alone; they pass if the fabric says
//!    `nodeEgress: allow`. The resolver's addresses aren't meant: they are a pod's to policies.
//!
//! Then egress, on the node of the source, with `own = source`, `other = destination`, `profile_out`; and ingress, on the node
//! of the destination, with `own = destination`, `other = source`, `profile_in`. Both must pass. One question:
//! 1. `profile = profile_X[own]`. Missing: **drop** (a pod that isn't known is closed). OPEN: **pass**.
//! 2. `identity = identity[other]`. Found: `set = peers[profile, identity]`, or if missing `set = defaults_pod[profile]`. Not
//!    found: `set = defaults_any[profile]`.
//! 3. If there is a set, and it *has* the packet: **pass**.
//! 4. `class = blocks[other]` (interval). Found, and `set = block_peers[profile, class]` found, and it *has* the packet: **pass**.
//! 5. **drop**.
//!
//! A set *has* a packet if
//! - it is ALL; or else, only for TCP, UDP and SCTP:
//! - `ports` has `(set, protocol, port)`; or
//! - `ports` has `(set, protocol, 0)`: every port; or
//! - `port_class[protocol, port]` (interval) is found, and `range_ports` has `(set, that class)`.

use std::net::IpAddr;

use weft_model::{Direction, IdentityId, Protocol};

use crate::{
    decision::Verdict,
    flow::Transport,
    ports::PortsId,
    profile::ProfileId,
    table::{BlockClass, Key, PortClass, Tables},
};

impl Tables {
    /// One question: whether a local pod's end lets a flow pass.
    pub fn ask(&self, direction: Direction, own: IpAddr, other: IpAddr, transport: Transport) -> Verdict {
        let Some(profile) = self.get(&Key::Profile(direction, own)).map(ProfileId) else {
            return Verdict::Deny;
        };
        if profile == ProfileId::OPEN {
            return Verdict::Allow;
        }
        let identity = self.get(&Key::Identity(other)).map(IdentityId);
        let set = match identity {
            Some(identity) => {
                self.get(&Key::Peer(profile, identity)).or_else(|| self.get(&Key::DefaultPod(profile)))
            }
            None => self.get(&Key::DefaultAny(profile)),
        };
        #[cfg(test)]
        let set = match identity {
            None if crate::mutant::is(crate::mutant::Mutant::StrangersArePods) => {
                self.get(&Key::DefaultPod(profile))
            }
            _ => set,
        };
        if set.is_some_and(|set| self.set_has(PortsId(set), transport)) {
            return Verdict::Allow;
        }
        #[cfg(test)]
        if crate::mutant::is(crate::mutant::Mutant::BlocksSkipPods) && identity.is_some() {
            return Verdict::Deny;
        }
        let set = self.block_class(other).and_then(|class| self.get(&Key::BlockPeer(profile, class)));
        Verdict::of(set.is_some_and(|set| self.set_has(PortsId(set), transport)))
    }

    /// Whether a set has a packet.
    fn set_has(&self, set: PortsId, transport: Transport) -> bool {
        if set == PortsId::ALL {
            return true;
        }
        let Transport::Port(protocol, port) = transport else { return false };
        let exact = |port| self.get(&Key::Port(set, protocol, port)).is_some();
        exact(port)
            || exact(0)
            || self
                .port_class(protocol, port)
                .is_some_and(|class| self.get(&Key::RangePort(set, class)).is_some())
    }

    /// The interval of `blocks` that an address lies in.
    fn block_class(&self, address: IpAddr) -> Option<BlockClass> {
        let (key, class) = self.range(Key::blocks_to(address)).next_back()?;
        let Key::Block(_, last) = key else { return None };
        (*last >= address).then_some(BlockClass(class))
    }

    /// The interval of `port_class` that a port lies in.
    fn port_class(&self, protocol: Protocol, port: u16) -> Option<PortClass> {
        let below = Key::PortClass(protocol, 0, 0)..=Key::PortClass(protocol, port, u16::MAX);
        let (key, class) = self.range(below).next_back()?;
        let Key::PortClass(_, _, last) = key else { return None };
        (*last >= port).then_some(PortClass(class))
    }
}
