//! The cache: bounded, and the useless goes first.

use proptest::prelude::*;

use super::*;
use crate::{fixture::wire, message::Body};

fn asked(name: &[u8]) -> Asked<'_> {
    Asked::new(name, RecordType::A, false, false)
}

fn entry(name: &[u8], now: Moment, millis: u64) -> Entry {
    Entry::until(asked(name), Body::failure(name), now, now.after(millis))
}

fn name(index: u32) -> Vec<u8> {
    wire(&format!("n{index}.example.com"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn octets_never_exceed_the_bound_and_are_counted_right(
        puts in prop::collection::vec((0_u32..500, 0_u64..5000), 1..600),
        most in 20_000_usize..100_000,
    ) {
        let cache = Cache::new(5);
        for (index, (number, millis)) in puts.into_iter().enumerate() {
            let now = Moment(index as u64 * 10);
            let name = name(number);
            cache.put(entry(&name, now, millis), most, now);
            prop_assert!(cache.octets() <= most);
            prop_assert!(cache.find(asked(&name)).is_some() || cache.count() > 0, "the newest isn't the first to go");
        }
        let (mut octets, mut count) = (0, 0);
        for number in 0..500 {
            if let Some(entry) = cache.find(asked(&name(number))) {
                octets += entry.octets();
                count += 1;
            }
        }
        prop_assert_eq!((octets, count), (cache.octets(), cache.count()));
        cache.forget(&"example.com".parse().unwrap());
        prop_assert_eq!((cache.octets(), cache.count()), (0, 0));
    }
}

#[test]
fn what_is_used_stays_and_what_isnt_goes() {
    let cache = Cache::new(5);
    let most = 60_000;
    let now = Moment(0);
    let loved = name(0);
    cache.put(entry(&loved, now, 1_000_000), most, now);
    for index in 1..3000 {
        cache.put(entry(&name(index), now, 1_000_000), most, now);
        assert!(cache.find(asked(&loved)).is_some(), "at {index}");
    }
    let stayed = (1..3000).filter(|index| cache.find(asked(&name(*index))).is_some()).count();
    assert!(stayed > 50 && stayed < 400, "{stayed}");
}

#[test]
fn answers_differ_by_type_and_by_what_the_client_wants() {
    let cache = Cache::new(5);
    let name = name(1);
    let kinds = [
        Asked::new(&name, RecordType::A, false, false),
        Asked::new(&name, RecordType::A, true, false),
        Asked::new(&name, RecordType::A, false, true),
        Asked::new(&name, RecordType::AAAA, false, false),
    ];
    for (index, asked) in kinds.iter().enumerate() {
        assert!(cache.find(*asked).is_none());
        let entry = Entry::until(*asked, Body::failure(&name), Moment(0), Moment(9));
        cache.put(entry, 1 << 20, Moment(0));
        assert_eq!(cache.count(), index + 1);
    }
    cache.forget(&"example.net".parse().unwrap());
    assert_eq!(cache.count(), 4);
    cache.clear();
    assert_eq!((cache.count(), cache.octets()), (0, 0));
}

#[test]
fn a_huge_answer_isnt_kept() {
    let cache = Cache::new(5);
    cache.put(entry(&name(1), Moment(0), 1000), 1000, Moment(0));
    assert_eq!(cache.count(), 0);
}
