//! Expressions to attributes.

use super::{Expr, attrs};
use crate::{Verdict, attr::Writer};

/// The register of a word on the wire: the first word of each 16 bytes keeps its old number 1 to 4, others count from 8.
fn register(word: u32) -> u32 {
    if word.is_multiple_of(4) { 1 + word / 4 } else { 8 + word }
}

/// A value as `struct nft_data`.
pub(crate) fn value(w: &mut Writer, kind: u16, bytes: &[u8]) {
    w.nested(kind, |w| {
        w.bytes(attrs::DATA_VALUE, bytes);
    });
}

/// A verdict as `struct nft_data`.
pub(crate) fn verdict(w: &mut Writer, kind: u16, verdict: &Verdict) {
    w.nested(kind, |w| {
        w.nested(attrs::DATA_VERDICT, |w| {
            w.u32(attrs::VERDICT_CODE, verdict.number());
            if let Some(chain) = verdict.chain() {
                w.string(attrs::VERDICT_CHAIN, chain);
            }
        });
    });
}

impl Expr {
    /// Name by which the kernel knows the expression.
    fn name(&self) -> &str {
        match self {
            Self::Meta { .. } | Self::MetaSet { .. } => "meta",
            Self::Payload { .. } => "payload",
            Self::Cmp { .. } => "cmp",
            Self::Bitwise { .. } => "bitwise",
            Self::Lookup { .. } | Self::Map { .. } => "lookup",
            Self::Constant { .. } | Self::Verdict(_) => "immediate",
            Self::Counter => "counter",
            Self::Ct { .. } | Self::CtSet { .. } => "ct",
            Self::Fib { .. } => "fib",
            Self::RouteMss { .. } => "rt",
            Self::HostToNetwork { .. } => "byteorder",
            Self::TcpOptionSet { .. } => "exthdr",
            Self::Limit { .. } => "limit",
            Self::Log { .. } => "log",
            Self::Masquerade | Self::MasqueradeRandomly => "masq",
            Self::Random { .. } => "numgen",
            Self::Hash { .. } => "hash",
            Self::Remember { .. } => "dynset",
            Self::Nat { .. } => "nat",
            Self::NoTrack => "notrack",
            Self::Reject { .. } => "reject",
            Self::Foreign(name) => name,
        }
    }

    /// Appends the expression as one element of a list.
    pub(crate) fn encode(&self, w: &mut Writer) {
        w.nested(1, |w| {
            w.string(attrs::NAME, self.name());
            w.nested(attrs::DATA, |w| self.encode_data(w));
        });
    }

    fn encode_data(&self, w: &mut Writer) {
        match self {
            Self::Meta { key, to } => {
                w.u32(attrs::META[0], register(*to)).u32(attrs::META[1], *key);
            }
            Self::MetaSet { key, from } => {
                w.u32(attrs::META[1], *key).u32(attrs::META[2], register(*from));
            }
            Self::Ct { key, to } => {
                w.u32(attrs::CT[0], register(*to)).u32(attrs::CT[1], *key);
            }
            Self::CtSet { key, from } => {
                w.u32(attrs::CT[1], *key).u32(attrs::CT[3], register(*from));
            }
            Self::Cmp { from, op, data } => {
                w.u32(attrs::CMP[0], register(*from)).u32(attrs::CMP[1], *op as u32);
                value(w, attrs::CMP[2], data);
            }
            Self::Constant { to, data } => {
                w.u32(attrs::IMMEDIATE[0], register(*to));
                value(w, attrs::IMMEDIATE[1], data);
            }
            Self::Verdict(which) => {
                w.u32(attrs::IMMEDIATE[0], 0); // NFT_REG_VERDICT
                verdict(w, attrs::IMMEDIATE[1], which);
            }
            Self::Fib { result, flags, to } => {
                w.u32(attrs::FIB[0], register(*to)).u32(attrs::FIB[1], *result).u32(attrs::FIB[2], *flags);
            }
            Self::RouteMss { to } => {
                w.u32(attrs::RT[0], register(*to)).u32(attrs::RT[1], attrs::RT_TCPMSS);
            }
            Self::Reject { kind, code } => {
                w.u32(attrs::REJECT[0], *kind).u8(attrs::REJECT[1], *code);
            }
            Self::MasqueradeRandomly => {
                w.u32(attrs::MASQUERADE_FLAGS, attrs::NAT_RANDOM);
            }
            Self::Random { to, modulus } => {
                let [dreg, modulus_, kind, _] = attrs::NUMGEN;
                w.u32(dreg, register(*to)).u32(modulus_, *modulus).u32(kind, attrs::NUMGEN_RANDOM);
            }
            Self::Map { map, from, to } => {
                let [name, sreg, dreg, _, _] = attrs::LOOKUP;
                w.string(name, map).u32(sreg, register(*from)).u32(dreg, register(*to));
            }
            Self::Counter | Self::Masquerade | Self::NoTrack | Self::Foreign(_) => {}
            Self::Hash { .. }
            | Self::Remember { .. }
            | Self::Payload { .. }
            | Self::Bitwise { .. }
            | Self::Lookup { .. }
            | Self::HostToNetwork { .. }
            | Self::TcpOptionSet { .. }
            | Self::Limit { .. }
            | Self::Log { .. }
            | Self::Nat { .. } => self.encode_long(w),
        }
    }

    /// The expressions with more than three attributes.
    fn encode_long(&self, w: &mut Writer) {
        match self {
            Self::Payload { base, offset, len, to } => {
                let [dreg, base_, offset_, len_] = attrs::PAYLOAD;
                w.u32(dreg, register(*to)).u32(base_, *base as u32).u32(offset_, *offset).u32(len_, *len);
            }
            Self::Bitwise { from, to, mask, xor } => {
                let [sreg, dreg, len, mask_, xor_, op] = attrs::BITWISE;
                let bytes = u32::try_from(mask.len()).expect("a mask fits a register");
                w.u32(sreg, register(*from)).u32(dreg, register(*to)).u32(len, bytes);
                w.u32(op, attrs::MASK_XOR);
                value(w, mask_, mask);
                value(w, xor_, xor);
            }
            Self::Lookup { set, from, verdict, absent } => {
                let [name, sreg, dreg, _, flags] = attrs::LOOKUP;
                w.string(name, set).u32(sreg, register(*from));
                if *verdict {
                    w.u32(dreg, 0);
                }
                w.u32(flags, u32::from(*absent));
            }
            Self::HostToNetwork { from, to, len, size } => {
                let [sreg, dreg, op, len_, size_] = attrs::BYTEORDER;
                w.u32(sreg, register(*from)).u32(dreg, register(*to)).u32(op, attrs::HTON);
                w.u32(len_, *len).u32(size_, *size);
            }
            Self::TcpOptionSet { option, offset, len, from } => {
                let [_, kind, offset_, len_, _, op, sreg] = attrs::EXTHDR;
                w.u32(sreg, register(*from)).u8(kind, *option).u32(offset_, *offset).u32(len_, *len);
                w.u32(op, attrs::EXTHDR_TCP);
            }
            Self::Limit { rate, unit_secs, burst } => {
                let [rate_, unit, burst_, kind, flags] = attrs::LIMIT;
                w.u64(rate_, *rate).u64(unit, *unit_secs).u32(burst_, *burst).u32(kind, 0).u32(flags, 0);
            }
            Self::Log { group, prefix } => {
                let [group_, prefix_] = attrs::LOG;
                w.bytes(group_, &group.to_be_bytes()).string(prefix_, prefix);
            }
            Self::Hash { from, len, to, modulus, seed } => {
                let [sreg, dreg, len_, modulus_, seed_, _, kind] = attrs::HASH;
                w.u32(sreg, register(*from)).u32(dreg, register(*to)).u32(len_, *len);
                w.u32(modulus_, *modulus).u32(seed_, *seed).u32(kind, 0); // NFT_HASH_JENKINS
            }
            Self::Remember { op, map, key, data, timeout_ms } => {
                let [name, _, op_, key_, data_, timeout] = attrs::DYNSET;
                w.string(name, map).u32(op_, *op as u32).u32(key_, register(*key));
                if let Some(data) = data {
                    w.u32(data_, register(*data));
                }
                if *timeout_ms != 0 {
                    w.u64(timeout, *timeout_ms);
                }
            }
            Self::Nat { kind, family, address, port, random } => {
                let [kind_, family_, address_, _, port_, _, flags] = attrs::NAT;
                w.u32(kind_, *kind as u32).u32(family_, u32::from(*family)).u32(address_, register(*address));
                if let Some(port) = port {
                    w.u32(port_, register(*port));
                }
                let given = if port.is_some() { attrs::NAT_PORT_GIVEN } else { 0 };
                let random = if *random { attrs::NAT_RANDOM } else { 0 };
                if given | random != 0 {
                    w.u32(flags, given | random);
                }
            }
            Self::Meta { .. }
            | Self::MetaSet { .. }
            | Self::Map { .. }
            | Self::Random { .. }
            | Self::MasqueradeRandomly
            | Self::Cmp { .. }
            | Self::Constant { .. }
            | Self::Verdict(_)
            | Self::Counter
            | Self::NoTrack
            | Self::Ct { .. }
            | Self::CtSet { .. }
            | Self::Fib { .. }
            | Self::RouteMss { .. }
            | Self::Masquerade
            | Self::Reject { .. }
            | Self::Foreign(_) => {}
        }
    }
}
