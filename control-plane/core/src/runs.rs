//! A set of numbers as runs without a gap, so that the next free number is found without walking over the taken ones.
//!
//! The value depends on the set alone, not on the way that led to it.

use std::collections::BTreeMap;

/// First and last number of each run of taken numbers; no two runs touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs(BTreeMap<u128, u128>);

impl Runs {
    /// Takes a number; again is fine.
    pub(crate) fn insert(&mut self, number: u128) {
        if self.end_of(number).is_some() {
            return;
        }
        let (mut first, mut last) = (number, number);
        if let Some(below) = number.checked_sub(1)
            && let Some((start, _)) = self.0.range(..=below).next_back().filter(|(_, end)| **end == below)
        {
            first = *start;
        }
        if let Some(above) = number.checked_add(1)
            && let Some(end) = self.0.remove(&above)
        {
            last = end;
        }
        self.0.insert(first, last);
    }

    /// Frees a number; one that isn't taken is fine.
    pub(crate) fn remove(&mut self, number: u128) {
        let Some((first, last)) = self.0.range(..=number).next_back().map(|(a, b)| (*a, *b)) else { return };
        if number > last {
            return;
        }
        self.0.remove(&first);
        if first < number {
            self.0.insert(first, number - 1);
        }
        if number < last {
            self.0.insert(number + 1, last);
        }
    }

    /// The lowest free number from `first` to `last`.
    pub(crate) fn free(&self, first: u128, last: u128) -> Option<u128> {
        let free = self.end_of(first).map_or(Some(first), |end| end.checked_add(1))?;
        (free <= last).then_some(free)
    }

    /// The last number of the run that holds `number`.
    fn end_of(&self, number: u128) -> Option<u128> {
        self.0.range(..=number).next_back().map(|(_, end)| *end).filter(|end| *end >= number)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn runs_are_a_set_and_find_the_next_free_number(steps in proptest::collection::vec((0..24_u128, any::<bool>()), 0..80)) {
            let (mut runs, mut set) = (Runs::default(), BTreeSet::new());
            for (number, put) in steps {
                if put {
                    runs.insert(number);
                    set.insert(number);
                } else {
                    runs.remove(number);
                    set.remove(&number);
                }
                for first in 0..24 {
                    let expected = (first..=20).find(|n| !set.contains(n));
                    prop_assert_eq!(runs.free(first, 20), expected, "from {} in {:?}", first, &set);
                }
            }
            let mut again = Runs::default();
            set.iter().rev().for_each(|number| again.insert(*number));
            prop_assert_eq!(again, runs, "the way doesn't matter");
        }
    }

    #[test]
    fn the_ends_of_the_numbers_are_numbers_too() {
        let mut runs = Runs::default();
        runs.insert(u128::MAX);
        runs.insert(0);
        assert_eq!(runs.free(u128::MAX, u128::MAX), None);
        assert_eq!(runs.free(0, u128::MAX), Some(1));
        runs.remove(u128::MAX);
        assert_eq!(runs.free(u128::MAX, u128::MAX), Some(u128::MAX));
    }
}
