//! Expressions: what the kernel's rules are made of, one level below statements.
//!
//! Statements become these (`lower.rs`); the kernel's dumps become these too (`expr/decode.rs`), so rules compare exactly.
//! Registers are counted in words of 4 bytes from 0 to 15.

pub(crate) mod decode;
pub(crate) mod encode;

use crate::Verdict;

/// Which header a payload expression counts from (`enum nft_payload_bases`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PayloadBase {
    Link = 0,
    Network = 1,
    Transport = 2,
}

/// How registers compare (`enum nft_cmp_ops`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CmpOp {
    Eq = 0,
    Ne = 1,
    Gt = 4,
}

/// Which address a translation changes (`enum nft_nat_types`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NatKind {
    Source = 0,
    Destination = 1,
}

/// What a rule does to a map (`enum nft_dynset_ops`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecallOp {
    Update = 1,
    Delete = 2,
}

/// One expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expr {
    /// Loads something about the packet (`enum nft_meta_keys`).
    Meta { key: u32, to: u32 },
    /// Changes something about the packet.
    MetaSet { key: u32, from: u32 },
    /// Loads bytes of the packet.
    Payload { base: PayloadBase, offset: u32, len: u32, to: u32 },
    /// Ends the rule unless the comparison holds.
    Cmp { from: u32, op: CmpOp, data: Vec<u8> },
    /// `to = (from & mask) ^ xor`.
    Bitwise { from: u32, to: u32, mask: Vec<u8>, xor: Vec<u8> },
    /// Looks registers up in a set; a verdict map gives its verdict at once.
    Lookup { set: String, from: u32, verdict: bool, absent: bool },
    /// Loads a constant.
    Constant { to: u32, data: Vec<u8> },
    /// Ends the rule with a verdict.
    Verdict(Verdict),
    /// Counts; the numbers are not compared.
    Counter,
    /// Loads something about the connection (`enum nft_ct_keys`).
    Ct { key: u32, to: u32 },
    /// Changes something about the connection.
    CtSet { key: u32, from: u32 },
    /// Asks the routing table about the packet's addresses (`enum nft_fib_result`, `enum nft_fib_flags`).
    Fib { result: u32, flags: u32, to: u32 },
    /// Loads the MSS of the route (`NFT_RT_TCPMSS`).
    RouteMss { to: u32 },
    /// Swaps a 2-byte number from host to network order.
    HostToNetwork { from: u32, to: u32, len: u32, size: u32 },
    /// Writes a TCP option.
    TcpOptionSet { option: u8, offset: u32, len: u32, from: u32 },
    /// Matches at most this often.
    Limit { rate: u64, unit_secs: u64, burst: u32 },
    /// Sends a copy to a group.
    Log { group: u16, prefix: String },
    /// Source becomes the address of the outgoing device.
    Masquerade,
    /// As `Masquerade`, with a random port.
    MasqueradeRandomly,
    /// Translates an address, and a port where one is given.
    Nat { kind: NatKind, family: u8, address: u32, port: Option<u32>, random: bool },
    /// Looks registers up in a map; ends the rule where it has no such key.
    Map { map: String, from: u32, to: u32 },
    /// A random number.
    Random { to: u32, modulus: u32 },
    /// Jenkins' hash of registers.
    Hash { from: u32, len: u32, to: u32, modulus: u32, seed: u32 },
    /// Adds, refreshes or removes an element of a map, or of a set, which has no data.
    Remember { op: RecallOp, map: String, key: u32, data: Option<u32>, timeout_ms: u64 },
    /// The packet belongs to no connection.
    NoTrack,
    /// Refuses and says so (`enum nft_reject_types`).
    Reject { kind: u32, code: u8 },
    /// One that Weft never writes; equal to nothing that it wants.
    Foreign(String),
}

/// `enum nft_ct_keys`.
pub(crate) mod ct {
    pub(crate) const STATE: u32 = 0;
    pub(crate) const DIRECTION: u32 = 1;
    pub(crate) const STATUS: u32 = 2;
    pub(crate) const MARK: u32 = 3;
}

/// `enum nft_fib_result` and `enum nft_fib_flags`.
pub(crate) mod fib {
    pub(crate) const ADDRESS_KIND: u32 = 3;
    pub(crate) const DESTINATION: u32 = 2;
}

/// `enum nft_reject_types` and `enum nft_reject_inet_code`.
pub(crate) mod reject {
    pub(crate) const TCP_RESET: u32 = 1;
    pub(crate) const ICMP: u32 = 0;
    pub(crate) const ICMPX: u32 = 2;
    /// Codes of "port unreachable" (RFC 792, RFC 4443 section 3.1).
    pub(crate) const ICMP4_PORT: u8 = 3;
    pub(crate) const ICMP6_PORT: u8 = 4;
    /// Codes of "administratively prohibited" (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1).
    pub(crate) const ICMP4_PROHIBITED: u8 = 13;
    pub(crate) const ICMP6_PROHIBITED: u8 = 1;
    pub(crate) const PORT_UNREACHABLE: u8 = 1;
    pub(crate) const ADMIN_PROHIBITED: u8 = 3;
}

/// Attributes of expressions, by type (`linux/netfilter/nf_tables.h`).
mod attrs {
    pub(crate) const NAME: u16 = 1;
    pub(crate) const DATA: u16 = 2;
    pub(crate) const DATA_VALUE: u16 = 1;
    pub(crate) const DATA_VERDICT: u16 = 2;
    pub(crate) const VERDICT_CODE: u16 = 1;
    pub(crate) const VERDICT_CHAIN: u16 = 2;
    pub(crate) const META: [u16; 3] = [1, 2, 3];
    pub(crate) const PAYLOAD: [u16; 4] = [1, 2, 3, 4];
    pub(crate) const CMP: [u16; 3] = [1, 2, 3];
    pub(crate) const BITWISE: [u16; 6] = [1, 2, 3, 4, 5, 6];
    pub(crate) const LOOKUP: [u16; 5] = [1, 2, 3, 4, 5];
    pub(crate) const IMMEDIATE: [u16; 2] = [1, 2];
    pub(crate) const CT: [u16; 4] = [1, 2, 3, 4];
    pub(crate) const FIB: [u16; 3] = [1, 2, 3];
    pub(crate) const RT: [u16; 2] = [1, 2];
    pub(crate) const BYTEORDER: [u16; 5] = [1, 2, 3, 4, 5];
    pub(crate) const EXTHDR: [u16; 7] = [1, 2, 3, 4, 5, 6, 7];
    /// Octets, packets.
    pub(crate) const COUNTER: [u16; 2] = [1, 2];
    pub(crate) const LIMIT: [u16; 5] = [1, 2, 3, 4, 5];
    pub(crate) const LOG: [u16; 2] = [1, 2];
    pub(crate) const NAT: [u16; 7] = [1, 2, 3, 4, 5, 6, 7];
    pub(crate) const REJECT: [u16; 2] = [1, 2];
    pub(crate) const MASQUERADE_FLAGS: u16 = 1;
    pub(crate) const NUMGEN: [u16; 4] = [1, 2, 3, 4];
    pub(crate) const HASH: [u16; 7] = [1, 2, 3, 4, 5, 6, 7];
    pub(crate) const DYNSET: [u16; 6] = [1, 2, 3, 4, 5, 6];
    /// `NFT_NG_RANDOM`.
    pub(crate) const NUMGEN_RANDOM: u32 = 1;
    /// `NF_NAT_RANGE_PROTO_RANDOM_FULLY`.
    pub(crate) const NAT_RANDOM: u32 = 16;
    /// `NFT_EXTHDR_OP_TCPOPT`.
    pub(crate) const EXTHDR_TCP: u32 = 1;
    /// `NFT_RT_TCPMSS`.
    pub(crate) const RT_TCPMSS: u32 = 3;
    /// `NFT_BYTEORDER_HTON`.
    pub(crate) const HTON: u32 = 1;
    /// `NFT_BITWISE_MASK_XOR`.
    pub(crate) const MASK_XOR: u32 = 0;
    /// `NF_NAT_RANGE_PROTO_SPECIFIED`.
    pub(crate) const NAT_PORT_GIVEN: u32 = 2;
}
