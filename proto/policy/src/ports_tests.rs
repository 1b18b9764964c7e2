//! The algebra of sets of ports, against sets of single numbers.

use super::*;
use crate::fixture::Chance;

fn tcp(ranges: &[(u16, u16)]) -> PortSet {
    let mut set = PortSet::default();
    ranges.iter().for_each(|(first, last)| set.add(Protocol::Tcp, *first, *last));
    set
}

#[test]
fn ranges_melt_however_they_come() {
    assert_eq!(tcp(&[(80, 80), (81, 90), (70, 79)]), tcp(&[(70, 90)]));
    assert_eq!(tcp(&[(1, 5), (10, 20), (4, 12)]), tcp(&[(1, 20)]));
    assert_eq!(tcp(&[(5, 4)]), PortSet::default(), "a range that ends before it begins is nothing");
    assert_eq!(tcp(&[(65535, 65535), (65534, 65534)]).of(Protocol::Tcp), [(65534, 65535)]);
    assert_eq!(tcp(&[(1, 5)]).id(), tcp(&[(1, 3), (4, 5)]).id());
    assert_ne!(tcp(&[(1, 5)]).id(), tcp(&[(1, 6)]).id());
}

#[test]
fn everything_is_more_than_every_port() {
    let mut every = PortSet::default();
    PROTOCOLS.into_iter().for_each(|protocol| every.add_every(protocol));
    assert!(!every.has(Transport::Other(1)) && PortSet::all().has(Transport::Other(1)));
    assert!(PortSet::all().covers(&every) && !every.covers(&PortSet::all()));
    assert_eq!(PortSet::all().id(), PortsId::ALL);
    assert_eq!(every.to_string(), "every tcp, every udp, every sctp");
    assert_eq!(PortSet::all().without(&every).to_string(), "other protocols");
    assert!(!tcp(&[(1, 65535)]).has(Transport::Port(Protocol::Tcp, 0)));
}

#[test]
fn the_algebra_is_that_of_sets() {
    for seed in 0..300 {
        let mut chance = Chance::new(seed);
        let set = |chance: &mut Chance| {
            let mut set = PortSet::default();
            for _ in 0..chance.below(5) {
                let first = chance.small(40);
                set.add(Protocol::Udp, first, first + chance.small(12));
            }
            if chance.one_in(8) { PortSet::all() } else { set }
        };
        let (a, b) = (set(&mut chance), set(&mut chance));
        let mut both = a.clone();
        both.unite(&b);
        let mut covered = true;
        for transport in (0..60).map(|port| Transport::Port(Protocol::Udp, port)).chain([Transport::Other(1)])
        {
            let (in_a, in_b) = (a.has(transport), b.has(transport));
            assert_eq!(both.has(transport), in_a || in_b, "seed {seed}: {a} + {b}, {transport}");
            assert_eq!(a.common(&b).has(transport), in_a && in_b, "seed {seed}: {a} & {b}, {transport}");
            assert_eq!(a.without(&b).has(transport), in_a && !in_b, "seed {seed}: {a} - {b}, {transport}");
            covered &= in_a || !in_b;
        }
        assert_eq!(a.covers(&b), covered, "seed {seed}: {a} covers {b}");
    }
}
