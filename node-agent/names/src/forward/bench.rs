//! A forwarder between a reader's clients and upstreams that a test plays.

use std::collections::BTreeMap;

use hickory_proto::{
    op::Message,
    rr::{Name, RData, Record, rdata},
};
use weft_model::{FabricItem, Families, Item, StubDomain};

use crate::{
    Client, Effect, Exchange, ForwardConfig, Input, RecordType, Response, Source, Transport,
    fixture::{World, external, fabric, query, service, words},
};

pub(crate) const ONE: &str = "192.0.2.53:53";
pub(crate) const TWO: &str = "192.0.2.54:53";
pub(crate) const CORP: &str = "192.0.2.55:53";

/// A message under way to an upstream.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) exchange: Exchange,
    pub(crate) server: String,
    pub(crate) message: Vec<u8>,
    pub(crate) is_tcp: bool,
}

pub(crate) struct Bench {
    pub(crate) world: World,
    pub(crate) sent: Vec<Sent>,
    pub(crate) answers: BTreeMap<u64, (Vec<u8>, Source)>,
    pub(crate) names: BTreeMap<u64, String>,
    pub(crate) next: u64,
    pub(crate) chance: u64,
}

pub(crate) fn settings() -> FabricItem {
    let mut item = fabric(Families::Dual);
    item.dns.upstreams = [ONE, TWO].iter().map(|text| text.parse().unwrap()).collect();
    item.dns.stub_domains =
        vec![StubDomain { domain: "corp.example".to_owned(), servers: vec![CORP.parse().unwrap()] }];
    item
}

impl Bench {
    pub(crate) fn new(item: FabricItem) -> Self {
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

    pub(crate) fn input(&mut self, input: Input<'_>) {
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
                Effect::Answer { client, message, source, .. } => {
                    assert!(self.answers.insert(client.0, (message, source)).is_none(), "one answer each");
                }
            }
        }
    }

    /// A client asks; its number. What the reader knows is answered at once.
    pub(crate) fn ask(&mut self, kind: RecordType, name: &str) -> u64 {
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

    pub(crate) fn says(&self, client: u64) -> String {
        match self.answers.get(&client) {
            Some((message, source)) => format!("{source} {}", words(&self.names[&client], message)),
            None => "waits".to_owned(),
        }
    }

    /// Lets time pass, with a tick whenever one is due.
    pub(crate) fn pass(&mut self, millis: u64) {
        let end = self.world.now.after(millis);
        while let Some(due) = self.world.forwarder.deadline().filter(|due| *due <= end) {
            self.world.now = self.world.now.max(due);
            self.input(Input::Tick);
        }
        self.world.now = end;
    }

    /// The only message under way.
    pub(crate) fn only(&self) -> Sent {
        assert_eq!(self.sent.len(), 1, "{:?}", self.sent);
        self.sent[0].clone()
    }

    /// The last message is answered with what `change` makes of an empty answer.
    pub(crate) fn answer(&mut self, change: impl FnOnce(&mut Message)) {
        let sent = self.sent.last().unwrap().clone();
        let bytes = reply(&sent.message, change);
        self.input(Input::Message { exchange: sent.exchange, bytes: &bytes });
    }
}

pub(crate) fn reply(query: &[u8], change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let asked = Message::from_vec(query).unwrap();
    let mut message = asked.into_response();
    message.edns = None;
    change(&mut message);
    message.to_vec().unwrap()
}

pub(crate) fn a(name: &str, ttl: u32, last: u8) -> Record {
    Record::from_rdata(Name::from_ascii(name).unwrap(), ttl, RData::A(rdata::A::new(198, 51, 100, last)))
}

pub(crate) fn cname(name: &str, target: &str) -> Record {
    let target = rdata::CNAME(Name::from_ascii(target).unwrap());
    Record::from_rdata(Name::from_ascii(name).unwrap(), 300, RData::CNAME(target))
}

pub(crate) fn soa(zone: &str, ttl: u32, minimum: u32) -> Record {
    let name = Name::from_ascii(zone).unwrap();
    let data = rdata::SOA::new(name.clone(), name.clone(), 1, 2, 3, 4, minimum);
    Record::from_rdata(name, ttl, RData::SOA(data))
}
