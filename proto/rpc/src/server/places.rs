//! A bounded number of places, shared fairly among source addresses: who opens many connections pays with its own.
//!
//! In: addresses of newcomers. Out: a [`Place`] for each, with a token that says when it is taken away again.
//! An IPv6 source counts by its /64, which one machine may have to itself (RFC 7721, section 2).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// The places.
#[derive(Debug)]
pub struct Places {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    /// Number of the next place: greater than those of all before.
    next: u64,
    places: BTreeMap<u64, (IpAddr, CancellationToken)>,
    /// The places of each source; a source without any isn't here.
    sources: BTreeMap<IpAddr, BTreeSet<u64>>,
}

/// Whom a newcomer may replace when all places are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaces {
    /// The oldest of the source that holds the most, which may be its own.
    Anybody,
    /// The oldest of a source that holds more than its own does; else it gets no place.
    Richer,
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    number: u64,
    places: Arc<Places>,
    lost: CancellationToken,
}

impl Places {
    /// At most `most` at one time, at least one.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: most.max(1), taken: Mutex::default() })
    }

    /// A place for a newcomer. `None`: all are taken, and none may be replaced.
    pub fn take(self: &Arc<Self>, address: IpAddr, replaces: Replaces) -> Option<Place> {
        let source = source(address);
        let mut taken = self.lock();
        if taken.places.len() >= self.most {
            let own = taken.sources.get(&source).map_or(0, BTreeSet::len);
            let (most, oldest) = taken.richest()?;
            if replaces == Replaces::Richer && most <= own {
                return None;
            }
            let lost = taken.remove(oldest);
            tracing::debug!(source = ?lost, held = most, "places are scarce: the oldest of who holds most gives way");
        }
        let (number, lost) = (taken.next, CancellationToken::new());
        taken.next += 1;
        taken.places.insert(number, (source, lost.clone()));
        taken.sources.entry(source).or_default().insert(number);
        drop(taken);
        Some(Place { number, places: Arc::clone(self), lost })
    }

    /// No statement leaves the places half changed, so a poisoned lock is still good.
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// How many places the source with the most has, and its oldest; of equals the one whose oldest is oldest.
    fn richest(&self) -> Option<(usize, u64)> {
        let all = self.sources.values().filter_map(|own| Some((own.len(), *own.first()?)));
        all.max_by_key(|(count, oldest)| (*count, std::cmp::Reverse(*oldest)))
    }

    /// Takes a place away; says whose it was.
    fn remove(&mut self, number: u64) -> Option<IpAddr> {
        let (source, lost) = self.places.remove(&number)?;
        lost.cancel();
        if let Some(own) = self.sources.get_mut(&source) {
            own.remove(&number);
            if own.is_empty() {
                self.sources.remove(&source);
            }
        }
        Some(source)
    }
}

impl Place {
    /// Cancelled when the place was taken away.
    pub const fn lost(&self) -> &CancellationToken {
        &self.lost
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().remove(self.number);
    }
}

/// What counts as one source.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(places: &Arc<Places>, address: &str, replaces: Replaces) -> Option<Place> {
        places.take(address.parse().unwrap(), replaces)
    }

    /// Takes places one after the other, keeps all; says for each whether it got one and still has it at the end.
    fn check(most: usize, replaces: Replaces, newcomers: &[&str], expected: &str) {
        let places = Places::new(most);
        let taken: Vec<_> = newcomers.iter().map(|address| take(&places, address, replaces)).collect();
        let said: String = taken
            .iter()
            .map(|place| match place {
                None => '-',
                Some(place) if place.lost().is_cancelled() => 'x',
                Some(_) => '+',
            })
            .collect();
        assert_eq!(said, expected, "{newcomers:?}");
        drop(taken);
        let left = places.lock();
        assert_eq!((left.places.len(), left.sources.len()), (0, 0), "all is given back");
    }

    #[test]
    fn the_oldest_of_who_holds_most_gives_way() {
        use Replaces::{Anybody, Richer};
        const A: &str = "192.0.2.1";
        const B: &str = "192.0.2.2";
        const C: &str = "192.0.2.3";
        check(3, Anybody, &[A, B, C], "+++");
        check(3, Anybody, &[A, B, B, C], "+x++");
        check(3, Anybody, &[A, B, B, B, B], "+xx++");
        check(3, Richer, &[A, B, B, B, B], "+++--");
        check(3, Richer, &[A, B, B, C], "+x++");
        // All are equal: the oldest of all goes, or the newcomer.
        check(2, Anybody, &[A, B, C], "x++");
        check(2, Richer, &[A, B, C], "x++");
        check(2, Richer, &[A, B, A], "++-");
    }

    #[test]
    fn a_network_of_ipv6_is_one_source_and_mapped_addresses_are_ipv4() {
        let check = |a: &str, b: &str, same: bool| {
            assert_eq!(source(a.parse().unwrap()) == source(b.parse().unwrap()), same, "{a} {b}");
        };
        check("2001:db8::1", "2001:db8::ffff:1", true);
        check("2001:db8::1", "2001:db8:0:1::1", false);
        check("192.0.2.1", "::ffff:192.0.2.1", true);
        check("192.0.2.1", "192.0.2.2", false);
    }
}
