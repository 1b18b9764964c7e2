//! Classes: how a slot is picked among the backends of a group, and the numbers that say so in the maps.
//!
//! A front (address and port of a service) gives a *target*, one number: the group whose backends serve it (upper 24 bits), two flags,
//! and the class (lower 6 bits). Rules are constant: one small chain per class and kind of front.

/// Most backends that get a slot each.
const EXACT: u32 = 16;
/// Slots per backend in larger tables: no backend gets more than an eighth above its share.
const PER_BACKEND: u32 = 8;
/// Smallest and largest number of the powers of two, as exponents.
const POWERS: std::ops::RangeInclusive<u32> = 8..=16;
/// Sizes of tables that every node fills and reads alike: primes, as Maglev wants (Eisenbud et al., NSDI 2016, section 3.4).
pub(super) const HASHED: [u32; 3] = [251, 2039, 16_381];

/// Bits of a target that are the class.
pub(super) const CLASS_BITS: u32 = 0x3f;
/// The source of senders from outside is translated: the backend may be on another node, and must answer by this one.
pub(super) const FROM_OUTSIDE: u32 = 0x40;
/// The source of this node's own processes is translated: their address may be one that other nodes don't accept.
pub(super) const FROM_NODE: u32 = 0x80;
/// Bits of a target that are the group.
pub(super) const GROUP_BITS: u32 = 0xffff_ff00;
/// Bits of a target that are the service's port, whatever the view: clients stick to an endpoint by it.
pub(super) const PORT_BITS: u32 = 0xffff_fc00;

/// How packets for a front are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// A slot by a hash of the connection among exactly so many: 1 to 16.
    Exact(u32),
    /// A slot by a hash of the connection among 2^n.
    Power(u32),
    /// A slot by a hash of the sender's address and port, in a table of this size (index into [`HASHED`]).
    Hashed(usize),
    /// The endpoint that the client had before, else by a hash of its address.
    Affinity,
    /// Dropped without a word: this node has no endpoint, others have.
    Silent,
    /// Refused at once: there is no endpoint.
    Refused,
}

impl Class {
    /// All classes that pick a slot or an endpoint.
    pub(super) fn serving() -> impl Iterator<Item = Self> {
        let exact = (1..=EXACT).map(Self::Exact);
        let powers = POWERS.map(Self::Power);
        let hashed = (0..HASHED.len()).map(Self::Hashed);
        exact.chain(powers).chain(hashed).chain([Self::Affinity])
    }

    /// For flows that connection tracking alone holds together; `backends` is at least 1.
    pub(super) fn spread(backends: usize) -> Self {
        let backends = u32::try_from(backends).unwrap_or(u32::MAX);
        if backends <= EXACT {
            return Self::Exact(backends);
        }
        let enough = |power: &u32| 1_u64 << power >= u64::from(backends) * u64::from(PER_BACKEND);
        Self::Power(POWERS.clone().find(enough).unwrap_or(*POWERS.end()))
    }

    /// For flows that every node must take the same way.
    pub(super) fn hashed(backends: usize) -> Self {
        Self::Hashed(hashed_size(backends))
    }

    /// Slots of its tables; 0 for classes without slots of their own.
    pub(super) fn slots(self) -> u32 {
        match self {
            Self::Exact(slots) => slots,
            Self::Power(power) => 1 << power,
            Self::Hashed(size) => HASHED.get(size).copied().unwrap_or(0),
            Self::Affinity | Self::Silent | Self::Refused => 0,
        }
    }

    /// Its number in a target.
    pub(super) fn code(self) -> u32 {
        match self {
            Self::Exact(slots) => slots,
            Self::Power(power) => EXACT + 1 + (power - POWERS.start()),
            Self::Hashed(size) => 40 + u32::try_from(size).unwrap_or(0),
            Self::Affinity => 48,
            Self::Silent => 62,
            Self::Refused => 63,
        }
    }

    /// End of the name of its chains.
    pub(super) fn name(self) -> String {
        match self {
            Self::Exact(_) | Self::Power(_) => self.slots().to_string(),
            Self::Hashed(_) => format!("hash_{}", self.slots()),
            Self::Affinity => "affinity".to_owned(),
            Self::Silent => "silent".to_owned(),
            Self::Refused => "refused".to_owned(),
        }
    }
}

/// Index into [`HASHED`]: the smallest table that gives each backend enough slots, else the largest.
pub(super) fn hashed_size(backends: usize) -> usize {
    let enough = |size: &u32| u64::from(*size) >= backends as u64 * u64::from(PER_BACKEND);
    HASHED.iter().position(enough).unwrap_or(HASHED.len() - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn classes_have_numbers_of_their_own_within_the_bits() {
        let all: Vec<_> = Class::serving().chain([Class::Silent, Class::Refused]).collect();
        let codes: BTreeSet<u32> = all.iter().map(|class| class.code()).collect();
        let names: BTreeSet<String> = all.iter().map(|class| class.name()).collect();
        assert_eq!((codes.len(), names.len()), (all.len(), all.len()));
        assert!(codes.iter().all(|code| *code != 0 && code & !CLASS_BITS == 0), "{codes:?}");
        assert_eq!(GROUP_BITS | CLASS_BITS | FROM_OUTSIDE | FROM_NODE, u32::MAX);
    }

    #[test]
    fn a_class_is_exact_as_long_as_it_can_be() {
        for (backends, slots, hashed) in [
            (1, 1, 251),
            (16, 16, 251),
            (17, 256, 251),
            (31, 256, 251),
            (32, 256, 2039),
            (33, 512, 2039),
            (254, 2048, 2039),
            (255, 2048, 16_381),
            (1000, 8192, 16_381),
            (8192, 65_536, 16_381),
            (100_000, 65_536, 16_381),
        ] {
            assert_eq!(Class::spread(backends).slots(), slots, "{backends}");
            assert_eq!(Class::hashed(backends).slots(), hashed, "{backends}");
        }
    }
}
