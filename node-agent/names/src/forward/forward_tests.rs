//! The forwarder between clients and upstreams that are slow or dead, and what is kept of what they say.

use hickory_proto::op::{Message, ResponseCode};
use weft_model::Item;

use super::{
    bench::{Bench, CORP, ONE, Sent, TWO, a, cname, reply, settings, soa},
    *,
};
use crate::{
    Ask, Moment, RecordType, Response, Transport,
    fixture::{World, query},
};

#[test]
fn an_answer_goes_to_all_who_wait_and_is_kept_for_its_time() {
    let mut b = Bench::new(settings());
    let first = b.ask(RecordType::A, "www.example.com");
    let second = b.ask(RecordType::A, "WWW.example.com");
    let sent = b.only();
    assert_eq!((sent.server.as_str(), sent.is_tcp), (ONE, false));
    assert_eq!(b.says(first), "waits");
    b.answer(|m| {
        m.add_answer(a("www.example.com.", 60, 1));
        m.add_answer(a("www.example.com.", 50, 2));
    });
    assert_eq!(b.says(first), "upstream NoError: 60 A 198.51.100.1, 50 A 198.51.100.2");
    assert!(b.says(second).starts_with("upstream NoError: 60 A"));
    assert!(b.sent.is_empty(), "its socket is closed");
    b.pass(20_000);
    let later = b.ask(RecordType::A, "www.EXAMPLE.com");
    assert_eq!(b.says(later), "cache NoError: 40 A 198.51.100.1, 30 A 198.51.100.2");
    b.pass(30_001);
    let over = b.ask(RecordType::A, "www.example.com");
    assert_eq!(b.says(over), "waits", "the shortest time counts for all");
}

#[test]
fn denials_are_kept_as_long_as_the_soa_says() {
    let mut b = Bench::new(settings());
    let client = b.ask(RecordType::A, "no.example.com");
    b.answer(|m| {
        m.metadata.response_code = ResponseCode::NXDomain;
        m.add_authority(soa("example.com.", 900, 30));
    });
    assert_eq!(
        b.says(client),
        "upstream NXDomain / example.com. 30 SOA example.com. example.com. 1 2 3 4 30"
    );
    let again = b.ask(RecordType::A, "no.example.com");
    assert!(b.says(again).starts_with("cache NXDomain"));
    b.pass(30_000);
    b.ask(RecordType::A, "no.example.com");
    b.answer(|m| {
        m.metadata.response_code = ResponseCode::NXDomain;
        m.add_authority(soa("evil.example.", 900, 900));
    });
    let unsigned = b.ask(RecordType::A, "no.example.com");
    assert_eq!(b.says(unsigned), "waits", "without a SOA above the name nothing is kept");
}

#[test]
fn dead_upstreams_are_left_for_others_and_old_answers_are_better_than_none() {
    let mut b = Bench::new(settings());
    let client = b.ask(RecordType::A, "www.example.com");
    let first = b.only();
    b.pass(400);
    assert_eq!(b.sent.len(), 2, "the first may still answer");
    assert_eq!(b.sent[1].server, TWO);
    let late = reply(&first.message, |m| {
        m.add_answer(a("www.example.com.", 60, 1));
    });
    b.input(Input::Message { exchange: first.exchange, bytes: &late });
    assert_eq!(b.says(client), "upstream NoError: 60 A 198.51.100.1");
    b.pass(60_000);
    let stale = b.ask(RecordType::A, "www.example.com");
    let fresh = b.ask(RecordType::A, "new.example.com");
    b.pass(700);
    assert_eq!(b.says(stale), "waits");
    b.pass(800);
    assert_eq!(b.says(stale), "stale NoError: 30 A 198.51.100.1", "RFC 8767");
    assert_eq!(
        b.says(fresh),
        "own ServFail",
        "never NXDOMAIN for our own trouble, before the client asks again"
    );
    assert!(b.world.forwarder.upstreams().iter().take(1).all(|state| state.server.to_string() == CORP));
    let states = b.world.forwarder.upstreams();
    assert!(states.iter().skip(1).all(|state| state.failures >= 3), "{states:?}");
    let at_once = b.ask(RecordType::A, "www.example.com");
    assert_eq!(b.says(at_once), "stale NoError: 30 A 198.51.100.1");
    b.pass(3_600_000);
    let too_old = b.ask(RecordType::A, "www.example.com");
    assert_eq!(b.says(too_old), "waits");
    assert_eq!(b.world.forwarder.waiting(), 1);
}

#[test]
fn when_nobody_answers_that_is_said_soon_and_sooner_once_it_is_known() {
    let mut b = Bench::new(settings());
    let first = b.ask(RecordType::A, "first.example.com");
    b.pass(1499);
    assert_eq!(b.says(first), "waits");
    b.pass(1);
    assert_eq!(b.says(first), "own ServFail", "nothing is known of them: the first question is bounded too");
    let other = b.ask(RecordType::A, "other.example.com");
    b.pass(1500);
    assert_eq!(b.says(other), "own ServFail");
    let known = b.ask(RecordType::A, "known.example.com");
    assert!(b.world.forwarder.upstreams().iter().skip(1).any(|state| state.is_down));
    b.pass(1500);
    assert_eq!(b.says(known), "own ServFail");
    let sent = b.world.forwarder.upstreams().iter().map(|state| state.asked).collect::<Vec<_>>();
    let quick = b.ask(RecordType::A, "quick.example.com");
    b.pass(800);
    assert_eq!(b.says(quick), "own ServFail", "both are known to be dead");
    let now = b.world.forwarder.upstreams();
    let tried = now.iter().zip(&sent).skip(1).all(|(state, before)| state.asked > *before);
    assert!(tried, "each is asked all the same: one may be back: {now:?}");
}

#[test]
fn an_answer_that_counts_for_no_time_is_told_as_it_is_and_not_kept() {
    let mut b = Bench::new(settings());
    for _ in 0..2 {
        let client = b.ask(RecordType::A, "www.example.com");
        b.answer(|m| {
            m.add_answer(a("www.example.com.", 0, 1));
        });
        assert_eq!(b.says(client), "upstream NoError: 0 A 198.51.100.1");
    }
}

#[test]
fn a_slow_name_of_a_server_that_lives_is_waited_for() {
    let mut b = Bench::new(settings());
    let slow = b.ask(RecordType::A, "slow.example.com");
    let slow_sent = b.only();
    for number in 0..8 {
        b.pass(300);
        let quick = b.ask(RecordType::A, &format!("quick-{number}.example.com"));
        let is_of = |sent: &&Sent| {
            sent.message
                .windows(7)
                .any(|part| part.eq_ignore_ascii_case(format!("quick-{number}").as_bytes()))
        };
        let sent = b.sent.iter().find(is_of).cloned().unwrap();
        let answer = reply(&sent.message, |m| m.metadata.response_code = ResponseCode::NXDomain);
        b.input(Input::Message { exchange: sent.exchange, bytes: &answer });
        assert!(b.says(quick).starts_with("upstream NXDomain"), "{}", b.says(quick));
    }
    assert_eq!(b.says(slow), "waits", "after 2.4 s");
    let late = reply(&slow_sent.message, |m| {
        m.add_answer(a("slow.example.com.", 60, 1));
    });
    b.input(Input::Message { exchange: slow_sent.exchange, bytes: &late });
    assert_eq!(b.says(slow), "upstream NoError: 60 A 198.51.100.1");
}

#[test]
fn refused_connections_end_at_once_and_failures_are_remembered_for_a_second() {
    let mut b = Bench::new(settings());
    let client = b.ask(RecordType::A, "www.example.com");
    for _ in 0..20 {
        if let Some(sent) = b.sent.last().cloned() {
            b.input(Input::Failed { exchange: sent.exchange });
        }
    }
    assert_eq!(b.says(client), "own ServFail");
    let before = b.world.forwarder.counters().sent_udp;
    let again = b.ask(RecordType::A, "www.example.com");
    assert_eq!(b.says(again), "cache ServFail");
    b.pass(1000);
    b.ask(RecordType::A, "www.example.com");
    assert!(b.world.forwarder.counters().sent_udp > before);
}

#[test]
fn names_go_to_the_servers_of_the_longest_domain() {
    let mut b = Bench::new(settings());
    for (name, server) in [
        ("db.corp.example", CORP),
        ("corp.example", CORP),
        ("xcorp.example", ONE),
        ("example", ONE),
        ("1.1.1.1.in-addr.arpa", ONE),
    ] {
        b.ask(RecordType::PTR, name);
        assert_eq!(b.sent.last().unwrap().server, server, "{name}");
    }
}

#[test]
fn an_alias_of_a_stub_domain_leads_outside() {
    let mut b = Bench::new(settings());
    let client = b.ask(RecordType::A, "app.corp.example");
    b.answer(|m| {
        m.add_answer(cname("app.corp.example.", "app.cloud.example."));
    });
    assert_eq!(b.only().server, ONE);
    b.answer(|m| {
        m.add_answer(a("app.cloud.example.", 60, 1));
    });
    let expected = "NoError: 300 CNAME app.cloud.example., app.cloud.example. 60 A 198.51.100.1";
    assert_eq!(b.says(client), format!("upstream {expected}"));
    let again = b.ask(RecordType::A, "app.corp.example");
    assert_eq!(b.says(again), format!("cache {expected}"), "put together from both entries");
    let inside = b.ask(RecordType::A, "in.corp.example");
    b.answer(|m| {
        m.add_answer(cname("in.corp.example.", "web.shop.svc.cluster.local."));
    });
    assert_eq!(
        b.says(inside),
        "upstream NoError: 300 CNAME web.shop.svc.cluster.local.",
        "and not into our zone"
    );
}

#[test]
fn an_external_name_is_chased_outside() {
    let mut b = Bench::new(settings());
    let name = "out.shop.svc.cluster.local";
    let client = b.ask(RecordType::A, name);
    b.answer(|m| {
        m.add_answer(cname("www.example.com.", "cdn.example.net."));
        m.add_answer(a("cdn.example.net.", 60, 1));
    });
    let records = "CNAME www.example.com., www.example.com. 300 CNAME cdn.example.net., cdn.example.net. 60 A 198.51.100.1";
    assert_eq!(b.says(client), format!("upstream NoError aa: {records}"));
    let again = b.ask(RecordType::A, name);
    assert_eq!(b.says(again), format!("cache NoError aa: {records}"));
    let denied = b.ask(RecordType::AAAA, name);
    b.answer(|m| {
        m.add_authority(soa("example.com.", 60, 60));
    });
    assert_eq!(
        b.says(denied),
        "upstream NoError aa: CNAME www.example.com. / example.com. 60 SOA example.com. example.com. 1 2 3 4 60"
    );
}

#[test]
fn the_search_path_is_walked_in_one_round() {
    let mut b = Bench::new(settings());
    let storm = "www.example.com.shop.svc.cluster.local";
    let client = b.ask(RecordType::A, storm);
    let asked = Message::from_vec(&b.only().message).unwrap();
    assert_eq!(asked.queries[0].name().to_ascii().to_lowercase(), "www.example.com.");
    b.answer(|m| {
        m.add_answer(cname("www.example.com.", "cdn.example.net."));
        m.add_answer(a("cdn.example.net.", 60, 1));
    });
    let records = "CNAME www.example.com., www.example.com. 300 CNAME cdn.example.net., cdn.example.net. 60 A 198.51.100.1";
    assert_eq!(b.says(client), format!("upstream NoError: {records}"));
    let again = b.ask(RecordType::A, storm);
    assert_eq!(b.says(again), format!("cache NoError aa: {records}"));
    let soa_ours = "cluster.local. SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5";
    let miss = b.ask(RecordType::A, "no.example.com.shop.svc.cluster.local");
    b.answer(|m| {
        m.metadata.response_code = ResponseCode::NXDomain;
        m.add_authority(soa("example.com.", 60, 60));
    });
    assert_eq!(b.says(miss), format!("upstream NXDomain aa / {soa_ours}"));
    let sent = b.world.forwarder.counters().sent_udp;
    for suffix in [".shop.svc.cluster.local", ".svc.cluster.local", ".cluster.local", ""] {
        let walked = b.ask(RecordType::A, &format!("no.example.com{suffix}"));
        assert!(b.says(walked).contains("NXDomain"), "{suffix}");
    }
    assert_eq!(b.world.forwarder.counters().sent_udp, sent, "the final miss is known for all suffixes");
    let whole = b.ask(RecordType::A, "web.shop.svc.cluster.local.shop.svc.cluster.local");
    assert_eq!(
        b.says(whole),
        "zone NoError aa: CNAME web.shop.svc.cluster.local., web.shop.svc.cluster.local. A 10.96.0.20"
    );
    for ours in ["web", "x.web", "a.shop", "a.svc", "example", "www.example.com.dev"] {
        let denied = b.ask(RecordType::A, &format!("{ours}.shop.svc.cluster.local"));
        let is_found = ours == "web" || ours.starts_with("www");
        assert_eq!(b.says(denied).starts_with("zone NXDomain"), !is_found, "{ours}: {}", b.says(denied));
    }
    let other_type = b.ask(RecordType::TXT, storm);
    assert!(b.says(other_type).starts_with("zone NXDomain"));
    let mut off = settings();
    off.dns.search_path = false;
    b.world.change([Item::Fabric(off)], []);
    let off = b.ask(RecordType::A, "www.example.org.shop.svc.cluster.local");
    assert!(b.says(off).starts_with("zone NXDomain"));
}

#[test]
fn a_client_that_is_gone_is_forgotten() {
    let mut b = Bench::new(settings());
    let client = b.ask(RecordType::A, "www.example.com");
    b.input(Input::Gone { client: Client(client) });
    b.answer(|m| {
        m.add_answer(a("www.example.com.", 60, 1));
    });
    assert_eq!((b.says(client).as_str(), b.world.forwarder.waiting()), ("waits", 0));
    let next = b.ask(RecordType::A, "www.example.com");
    assert!(b.says(next).starts_with("cache"), "what came is kept all the same");
}

#[test]
fn changed_servers_make_their_names_be_forgotten() {
    let mut b = Bench::new(settings());
    for name in ["www.example.com", "app.corp.example"] {
        b.ask(RecordType::A, name);
        b.answer(|m| {
            m.add_answer(a(&format!("{name}."), 600, 1));
        });
    }
    let mut item = settings();
    item.dns.stub_domains[0].servers = vec![TWO.parse().unwrap()];
    let (config, _) = ForwardConfig::new(&item, &[]);
    b.world.forwarder.configure(b.world.now, config);
    let kept = b.ask(RecordType::A, "www.example.com");
    let forgotten = b.ask(RecordType::A, "app.corp.example");
    assert_eq!((b.says(kept).starts_with("cache"), b.says(forgotten).as_str()), (true, "waits"));
}

#[test]
fn without_any_upstream_names_of_the_outside_are_our_trouble() {
    let mut b = Bench::new(settings());
    b.world.forwarder.configure(b.world.now, ForwardConfig::default());
    let client = b.ask(RecordType::A, "www.example.com");
    assert_eq!(b.says(client), "own ServFail");
}

#[test]
fn questions_of_old_kinds_are_what_they_were() {
    let mut world = World::new([Item::Fabric(settings())]);
    let mut ask = |name: &str, kind| {
        let mut out = vec![0; 1232];
        match world.reader.respond(
            &world.asker,
            Transport::Udp,
            world.now,
            &query(name, kind, true),
            &mut out,
        ) {
            Response::Ask(ask) => Some(ask),
            Response::Answer { .. } | Response::Drop(_) => None,
        }
    };
    let asked: Box<Ask> = ask("Www.Example.com", RecordType::MX).unwrap();
    assert_eq!((asked.kind(), asked.transport()), (RecordType::MX, Transport::Udp));
    assert!(ask("localhost", RecordType::A).is_none() && ask("a.invalid", RecordType::A).is_none());
    assert!(Moment(5).after(3).since(Moment(1)) == 7);
}
