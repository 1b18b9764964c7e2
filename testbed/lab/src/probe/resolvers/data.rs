//! What is asked and what the right answer is: the same services for every server, as items of a fabric or as lines of a zone.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, ensure};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use weft_model::{
    ClusterId, DnsSettings, FabricItem, FabricRanges, Families, Item, ObjectUid, Overlay, Protocol,
    ServiceItem, ServicePortItem, ServiceType, TrafficPolicy,
};

use crate::Result;

/// Domain of the services.
pub(super) const DOMAIN: &str = "cluster.local";
/// Namespaces that services are spread over.
const NAMESPACES: u32 = 100;
/// Time to live of everything that a server says of services, seconds.
const TTL: u32 = 5;
/// Where every foreign name is.
pub(super) const FOREIGN: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

/// Name of a service within its namespace, and the namespace.
fn name(number: u32) -> (String, String) {
    (format!("s{number}"), format!("ns{}", number % NAMESPACES))
}

/// Address of a service.
pub(super) fn v4(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 113, 0, 0)) + number)
}

fn v6(number: u32) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(Ipv6Addr::new(0xfd12, 0, 0, 0, 0, 0, 1, 0)) + u128::from(number))
}

/// A service of two families and two ports.
pub(super) fn service(number: u32, addresses: Vec<IpAddr>) -> Result<ServiceItem> {
    let (name, namespace) = name(number);
    let port = |name: &str, port| ServicePortItem {
        name: name.to_owned(),
        protocol: Protocol::Tcp,
        port,
        node_port: 0,
    };
    Ok(ServiceItem {
        name: format!("{namespace}/{name}").parse()?,
        uid: ObjectUid(u128::from(number).to_be_bytes()),
        kind: ServiceType::ClusterIp,
        addresses,
        external_ips: Vec::new(),
        load_balancer: Vec::new(),
        external_name: String::new(),
        ports: vec![port("http", 80), port("https", 443)],
        affinity: None,
        external_policy: TrafficPolicy::Cluster,
        internal_policy: TrafficPolicy::Cluster,
        health_check_node_port: 0,
        source_ranges: Vec::new(),
        endpoints: Vec::new(),
    })
}

/// Everything that a node is told: the fabric's settings and so many services.
pub(super) fn items(count: u32, upstream: SocketAddr) -> Result<Vec<Item>> {
    let fabric = FabricItem {
        cluster: ClusterId([7; 16]),
        families: Families::Dual,
        ranges: FabricRanges {
            pods: vec!["198.18.0.0/16".parse()?, "fd00::/48".parse()?],
            services: vec!["10.112.0.0/14".parse()?, "fd12::/108".parse()?],
            nodes: vec!["10.200.0.0/24".parse()?, "fd11::/64".parse()?],
            load_balancers: Vec::new(),
        },
        overlay: Overlay::Wireguard,
        domain: DOMAIN.to_owned(),
        dns: DnsSettings { ttl: TTL, upstreams: vec![upstream], ..DnsSettings::default() },
        masquerade_exceptions: Vec::new(),
        node_port_addresses: Vec::new(),
        node_port_range: (30000, 32767),
        policy: weft_model::PolicySettings::default(),
        replicas: Vec::new(),
    };
    let own = |number| -> Result<Item> {
        Ok(Item::Service(service(number, vec![v4(number).into(), v6(number).into()])?))
    };
    std::iter::once(Ok(Item::Fabric(fabric))).chain((0..count).map(own)).collect()
}

/// Lines of a zone file: owner, class, type, data; each owner whole.
pub(super) fn lines(count: u32) -> Result<Vec<String>> {
    let mut lines = vec![
        format!("{DOMAIN}. {TTL} IN SOA ns.dns.{DOMAIN}. hostmaster.{DOMAIN}. 1 7200 1800 86400 {TTL}"),
        format!("{DOMAIN}. {TTL} IN NS ns.dns.{DOMAIN}."),
        format!("ns.dns.{DOMAIN}. {TTL} IN A 10.112.0.10"),
    ];
    for number in 0..count {
        let (name, namespace) = name(number);
        let mut line = String::new();
        write!(line, "{name}.{namespace}.svc.{DOMAIN}. {TTL} IN")?;
        lines.push(format!("{line} A {}", v4(number)));
        lines.push(format!("{line} AAAA {}", v6(number)));
    }
    Ok(lines)
}

/// Questions with the addresses that are the right answers.
pub(super) struct Questions {
    /// Whole queries, with number 0.
    messages: Vec<Vec<u8>>,
    answers: Vec<IpAddr>,
}

impl Questions {
    /// Both families of so many services, as the C library asks: recursion desired, no EDNS.
    pub(super) fn services(count: u32) -> Result<Self> {
        let mut all = Self { messages: Vec::new(), answers: Vec::new() };
        for number in 0..count {
            let (name, namespace) = name(number);
            let name = format!("{name}.{namespace}.svc.{DOMAIN}.");
            all.push(&name, RecordType::A, v4(number).into())?;
            all.push(&name, RecordType::AAAA, v6(number).into())?;
        }
        Ok(all)
    }

    /// So many foreign names.
    pub(super) fn foreign(count: u32) -> Result<Self> {
        let mut all = Self { messages: Vec::new(), answers: Vec::new() };
        for number in 0..count {
            all.push(&format!("w{number}.example.com."), RecordType::A, FOREIGN.into())?;
        }
        Ok(all)
    }

    fn push(&mut self, name: &str, kind: RecordType, answer: IpAddr) -> Result {
        let mut message = Message::new(0, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(name.parse::<Name>()?, kind));
        self.messages.push(message.to_vec().context("encode a query")?);
        self.answers.push(answer);
        Ok(())
    }

    /// The first question alone, with another answer.
    pub(super) fn with_first(&self, answer: IpAddr) -> Self {
        Self { messages: self.messages[..1].to_vec(), answers: vec![answer] }
    }

    pub(super) fn count(&self) -> usize {
        self.messages.len()
    }

    /// The question that comes `turn`th, in an order without order: neighbours lie far from each other.
    pub(super) fn place(&self, turn: u64) -> usize {
        // A prime that divides none of the counts that are used.
        const STEP: u64 = 7919;
        usize::try_from(turn.wrapping_mul(STEP) % self.count().max(1) as u64).unwrap_or_default()
    }

    /// A query without its number.
    pub(super) fn message(&self, place: usize) -> &[u8] {
        &self.messages[place]
    }

    /// What every answer must be: no error, not cut, one answer, to this question.
    pub(super) fn is_plausible(&self, place: usize, answer: &[u8]) -> bool {
        const QR: u8 = 0x80;
        const TC: u8 = 0x02;
        let question = &self.messages[place][12..];
        let Some(header) = answer.first_chunk::<12>() else { return false };
        header[2] & QR != 0
            && header[2] & TC == 0
            && header[3] & 0x0f == 0
            && header[4..8] == [0, 1, 0, 1]
            && answer.get(12..12 + question.len()) == Some(question)
    }

    /// What some are checked for besides, by another implementation: the record itself.
    pub(super) fn check(&self, place: usize, answer: &[u8]) -> Result {
        let query = Message::from_vec(&self.messages[place]).context("read the query")?;
        let answer = Message::from_vec(answer).context("read the answer")?;
        let asked = query.queries.first().context("no question")?;
        ensure!(answer.metadata.response_code == ResponseCode::NoError, "{answer}");
        ensure!(answer.queries.first() == Some(asked), "another question: {answer}");
        let [record] = answer.answers.as_slice() else { anyhow::bail!("not one answer: {answer}") };
        let address = if let RData::A(address) = &record.data {
            IpAddr::V4(address.0)
        } else if let RData::AAAA(address) = &record.data {
            IpAddr::V6(address.0)
        } else {
            anyhow::bail!("{} is no address", record.data)
        };
        ensure!(record.name == *asked.name(), "the answer's owner is {}", record.name);
        ensure!(address == self.answers[place], "{address} in place of {}", self.answers[place]);
        Ok(())
    }
}
