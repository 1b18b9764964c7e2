//! The forwarder between clients and upstreams, or strangers, that mean harm.

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, Record, rdata},
};

use super::{
    bench::{Bench, ONE, TWO, a, cname, reply, settings},
    *,
};
use crate::{RecordType, Response, Source, Transport};

#[test]
fn poison_beside_the_answer_is_left_out() {
    let mut b = Bench::new(settings());
    let client = b.ask(RecordType::A, "www.example.com");
    b.answer(|m| {
        m.add_answer(a("www.bank.example.", 9999, 66));
        m.add_answer(cname("www.example.com.", "cdn.example.net."));
        m.add_answer(a("cdn.example.net.", 60, 1));
        m.add_answer(a("other.example.net.", 60, 66));
        m.add_authority(a("www.bank.example.", 9999, 66));
        m.add_additional(a("www.bank.example.", 9999, 66));
    });
    assert_eq!(
        b.says(client),
        "upstream NoError: 300 CNAME cdn.example.net., cdn.example.net. 60 A 198.51.100.1"
    );
    let bank = b.ask(RecordType::A, "www.bank.example");
    assert_eq!(b.says(bank), "waits");
    let target = b.ask(RecordType::A, "cdn.example.net");
    assert_eq!(b.says(target), "waits", "only what was asked for is kept");
}

#[test]
fn an_upstream_says_nothing_about_names_of_the_cluster() {
    let mut b = Bench::new(settings());
    let client = b.ask(RecordType::A, "www.example.com");
    b.answer(|m| {
        m.add_answer(cname("www.example.com.", "web.default.svc.cluster.local."));
        m.add_answer(a("web.default.svc.cluster.local.", 60, 66));
    });
    assert_eq!(b.says(client), "upstream NoError: 300 CNAME web.default.svc.cluster.local.");
}

#[test]
fn forged_answers_dont_count_and_many_of_them_lead_to_tcp() {
    let mut b = Bench::new(settings());
    let client = b.ask(RecordType::A, "www.example.com");
    let sent = b.only();
    let good = reply(&sent.message, |m| {
        m.add_answer(a("www.example.com.", 60, 1));
    });
    let forged = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    for wrong in [
        forged(&|b| b[0] ^= 1),
        forged(&|b| b[1] ^= 1),
        forged(&|b| b[2] &= 0x7f),
        forged(&|b| b[2] |= 0x08),
        forged(&|b| b[14] ^= 1),
        forged(&|b| b[30] ^= 1),
        forged(&|b| b[5] = 2),
        forged(&|b| b.truncate(20)),
        Vec::new(),
    ] {
        b.input(Input::Message { exchange: sent.exchange, bytes: &wrong });
        assert_eq!(b.says(client), "waits");
    }
    b.input(Input::Message { exchange: Exchange(999), bytes: &good });
    assert_eq!((b.says(client).as_str(), b.world.forwarder.counters().strangers), ("waits", 10));
    for _ in 0..11 {
        b.input(Input::Message { exchange: sent.exchange, bytes: &forged(&|b| b[0] ^= 1) });
    }
    let tcp = b.only();
    assert!(tcp.is_tcp && tcp.server == ONE, "somebody guesses: a stream can't be guessed");
    b.input(Input::Message { exchange: sent.exchange, bytes: &good });
    assert_eq!(b.says(client), "waits", "that conversation is over");
    b.answer(|m| {
        m.add_answer(a("www.example.com.", 60, 1));
    });
    assert_eq!(b.says(client), "upstream NoError: 60 A 198.51.100.1");
}

#[test]
fn numbers_and_cases_of_messages_come_from_chance() {
    let mut b = Bench::new(settings());
    let mut ids = std::collections::BTreeSet::new();
    let mut cases = std::collections::BTreeSet::new();
    for index in 0..50 {
        b.ask(RecordType::A, &format!("abcdefghijkl{index:02}.example.com"));
        let message = b.sent.last().unwrap().message.clone();
        ids.insert([message[0], message[1]]);
        cases.insert(message[13..25].to_vec());
    }
    assert!(ids.len() > 45 && cases.len() > 45, "{} {}", ids.len(), cases.len());
}

#[test]
fn a_lost_case_is_asked_again_by_tcp_and_a_server_that_loses_it_always_is_known() {
    let mut b = Bench::new(settings());
    for round in 0..4 {
        let name = format!("name{round}.example.com");
        let client = b.ask(RecordType::A, &name);
        let sent = b.only();
        let lowered = sent.message.to_ascii_lowercase();
        if lowered[12..] != sent.message[12..] {
            assert!(round < 3, "after three times letters stay as they are");
            let mut bytes = reply(&sent.message, |_| ());
            bytes[12..30].make_ascii_lowercase();
            b.input(Input::Message { exchange: sent.exchange, bytes: &bytes });
            assert!(b.only().is_tcp);
        } else {
            assert_eq!(round, 3);
        }
        b.answer(|m| {
            m.add_answer(a(&format!("{name}."), 60, 1));
        });
        assert_eq!(b.says(client), "upstream NoError: 60 A 198.51.100.1");
    }
}

#[test]
fn a_truncated_answer_is_asked_for_by_tcp_and_not_for_ever() {
    let mut b = Bench::new(settings());
    let client = b.ask(RecordType::A, "www.example.com");
    b.answer(|m| m.metadata.truncation = true);
    assert!(b.only().is_tcp);
    b.answer(|m| m.metadata.truncation = true);
    assert_eq!((b.only().server.as_str(), b.only().is_tcp), (TWO, false), "nonsense by TCP: the next server");
    for _ in 0..20 {
        if b.says(client) == "waits" {
            b.answer(|m| m.metadata.truncation = true);
        }
    }
    assert_eq!(b.says(client), "own ServFail");
    assert!(b.world.forwarder.counters().sent_udp + b.world.forwarder.counters().sent_tcp <= 2 + 12);
}

#[test]
fn endless_aliases_end() {
    let mut b = Bench::new(settings());
    let client = b.ask(RecordType::A, "a0.example.com");
    // In one answer: a circle.
    b.answer(|m| {
        m.add_answer(cname("a0.example.com.", "a1.example.com."));
        m.add_answer(cname("a1.example.com.", "a0.example.com."));
    });
    assert_eq!((b.says(client).as_str(), b.only().server.as_str()), ("waits", TWO));
    // From answer to answer: one more each time.
    for _ in 0..40 {
        if b.says(client) != "waits" {
            break;
        }
        b.answer(|m| {
            let name = m.queries[0].name().to_ascii().to_lowercase();
            let number: u32 = name[1..name.find('.').unwrap()].parse().unwrap();
            m.add_answer(cname(&name, &format!("a{}.example.com.", number + 1)));
        });
    }
    let said = b.says(client);
    assert_eq!(said.matches("CNAME").count(), 12, "{said}");
    assert!(b.world.forwarder.counters().sent_udp <= 2 + 14);
}

#[test]
fn a_server_that_doesnt_know_edns_is_asked_without() {
    let mut b = Bench::new(settings());
    let client = b.ask(RecordType::A, "www.example.com");
    assert_eq!(b.only().message[11], 1);
    b.answer(|m| m.metadata.response_code = ResponseCode::FormErr);
    assert_eq!((b.only().message[11], b.only().server.as_str()), (0, ONE));
    b.answer(|m| {
        m.add_answer(a("www.example.com.", 60, 1));
    });
    assert_eq!(b.says(client), "upstream NoError: 60 A 198.51.100.1");
}

#[test]
fn addresses_of_the_fabric_dont_come_from_outside_when_that_is_forbidden() {
    let mut item = settings();
    item.dns.rebind_protection = true;
    for (protected, expected) in [
        (true, "upstream NoError: 60 A 198.51.100.1"),
        (false, "upstream NoError: 60 A 198.51.100.1, 60 A 10.96.0.20"),
    ] {
        let mut item = item.clone();
        item.dns.rebind_protection = protected;
        let mut b = Bench::new(item);
        let inner = |name: &str| {
            Record::from_rdata(Name::from_ascii(name).unwrap(), 60, RData::A(rdata::A::new(10, 96, 0, 20)))
        };
        let client = b.ask(RecordType::A, "evil.example.com");
        b.answer(|m| {
            m.add_answer(a("evil.example.com.", 60, 1));
            m.add_answer(inner("evil.example.com."));
        });
        assert_eq!(b.says(client), expected);
        let own = b.ask(RecordType::A, "app.corp.example");
        b.answer(|m| {
            m.add_answer(inner("app.corp.example."));
        });
        assert_eq!(b.says(own), "upstream NoError: 60 A 10.96.0.20", "the owner's own servers may");
    }
}

#[test]
fn one_pod_cant_take_all_places() {
    let mut b = Bench::new(settings());
    let clients: Vec<_> =
        (0..150).map(|index| b.ask(RecordType::A, &format!("r{index}.example.com"))).collect();
    let refused = clients.iter().filter(|client| b.says(**client) == "own ServFail").count();
    assert_eq!((refused, b.world.forwarder.waiting()), (50, 100));
    b.world.asker = crate::Asker::plain([10, 128, 0, 10].into());
    let other = b.ask(RecordType::A, "www.example.com");
    assert_eq!(b.says(other), "waits", "another pod isn't touched");
    b.pass(4500);
    assert_eq!(b.world.forwarder.waiting(), 0, "everybody is told in time");
    assert!(b.sent.is_empty(), "and no socket stays open");
    b.world.asker = crate::Asker::plain([10, 128, 0, 9].into());
    let again = b.ask(RecordType::A, "again.example.com");
    assert_eq!(b.says(again), "waits", "places come back");
}

#[test]
fn an_upstream_that_asks_us_is_found_and_left_alone() {
    let (config, _) = ForwardConfig::new(&settings(), &[]);
    let mut b = Bench::new(settings());
    b.pass(10);
    b.world.forwarder.configure(b.world.now, ForwardConfig::default());
    b.world.forwarder.configure(b.world.now, config);
    b.input(Input::Tick);
    let look = b.only();
    let looped = look.server.clone();
    // It comes to us, as any question does.
    let mut out = vec![0; 1232];
    let met = b.world.reader.respond(&b.world.asker, Transport::Udp, b.world.now, &look.message, &mut out);
    assert!(matches!(met, Response::Answer { source: Source::Own, .. }) && out[3] & 15 == 5);
    b.input(Input::Message { exchange: look.exchange, bytes: &[] });
    let second = b.only();
    assert_ne!(second.server, looped);
    b.pass(2000);
    let states = b.world.forwarder.upstreams();
    assert!(states.iter().all(|state| state.is_loop == (state.server.to_string() == looped)), "{states:?}");
    b.ask(RecordType::A, "www.example.com");
    assert_eq!(b.only().server, second.server);
}
