//! Budgets: so many questions a second for each asker, so that one can't starve the others.
//!
//! A bucket of tokens per address, in a table that doesn't grow: of addresses that meet in one place, the one silent longest is
//! forgotten, which gives it a full bucket when it comes back.

use std::net::IpAddr;

use crate::{Moment, hash::hash, limits::ASKERS};

/// Addresses that share a place.
const WAYS: usize = 4;
/// Thousandths of a token: what a millisecond gives at one a second.
const TOKEN: u64 = 1000;
/// A bucket holds what comes in a fifth of a second.
const BURST: u64 = 5;
/// Nor less than this many.
const LEAST: u64 = 20;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    address: Option<IpAddr>,
    tokens: u64,
    seen: Moment,
}

/// Buckets of all askers.
#[derive(Clone, Debug)]
pub(crate) struct Budgets {
    seed: u64,
    per_second: u64,
    buckets: Box<[[Bucket; WAYS]]>,
}

impl Budgets {
    /// `per_second` 0: no budget.
    pub(crate) fn new(seed: u64, per_second: u32) -> Self {
        let empty = Bucket { address: None, tokens: 0, seen: Moment(0) };
        let places = if per_second == 0 { 0 } else { ASKERS / WAYS };
        Self { seed, per_second: per_second.into(), buckets: vec![[empty; WAYS]; places].into() }
    }

    /// Whether the asker may ask once more; if so, it has one token less.
    pub(crate) fn admit(&mut self, address: IpAddr, now: Moment) -> bool {
        let places = self.buckets.len() as u64;
        let full = (self.per_second / BURST).max(LEAST) * TOKEN;
        let place = match address {
            IpAddr::V4(address) => hash(self.seed, &address.octets()),
            IpAddr::V6(address) => hash(self.seed, &address.octets()),
        };
        let Some(ways) =
            place.checked_rem(places).and_then(|at| self.buckets.get_mut(usize::try_from(at).ok()?))
        else {
            return true;
        };
        let known = ways.iter().position(|bucket| bucket.address == Some(address));
        let at = known.unwrap_or_else(|| {
            let longest =
                ways.iter().enumerate().min_by_key(|(_, bucket)| (bucket.address.is_some(), bucket.seen));
            longest.map_or(0, |(at, _)| at)
        });
        let bucket = &mut ways[at];
        if known.is_none() {
            *bucket = Bucket { address: Some(address), tokens: full, seen: now };
        }
        let came = now.since(bucket.seen).saturating_mul(self.per_second);
        bucket.tokens = bucket.tokens.saturating_add(came).min(full);
        bucket.seen = now;
        let left = bucket.tokens.checked_sub(TOKEN);
        bucket.tokens = left.unwrap_or(bucket.tokens);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(index: u32) -> IpAddr {
        IpAddr::V4(index.into())
    }

    #[test]
    fn an_asker_gets_its_rate_and_a_burst_and_nobody_elses() {
        let mut budgets = Budgets::new(3, 1000);
        let asked = |budgets: &mut Budgets, from: u64, millis: u64, each: u64| {
            let all =
                (from..from + millis).flat_map(|at| std::iter::repeat_n(at, usize::try_from(each).unwrap()));
            all.filter(|at| budgets.admit(pod(1), Moment(*at))).count()
        };
        assert_eq!(asked(&mut budgets, 0, 1000, 10), 200 + 999, "the burst, then one a millisecond");
        assert!(budgets.admit(pod(2), Moment(999)), "another one isn't touched");
        assert_eq!(asked(&mut budgets, 60_000, 1, 500), 200, "silence gives no more than the burst");
    }

    #[test]
    fn without_a_budget_all_may_ask() {
        let mut budgets = Budgets::new(3, 0);
        assert!((0..10_000).all(|_| budgets.admit(pod(1), Moment(0))));
    }

    #[test]
    fn many_askers_dont_grow_the_table() {
        let mut budgets = Budgets::new(3, 100);
        for index in 0..100_000 {
            assert!(budgets.admit(pod(index), Moment(index.into())), "a new one has a full bucket");
        }
        assert_eq!(budgets.buckets.len() * WAYS, ASKERS);
    }
}
