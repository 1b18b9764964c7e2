//! What a node answers for and says, step by step.

use super::*;

const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9));
const B: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9));

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A node that follows a replica and holds `A` with epoch 5 since 0.
fn owner() -> Duties {
    let mut duties = Duties::new(true, ms(0));
    duties.own(&[(A, 5)], true, ms(0));
    duties
}

fn claim(epoch: Option<u64>) -> Claim {
    Claim { address: A, epoch }
}

#[test]
fn an_address_is_announced_often_at_first_and_anew_when_it_comes_back() {
    let mut duties = owner();
    let mut times = Vec::new();
    for at in (0..130_000).step_by(10) {
        if !duties.take_due(ms(at)).is_empty() {
            times.push(at);
        }
    }
    assert_eq!(times, [0, 50, 100, 1_100, 4_100, 64_100, 124_100]);
    let at = ms(130_000);
    duties.own(&[(A, 5), (B, 1)], true, at);
    assert_eq!(duties.take_due(at), [(B, 1)], "only the new one");
    duties.own(&[(A, 6), (B, 1)], true, at);
    assert_eq!(duties.take_due(at), [(A, 6)], "it was elsewhere meanwhile");
    duties.moved(at);
    assert_eq!(duties.take_due(at), [(A, 6), (B, 1)], "another link");
    duties.own(&[], true, at);
    assert_eq!((duties.next_at(), duties.held().len()), (None, 0));
}

#[test]
fn an_owner_yields_to_a_higher_epoch_and_comes_back_with_a_higher_one_still() {
    for in_touch in [true, false] {
        let mut duties = owner();
        duties.own(&[(A, 5)], in_touch, ms(10));
        for epoch in [4, 5] {
            assert_eq!(duties.hear(claim(Some(epoch)), ms(20)), Heard::Defended, "{epoch}");
        }
        assert_eq!(duties.hear(Claim { address: B, epoch: Some(9) }, ms(20)), Heard::Nothing);
        assert_eq!(duties.hear(claim(Some(7)), ms(20)), Heard::Yielded);
        assert!(duties.held().is_empty());
        duties.own(&[(A, 5)], in_touch, ms(30));
        assert!(duties.held().is_empty() && duties.kept().is_empty(), "its View is late");
        duties.own(&[(A, 7)], in_touch, ms(40));
        assert!(duties.held().is_empty(), "epoch 7 is another node's");
        duties.own(&[(A, 8)], in_touch, ms(50));
        assert_eq!(duties.held(), [A].into());
    }
}

#[test]
fn one_forged_claim_takes_an_address_away_for_a_moment_only() {
    let mut duties = owner();
    assert_eq!(duties.hear(claim(Some(u64::MAX)), ms(1_000)), Heard::Yielded);
    duties.own(&[(A, 5)], true, ms(30_999));
    assert!(duties.held().is_empty());
    duties.own(&[(A, 5)], true, ms(31_000));
    assert_eq!((duties.held(), duties.take_due(ms(31_000))), ([A].into(), vec![(A, 5)]));
    // A true owner speaks again, and again; and who follows nobody can't know better.
    duties.hear(claim(Some(7)), ms(31_010));
    duties.hear(claim(Some(7)), ms(50_000));
    duties.own(&[(A, 5)], true, ms(70_000));
    assert!(duties.held().is_empty());
    duties.own(&[(A, 5)], false, ms(900_000));
    assert!(duties.held().is_empty());
}

#[test]
fn a_claim_without_an_epoch_counts_only_for_who_follows_no_replica() {
    let mut duties = owner();
    for at in [0, 50, 100, 1_100, 4_100] {
        assert_eq!(duties.take_due(ms(at)), [(A, 5)], "as planned, at {at}");
    }
    assert_eq!(duties.hear(claim(None), ms(5_000)), Heard::Defended);
    assert_eq!(duties.take_due(ms(5_000)), [(A, 5)], "at once");
    duties.hear(claim(None), ms(5_010));
    assert!(duties.take_due(ms(5_199)).is_empty(), "no more than five a second");
    assert_eq!(duties.take_due(ms(5_200)), [(A, 5)]);
    duties.own(&[(A, 5)], false, ms(6_000));
    assert_eq!(duties.hear(claim(None), ms(6_010)), Heard::Yielded);
    duties.own(&[(A, 5)], false, ms(6_100));
    assert!(duties.held().is_empty());
    duties.own(&[(A, 5)], true, ms(6_200));
    assert_eq!(duties.held(), [A].into(), "a replica says that it is the owner");
}

#[test]
fn who_follows_no_replica_goes_on_and_asks_whether_others_answer() {
    let mut duties = owner();
    assert!(duties.take_questions(ms(0)).is_empty(), "no need");
    duties.own(&[(A, 5)], false, ms(100));
    assert_eq!(duties.held(), [A].into());
    let mut asked = Vec::new();
    for at in (100..1_700).step_by(50) {
        if !duties.take_questions(ms(at)).is_empty() {
            asked.push(at);
        }
    }
    assert_eq!(asked, [100, 600, 1_100, 1_600]);
}

#[test]
fn an_agent_that_wasnt_expected_back_waits_in_doubt() {
    let start = |expected| {
        let mut duties = Duties::new(expected, ms(0));
        duties.own(&[(A, 5)], false, ms(0));
        duties
    };
    assert_eq!(start(true).held(), [A].into(), "it said that it would come back");
    let mut duties = start(false);
    assert!(duties.held().is_empty() && duties.watched() == [A].into() && duties.kept() == [A].into());
    assert_eq!(duties.take_questions(ms(0)), [A]);
    duties.own(&[(A, 5)], false, DOUBT);
    assert_eq!(duties.held(), [A].into(), "nobody spoke");
    let mut duties = start(false);
    duties.own(&[(A, 5)], true, ms(10));
    assert_eq!(duties.held(), [A].into(), "a replica says that it is the owner");
    let mut duties = start(false);
    duties.hear(claim(None), ms(20));
    duties.own(&[(A, 5)], false, DOUBT);
    assert!(duties.held().is_empty(), "somebody else answers");
}

#[test]
fn who_was_unplugged_asks_before_it_goes_on_and_believes_whoever_answers() {
    let signs = |carrier, received| crate::LinkSigns { carrier, losses: 0, received };
    // The address was moved to another node meanwhile, or not, and the View is late.
    for moved in [false, true] {
        let (mut duties, mut hearing) = (owner(), Hearing::default());
        let none: [IpAddr; 0] = [];
        let mut look = |duties: &mut Duties, carrier, received, at| {
            hearing.see(signs(carrier, received), ms(at));
            duties.hears(&hearing);
            duties.own(&[(A, 5)], true, ms(at));
            duties.take_questions(ms(at))
        };
        assert_eq!(look(&mut duties, true, 1, 0), none);
        assert_eq!(look(&mut duties, false, 1, 50), none, "nobody would hear it");
        assert!(duties.held().is_empty() && duties.kept() == [A].into());
        for at in [1_000, 1_050, 1_100] {
            assert_eq!(look(&mut duties, true, at, at), [A], "each time, at {at}");
        }
        if moved {
            assert_eq!(duties.hear(claim(None), ms(1_110)), Heard::Nothing);
        }
        look(&mut duties, true, 1_150, 1_150);
        assert!(duties.held().is_empty());
        assert_eq!(look(&mut duties, true, 1_200, 1_200).is_empty(), moved, "it isn't sure yet");
        let expected = if moved { BTreeSet::new() } else { [A].into() };
        assert_eq!(duties.held(), expected);
        if moved {
            duties.own(&[(A, 5)], true, ms(4_109));
            assert!(duties.held().is_empty(), "its View may be late");
            duties.own(&[(A, 5)], true, ms(4_110));
            assert_eq!(duties.held(), [A].into(), "a replica would have told it by now");
        } else {
            assert_eq!(duties.take_due(ms(1_200)), [(A, 5)], "and says so");
        }
    }
}

#[test]
fn who_owns_many_addresses_asks_for_some_each_time() {
    let all: Vec<(IpAddr, u64)> = (0..20).map(|n| (IpAddr::from([192, 0, 2, n]), 1)).collect();
    let (mut duties, mut hearing) = (Duties::new(true, ms(0)), Hearing::default());
    hearing.see(crate::LinkSigns { carrier: false, losses: 0, received: 0 }, ms(0));
    hearing.see(crate::LinkSigns { carrier: true, losses: 0, received: 0 }, ms(50));
    duties.hears(&hearing);
    duties.own(&all, true, ms(50));
    let asked: Vec<Vec<IpAddr>> = (0..3).map(|_| duties.take_questions(ms(50))).collect();
    assert_eq!(asked.iter().map(Vec::len).collect::<Vec<_>>(), [8, 8, 8]);
    assert_eq!(asked.concat().into_iter().collect::<BTreeSet<_>>().len(), 20, "all of them in turn");
}
