//! The forwarder between clients and upstreams that are slow, dead, wrong or hostile.

use std::collections::BTreeMap;

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, Record, rdata},
};
use weft_model::{FabricItem, Families, Item, StubDomain};

use super::*;
use crate::{
    Ask, Moment, RecordType, Response, Source, Transport,
    fixture::{World, external, fabric, query, service, words},
};

const ONE: &str = "192.0.2.53:53";
const TWO: &str = "192.0.2.54:53";
const CORP: &str = "192.0.2.55:53";

/// A message under way to an upstream.
#[derive(Clone, Debug)]
struct Sent {
    exchange: Exchange,
    server: String,
    message: Vec<u8>,
    is_tcp: bool,
}

struct Bench {
    world: World,
    sent: Vec<Sent>,
    answers: BTreeMap<u64, (Vec<u8>, Source)>,
    names: BTreeMap<u64, String>,
    next: u64,
    chance: u64,
}

fn settings() -> FabricItem {
    let mut item = fabric(Families::Dual);
    item.dns.upstreams = [ONE, TWO].iter().map(|text| text.parse().unwrap()).collect();
    item.dns.stub_domains =
        vec![StubDomain { domain: "corp.example".to_owned(), servers: vec![CORP.parse().unwrap()] }];
    item
}

impl Bench {
    fn new(item: FabricItem) -> Self {
        let (config, problems) = ForwardConfig::new(&item, &[]);
        assert_eq!(problems, []);
        let items = [
            Item::Fabric(item),
            Item::Service(service("shop/web", "10.96.0.20", "")),
            Item::Service(external("shop/out", "www.example.com")),
        ];
        let world = World::new(items);
        let mut bench = Self {
            world,
            sent: Vec::new(),
            answers: BTreeMap::new(),
            names: BTreeMap::new(),
            next: 1,
            chance: 1,
        };
        bench.world.forwarder.configure(bench.world.now, config);
        bench.input(Input::Tick);
        // Nobody is a loop: each look is answered at once.
        while let Some(look) = bench.sent.pop() {
            bench.input(Input::Message { exchange: look.exchange, bytes: &[] });
        }
        bench
    }

    fn input(&mut self, input: Input<'_>) {
        let mut effects = Vec::new();
        let seed = &mut self.chance;
        let mut chance = || {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *seed ^ (*seed >> 29)
        };
        self.world.forwarder.input(self.world.now, input, &mut chance, &mut effects);
        for effect in effects {
            match effect {
                Effect::Udp { exchange, server, message } => {
                    self.sent.push(Sent { exchange, server: server.to_string(), message, is_tcp: false });
                }
                Effect::Tcp { exchange, server, message } => {
                    self.sent.push(Sent { exchange, server: server.to_string(), message, is_tcp: true });
                }
                Effect::Close { exchange } => self.sent.retain(|sent| sent.exchange != exchange),
                Effect::Answer { client, message, source } => {
                    assert!(self.answers.insert(client.0, (message, source)).is_none(), "one answer each");
                }
            }
        }
    }

    /// A client asks; its number. What the reader knows is answered at once.
    fn ask(&mut self, kind: RecordType, name: &str) -> u64 {
        let mut out = vec![0; 65_535];
        let client = self.next;
        self.next += 1;
        self.names.insert(client, name.to_owned());
        let bytes = query(name, kind, true);
        match self.world.reader.respond(&self.world.asker, Transport::Tcp, self.world.now, &bytes, &mut out) {
            Response::Answer { length, source } => {
                self.answers.insert(client, (out[..length].to_vec(), source));
            }
            Response::Ask(ask) => self.input(Input::Ask { client: Client(client), ask }),
            Response::Drop(cause) => panic!("{cause:?}"),
        }
        client
    }

    fn says(&self, client: u64) -> String {
        match self.answers.get(&client) {
            Some((message, source)) => format!("{source} {}", words(&self.names[&client], message)),
            None => "waits".to_owned(),
        }
    }

    /// Lets time pass, with a tick whenever one is due.
    fn pass(&mut self, millis: u64) {
        let end = self.world.now.after(millis);
        while let Some(due) = self.world.forwarder.deadline().filter(|due| *due <= end) {
            self.world.now = self.world.now.max(due);
            self.input(Input::Tick);
        }
        self.world.now = end;
    }

    /// The only message under way.
    fn only(&self) -> Sent {
        assert_eq!(self.sent.len(), 1, "{:?}", self.sent);
        self.sent[0].clone()
    }

    /// The last message is answered with what `change` makes of an empty answer.
    fn answer(&mut self, change: impl FnOnce(&mut Message)) {
        let sent = self.sent.last().unwrap().clone();
        let bytes = reply(&sent.message, change);
        self.input(Input::Message { exchange: sent.exchange, bytes: &bytes });
    }
}

fn reply(query: &[u8], change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let asked = Message::from_vec(query).unwrap();
    let mut message = asked.into_response();
    message.edns = None;
    change(&mut message);
    message.to_vec().unwrap()
}

fn a(name: &str, ttl: u32, last: u8) -> Record {
    Record::from_rdata(Name::from_ascii(name).unwrap(), ttl, RData::A(rdata::A::new(198, 51, 100, last)))
}

fn cname(name: &str, target: &str) -> Record {
    let target = rdata::CNAME(Name::from_ascii(target).unwrap());
    Record::from_rdata(Name::from_ascii(name).unwrap(), 300, RData::CNAME(target))
}

fn soa(zone: &str, ttl: u32, minimum: u32) -> Record {
    let name = Name::from_ascii(zone).unwrap();
    let data = rdata::SOA::new(name.clone(), name.clone(), 1, 2, 3, 4, minimum);
    Record::from_rdata(name, ttl, RData::SOA(data))
}

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
    b.pass(1799);
    assert_eq!(b.says(stale), "waits");
    b.pass(1);
    assert_eq!(b.says(stale), "stale NoError: 30 A 198.51.100.1", "RFC 8767");
    b.pass(3000);
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
