//! The statements of a rule: what Weft's rules can say, one variant per thing the `nft` program prints in one piece.
//!
//! A statement becomes expressions of the kernel in `lower.rs` and text in `text.rs`; a new one needs both and nothing else.

use std::net::IpAddr;

use crate::{Field, Term, Value, Verdict};

/// How a match compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Greater, by the order of the wire: of numbers alone.
    Gt,
}

/// A mark that rules can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The packet's.
    Packet,
    /// The connection's.
    Connection,
}

/// State of a packet's connection; a value is a bit of the kernel's mask (`NF_CT_STATE_BIT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtState {
    /// The packet fits no connection.
    Invalid = 1,
    /// Both directions have been seen.
    Established = 2,
    /// It belongs to another connection: an ICMP error, for example.
    Related = 4,
    /// The first packet.
    New = 8,
}

/// Direction of a packet in its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtDirection {
    /// As the first packet.
    Original = 0,
    /// The other one.
    Reply = 1,
}

/// A property of a connection (`enum ip_conntrack_status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtStatus {
    /// Its source was translated.
    SourceTranslated = 0x10,
    /// Its destination was translated.
    DestinationTranslated = 0x20,
}

/// Kind of an address for this machine (`RTN_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressKind {
    /// One that is routed away.
    Unicast = 1,
    /// One of this machine.
    Local = 2,
}

/// What a refused sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// A TCP reset; only behind a match of TCP.
    TcpReset,
    /// ICMP or ICMPv6 "port unreachable".
    PortUnreachable,
    /// ICMP or ICMPv6 "administratively prohibited".
    AdminProhibited,
}

/// Which address a translation changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translate {
    /// The sender's.
    Source,
    /// The receiver's.
    Destination,
}

/// What a rule does to a map that it keeps itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recall {
    /// Adds the element unless its key is there; the time of one that is there begins anew, its value stays.
    Refresh {
        /// Life of the element, seconds.
        seconds: u32,
    },
    /// Removes the element of the key, if there is one.
    Forget,
}

/// One statement of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// A field compared with a value.
    Match {
        /// What is compared.
        field: Field,
        /// How.
        op: Op,
        /// With what; a `NamePrefix` compares only so many bytes.
        value: Value,
    },
    /// A field masked and compared with a number (host order): `meta mark & m == v`.
    Bits {
        /// The mark.
        mark: Mark,
        /// Which bits.
        mask: u32,
        /// What they must be.
        value: u32,
    },
    /// The connection is in one of these states.
    State(&'static [CtState]),
    /// Direction of the packet.
    Direction(CtDirection),
    /// The connection has a property.
    Status(CtStatus),
    /// TCP flags under a mask.
    TcpFlags {
        /// Which flags, as in the header.
        mask: u8,
        /// What they must be.
        value: u8,
    },
    /// An ARP message about IPv4 on Ethernet: any other form is none.
    ArpOfIpv4,
    /// Fields looked up as one key.
    Lookup {
        /// The fields, in the key's order.
        key: Vec<Field>,
        /// Name of the set, in the same table.
        set: &'static str,
        /// Matches when the key is *not* in the set.
        absent: bool,
    },
    /// A computed number compared with a constant, both of host order.
    Equals(Term, u32),
    /// A computed key looked up.
    Found {
        /// The key.
        key: Term,
        /// Name of the set, in the same table.
        set: &'static str,
        /// Matches when the key is *not* in the set.
        absent: bool,
    },
    /// A computed key looked up in a verdict map.
    Dispatch {
        /// The key.
        key: Term,
        /// Name of the map, in the same table.
        map: String,
    },
    /// A translation to a computed address, with a port behind it where there is one.
    Translate {
        /// Of which address.
        what: Translate,
        /// Whether IPv4; otherwise IPv6.
        v4: bool,
        /// Address, or address and port.
        to: Term,
        /// The source port is chosen at random, so that it can't be foreseen; only of sources.
        random: bool,
        /// Mark that the packet bears from then on; `to` is computed before.
        mark: Option<u32>,
    },
    /// The packet's mark becomes this number, all its bits.
    MarkBecomes(Term),
    /// The packet's mark becomes this constant, all its bits.
    MarkIs(u32),
    /// The packet's priority becomes this number.
    PriorityBecomes(Term),
    /// The packet's priority becomes this constant.
    PriorityIs(u32),
    /// Changes a map that rules keep.
    Remember {
        /// How.
        what: Recall,
        /// Name of the map, in the same table.
        map: &'static str,
        /// Key of the element.
        key: Term,
        /// Value of the element.
        data: Term,
    },
    /// Puts a key into a set that rules keep, or lets the time of one that is there begin anew.
    Renew {
        /// Name of the set, in the same table.
        set: &'static str,
        /// The field that is the key.
        key: Field,
        /// Life of the element, milliseconds.
        timeout_ms: u64,
    },
    /// Source becomes the address of the device it leaves by, the port is chosen at random.
    MasqueradeRandomly,
    /// Fields looked up in a verdict map.
    VerdictMap {
        /// The fields, in the key's order.
        key: Vec<Field>,
        /// Name of the map, in the same table.
        map: &'static str,
    },
    /// Destination address is of this kind for this machine.
    DestinationKind(Op, AddressKind),
    /// Changes bits of a mark and keeps all others: `mark = (mark & !clear) | set`.
    Mark {
        /// Which mark.
        mark: Mark,
        /// Bits that become 0.
        clear: u32,
        /// Bits that become 1; wins over `clear`.
        set: u32,
    },
    /// Lowers the MSS of a SYN to what the path carries in both directions; only in forward, output, postrouting.
    MssOfRoute,
    /// Counts packets and bytes.
    Counter,
    /// Matches at most this often.
    Limit {
        /// Packets per second.
        per_second: u64,
        /// Packets that may come at once.
        burst: u32,
    },
    /// Sends a copy of the packet to a group of listeners.
    Log {
        /// Group number.
        group: u16,
        /// Text that comes with it.
        prefix: &'static str,
    },
    /// Source becomes the address of the device it leaves by.
    Masquerade,
    /// Source becomes this address.
    Snat(IpAddr),
    /// Destination becomes this address, and port where one is given (then only behind a match of the protocol).
    Dnat(IpAddr, Option<u16>),
    /// The packet belongs to no connection; only before connection tracking (priority `raw`).
    NoTrack,
    /// Refuses and says so.
    Reject(Reject),
    /// Ends or leaves the chain.
    Verdict(Verdict),
}

impl Statement {
    /// `field == value`.
    pub const fn is(field: Field, value: Value) -> Self {
        Self::Match { field, op: Op::Eq, value }
    }

    /// The key is in the set.
    pub fn within(key: &[Field], set: &'static str) -> Self {
        Self::Lookup { key: key.to_vec(), set, absent: false }
    }

    /// The key is not in the set.
    pub fn outside(key: &[Field], set: &'static str) -> Self {
        Self::Lookup { key: key.to_vec(), set, absent: true }
    }

    /// The computed key is in the set.
    pub const fn found(key: Term, set: &'static str) -> Self {
        Self::Found { key, set, absent: false }
    }

    /// The computed key is not in the set.
    pub const fn not_found(key: Term, set: &'static str) -> Self {
        Self::Found { key, set, absent: true }
    }

    /// Jumps to a chain.
    pub fn jump(chain: &str) -> Self {
        Self::Verdict(Verdict::Jump(chain.to_owned()))
    }

    /// Goes to a chain.
    pub fn goto(chain: &str) -> Self {
        Self::Verdict(Verdict::Goto(chain.to_owned()))
    }
}
