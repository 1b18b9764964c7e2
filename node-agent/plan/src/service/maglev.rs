//! Which backend each slot of a table leads to: a function of the backends' names alone, that changes little when one comes or goes.
//!
//! Source: Maglev (Eisenbud et al., NSDI 2016, section 3.4). Each backend walks the table in an order of its own; they take
//! turns, so their shares differ by one slot at most.

/// Hash of a text, the same everywhere: FNV-1a, then the finaliser of SplitMix64 to spread the bits.
pub(super) fn hash(salt: u64, bytes: &[u8]) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ salt;
    let mixed =
        bytes.iter().fold(start, |h, byte| (h ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    finish(mixed)
}

const fn finish(mut h: u64) -> u64 {
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^ (h >> 31)
}

/// The table: for each slot the place of a backend in `names`. The names' order decides only who is first in each turn.
///
/// `size` is a prime or a power of two: then each walk visits every slot. More than 65535 backends, or more than slots: the last
/// ones get none.
pub(super) fn table(names: &[u64], size: u32) -> Vec<u16> {
    let len = u64::from(size);
    let mut walks: Vec<(u64, u64)> = names
        .iter()
        .take(usize::from(u16::MAX))
        .map(|name| (name % len, (finish(name.wrapping_add(1)) % (len - 1).max(1)) + 1))
        .map(|(at, step)| (at, if len.is_power_of_two() { step | 1 } else { step }))
        .collect();
    const FREE: u16 = u16::MAX;
    let mut slots = vec![FREE; usize::try_from(size).unwrap_or(0)];
    let mut free = slots.len();
    while free > 0 && !walks.is_empty() {
        for (backend, (at, step)) in walks.iter_mut().enumerate() {
            if free == 0 {
                break;
            }
            let slot = loop {
                let slot = usize::try_from(*at).unwrap_or(0);
                *at = (*at + *step) % len;
                if slots[slot] == FREE {
                    break slot;
                }
            };
            slots[slot] = u16::try_from(backend).unwrap_or(0);
            free -= 1;
        }
    }
    slots
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::service::class::HASHED;

    fn names(count: u64) -> Vec<u64> {
        (0..count).map(|n| hash(7, format!("10.1.0.{n}:80").as_bytes())).collect()
    }

    fn shares(table: &[u16], backends: usize) -> Vec<usize> {
        (0..backends).map(|b| table.iter().filter(|slot| usize::from(**slot) == b).count()).collect()
    }

    #[test]
    fn shares_differ_by_one_slot_at_most() {
        for (backends, size) in
            [(1, 251), (3, 251), (31, 251), (200, 2039), (1000, 16_381), (17, 256), (40, 512)]
        {
            let table = table(&names(backends), size);
            assert_eq!(table.len(), usize::try_from(size).unwrap());
            let shares = shares(&table, usize::try_from(backends).unwrap());
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            assert!(most - least <= 1, "{backends} in {size}: {least} to {most}");
        }
    }

    #[test]
    fn one_of_ten_that_goes_moves_few_of_the_others() {
        for size in HASHED {
            let all = names(10);
            let before = table(&all, size);
            for gone in 0..all.len() {
                let mut rest = all.clone();
                rest.remove(gone);
                let after = table(&rest, size);
                let of = |list: &[u64], slot: u16| list[usize::from(slot)];
                let others = before.iter().zip(&after).filter(|(b, _)| usize::from(**b) != gone);
                let total = others.clone().count();
                let moved = others.filter(|(b, a)| of(&all, **b) != of(&rest, **a)).count();
                assert!(moved * 100 <= total * 15, "{moved} of {total} in {size}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_backends_fill_any_table(count in 1_usize..40, salt in any::<u64>(), power in any::<bool>()) {
            let names: Vec<u64> = (0..count).map(|n| hash(salt, &n.to_be_bytes())).collect();
            let table = table(&names, if power { 512 } else { 251 });
            prop_assert!(shares(&table, count).iter().all(|share| *share > 0));
        }
    }
}
