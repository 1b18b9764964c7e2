//! Terms: what a rule computes out of a packet before it looks something up or translates an address.
//!
//! In: fields, random numbers, hashes, maps, joined to keys. Out: expressions that leave the value in neighbouring registers
//! (`lower.rs`), and text. What a map gives is never part of a key: the `nft` program (1.0.6) breaks off its listing there. It goes into
//! the mark or the priority first. Each part stands from a whole word (4 bytes) on, as the kernel keeps concatenations.

use std::fmt;

use crate::{DataType, Field};

/// A value that a rule computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    /// A field of the packet.
    Field(Field),
    /// The packet's mark.
    Mark,
    /// The packet's priority: a number that rules may keep while they work, before anybody queues the packet.
    Priority,
    /// A random number from 0 to one less than this.
    Random(u32),
    /// Jenkins' hash of fields: the same number for the same packet on every machine of one byte order.
    Hash {
        /// What is hashed, side by side.
        of: Vec<Field>,
        /// The result lies from 0 to one less than this.
        modulus: u32,
        /// Mixed in, so that two hashes of one packet differ.
        seed: u32,
    },
    /// A number with only these bits kept.
    Masked(Box<Self>, u32),
    /// What a map gives for a key; a rule ends where the map has none.
    Mapped {
        /// The key.
        key: Box<Self>,
        /// Name of the map, in the same table.
        map: &'static str,
        /// What the map gives.
        data: &'static [DataType],
    },
    /// Values side by side.
    Joined(Vec<Self>),
}

impl Term {
    /// Fields side by side.
    pub fn fields(fields: &[Field]) -> Self {
        match fields {
            [one] => Self::Field(*one),
            all => Self::Joined(all.iter().map(|field| Self::Field(*field)).collect()),
        }
    }

    /// What a map gives for this key.
    #[must_use]
    pub fn mapped(self, map: &'static str, data: &'static [DataType]) -> Self {
        Self::Mapped { key: Box::new(self), map, data }
    }

    /// Only these bits of the number.
    #[must_use]
    pub fn masked(self, mask: u32) -> Self {
        Self::Masked(Box::new(self), mask)
    }

    /// Words (of 4 bytes) that the value takes.
    pub(crate) fn words(&self) -> u32 {
        match self {
            Self::Field(field) => field.bytes().div_ceil(4),
            Self::Mark | Self::Priority | Self::Random(_) | Self::Hash { .. } | Self::Masked(..) => 1,
            Self::Mapped { data, .. } => data.iter().map(|part| words_of(*part)).sum(),
            Self::Joined(parts) => parts.iter().map(Self::words).sum(),
        }
    }

    /// Calls `with` for each field that the value is made of.
    pub(crate) fn each_field(&self, with: &mut impl FnMut(Field)) {
        match self {
            Self::Field(field) => with(*field),
            Self::Mark | Self::Priority | Self::Random(_) => {}
            Self::Hash { of, .. } => of.iter().for_each(|field| with(*field)),
            Self::Masked(inner, _) | Self::Mapped { key: inner, .. } => inner.each_field(with),
            Self::Joined(parts) => parts.iter().for_each(|part| part.each_field(with)),
        }
    }
}

/// Words that a part of a key or of a map's data takes.
pub(crate) fn words_of(data: DataType) -> u32 {
    u32::try_from(data.bytes().div_ceil(4)).expect("types are at most 16 bytes")
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => f.write_str(field.text()),
            Self::Mark => f.write_str("meta mark"),
            Self::Priority => f.write_str("meta priority"),
            Self::Random(modulus) => write!(f, "numgen random mod {modulus}"),
            Self::Hash { of, modulus, seed } => {
                let of: Vec<&str> = of.iter().map(|field| field.text()).collect();
                write!(f, "jhash {} mod {modulus} seed {seed:#x}", of.join(" . "))
            }
            Self::Masked(inner, mask) => write!(f, "{inner} & {mask:#010x}"),
            Self::Mapped { key, map, .. } => write!(f, "{key} map @{map}"),
            Self::Joined(parts) => {
                for (i, part) in parts.iter().enumerate() {
                    let separator = if i == 0 { "" } else { " . " };
                    write!(f, "{separator}{part}")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKEND: &[DataType] = &[DataType::Ipv4Addr, DataType::InetService];

    #[test]
    fn a_term_reads_from_the_inside_out() {
        let key = Term::fields(&[Field::Ip4Destination, Field::L4Proto, Field::TransportDestination]);
        assert_eq!(key.words(), 3);
        let target = key.mapped("services", &[DataType::Mark]);
        assert_eq!(target.to_string(), "ip daddr . meta l4proto . th dport map @services");
        let group = Term::Mark.masked(0xffff_ff00);
        let backend = Term::Joined(vec![group, Term::Random(3)]).mapped("backends", BACKEND);
        assert_eq!(backend.words(), 2);
        let text = "meta mark & 0xffffff00 . numgen random mod 3 map @backends";
        assert_eq!(backend.to_string(), text);
        let mut fields = Vec::new();
        target.each_field(&mut |field| fields.push(field));
        assert_eq!(fields, [Field::Ip4Destination, Field::L4Proto, Field::TransportDestination]);
    }
}
