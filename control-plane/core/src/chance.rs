//! Chance of a command: what its stamp carried, spread for one object, the same on every replica.

/// A stream of numbers for one object of one command.
pub(crate) struct Chance(blake3::OutputReader);

impl Chance {
    /// From the random bytes of a stamp, for one object.
    pub(crate) fn new(random: [u8; 16], object: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&random).update(object.as_bytes());
        Self(hasher.finalize_xof())
    }

    /// The next 16 bytes: never all zero, so that they can be an identity.
    pub(crate) fn bytes(&mut self) -> [u8; 16] {
        loop {
            let mut bytes = [0; 16];
            self.0.fill(&mut bytes);
            if bytes != [0; 16] {
                return bytes;
            }
        }
    }

    /// A number below `limit`; 0 when that is 0. Good for limits far below 2^128, where the bias is nothing.
    pub(crate) fn below(&mut self, limit: u128) -> u128 {
        u128::from_be_bytes(self.bytes()).checked_rem(limit).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_stamp_and_object_go_the_same_way_and_others_another() {
        let of = |random, object| {
            let mut chance = Chance::new(random, object);
            [chance.below(1 << 60), chance.below(1 << 60)]
        };
        assert_eq!(of([1; 16], "service/shop/a"), of([1; 16], "service/shop/a"));
        assert_ne!(of([1; 16], "service/shop/a"), of([1; 16], "service/shop/b"));
        assert_ne!(of([1; 16], "service/shop/a"), of([2; 16], "service/shop/a"));
        assert_eq!(Chance::new([1; 16], "x").below(0), 0);
    }
}
