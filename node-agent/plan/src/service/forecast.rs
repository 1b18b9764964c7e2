//! What a pod's packet meets, told beforehand from the entries that the kernel's maps are made of.
//!
//! In: View, Facts, a packet. Out: [`Forecast`]: which front of which service, how a slot is picked, each backend with its slots or
//! why it has none, and the source that it would see. Not here: the way to a backend (`way`), sending (the agent's probe).
//! The wanted entries are read as the rules read them (`rules.rs`, chain `from_pods`), so what is told is what is done.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use weft_model::{
    AddressRange, EndpointItem, Family, IpMode, Item, Name, NodeName, Protocol, ServiceItem, ServiceName,
    TrafficPolicy, resolver_addresses,
};
use weft_view::View;

use super::{
    base,
    class::{CLASS_BITS, Class, GROUP_BITS},
    compile::{Key, Value},
    group::Group,
    local::Local,
    rules::{Front, chain_of},
    tables::{Limits, Services},
};
use crate::{Facts, Scope};

/// The first packet of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its sender: an address of a pod of this node, or of the node itself.
    pub source: IpAddr,
    /// Where it is sent to, of the same family.
    pub to: IpAddr,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Destination port.
    pub port: u16,
}

/// Why a service that has backends serves nobody.
const CLOSED: &str = "services need more elements than this node's maps may hold";

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// No service has the address: it goes there as it is.
    Straight,
    /// One of the backends gets it.
    Served,
    /// The sender is told no at once, with the reason.
    Refused(String),
    /// It is dropped without a word, with the reason.
    Dropped(String),
}

/// What kind of address of a service it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontKind {
    /// The virtual address inside the fabric.
    Cluster,
    /// A load balancer's.
    LoadBalancer,
    /// One of the outside that people wrote.
    External,
    /// A node's, at a node port.
    NodePort,
}

impl FrontKind {
    /// Its words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster address",
            Self::LoadBalancer => "load-balancer address",
            Self::External => "external address",
            Self::NodePort => "node port",
        }
    }
}

/// The service that has the address and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    /// Its name.
    pub service: ServiceName,
    /// By what it was met.
    pub kind: FrontKind,
    /// The map that has the front, in `ip weft` or `ip6 weft`.
    pub map: &'static str,
    /// The chain that picks the backend.
    pub chain: String,
    /// Slots of the table that it picks from; 0: nobody is picked.
    pub slots: usize,
    /// How long a client keeps its backend, seconds; 0: no longer than the connection.
    pub affinity: u32,
    /// Whose backends may be picked.
    pub policy: TrafficPolicy,
}

/// One backend of the port, of the packet's family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Where the packet would go.
    pub socket: SocketAddr,
    /// The pod behind it.
    pub pod: Option<Name>,
    /// Its node.
    pub node: Option<NodeName>,
    /// Slots that lead to it; 0: it isn't picked.
    pub slots: usize,
    /// Why it isn't picked; empty otherwise.
    pub out: String,
    /// Whether the sender is this backend: it then sees its node's mesh address as its client.
    pub is_sender: bool,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// The service, if there is one.
    pub met: Option<Met>,
    /// What becomes of the packet.
    pub fate: Fate,
    /// Backends of the port; of a packet that meets no service, none.
    pub backends: Vec<Backend>,
}

/// Tells what a packet meets; `limits` is what all services of the View together leave to each.
pub fn forecast(view: &View, facts: &Facts, limits: &Limits, packet: Packet) -> Forecast {
    let at_node = base::is_node_address(view, facts, packet.to);
    let narrow = narrowed(view, &facts.node, packet, at_node);
    let mut services = Services::within(limits.clone());
    services.want(&narrow, facts, Scope::All);
    let wanted = Wanted { services: &services, limits, view: &narrow, facts, packet };
    let family = Family::of(packet.to);
    let front = Key::Front(Front::Services, packet.to, packet.protocol, packet.port);
    let port = Key::Port(Front::NodePorts, family, packet.protocol, packet.port);
    if let Some(told) = wanted.restricted() {
        return told;
    }
    match (wanted.target(&front), wanted.target(&port).filter(|_| at_node)) {
        (Some(target), _) => wanted.by(Front::Services, target),
        (None, Some(target)) => wanted.by(Front::NodePorts, target),
        (None, None) => Forecast { met: None, fate: wanted.unmet(), backends: Vec::new() },
    }
}

/// The View without the services that the packet can't meet.
fn narrowed(view: &View, node: &NodeName, packet: Packet, at_node: bool) -> View {
    let may_meet = |item: &Item| match item {
        Item::Service(service) => {
            kind_of(service, packet).is_some()
                || at_node && port_of(service, packet, FrontKind::NodePort).is_some()
                || service.load_balancer.iter().any(|given| given.address == packet.to)
        }
        Item::Fabric(_) | Item::Peer(_) => true,
        Item::Route(route) => route.node == *node,
        Item::Probe(_)
        | Item::Owner(_)
        | Item::Pod(_)
        | Item::Setup(_)
        | Item::Policy(_)
        | Item::Namespace(_)
        | Item::Identity(_) => false,
    };
    View::restored(view.revision(), view.items().filter(may_meet))
}

/// Which of a service's addresses the packet is sent to.
fn kind_of(service: &ServiceItem, packet: Packet) -> Option<FrontKind> {
    let vip = |given: &&weft_model::LoadBalancerAddress| given.mode == IpMode::Vip;
    let balanced = service.load_balancer.iter().filter(vip).any(|given| given.address == packet.to);
    match () {
        () if service.addresses.contains(&packet.to) => Some(FrontKind::Cluster),
        () if balanced => Some(FrontKind::LoadBalancer),
        () if service.external_ips.contains(&packet.to) => Some(FrontKind::External),
        () => None,
    }
}

/// The place of the port that the packet is sent to.
fn port_of(service: &ServiceItem, packet: Packet, kind: FrontKind) -> Option<usize> {
    service.ports.iter().position(|port| {
        let number = if kind == FrontKind::NodePort { port.node_port } else { port.port };
        port.protocol == packet.protocol && number == packet.port
    })
}

/// Wanted entries, and the packet that meets them.
struct Wanted<'a> {
    services: &'a Services,
    limits: &'a Limits,
    view: &'a View,
    facts: &'a Facts,
    packet: Packet,
}

impl Wanted<'_> {
    fn target(&self, key: &Key) -> Option<u32> {
        match self.services.entry(key)? {
            Value::Target(target) => Some(*target),
            Value::Present | Value::Group(_) | Value::Seen(_) => None,
        }
    }

    /// Who has the front, and at which port: of several the first by name, as in the maps.
    fn holder(&self, front: Front) -> Option<(&ServiceItem, FrontKind, usize)> {
        self.view.services().values().find_map(|service| {
            let kind = match front {
                Front::NodePorts | Front::OutsidePorts => FrontKind::NodePort,
                Front::Services | Front::Outside => kind_of(service, self.packet)?,
            };
            let is_of_family = |address: &&IpAddr| address.is_ipv4() == self.packet.to.is_ipv4();
            service.addresses.iter().find(is_of_family)?;
            Some((service.as_ref(), kind, port_of(service, self.packet, kind)?))
        })
    }

    /// `loadBalancerSourceRanges`.
    fn restricted(&self) -> Option<Forecast> {
        let Packet { source, to, protocol, port } = self.packet;
        self.services.entry(&Key::Restricted(to, protocol, port))?;
        let allowed = |range: &AddressRange| {
            range.contains(source) && self.services.entry(&Key::Allowed(to, protocol, port, *range)).is_some()
        };
        let (service, kind, _) = self.holder(Front::Services)?;
        if service.source_ranges.iter().any(allowed) {
            return None;
        }
        let ranges: Vec<String> = service.source_ranges.iter().map(ToString::to_string).collect();
        let why = format!("{source} isn't in its loadBalancerSourceRanges ({})", ranges.join(", "));
        let met = Met {
            service: service.name.clone(),
            kind,
            map: "restricted",
            chain: "from_pods".to_owned(),
            slots: 0,
            affinity: 0,
            policy: service.external_policy,
        };
        Some(Forecast { met: Some(met), fate: Fate::Dropped(why), backends: Vec::new() })
    }

    /// What no front has.
    fn unmet(&self) -> Fate {
        let Packet { to, protocol, port, .. } = self.packet;
        let number = format!("{port}/{}", word(protocol));
        let holder = self.view.services().values().find(|service| service.addresses.contains(&to));
        let ranges = self.view.fabric().map(|fabric| fabric.ranges.services.as_slice()).unwrap_or_default();
        if self.view.fabric().into_iter().flat_map(resolver_addresses).any(|own| own == to) {
            return Fate::Straight;
        }
        if let Some(service) = holder {
            let ports: Vec<String> =
                service.ports.iter().map(|port| format!("{}/{}", port.port, word(port.protocol))).collect();
            return Fate::Refused(format!(
                "service {} has no port {number} (it has {})",
                service.name,
                ports.join(", ")
            ));
        }
        if ranges.iter().any(|range| range.contains(to)) {
            return Fate::Refused(format!("no service has the address {to}"));
        }
        if self.services.entry(&Key::Balanced(to)).is_some() {
            return Fate::Dropped(format!("no service has port {number} at the load-balancer address {to}"));
        }
        Fate::Straight
    }

    fn by(&self, front: Front, target: u32) -> Forecast {
        let Some((service, kind, place)) = self.holder(front) else {
            return Forecast { met: None, fate: self.unmet(), backends: Vec::new() };
        };
        let policy =
            if kind == FrontKind::Cluster { service.internal_policy } else { TrafficPolicy::Cluster };
        let class = class_of(target);
        let key = Key::Group(Family::of(self.packet.to), target & GROUP_BITS);
        let group = self.services.entry(&key).and_then(Value::group);
        let fate = match class {
            Some(Class::Refused) | None if self.limits.closed.contains(&service.name) => {
                Fate::Refused(format!("{CLOSED}, and this is one of the largest"))
            }
            Some(Class::Refused) | None => Fate::Refused("no backend is ready".to_owned()),
            Some(Class::Silent) => {
                let node = &self.facts.node;
                Fate::Dropped(format!("no backend is ready on {node}, and its traffic policy is Local"))
            }
            Some(Class::Exact(_) | Class::Power(_) | Class::Hashed(_) | Class::Affinity) => Fate::Served,
        };
        let stick = group.and_then(|group| group.stick);
        let chain = match (class, stick) {
            (Some(Class::Silent | Class::Refused) | None, _) => class.map(Class::name).unwrap_or_default(),
            (Some(_), Some(stick)) => stick.chain(),
            (Some(class), None) => chain_of(class),
        };
        let met = Met {
            service: service.name.clone(),
            kind,
            map: front.map(),
            chain,
            slots: group.map_or(0, |group| group.slots()),
            affinity: stick.map_or(0, |stick| stick.timeout),
            policy,
        };
        Forecast { met: Some(met), fate, backends: self.backends(service, place, policy, group) }
    }

    fn backends(
        &self,
        service: &ServiceItem,
        place: usize,
        policy: TrafficPolicy,
        group: Option<&Group>,
    ) -> Vec<Backend> {
        let mut slots: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        for slot in 0..group.map_or(0, |group| group.slots()) {
            if let Some(to) = group.and_then(|group| group.at(slot)) {
                *slots.entry(to).or_default() += 1;
            }
        }
        let of_family = service.endpoints.iter().filter(|e| e.address.is_ipv4() == self.packet.to.is_ipv4());
        let told = of_family.map(|endpoint| {
            let socket =
                SocketAddr::new(endpoint.address, endpoint.ports.get(place).copied().unwrap_or_default());
            let slots = slots.get(&socket).copied().unwrap_or(0);
            let is_closed = self.limits.closed.contains(&service.name);
            Backend {
                socket,
                pod: endpoint.pod.clone(),
                node: endpoint.node.clone(),
                slots,
                out: match slots {
                    0 if is_closed => CLOSED.to_owned(),
                    0 => self.why_out(endpoint, socket, policy),
                    _ => String::new(),
                },
                is_sender: endpoint.address == self.packet.source,
            }
        });
        told.collect()
    }

    fn why_out(&self, endpoint: &EndpointItem, socket: SocketAddr, policy: TrafficPolicy) -> String {
        let conditions = endpoint.conditions;
        if let Some(node) = self.silent(endpoint)
            && !conditions.is_serving()
        {
            return format!("node {node} is silent");
        }
        let words = match (conditions.is_ready(), conditions.is_serving(), conditions.is_terminating()) {
            _ if socket.port() == 0 => "it has no port of that name",
            _ if Local::new(self.view, self.facts).lacks(endpoint.address) => {
                "its pod has left this node, which the control plane hasn't heard yet"
            }
            (false, true, true) => "it ends: it serves only where nobody else is ready",
            (false, false, true) => "it has ended",
            (false, _, false) => "it isn't ready",
            (true, ..) if policy == TrafficPolicy::Local => "it is on another node, and the policy is Local",
            (true, ..) => "others are nearer (trafficDistribution)",
        };
        words.to_owned()
    }

    /// Its node, when nothing was heard of that for the fabric's grace.
    fn silent<'a>(&self, endpoint: &'a EndpointItem) -> Option<&'a NodeName> {
        endpoint.node.as_ref().filter(|node| self.view.peer(node).is_some_and(|peer| peer.silent))
    }
}

fn class_of(target: u32) -> Option<Class> {
    let all = Class::serving().chain([Class::Silent, Class::Refused]);
    all.into_iter().find(|class| class.code() == target & CLASS_BITS)
}

const fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    }
}

#[cfg(test)]
#[path = "forecast_tests.rs"]
mod tests;
