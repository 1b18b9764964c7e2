//! A small fabric for the tests of this crate, asked as a client asks, with another library reading the answers.

use std::net::IpAddr;

use hickory_proto::{op::Message, rr::Record};
use weft_model::{
    ClusterId, Conditions, DnsSettings, Dual, EndpointItem, FabricItem, FabricRanges, Families, Family,
    Hints, Item, ItemKey, NodeName, ObjectUid, Overlay, PeerItem, PodItem, Protocol, Revision, ServiceItem,
    ServicePortItem, ServiceType, TrafficPolicy,
};
use weft_view::{Update, View};

use crate::{
    Asker, DomainName, Forwarder, Limits, Moment, Names, Reader, RecordType, Response, Source, Transport,
    open,
};

pub(crate) fn fabric(families: Families) -> FabricItem {
    let ranges = |v4: &str, v6: &str| {
        let all = [(Family::V4, v4), (Family::V6, v6)];
        all.into_iter().filter(|(f, _)| families.has(*f)).map(|(_, text)| text.parse().unwrap()).collect()
    };
    FabricItem {
        cluster: ClusterId([1; 16]),
        families,
        ranges: FabricRanges {
            pods: ranges("10.128.0.0/14", "fd00::/48"),
            services: ranges("10.96.0.0/12", "fd12::/112"),
            nodes: ranges("10.200.0.0/24", "fd11::/64"),
            load_balancers: Vec::new(),
        },
        overlay: Overlay::Wireguard,
        domain: "cluster.local".to_owned(),
        dns: DnsSettings::default(),
        masquerade_exceptions: Vec::new(),
        node_port_addresses: Vec::new(),
        node_port_range: (30000, 32767),
        policy: weft_model::PolicySettings::default(),
        replicas: vec!["192.0.2.1:7443".parse().unwrap(), "192.0.2.2:7443".parse().unwrap()],
    }
}

pub(crate) fn addresses(text: &str) -> Vec<IpAddr> {
    text.split_whitespace().map(|text| text.parse().unwrap()).collect()
}

/// A service without endpoints; `ports` as in `http/tcp:80`, the name may be empty.
pub(crate) fn service(name: &str, own: &str, ports: &str) -> ServiceItem {
    let port = |text: &str| {
        let (name, rest) = text.split_once('/').unwrap();
        let (protocol, number) = rest.split_once(':').unwrap();
        let protocol = match protocol {
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => Protocol::Tcp,
        };
        ServicePortItem { name: name.to_owned(), protocol, port: number.parse().unwrap(), node_port: 0 }
    };
    ServiceItem {
        name: name.parse().unwrap(),
        uid: ObjectUid([1; 16]),
        kind: ServiceType::ClusterIp,
        addresses: addresses(own),
        external_ips: Vec::new(),
        load_balancer: Vec::new(),
        external_name: String::new(),
        ports: ports.split_whitespace().map(port).collect(),
        affinity: None,
        external_policy: TrafficPolicy::Cluster,
        internal_policy: TrafficPolicy::Cluster,
        health_check_node_port: 0,
        source_ranges: Vec::new(),
        endpoints: Vec::new(),
    }
}

pub(crate) fn external(name: &str, target: &str) -> ServiceItem {
    let mut item = service(name, "", "http/tcp:80");
    item.kind = ServiceType::ExternalName;
    item.external_name = target.to_owned();
    item
}

/// An endpoint: address, host name or `-`, pod or `-`, numbers of ports.
pub(crate) fn endpoint(text: &str, ready: Option<bool>) -> EndpointItem {
    let words: Vec<_> = text.split_whitespace().collect();
    let word = |text: &str| if text == "-" { String::new() } else { text.to_owned() };
    let pod = word(words[2]);
    EndpointItem {
        address: words[0].parse().unwrap(),
        ports: words[3..].iter().map(|number| number.parse().unwrap()).collect(),
        conditions: Conditions { ready, ..Conditions::default() },
        node: None,
        zone: "".into(),
        hints: Hints::default().into(),
        hostname: word(words[1]).into(),
        pod: (!pod.is_empty()).then(|| pod.parse().unwrap()),
    }
}

pub(crate) fn pod(name: &str, own: &str) -> PodItem {
    PodItem {
        name: name.parse().unwrap(),
        addresses: addresses(own),
        hostname: String::new(),
        subdomain: String::new(),
        identity: weft_model::IdentityId::default(),
    }
}

pub(crate) fn peer(name: &str, v4: Option<&str>, v6: Option<&str>) -> PeerItem {
    let address = |text: &str| text.parse().unwrap();
    PeerItem {
        node: NodeName::new(name).unwrap(),
        wireguard_key: None,
        endpoint: None,
        mesh: Dual::new(v4.map(address), v6.map(address)).unwrap(),
        underlay: Vec::new(),
        uplink_mac: None,
        allowed: Vec::new(),
        zone: String::new(),
        silent: false,
    }
}

/// A fabric with its DNS.
pub(crate) struct World {
    pub(crate) view: View,
    pub(crate) names: Names,
    pub(crate) reader: Reader,
    pub(crate) forwarder: Forwarder,
    pub(crate) asker: Asker,
    pub(crate) now: Moment,
}

impl World {
    pub(crate) fn new(items: impl IntoIterator<Item = Item>) -> Self {
        let (names, forwarder) =
            open(7, Limits { queries_per_second: 0, asks_per_second: 0, ..Limits::default() });
        let reader = names.reader(0);
        let search = ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"].map(str::to_owned);
        let asker =
            Asker::pod([10, 128, 0, 9].into(), &"shop/client".parse().unwrap(), &search, "cluster.local");
        let view = View::default();
        let mut world = Self { view, names, reader, forwarder, asker, now: Moment(1_000_000) };
        world.change(items, []);
        world
    }

    /// Folds a change in.
    pub(crate) fn change(
        &mut self,
        upserts: impl IntoIterator<Item = Item>,
        deletes: impl IntoIterator<Item = ItemKey>,
    ) {
        let update = Update::Delta {
            revision: Revision(self.view.revision().0 + 1),
            upserts: upserts.into_iter().collect(),
            deletes: deletes.into_iter().collect(),
        };
        let touched = self.view.fold(update).unwrap();
        self.names.fold(&self.view, &touched);
    }

    /// Asks over TCP, so that all fits; what the other library reads, in words.
    pub(crate) fn ask(&mut self, question: &str) -> String {
        let (kind, name) = question.split_once(' ').unwrap();
        let kind: RecordType = kind.parse().unwrap();
        let query = query(name, kind, true);
        let mut out = vec![0; 65_535];
        match self.reader.respond(&self.asker, Transport::Tcp, self.now, &query, &mut out) {
            Response::Answer { length, .. } => words(name, &out[..length]),
            Response::Ask(ask) => format!("ask {:?}", ask.want),
            Response::Drop(cause) => format!("drop {cause:?}"),
        }
    }

    /// Asks with these bytes over UDP.
    pub(crate) fn send(&mut self, query: &[u8]) -> Option<(Vec<u8>, Source)> {
        let mut out = vec![0; 1232];
        match self.reader.respond(&self.asker, Transport::Udp, self.now, query, &mut out) {
            Response::Answer { length, source } => Some((out[..length].to_vec(), source)),
            Response::Ask(_) | Response::Drop(_) => None,
        }
    }
}

/// A query with recursion, without EDNS.
pub(crate) fn query(name: &str, kind: RecordType, recursive: bool) -> Vec<u8> {
    let mut query = vec![0xab, 0xcd, u8::from(recursive), 0, 0, 1, 0, 0, 0, 0, 0, 0];
    // In the case as given: from the text, not by way of a lowered name.
    for label in name.trim_end_matches('.').split('.').filter(|label| !label.is_empty()) {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend(label.bytes());
    }
    query.push(0);
    query.extend(kind.0.to_be_bytes());
    query.extend([0, 1]);
    query
}

/// What a message says: code, flags, then records; owners that are the question's name and the usual time to live are left out.
pub(crate) fn words(name: &str, message: &[u8]) -> String {
    let message = Message::from_vec(message).expect("the other library can read it");
    let question = format!("{}.", name.trim_end_matches('.'));
    let word = |record: &Record| {
        let text = record.to_string();
        let mut parts: Vec<_> = text.splitn(5, ' ').collect();
        assert_eq!(parts[2], "IN");
        parts.remove(2);
        if parts[1] == "5" {
            parts.remove(1);
        }
        if parts[0].eq_ignore_ascii_case(&question) {
            parts.remove(0);
        }
        parts.join(" ")
    };
    let list = |records: &[Record]| records.iter().map(word).collect::<Vec<_>>().join(", ");
    let mut text = format!("{:?}", message.metadata.response_code);
    for (flag, is_set) in [(" aa", message.metadata.authoritative), (" tc", message.metadata.truncation)] {
        text.push_str(if is_set { flag } else { "" });
    }
    for (section, records) in
        [(": ", &message.answers), (" / ", &message.authorities), (" + ", &message.additionals)]
    {
        if !records.is_empty() {
            text.push_str(section);
            text.push_str(&list(records));
        }
    }
    text
}

/// A name in wire form.
pub(crate) fn wire(name: &str) -> Vec<u8> {
    name.parse::<DomainName>().unwrap().wire().to_vec()
}
