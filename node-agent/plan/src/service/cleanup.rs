//! Which flows that connection tracking holds must go: those that lead to no endpoint of the service they were sent to.
//!
//! Source: Kubernetes, `pkg/proxy/conntrack/cleanup.go` and issues 122740, 139628. UDP and SCTP only: TCP ends its connections itself.
//! Traffic policy, hints and ends of life don't count: what flows goes on flowing. Decided here, done by weft-kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use weft_model::{AddressRange, FabricItem, IpMode, Protocol, ServiceItem, ServiceName};

use super::local::Local;

/// A flow, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Its protocol.
    pub protocol: Protocol,
    /// Where its first packet was sent to (destination of the original direction).
    pub destination: SocketAddr,
    /// Who answers (source of the reply direction).
    pub reply_source: SocketAddr,
    /// It bears our mark of connections: rules of ours have seen it.
    pub is_ours: bool,
}

/// Protocol, address (`None`: a node port) and port that packets were sent to.
pub(super) type Target = (Protocol, Option<IpAddr>, u16);

/// What is left of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Left {
    /// Endpoints that serve; empty for a service that is gone.
    serving: BTreeSet<SocketAddr>,
    /// No service has it any more: only what was translated goes.
    is_gone: bool,
}

/// Flows to look for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleanup {
    targets: BTreeMap<Target, Left>,
    node_addresses: BTreeSet<IpAddr>,
    /// Where there are services alone: what flows to none that is known goes.
    whole: Option<Places>,
}

/// Addresses and node ports that are for services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) ranges: Vec<AddressRange>,
    /// First and last.
    pub(super) node_ports: (u16, u16),
}

impl Places {
    /// Those of a fabric. Addresses of other load-balancer pools and of `externalIPs` may be anybody's: nodes don't know them but from
    /// the services that have them.
    pub(super) fn of(fabric: &FabricItem) -> Self {
        let ranges = fabric.ranges.services.iter().chain(&fabric.ranges.load_balancers).copied().collect();
        Self { ranges, node_ports: fabric.node_port_range }
    }
}

impl Cleanup {
    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.whole.is_none()
    }

    /// Whether flows are looked for that were sent to nothing that is known.
    pub const fn is_whole(&self) -> bool {
        self.whole.is_some()
    }

    /// What the flows were sent to: protocol, address (`None`: any address of a node), port.
    pub fn targets(&self) -> impl Iterator<Item = (Protocol, Option<IpAddr>, u16)> {
        self.targets.keys().copied()
    }

    /// Whether a flow leads nowhere and must be deleted.
    pub fn condemns(&self, flow: &Flow) -> bool {
        let (address, port) = (flow.destination.ip(), flow.destination.port());
        let is_node = || self.node_addresses.contains(&address);
        let exact = self.targets.get(&(flow.protocol, Some(address), port));
        let left = exact.or_else(|| self.targets.get(&(flow.protocol, None, port)).filter(|_| is_node()));
        let untouched = flow.reply_source == flow.destination;
        if let Some(left) = left {
            return !(left.serving.contains(&flow.reply_source) || left.is_gone && untouched);
        }
        // Of a service that went while nobody looked. Somebody else's translation doesn't bear our mark.
        let is_place = |places: &Places| {
            let (first, last) = places.node_ports;
            let is_port = || is_node() && (first..=last).contains(&port);
            places.ranges.iter().any(|range| range.contains(address)) || is_port()
        };
        let ends = flow.protocol != Protocol::Tcp && flow.is_ours && !untouched;
        ends && self.whole.as_ref().is_some_and(is_place)
    }
}

/// The targets of all services with such protocols, and what changed about them since last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Targets {
    known: BTreeMap<ServiceName, BTreeMap<Target, BTreeSet<SocketAddr>>>,
    /// Who has a target: mostly one service.
    holders: BTreeMap<Target, BTreeSet<ServiceName>>,
    due: BTreeSet<Target>,
    begun: bool,
}

impl Targets {
    /// Takes a service as it is now; `None`: it is gone.
    pub(super) fn take(&mut self, name: &ServiceName, item: Option<&ServiceItem>, local: &Local) {
        let new = item.map(|item| targets_of(item, local)).unwrap_or_default();
        let old = self.known.remove(name).unwrap_or_default();
        for (target, serving) in &old {
            // An endpoint more takes nothing from the others; but the first one ends flows that led nowhere.
            let stays = new
                .get(target)
                .is_some_and(|now| now == serving || (!serving.is_empty() && now.is_superset(serving)));
            if !stays {
                self.due.insert(*target);
            }
        }
        if self.begun {
            self.due.extend(new.keys().filter(|target| !old.contains_key(target)));
        }
        for target in old.keys().filter(|target| !new.contains_key(target)) {
            if let Some(holders) = self.holders.get_mut(target) {
                holders.remove(name);
                if holders.is_empty() {
                    self.holders.remove(target);
                }
            }
        }
        for target in new.keys() {
            self.holders.entry(*target).or_default().insert(name.clone());
        }
        if !new.is_empty() {
            self.known.insert(name.clone(), new);
        }
    }

    /// Names of services that it knows.
    pub(super) fn names(&self) -> impl Iterator<Item = &ServiceName> {
        self.known.keys()
    }

    /// From now on what comes anew is a change: before, it was the first load.
    pub(super) const fn begin(&mut self) {
        self.begun = true;
    }

    /// What changed since last taken.
    pub(super) fn changed(&mut self, node_addresses: BTreeSet<IpAddr>) -> Cleanup {
        let due = std::mem::take(&mut self.due);
        if due.is_empty() {
            return Cleanup::default();
        }
        let targets = due.into_iter().map(|target| (target, self.left(&target))).collect();
        Cleanup { targets, node_addresses, whole: None }
    }

    fn left(&self, target: &Target) -> Left {
        let holders = self.holders.get(target);
        let serving =
            holders.into_iter().flatten().filter_map(|name| self.known.get(name)?.get(target)).flatten();
        Left { serving: serving.copied().collect(), is_gone: holders.is_none() }
    }

    /// Everything that services have now, and what they may have had.
    pub(super) fn all(&self, node_addresses: BTreeSet<IpAddr>, places: Places) -> Cleanup {
        let targets = self.holders.keys().map(|target| (*target, self.left(target))).collect();
        Cleanup { targets, node_addresses, whole: Some(places) }
    }
}

fn targets_of(item: &ServiceItem, local: &Local) -> BTreeMap<Target, BTreeSet<SocketAddr>> {
    let mut targets = BTreeMap::new();
    if item.addresses.is_empty() {
        return targets;
    }
    let balanced =
        item.load_balancer.iter().filter(|given| given.mode == IpMode::Vip).map(|given| given.address);
    let addresses: Vec<IpAddr> =
        item.addresses.iter().chain(&item.external_ips).copied().chain(balanced).collect();
    for (place, port) in item.ports.iter().enumerate().filter(|(_, port)| port.protocol != Protocol::Tcp) {
        let serves = |e: &&weft_model::EndpointItem| {
            (e.conditions.is_ready() || e.conditions.is_serving()) && !local.lacks(e.address)
        };
        let of = |e: &weft_model::EndpointItem| {
            let number = e.ports.get(place).copied().filter(|number| *number != 0)?;
            Some(SocketAddr::new(e.address, number))
        };
        let serving: BTreeSet<SocketAddr> = item.endpoints.iter().filter(serves).filter_map(of).collect();
        for address in &addresses {
            targets.insert((port.protocol, Some(*address), port.port), serving.clone());
        }
        if port.node_port != 0 {
            targets.insert((port.protocol, None, port.node_port), serving);
        }
    }
    targets
}

#[cfg(test)]
#[path = "cleanup_tests.rs"]
mod tests;
