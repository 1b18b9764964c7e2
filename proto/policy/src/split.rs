//! Cutting ranges that overlap into pieces that don't, each with the ranges it lies in.

use std::collections::BTreeSet;

/// A piece: first and last number, and the marks of the ranges it lies in; at least one.
pub(crate) type Piece = (u128, u128, Vec<u32>);

/// Cuts ranges (first, last, mark) into pieces in order; neighbours with the same marks are one. Ranges with the same mark
/// may not overlap.
pub(crate) fn split(ranges: &[(u128, u128, u32)]) -> Vec<Piece> {
    // What begins and ends where; the end of the number space has no number after it.
    let mut edges: Vec<(u128, bool, u32)> = Vec::with_capacity(ranges.len() * 2);
    for (first, last, mark) in ranges {
        edges.push((*first, true, *mark));
        if let Some(after) = last.checked_add(1) {
            edges.push((after, false, *mark));
        }
    }
    // Ends before beginnings: a mark may end and begin at the same place.
    edges.sort_unstable();
    let mut pieces: Vec<Piece> = Vec::new();
    let mut active: BTreeSet<u32> = BTreeSet::new();
    let mut edges = edges.into_iter().peekable();
    while let Some((at, begins, mark)) = edges.next() {
        if begins {
            active.insert(mark);
        } else {
            active.remove(&mark);
        }
        let end = match edges.peek() {
            Some((next, ..)) if *next == at => continue,
            Some((next, ..)) => next - 1,
            None => u128::MAX,
        };
        if active.is_empty() {
            continue;
        }
        let marks: Vec<u32> = active.iter().copied().collect();
        match pieces.last_mut() {
            Some((_, last, same)) if last.checked_add(1) == Some(at) && *same == marks => *last = end,
            _ => pieces.push((at, end, marks)),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Chance;

    #[test]
    fn pieces_say_where_every_number_lies() {
        for seed in 0..300 {
            let mut chance = Chance::new(seed);
            let ranges: Vec<_> = (0..chance.below(6))
                .map(|mark| {
                    let first = u128::from(chance.below(40));
                    (first, first + u128::from(chance.below(20)), u32::try_from(mark).unwrap())
                })
                .collect();
            let pieces = split(&ranges);
            for number in 0..64 {
                let mut expected: Vec<_> =
                    ranges.iter().filter(|(a, b, _)| (*a..=*b).contains(&number)).map(|r| r.2).collect();
                expected.sort_unstable();
                let found: Vec<_> = pieces.iter().filter(|(a, b, _)| (*a..=*b).contains(&number)).collect();
                let marks = found.first().map(|piece| piece.2.clone()).unwrap_or_default();
                assert!(
                    found.len() <= 1 && marks == expected,
                    "seed {seed}, {number}: {ranges:?} {pieces:?}"
                );
            }
            assert!(pieces.windows(2).all(|p| p[0].1 + 1 != p[1].0 || p[0].2 != p[1].2), "seed {seed}");
        }
    }

    #[test]
    fn the_end_of_all_numbers_is_an_end() {
        assert_eq!(split(&[(5, u128::MAX, 1)]), [(5, u128::MAX, vec![1])]);
        assert_eq!(
            split(&[(0, u128::MAX, 1), (9, 9, 2)]),
            [(0, 8, vec![1]), (9, 9, vec![1, 2]), (10, u128::MAX, vec![1])]
        );
        assert_eq!(split(&[]), []);
    }
}
