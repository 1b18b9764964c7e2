//! Cases of allocation, and the laws against a random history.

use std::collections::BTreeSet;

use proptest::prelude::*;
use weft_model::{Probe, ProbeHandler};

use super::*;
use crate::Journal;

const REST: u64 = 60_000;

fn id(n: u32) -> AttachmentId {
    AttachmentId { container: format!("c{n}"), interface: "eth0".to_owned() }
}

fn request(n: u32, families: Families, wanted: &[&str]) -> Request {
    let uid = PodUid(u128::from(n).to_be_bytes());
    Request {
        attachment: id(n),
        uid,
        pod: format!("shop/web-{n}").parse().unwrap(),
        labels: Labels::new(),
        netns: format!("/run/netns/{n}"),
        link: format!("wv{n:08x}"),
        mac: [2; 6],
        mtu: 1440,
        origin: Origin::Weft,
        created: WallTime(1),
        families,
        wanted: wanted.iter().map(|text| text.parse().unwrap()).collect(),
        avoid: BTreeSet::new(),
    }
}

/// A complete View, or one that isn't, with these blocks.
fn shown(list: &[(&str, u64)], complete: bool) -> Shown {
    let leases = list.iter().map(|(block, epoch)| (block.parse().unwrap(), Epoch(*epoch))).collect();
    Shown { revision: Revision(0), complete, leases }
}

fn ledger(blocks: &[(&str, u64)]) -> Ledger {
    let mut ledger = Ledger::new(Settings::default());
    ledger.lease(&shown(blocks, true));
    ledger
}

/// Addresses the attachment got, or the error's text.
fn add(ledger: &mut Ledger, n: u32, families: Families, wanted: &[&str], now: u64) -> String {
    match ledger.allocate(request(n, families, wanted), Uptime(now)) {
        Ok((holding, _)) => holding.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Err(error) => error.to_string(),
    }
}

#[test]
fn each_family_kind_gets_its_addresses_primary_first() {
    for (families, expected) in [
        (Families::V4, "10.1.0.1"),
        (Families::V6, "fd00::1"),
        (Families::Dual, "10.1.0.1 fd00::1"),
        (Families::Dual6, "fd00::1 10.1.0.1"),
    ] {
        let mut ledger = ledger(&[("10.1.0.0/24", 1), ("fd00::/64", 2)]);
        assert_eq!(add(&mut ledger, 1, families, &[], 0), expected);
    }
}

#[test]
fn a_block_gives_all_but_network_and_broadcast_then_rested_addresses_first_in_first_out() {
    let mut ledger = ledger(&[("10.1.0.0/28", 1)]);
    let given: Vec<_> = (1..=14).map(|n| add(&mut ledger, n, Families::V4, &[], 0)).collect();
    assert_eq!((given[0].as_str(), given[13].as_str()), ("10.1.0.1", "10.1.0.14"));
    let full = "no IPv4 address is free on this node: 14 held, 0 resting, 1 blocks";
    assert_eq!(add(&mut ledger, 15, Families::V4, &[], 0), full);
    for (n, at) in [(7, 1_000), (3, 2_000)] {
        ledger.release(&id(n), Uptime(at)).unwrap();
    }
    let resting = "no IPv4 address is free on this node: 12 held, 2 resting, 1 blocks";
    assert_eq!(add(&mut ledger, 15, Families::V4, &[], 5_999), resting, "the least rest is 5 s");
    assert_eq!(add(&mut ledger, 15, Families::V4, &[], 6_000), "10.1.0.7", "under pressure");
    assert_eq!(add(&mut ledger, 16, Families::V4, &[], 2_000 + REST), "10.1.0.3");
}

#[test]
fn fresh_addresses_come_before_rested_ones() {
    let mut ledger = ledger(&[("10.1.0.0/24", 1)]);
    add(&mut ledger, 1, Families::V4, &[], 0);
    ledger.release(&id(1), Uptime(0)).unwrap();
    assert_eq!(add(&mut ledger, 2, Families::V4, &[], 10 * REST), "10.1.0.2");
}

#[test]
fn what_is_to_be_avoided_is_given_only_when_nothing_else_is_left() {
    let mut ledger = ledger(&[("10.1.0.0/29", 1), ("10.1.1.0/29", 2)]);
    // Both blocks are full; then all but two pods end, one after the other.
    (1..=12).for_each(|n| drop(add(&mut ledger, n, Families::V4, &[], 0)));
    for n in 1..=4 {
        ledger.release(&id(n), Uptime(u64::from(n))).unwrap();
    }
    ledger.release(&id(12), Uptime(40_000)).unwrap();
    let avoid: BTreeSet<IpAddr> = ["10.1.0.1", "10.1.0.3"].iter().map(|a| a.parse().unwrap()).collect();
    let mut next = |n, now| {
        let request = Request { avoid: avoid.clone(), ..request(n, Families::V4, &[]) };
        let given = ledger.allocate(request, Uptime(now));
        given.map_or_else(|error| error.to_string(), |(holding, _)| holding.addresses[0].to_string())
    };
    assert_eq!(next(21, REST + 10), "10.1.0.2", "longest rested of the others");
    assert_eq!(next(22, REST + 10), "10.1.0.4");
    assert_eq!(next(23, REST + 10), "10.1.1.6", "even one of another block that rested less");
    assert_eq!(next(24, REST + 10), "10.1.0.1", "nothing else is left");
    assert_eq!(next(25, REST + 10), "10.1.0.3");
    assert!(next(26, REST + 10).starts_with("no IPv4 address is free"));
}

#[test]
fn requested_addresses_are_checked_before_anything_is_held() {
    let mut ledger = ledger(&[("10.1.0.0/24", 1), ("fd00::/64", 2)]);
    let dual = Families::Dual;
    assert_eq!(add(&mut ledger, 1, dual, &["fd00::77", "10.1.0.9"], 0), "10.1.0.9 fd00::77");
    for (wanted, expected) in [
        (&["10.1.0.9"][..], "address 10.1.0.9 is held by container c1"),
        (&["10.2.0.9"], "address 10.2.0.9 can't be requested: it is in no block of this node"),
        (&["10.1.0.0"], "address 10.1.0.0 can't be requested: it isn't a host address"),
        (&["10.1.0.255"], "address 10.1.0.255 can't be requested: it isn't a host address"),
        (&["fd00::"], "address fd00:: can't be requested: it isn't a host address"),
        (&["10.1.0.3", "10.1.0.4"], "address 10.1.0.4 can't be requested: a pod has one address per family"),
    ] {
        assert_eq!(add(&mut ledger, 2, dual, wanted, 0), expected);
    }
    assert_eq!(
        add(&mut ledger, 2, Families::V4, &["fd00::9"], 0),
        "address fd00::9 can't be requested: the fabric doesn't have its family"
    );
    ledger.release(&id(1), Uptime(1_000)).unwrap();
    assert_eq!(
        add(&mut ledger, 2, dual, &["10.1.0.9"], 2_000),
        "address 10.1.0.9 rests for 4000 ms more after its last pod"
    );
    assert_eq!(add(&mut ledger, 2, dual, &["10.1.0.9"], 6_000), "10.1.0.9 fd00::1");
    let all: Vec<_> = (3..=11).map(|n| add(&mut ledger, n, Families::V4, &[], 6_000)).collect();
    assert_eq!((all[7].as_str(), all[8].as_str()), ("10.1.0.8", "10.1.0.10"), "the held one is passed over");
}

#[test]
fn adding_twice_is_refused_and_releasing_twice_is_fine() {
    let mut ledger = ledger(&[("10.1.0.0/24", 1)]);
    add(&mut ledger, 1, Families::V4, &[], 0);
    assert_eq!(add(&mut ledger, 1, Families::V4, &[], 0), "container c1 already has an interface eth0");
    assert!(ledger.release(&id(1), Uptime(0)).is_some());
    assert!(ledger.release(&id(1), Uptime(0)).is_none());
    assert!(ledger.confirm(&id(1)).is_none());
}

#[test]
fn nothing_is_held_when_one_family_is_exhausted() {
    let mut ledger = ledger(&[("10.1.0.0/24", 1)]);
    let error = "no IPv6 address is free on this node: 0 held, 0 resting, 0 blocks";
    assert_eq!(add(&mut ledger, 1, Families::Dual, &[], 0), error);
    assert_eq!(ledger.usage().next().unwrap().held, 0);
    assert_eq!(add(&mut ledger, 1, Families::V4, &[], 0), "10.1.0.1", "the first address is still fresh");
}

#[test]
fn another_boot_sends_every_address_to_rest_and_the_same_boot_changes_nothing() {
    let mut ledger = ledger(&[("10.1.0.0/28", 1)]);
    ledger.begin_boot(BootId([1; 16]), Uptime(5));
    (1..=14).for_each(|n| drop(add(&mut ledger, n, Families::V4, &[], 1_000_000)));
    ledger.release(&id(9), Uptime(1_000_000)).unwrap();
    let before = ledger.clone();
    assert_eq!(ledger.begin_boot(BootId([1; 16]), Uptime(9)), None);
    assert_eq!(ledger, before);
    assert!(ledger.begin_boot(BootId([2; 16]), Uptime(20)).is_some());
    assert_eq!(ledger.holdings().count(), 0);
    assert!(ledger.resting().all(|(_, since)| since == Uptime(20)));
    assert_eq!(add(&mut ledger, 1, Families::V4, &[], 20 + REST), "10.1.0.9", "first in, first out");
}

#[test]
fn a_lost_block_goes_when_it_is_empty_and_only_when_the_view_is_complete() {
    let mut ledger = ledger(&[("10.1.0.0/28", 1), ("10.1.1.0/28", 2)]);
    add(&mut ledger, 1, Families::V4, &[], 0);
    assert_eq!(ledger.lease(&shown(&[], false)), [], "an incomplete view takes nothing away");
    ledger.lease(&shown(&[], true));
    let left: Vec<_> = ledger.usage().map(|u| (u.block.to_string(), u.state)).collect();
    assert_eq!(left, [("10.1.0.0/28".to_owned(), BlockState::Withdrawn)]);
    assert!(add(&mut ledger, 2, Families::V4, &[], 0).starts_with("no IPv4 address is free"));
    assert!(ledger.lease(&shown(&[], true)).is_empty(), "said once");
    ledger.release(&id(1), Uptime(0)).unwrap();
    assert_eq!(ledger.usage().count(), 0);
    let mut again = ledger.clone();
    again.lease(&shown(&[("10.1.0.0/28", 7)], true));
    assert_eq!(again.usage().next().map(|u| (u.epoch, u.state)), Some((Epoch(7), BlockState::Open)));
}

#[test]
fn blocks_are_wanted_when_nearly_full_and_given_back_when_idle() {
    let mut ledger = ledger(&[]);
    assert!(ledger.wants_block(Family::V4, Uptime(0)), "none at all");
    ledger.lease(&shown(&[("10.1.0.0/28", 1)], true));
    (1..=11).for_each(|n| drop(add(&mut ledger, n, Families::V4, &[], 0)));
    assert!(!ledger.wants_block(Family::V4, Uptime(0)), "11 of 14");
    add(&mut ledger, 12, Families::V4, &[], 0);
    assert!(ledger.wants_block(Family::V4, Uptime(0)), "12 of 14");
    ledger.lease(&shown(&[("10.1.0.0/28", 1), ("10.1.1.0/28", 2)], true));
    assert!(!ledger.wants_block(Family::V4, Uptime(0)));
    assert_eq!(ledger.surplus(Family::V4, Uptime(0)), None, "the other is too full");
    (1..=6).for_each(|n| drop(ledger.release(&id(n), Uptime(0))));
    let block = "10.1.0.0/28".parse().unwrap();
    let quarantined = [0, REST - 1, REST].map(|now| ledger.quarantined(block, Uptime(now)));
    assert_eq!(quarantined, [6, 6, 0]);
    assert_eq!(ledger.surplus(Family::V4, Uptime(REST - 1)), None, "resting addresses count as used");
    assert!(ledger.surplus(Family::V4, Uptime(REST)).is_some(), "6 of 14");
    let rest = Uptime(REST);
    let mut small = self::ledger(&[("10.1.0.0/28", 1), ("10.1.1.0/28", 2)]);
    let (block, epoch) = small.surplus(Family::V4, rest).unwrap();
    assert_eq!((block.to_string().as_str(), epoch), ("10.1.1.0/28", Epoch(2)));
    assert!(small.retire(block).is_some());
    assert_eq!(small.surplus(Family::V4, rest), None, "the last one stays");
    assert!(small.lease(&shown(&[("10.1.0.0/28", 1), ("10.1.1.0/28", 2)], true)).is_empty());
    assert_eq!(small.retiring().collect::<Vec<_>>(), [(block, epoch)], "the View may still show it");
    small.lease(&shown(&[("10.1.0.0/28", 1)], true));
    assert_eq!(small.usage().count(), 1);
}

#[test]
fn churn_asks_for_no_second_block_and_an_emptied_one_is_surplus_after_its_rest() {
    let mut ledger = ledger(&[("10.1.0.0/24", 1)]);
    let mut now = 0;
    for n in 0..10_000 {
        now += 50;
        let got = add(&mut ledger, n, Families::V4, &[], now);
        assert!(got.starts_with("10.1.0."), "{n}: {got}");
        if n >= 5 {
            ledger.release(&id(n - 5), Uptime(now)).unwrap();
        }
        assert!(!ledger.wants_block(Family::V4, Uptime(now)), "after {n} pods");
    }
    ledger.lease(&shown(&[("10.1.0.0/24", 1), ("10.1.1.0/24", 2)], true));
    let second = add(&mut ledger, 20_000, Families::V4, &["10.1.1.7"], now);
    assert_eq!(second, "10.1.1.7");
    now += 2 * REST;
    assert_eq!(ledger.surplus(Family::V4, Uptime(now)), None, "a pod lies in it");
    ledger.release(&id(20_000), Uptime(now)).unwrap();
    assert_eq!(ledger.surplus(Family::V4, Uptime(now + REST - 1)), None, "its address rests");
    let surplus = ledger.surplus(Family::V4, Uptime(now + REST));
    assert_eq!(surplus.map(|(block, _)| block.to_string()).as_deref(), Some("10.1.1.0/24"));
}

#[test]
fn pods_that_are_known_before_their_block_keep_their_addresses() {
    let mut other = ledger(&[("10.1.0.0/28", 1)]);
    let (lost, _) = other.allocate(request(7, Families::V4, &["10.1.0.1"]), Uptime(0)).unwrap();
    let mut ledger = Ledger::new(Settings::default());
    assert!(!ledger.adopt(&lost).is_empty());
    ledger.lease(&shown(&[("10.1.0.0/28", 1)], true));
    assert_eq!(add(&mut ledger, 1, Families::V4, &[], 0), "10.1.0.2");
    laws(&ledger);
}

#[test]
fn a_pod_that_only_the_kernel_knows_is_adopted_once_and_its_address_isnt_given_out() {
    let mut ledger = ledger(&[("10.1.0.0/28", 1)]);
    let mut other = self::ledger(&[("10.1.0.0/28", 1)]);
    let (lost, _) = other.allocate(request(7, Families::V4, &["10.1.0.1"]), Uptime(0)).unwrap();
    let lost = Holding { attached: true, ..lost };
    assert!(!ledger.adopt(&lost).is_empty());
    assert!(ledger.adopt(&lost).is_empty(), "once");
    assert_eq!(add(&mut ledger, 1, Families::V4, &[], 0), "10.1.0.2");
    assert!(ledger.release(&lost.attachment, Uptime(0)).is_some());
}

#[test]
fn what_was_said_of_a_pods_readiness_goes_with_the_pod_and_survives_compaction() {
    let mut ledger = ledger(&[("10.1.0.0/28", 1)]);
    add(&mut ledger, 1, Families::V4, &[], 0);
    let serving = |ledger: &Ledger| ledger.holding(&id(1)).unwrap().serving.clone();
    assert!(serving(&ledger).is_ready(), "nobody asks it");
    let handler = ProbeHandler::Tcp { port: 80 };
    let probe = Probe {
        handler,
        initial_delay_ms: 0,
        period_ms: 1000,
        timeout_ms: 100,
        success_threshold: 1,
        failure_threshold: 3,
    };
    let probes = Box::new(Probes { readiness: Some(probe), startup: None });
    let entry = ledger.probe(&id(1), probes.clone()).unwrap();
    assert_eq!(entry, Entry::Probed { attachment: id(1), probes: probes.clone() });
    assert_eq!(ledger.probe(&id(1), probes.clone()), None, "known");
    assert!(!serving(&ledger).is_ready(), "it hasn't answered yet");
    for (ready, new) in [(true, true), (true, false), (false, true)] {
        assert_eq!(ledger.judge(&id(1), ready).is_some(), new);
        assert_eq!(serving(&ledger).is_ready(), ready);
    }
    for (until, new) in [(50, true), (60, false), (40, true)] {
        assert_eq!(ledger.drain(&id(1), Uptime(until)).is_some(), new, "never later: {until}");
    }
    let expected = Serving { probes, verdict: Some(false), drained_at: Some(Uptime(40)) };
    assert_eq!(serving(&ledger), expected);
    assert_eq!(serving(&Ledger::replay(Settings::default(), &ledger.snapshot())), expected);
    ledger.release(&id(1), Uptime(50)).unwrap();
    assert_eq!(ledger.judge(&id(1), true), None);
    add(&mut ledger, 1, Families::V4, &[], REST + 60);
    assert_eq!(serving(&ledger), Serving::default(), "another pod");
}

#[derive(Clone, Debug)]
enum Op {
    Add(u32, Option<u8>),
    Confirm(u32),
    Release(u32),
    Pass(u64),
    Lease(u8, bool, u64),
    Reboot,
    Retire(u8),
    Compact,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0_u32..24, prop::option::weighted(0.2, 0_u8..40)).prop_map(|(n, w)| Op::Add(n, w)),
        1 => (0_u32..24).prop_map(Op::Confirm),
        5 => (0_u32..24).prop_map(Op::Release),
        3 => prop_oneof![Just(100), Just(6_000), Just(REST)].prop_map(Op::Pass),
        1 => (0_u8..8, any::<bool>(), 0_u64..9).prop_map(|(mask, complete, r)| Op::Lease(mask, complete, r)),
        1 => Just(Op::Reboot),
        1 => (0_u8..3).prop_map(Op::Retire),
        1 => Just(Op::Compact),
    ]
}

const BLOCKS: [&str; 3] = ["10.1.0.0/28", "10.1.0.16/28", "fd00::/64"];

/// No address is held twice; what is held is in the book of its block; every position below the fresh one is taken.
fn laws(ledger: &Ledger) {
    let mut seen = BTreeSet::new();
    for holding in ledger.holdings() {
        for address in &holding.addresses {
            assert!(seen.insert(*address), "{address} is held twice");
            assert_eq!(ledger.holder(*address), Some(holding));
        }
    }
    assert_eq!(ledger.holders.len(), seen.len());
    let resting: Vec<_> = ledger.resting().map(|(address, _)| address).collect();
    assert!(resting.iter().all(|address| seen.insert(*address)), "resting and held, or resting twice");
    for book in ledger.blocks.values() {
        let inside = seen.iter().filter(|a| book.block.contains(**a)).count() as u128;
        assert_eq!(inside, book.held() + book.resting(), "no address of {} is lost", book.block);
        let below = (1..book.fresh()).all(|i| seen.contains(&book.block.nth(i).unwrap()));
        assert!(below, "a position of {} that isn't fresh is held or resting", book.block);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_address_is_held_twice_none_is_lost_and_a_replay_is_equal(ops in prop::collection::vec(op(), 1..120)) {
        let mut ledger = Ledger::new(Settings::default());
        let (mut journal, mut bytes) = Journal::create(&[]);
        let (mut now, mut boot) = (0_u64, 1_u8);
        for op in ops {
            let at = Uptime(now);
            let entries = match op {
                Op::Add(n, wanted) => {
                    let wanted = wanted.map(|w| format!("10.1.0.{w}"));
                    let wanted: Vec<_> = wanted.iter().map(String::as_str).collect();
                    let families = if n.is_multiple_of(3) { Families::Dual6 } else { Families::V4 };
                    // Every second address is one that others may not have heard of.
                    let odd = |address: &IpAddr| n % 2 == 1 && matches!(address, IpAddr::V4(a) if a.octets()[3] % 2 == 1);
                    let avoid: BTreeSet<IpAddr> = ledger.resting().map(|(a, _)| a).filter(odd).collect();
                    let least = Settings::default().least_rest_ms;
                    let others = |ledger: &Ledger| {
                        let rested = |(a, since): &(IpAddr, Uptime)| a.is_ipv4() && at.since(*since) >= least;
                        let is_open = |a: &IpAddr| ledger.book_of(*a).is_some_and(|b| b.state == BlockState::Open);
                        let mut resting = ledger.resting().filter(rested).map(|(a, _)| a).filter(is_open);
                        let fresh = ledger.open_books(Family::V4).any(|b| b.fresh() <= b.capacity());
                        fresh || resting.any(|a| !avoid.contains(&a))
                    };
                    let (had_others, is_asked) = (others(&ledger), !wanted.is_empty());
                    let request = Request { avoid: avoid.clone(), ..request(n, families, &wanted) };
                    let given = ledger.allocate(request, at);
                    if let (Ok((holding, _)), false) = (&given, is_asked) {
                        let avoided = holding.addresses.iter().any(|a| avoid.contains(a));
                        prop_assert!(!(avoided && had_others), "{:?} of {:?}", holding.addresses, avoid);
                    }
                    given.map(|(_, entry)| vec![entry]).unwrap_or_default()
                }
                Op::Confirm(n) => ledger.confirm(&id(n)).into_iter().collect(),
                Op::Release(n) => ledger.release(&id(n), at).map(|(_, entry)| entry).into_iter().collect(),
                Op::Pass(ms) => { now += ms; Vec::new() }
                Op::Lease(mask, complete, revision) => {
                    let wanted = BLOCKS.iter().enumerate().filter(|(i, _)| mask & (1 << i) != 0);
                    let list: Vec<_> = wanted.map(|(i, block)| (*block, i as u64 + revision)).collect();
                    ledger.lease(&Shown { revision: Revision(revision), ..shown(&list, complete) })
                }
                Op::Reboot => {
                    boot += 1;
                    now = 0;
                    ledger.begin_boot(BootId([boot; 16]), Uptime(now)).into_iter().collect()
                }
                Op::Retire(i) => ledger.retire(BLOCKS[usize::from(i)].parse().unwrap()).into_iter().collect(),
                Op::Compact => {
                    (journal, bytes) = Journal::create(&ledger.snapshot());
                    Vec::new()
                }
            };
            entries.iter().for_each(|entry| journal.append(entry, &mut bytes));
            laws(&ledger);
        }
        let scan = Journal::scan(&bytes).unwrap();
        prop_assert_eq!((scan.torn, &scan.damage), (0, &None));
        let replayed = Ledger::replay(Settings::default(), &scan.entries);
        prop_assert_eq!(&replayed, &ledger);
        prop_assert_eq!(&Ledger::replay(Settings::default(), &ledger.snapshot()), &ledger);
    }
}
