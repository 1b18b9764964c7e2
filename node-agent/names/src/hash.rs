//! A keyed hash for names: 64 bits from wide multiplications, eight octets at a time (the way of wyhash).
//!
//! The key is chance, made once per process: tenants choose names, and shall not choose places in tables.

/// Constants without structure: digits of pi's fraction.
const MIX: [u64; 2] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345];

/// Hash of `bytes` under `seed`.
pub(crate) fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut state = seed ^ MIX[0];
    let (chunks, rest) = bytes.as_chunks::<8>();
    for chunk in chunks {
        state = fold(state ^ u64::from_le_bytes(*chunk), MIX[1]);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    fold(state ^ u64::from_le_bytes(last), MIX[0] ^ ((bytes.len() as u64) << 1)) ^ state.rotate_left(32)
}

/// Both halves of the product, folded.
const fn fold(a: u64, b: u64) -> u64 {
    let [low, high] = halves((a ^ MIX[1]) as u128 * (b | 1) as u128);
    low ^ high
}

#[expect(clippy::cast_possible_truncation, reason = "each half has 64 bits")]
const fn halves(product: u128) -> [u64; 2] {
    [product as u64, (product >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn many_names_spread_evenly_and_depend_on_the_seed() {
        let names: Vec<_> = (0..20_000).map(|i| format!("\u{4}s{i:03}\u{4}shop")).collect();
        let all: BTreeSet<_> = names.iter().map(|name| hash(1, name.as_bytes())).collect();
        assert_eq!(all.len(), names.len());
        for shift in [0, 20, 40, 52] {
            let mut counts = [0_u32; 4096];
            names.iter().for_each(|name| {
                counts[usize::try_from((hash(1, name.as_bytes()) >> shift) & 4095).unwrap()] += 1
            });
            assert!(counts.iter().all(|count| *count < 24), "about 5 in each place of {shift}");
        }
        assert_ne!(hash(1, b"web"), hash(2, b"web"));
        assert_ne!(hash(1, b"web"), hash(1, b"web\0"));
        assert_ne!(hash(1, b""), hash(1, b"\0"));
    }
}
