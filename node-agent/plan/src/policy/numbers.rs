//! Numbers of 32 bits, which rules can keep in a packet, for the compiler's of 64.
//!
//! A number is the lower half of what it stands for, or the next free one where another has that already; so an agent that starts anew
//! numbers as before, but for accidents that somebody must have worked for. A number means one thing as long as any element of the
//! kernel may say it: what was given back is kept until the kernel is settled.

use std::collections::{BTreeMap, BTreeSet};

use super::rules::EVERYTHING;

/// What a number stands for; each kind has numbers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Of {
    Identity,
    Profile,
    Ports,
    Block,
    PortClass,
}

/// A 64-bit number with its kind.
type Whole = (Of, u64);

/// The numbers that are taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    /// Per whole number its short one, and how many elements say it.
    given: BTreeMap<Whole, (u32, usize)>,
    taken: BTreeSet<(Of, u32)>,
    /// Nobody says them any more, but the kernel may.
    leaving: BTreeSet<Whole>,
}

impl Numbers {
    /// The number of what is wanted, once more.
    pub(super) fn take(&mut self, whole: Whole) -> u32 {
        if whole == (Of::Ports, u64::MAX) {
            return EVERYTHING;
        }
        self.leaving.remove(&whole);
        if let Some((short, uses)) = self.given.get_mut(&whole) {
            *uses += 1;
            return *short;
        }
        let (kind, number) = whole;
        let mut short = u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0);
        // No number is 0, or what stands for everything.
        while short == 0 || short == EVERYTHING || self.taken.contains(&(kind, short)) {
            short = short.wrapping_add(1);
        }
        self.taken.insert((kind, short));
        self.given.insert(whole, (short, 1));
        short
    }

    /// The number that something has; 0 when nothing says it.
    pub(super) fn of(&self, whole: Whole) -> u32 {
        if whole == (Of::Ports, u64::MAX) {
            return EVERYTHING;
        }
        self.given.get(&whole).map_or(0, |(short, _)| *short)
    }

    /// The number of what is there; the element that says it goes.
    pub(super) fn leave(&mut self, whole: Whole) -> u32 {
        if whole == (Of::Ports, u64::MAX) {
            return EVERYTHING;
        }
        let Some((short, uses)) = self.given.get_mut(&whole) else { return 0 };
        *uses = uses.saturating_sub(1);
        if *uses == 0 {
            self.leaving.insert(whole);
        }
        *short
    }

    /// The kernel says no number that was left.
    pub(super) fn settled(&mut self) {
        for whole in std::mem::take(&mut self.leaving) {
            if let Some((short, _)) = self.given.remove(&whole) {
                self.taken.remove(&(whole.0, short));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_means_one_thing_until_the_kernel_has_settled() {
        let mut numbers = Numbers::default();
        let (a, b) = ((Of::Identity, 7), (Of::Identity, 7 | 1 << 40));
        assert_eq!(numbers.take(a), 7);
        assert_eq!(numbers.take(b), 8, "the lower half is taken");
        assert_eq!(numbers.take((Of::Ports, 7)), 7, "another kind");
        assert_eq!(numbers.leave(a), 7);
        let c = (Of::Identity, 7 | 1 << 41);
        assert_eq!(numbers.take(c), 9, "what was left may still be said");
        numbers.settled();
        assert_eq!(numbers.take(a), 7);
        assert_eq!(numbers.take(b), 8, "what is there keeps its number");
    }

    #[test]
    fn what_comes_back_before_that_is_what_it_was() {
        let mut numbers = Numbers::default();
        let a = (Of::Block, 5);
        assert_eq!((numbers.take(a), numbers.leave(a), numbers.take(a)), (5, 5, 5));
        numbers.settled();
        assert_eq!(numbers.take((Of::Block, 5 | 1 << 33)), 6);
    }

    #[test]
    fn nothing_is_numbered_none_or_everything() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.take((Of::Ports, 0)), 1);
        assert_eq!(numbers.take((Of::Ports, u64::from(u32::MAX))), 2);
        assert_eq!(numbers.take((Of::Ports, u64::MAX)), EVERYTHING);
    }
}
