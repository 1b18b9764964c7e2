//! The hot path with anything that may come, while everything changes.

use std::sync::atomic::{AtomicBool, Ordering};

use hickory_proto::op::Message;
use proptest::prelude::*;
use weft_model::{Families, Item, ItemKey};

use super::*;
use crate::fixture::{World, endpoint, external, fabric, peer, pod, query, service};

fn world() -> World {
    let mut db = service("shop/db", "", "sql/tcp:1 x/udp:2");
    db.endpoints = (0..40).map(|at| endpoint(&format!("10.128.0.{at} h{at} p{at} 5 6"), None)).collect();
    World::new([
        Item::Fabric(fabric(Families::Dual)),
        Item::Service(service("shop/web", "10.96.0.20 fd12::20", "http/tcp:80")),
        Item::Service(db),
        Item::Service(external("shop/in", "web.shop.svc.cluster.local")),
        Item::Service(external("shop/out", "www.example.com")),
        Item::Pod(pod("dev/tool", "10.128.1.7 fd00::7")),
        Item::Peer(peer("n1.rack", Some("10.200.0.1"), None)),
    ])
}

/// Names made of the words that the zone knows.
fn names() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "_http",
        "_sql",
        "_tcp",
        "_udp",
        "web",
        "db",
        "in",
        "out",
        "h1",
        "p2",
        "10-128-0-3",
        "10-128-1-7",
        "fd00--7",
        "shop",
        "dev",
        "svc",
        "pod",
        "node",
        "n1",
        "rack",
        "dns",
        "ns",
        "dns-version",
        "control-plane",
        "_weft",
        "cluster",
        "local",
        "x",
        "www",
        "example",
        "com",
        "10",
        "96",
        "0",
        "20",
        "in-addr",
        "ip6",
        "arpa",
        "localhost",
        "shop.svc.cluster.local",
        "svc.cluster.local",
        "cluster.local",
        "96.10.in-addr.arpa",
        "CLUSTER.Local",
    ]);
    prop::collection::vec(words, 0..7).prop_map(|words| words.join("."))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_answer_can_be_read_repeats_the_question_and_fits(
        asked in prop::collection::vec((names(), prop::sample::select(vec![1_u16, 2, 5, 6, 12, 16, 28, 33, 255]), 0_u16..1500), 1..40),
    ) {
        let mut world = world();
        for (name, kind, size) in asked {
            let mut bytes = query(&name, RecordType(kind), true);
            let plain = bytes.clone();
            if size > 0 {
                bytes[11] = 1;
                bytes.extend([0, 0, 41, size.to_be_bytes()[0], size.to_be_bytes()[1], 0, 0, 0, 0, 0, 0]);
            }
            let Some((answer, _)) = world.send(&bytes) else { continue };
            let message = Message::from_vec(&answer);
            prop_assert!(message.is_ok(), "{name} {kind}: {message:?} {answer:?}");
            prop_assert_eq!(&answer[12..plain.len()], &plain[12..]);
            prop_assert!(answer.len() <= usize::from(size.clamp(512, 1232)));
            let message = message.unwrap();
            let is_denial = message.answers.is_empty() && message.metadata.authoritative;
            prop_assert_eq!(is_denial, !message.authorities.is_empty() && message.answers.is_empty());
        }
    }

    #[test]
    fn no_bytes_of_a_client_bring_a_reader_down(
        random in prop::collection::vec(any::<u8>(), 0..200),
        name in names(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut world = world();
        world.send(&random);
        let mut bytes = query(&name, RecordType::SRV, true);
        for (at, octet) in changes {
            let at = at.index(bytes.len());
            bytes[at] = octet;
        }
        let cut = cut.index(bytes.len() + 1);
        for bytes in [&bytes[..], &bytes[..cut]] {
            if let Some((answer, _)) = world.send(bytes) {
                prop_assert_eq!(&answer[..2], &bytes[..2]);
                prop_assert!(answer[2] & 0x80 != 0 && answer.len() <= 512);
            }
        }
    }
}

#[test]
fn a_name_never_vanishes_while_it_and_others_change() {
    let mut world = world();
    let mut reader = world.names.reader(1);
    let asker = Asker::plain([10, 128, 0, 2].into());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let bytes = query("web.shop.svc.cluster.local", RecordType::A, true);
            let mut out = [0; 1232];
            let mut seen = std::collections::BTreeSet::new();
            while !is_over.load(Ordering::Relaxed) || seen.len() < 2 {
                let response = reader.respond(&asker, Transport::Udp, Moment(0), &bytes, &mut out);
                let Response::Answer { length, .. } = response else { panic!("{response:?}") };
                assert_eq!((out[3] & 15, out[7], length), (0, 1, 12 + 32 + 16), "one address, always");
                seen.insert(out[length - 1]);
            }
            seen
        });
        for round in 0..800_u32 {
            let last = 20 + u8::from(round % 2 == 0);
            let other = format!("shop/s{}", round % 700);
            let gone = (round % 3 == 0).then(|| ItemKey::Service(other.parse().unwrap()));
            world.change(
                [
                    Item::Service(service("shop/web", &format!("10.96.0.{last}"), "")),
                    Item::Service(service(&format!("shop/t{}", round % 900), "10.96.1.1", "")),
                ],
                gone,
            );
        }
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(reading.join().unwrap(), [20, 21].into());
    });
}

#[test]
fn a_pod_over_its_budget_hears_nothing_and_another_one_does() {
    let (mut names, _) = crate::open(7, Limits { queries_per_second: 1000, ..Limits::default() });
    let world = world();
    names.fold(&world.view, &weft_view::Touched::default());
    let mut reader = names.reader(1);
    let bytes = query("web.shop.svc.cluster.local", RecordType::A, true);
    let mut out = [0; 1232];
    let [loud, quiet] = [9, 10].map(|last| Asker::plain([10, 128, 0, last].into()));
    let mut answered = 0;
    for at in 0..10_000 {
        let now = Moment(at / 10);
        let response = reader.respond(&loud, Transport::Udp, now, &bytes, &mut out);
        answered += u32::from(matches!(response, Response::Answer { .. }));
        if at % 10 == 0 {
            let response = reader.respond(&quiet, Transport::Udp, now, &bytes, &mut out);
            assert!(matches!(response, Response::Answer { .. }), "at {at}");
        }
    }
    assert_eq!(answered, 200 + 999);
    let counters = reader.counters();
    assert_eq!((counters.dropped_budget, counters.udp, counters.rcodes[0]), (8801, 2199, 2199));
    assert_eq!((counters.types[0], counters.sources[0]), (2199, 2199));
}
