//! Cutting ranges that overlap into pieces that don't, each with the ranges it lies in.

use std::collections::BTreeSet;

/// A piece: first and last number, and the marks of the ranges it lies in; at least one.
pub(crate) type Piece = (u128, u128, Vec<u32>);

/// A range: first and last number, and its mark.
pub(crate) type Range = (u128, u128, u32);

/// What begins (`true`) and ends where, in order, ends before beginnings; the end of all numbers has no number after it.
fn edges(ranges: &[Range]) -> Vec<(u128, bool, u32)> {
    let mut edges = Vec::with_capacity(ranges.len() * 2);
    for (first, last, mark) in ranges {
        edges.push((*first, true, *mark));
        edges.extend(last.checked_add(1).map(|after| (after, false, *mark)));
    }
    edges.sort_unstable();
    edges
}

/// How many marks [`split`] would write at most: what ranges that overlap cost, known before it is paid.
pub(crate) fn weight(ranges: &[Range]) -> usize {
    let edges = edges(ranges);
    let (mut active, mut weight) = (0_usize, 0_usize);
    for (index, (at, begins, _)) in edges.iter().enumerate() {
        active = if *begins { active + 1 } else { active.saturating_sub(1) };
        if edges.get(index + 1).is_none_or(|(next, ..)| next != at) {
            weight = weight.saturating_add(active);
        }
    }
    weight
}

/// Cuts ranges (first, last, mark) into pieces in order; neighbours with the same marks are one. Ranges with the same mark
/// may not overlap.
pub(crate) fn split(ranges: &[Range]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut active: BTreeSet<u32> = BTreeSet::new();
    let mut edges = edges(ranges).into_iter().peekable();
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
            let marks: usize = pieces.iter().map(|(_, _, marks)| marks.len()).sum();
            assert!(
                marks <= weight(&ranges) && weight(&ranges) <= ranges.len() * ranges.len() * 2,
                "seed {seed}"
            );
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
        assert_eq!(weight(&[(0, u128::MAX, 1), (9, 9, 2)]), 4);
    }
}
