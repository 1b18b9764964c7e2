//! One service, as the maps need it: fronts with their targets, groups with their slots.
//!
//! In: a `ServiceItem`, where this node stands, the numbers of the service's ports. Out: entries. Pure per service: what two services
//! both want is decided where they meet (`tables.rs`).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use weft_model::{AddressRange, EndpointItem, Family, IpMode, Protocol, ServiceItem, TrafficPolicy};
use weft_nft::Element;

use super::{
    choose::{Chosen, Here, choose},
    class::{Class, FROM_NODE, FROM_OUTSIDE, hashed_size},
    group::Group,
    ids::{Ids, PortName},
    maglev,
    rules::{Front, Stick},
};

/// What is kept in the maps under one name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// The slots of a group; its number has the lower bits free.
    Group(Family, u32),
    /// An address and port of a service.
    Front(Front, IpAddr, Protocol, u16),
    /// A node port.
    Port(Front, Family, Protocol, u16),
    /// Answers pings.
    Pingable(IpAddr),
    /// A load-balancer address.
    Balanced(IpAddr),
    /// Closed to all but allowed senders.
    Restricted(IpAddr, Protocol, u16),
    /// A sender that is allowed.
    Allowed(IpAddr, Protocol, u16, AddressRange),
}

impl Key {
    /// The family whose table it is in.
    pub(super) const fn family(&self) -> Family {
        match self {
            Self::Group(family, _) | Self::Port(_, family, ..) => *family,
            Self::Front(_, address, ..)
            | Self::Pingable(address)
            | Self::Balanced(address)
            | Self::Restricted(address, ..)
            | Self::Allowed(address, ..) => Family::of(*address),
        }
    }
}

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Being there is all.
    Present,
    /// Target of a front.
    Target(u32),
    /// A group as it should be.
    Group(Arc<Group>),
    /// A group as a kernel has it, which isn't as it should be: elements by set, in order.
    Seen(Arc<BTreeSet<(&'static str, Element)>>),
}

impl Value {
    /// The group that should be there.
    pub(super) fn group(&self) -> Option<&Group> {
        match self {
            Self::Group(group) => Some(group),
            Self::Present | Self::Target(_) | Self::Seen(_) => None,
        }
    }
}

/// Views of a port's endpoints: lowest bits of a group's number.
const LOCAL: u32 = 0x100;
const HASHED: u32 = 0x200;

/// What all services are compiled with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compiler<'a> {
    pub(super) here: Here<'a>,
    pub(super) ids: &'a Ids,
    /// Addresses of this node's own: load-balancer addresses may be their stand-ins.
    pub(super) own: &'a [IpAddr],
    /// Time-outs that may be used; a service with another one gets the next longer.
    /// Empty: any.
    pub(super) timeouts: &'a BTreeSet<u32>,
    /// Families of the fabric.
    pub(super) families: &'a [Family],
}

/// Entries of one service; each key once.
pub(super) type Entries = BTreeMap<Key, Value>;

/// The ports of a service that have numbers: those of services with an address.
pub(super) fn ports(item: &ServiceItem) -> impl Iterator<Item = PortName> {
    let has_address = !item.addresses.is_empty();
    item.ports.iter().filter(move |_| has_address).map(|port| PortName {
        service: item.name.clone(),
        protocol: port.protocol,
        port: port.port,
    })
}

impl Compiler<'_> {
    /// Everything that a service wants in the maps.
    pub(super) fn service(&self, item: &ServiceItem) -> Entries {
        let mut entries = Entries::new();
        for address in item.addresses.iter().filter(|address| self.families.contains(&Family::of(**address)))
        {
            self.family(item, *address, &mut entries);
        }
        entries
    }

    /// As `service`, but nobody is served: every connection is refused at once.
    pub(super) fn closed(&self, item: &ServiceItem) -> Entries {
        let mut item = item.clone();
        item.endpoints.clear();
        self.service(&item)
    }

    fn family(&self, item: &ServiceItem, cluster_address: IpAddr, entries: &mut Entries) {
        let family = Family::of(cluster_address);
        let balanced = || {
            let vip = item.load_balancer.iter().filter(|given| given.mode == IpMode::Vip);
            vip.map(|given| given.address).filter(|address| Family::of(*address) == family)
        };
        entries.extend(balanced().map(|address| (Key::Balanced(address), Value::Present)));
        for (place, port) in item.ports.iter().enumerate() {
            let name = PortName { service: item.name.clone(), protocol: port.protocol, port: port.port };
            let Some(id) = self.ids.of(&name) else { continue };
            let chosen = choose(&item.endpoints, place, family, self.here);
            let mut port_ = Port { compiler: self, item, family, place, name, id, chosen, entries };
            if !port_.chosen.cluster.is_empty() {
                port_.entries.insert(Key::Pingable(cluster_address), Value::Present);
            }
            let (protocol, number) = (port.protocol, port.port);
            let internal = port_.target(item.internal_policy, false) | FROM_OUTSIDE;
            port_.front(Front::Services, cluster_address, internal);
            let everybody = port_.target(TrafficPolicy::Cluster, false) | FROM_NODE;
            let outside = if item.external_policy == TrafficPolicy::Cluster { FROM_OUTSIDE } else { 0 };
            for address in item.external_ips.iter().filter(|address| Family::of(**address) == family) {
                port_.front(Front::Services, *address, everybody);
                let target = port_.target(item.external_policy, false) | outside;
                port_.front(Front::Outside, *address, target);
            }
            for address in balanced() {
                port_.front(Front::Services, address, everybody);
                // The owner of the address may change: the next one must pick alike.
                let target = port_.target(item.external_policy, true) | outside;
                port_.front(Front::Outside, address, target);
                self.restrict(item, address, protocol, number, port_.entries);
            }
            if port.node_port != 0 {
                let key = |front| Key::Port(front, family, protocol, port.node_port);
                port_.entries.insert(key(Front::NodePorts), Value::Target(everybody));
                let target = port_.target(item.external_policy, false) | outside;
                port_.entries.insert(key(Front::OutsidePorts), Value::Target(target));
            }
        }
    }

    /// Ranges of another family allow nobody of this one.
    fn restrict(
        &self,
        item: &ServiceItem,
        address: IpAddr,
        protocol: Protocol,
        port: u16,
        entries: &mut Entries,
    ) {
        if item.source_ranges.is_empty() {
            return;
        }
        entries.insert(Key::Restricted(address, protocol, port), Value::Present);
        let ranges = item.source_ranges.iter().filter(|range| range.family() == Family::of(address));
        let mut allowed: Vec<AddressRange> = ranges.copied().collect();
        // A process of a node that owns the address may send from it.
        if allowed.iter().any(|range| self.own.iter().any(|own| range.contains(*own))) {
            allowed.push(AddressRange::host(address));
        }
        for range in &allowed {
            // A set of ranges takes no overlap.
            let inside = |other: &AddressRange| other != range && other.covers(*range);
            if !allowed.iter().any(inside) {
                entries.insert(Key::Allowed(address, protocol, port, *range), Value::Present);
            }
        }
    }

    /// The shortest time-out in use that isn't shorter than asked for.
    fn timeout(&self, asked: u32) -> u32 {
        let longer = self.timeouts.range(asked..).next();
        longer.or(self.timeouts.last()).copied().unwrap_or(asked)
    }
}

/// One port under compilation.
struct Port<'a, 'b> {
    compiler: &'a Compiler<'a>,
    item: &'a ServiceItem,
    family: Family,
    place: usize,
    name: PortName,
    id: u32,
    chosen: Chosen<'a>,
    entries: &'b mut Entries,
}

impl Port<'_, '_> {
    fn front(&mut self, front: Front, address: IpAddr, target: u32) {
        let key = Key::Front(front, address, self.name.protocol, self.name.port);
        self.entries.insert(key, Value::Target(target));
    }

    /// The target of those whom a policy gives endpoints; makes their group.
    fn target(&mut self, policy: TrafficPolicy, moves: bool) -> u32 {
        let endpoints = match policy {
            TrafficPolicy::Cluster => &self.chosen.cluster,
            TrafficPolicy::Local => &self.chosen.local,
        };
        if endpoints.is_empty() {
            let nobody = self.chosen.cluster.is_empty();
            return if nobody { Class::Refused.code() } else { Class::Silent.code() };
        }
        // Where there is no choice every node chooses alike.
        let moves = moves && endpoints.len() > 1;
        let stick = self.item.affinity.map(|affinity| Stick {
            timeout: self.compiler.timeout(affinity.timeout_seconds),
            size: hashed_size(endpoints.len()),
        });
        let (class, slots) = match stick {
            Some(stick) => (Class::Affinity, Class::Hashed(stick.size)),
            None if moves => (Class::hashed(endpoints.len()), Class::hashed(endpoints.len())),
            None => (Class::spread(endpoints.len()), Class::spread(endpoints.len())),
        };
        let local = if policy == TrafficPolicy::Local { LOCAL } else { 0 };
        let hashed = if moves || stick.is_some() { HASHED } else { 0 };
        let number = self.id << 10 | hashed | local;
        let key = Key::Group(self.family, number);
        if !self.entries.contains_key(&key) {
            let group = self.group(endpoints, slots, stick);
            self.entries.insert(key, Value::Group(Arc::new(group)));
        }
        number | class.code()
    }

    fn group(&self, endpoints: &[&EndpointItem], slots: Class, stick: Option<Stick>) -> Group {
        // By name, so that a pod that comes back under its name and with another address keeps its clients.
        let salt = self.name.hash(0);
        let mut named: Vec<(u64, SocketAddr)> =
            endpoints.iter().map(|endpoint| (self.name_of(endpoint, salt), self.backend(endpoint))).collect();
        if matches!(slots, Class::Exact(_)) {
            named.sort_by_key(|(_, backend)| *backend);
        } else {
            named.sort_unstable();
        }
        let names: Vec<u64> = named.iter().map(|(name, _)| *name).collect();
        let backends: Vec<SocketAddr> = named.into_iter().map(|(_, backend)| backend).collect();
        match slots {
            Class::Exact(_) => Group::one_each(&backends, stick),
            Class::Power(_) | Class::Hashed(_) | Class::Affinity | Class::Silent | Class::Refused => {
                Group::new(maglev::table(&names, slots.slots()), &backends, stick)
            }
        }
    }

    fn name_of(&self, endpoint: &EndpointItem, salt: u64) -> u64 {
        match &endpoint.pod {
            Some(pod) => maglev::hash(salt, pod.as_str().as_bytes()),
            None => maglev::hash(salt, self.backend(endpoint).to_string().as_bytes()),
        }
    }

    fn backend(&self, endpoint: &EndpointItem) -> SocketAddr {
        SocketAddr::new(endpoint.address, endpoint.ports.get(self.place).copied().unwrap_or(0))
    }
}
