//! Routes and rules: the fabric's tables, the way into them by mark only, and `main` closed for the fabric's ranges.
//!
//! Whatever else stands in the tables A and B goes once unknown things may go: they are ours as a whole.
//!
//! In: fabric, peers, blocks (View); mesh device, underlay, pods (Facts). Fail closed: what is not routed by a table of ours
//! ends at an `unreachable` route or rule. Every route of table A names the mesh address as source.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use weft_model::{
    AddressRange, FabricItem, Family, ItemKey, NodeName, Overlay, PeerItem, PodUid, RouteItem,
    ownership::{
        BRIDGE, MARK_ROUTABLE, MESH_DEVICES, RULE_CLOSED_BRIDGE, RULE_CLOSED_MESH, RULE_FABRIC, RULE_LOCAL,
        RULE_UNDERLAY, TABLE_FABRIC, TABLE_UNDERLAY,
    },
};
use weft_view::View;

use crate::{Error, Facts, LocalPod, Pending, Scope, Source, Step, Subject, Sweep, Wanted, mtu};

/// Table `main` (`RT_TABLE_MAIN`).
const TABLE_MAIN: u32 = 254;

/// Subject: routes and rules.
#[derive(Debug)]
pub struct Route;

/// What a rule does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleAction {
    /// Look up a table; without a match the next rule is asked.
    Lookup(u32),
    /// Refuse.
    Unreachable,
}

/// A policy rule: it has no value beside its key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Family of the rule list.
    pub family: Family,
    /// Position: the lowest is asked first.
    pub priority: u32,
    /// Only packets that came in here.
    pub interface: Option<String>,
    /// Only packets whose mark, masked, equals: (mark, mask).
    pub mark: Option<(u32, u32)>,
    /// What happens.
    pub action: RuleAction,
}

/// One object of the subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteKey {
    /// A rule.
    Rule(Rule),
    /// A route.
    Route {
        /// Its table.
        table: u32,
        /// Its destination.
        destination: AddressRange,
    },
    /// A route that somebody else put into a table of ours. Nobody wants it: the tables are ours alone.
    Foreign(ForeignRoute),
}

/// What tells a route of somebody else from the others of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignRoute {
    /// Its table: one of [`OWN_TABLES`].
    pub table: u32,
    /// Its destination.
    pub destination: AddressRange,
    /// Its protocol number (`rtm_protocol`): whose it is.
    pub protocol: u8,
    /// Its metric.
    pub metric: u32,
}

/// The routing tables that are ours as a whole.
pub const OWN_TABLES: [u32; 2] = [TABLE_FABRIC, TABLE_UNDERLAY];

/// Where packets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// Nowhere: the sender is told.
    Unreachable,
    /// Out of a device.
    Device(String),
    /// To a next hop that is on the device's link.
    Gateway {
        /// The device.
        device: String,
        /// The next hop, of the destination's family.
        address: IpAddr,
    },
}

/// How an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteValue {
    /// A rule is there.
    Rule,
    /// A route of somebody else is there.
    Foreign,
    /// A route.
    Route {
        /// Where to.
        path: Path,
        /// Source of packets that the node itself sends.
        source: Option<IpAddr>,
        /// MTU metric, bytes, where the path is narrower than the device.
        mtu: Option<u32>,
    },
}

/// One change of the subject.
pub type RouteStep = Step<RouteKey, RouteValue>;

impl Subject for Route {
    const NAME: &'static str = "route";
    type Key = RouteKey;
    type Value = RouteValue;
    type Step = RouteStep;

    fn desired(view: &View, facts: &Facts, scope: Scope<'_>) -> Wanted<RouteKey, RouteValue> {
        let Some(plan) = Plan::new(view, facts) else { return forget_all(scope) };
        match scope {
            Scope::All => {
                let peers = view.peers().keys().map(|node| plan.of_peer_source(node));
                let blocks = view.routes().values().map(|route| plan.of_block_source(route));
                let pods = facts.pods.keys().map(|uid| plan.of_pod_source(*uid));
                let node = std::iter::once((Source::Node, plan.of_node()));
                node.chain(peers).chain(blocks).chain(pods).collect()
            }
            Scope::Pods(uids) => uids.iter().map(|uid| plan.of_pod_source(*uid)).collect(),
            Scope::Items(keys) => plan.of_items(keys),
        }
    }

    fn steps(pending: &[Pending<'_, RouteKey, RouteValue>], sweep: Sweep) -> Vec<RouteStep> {
        Step::ordered(pending, sweep, put_stage, delete_stage)
    }

    fn effects(step: &RouteStep) -> Vec<(RouteKey, Option<RouteValue>)> {
        step.effects()
    }
}

/// Closed before open.
const fn put_stage(key: &RouteKey) -> u8 {
    match key {
        RouteKey::Route { table: TABLE_MAIN, .. } => 0,
        RouteKey::Rule(Rule { action: RuleAction::Unreachable, .. }) => 1,
        RouteKey::Route { .. } | RouteKey::Foreign(_) => 2,
        RouteKey::Rule(Rule { action: RuleAction::Lookup(_), .. }) => 3,
    }
}

/// The way in goes before what it led to, what closes goes last.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the type of Step::ordered's argument: other subjects have keys that stay"
)]
const fn delete_stage(key: &RouteKey) -> Option<u8> {
    Some(3 - put_stage(key))
}

/// Without a fabric nothing is wanted by any source that was asked for.
fn forget_all(scope: Scope<'_>) -> Wanted<RouteKey, RouteValue> {
    match scope {
        Scope::All => Vec::new(),
        Scope::Items(keys) => keys.iter().map(|key| (Source::Item(key.clone()), Vec::new())).collect(),
        Scope::Pods(uids) => uids.iter().map(|uid| (Source::Pod(*uid), Vec::new())).collect(),
    }
}

type Entries = Vec<(RouteKey, RouteValue)>;

/// What all entries are computed from.
struct Plan<'a> {
    view: &'a View,
    facts: &'a Facts,
    fabric: &'a FabricItem,
}

impl<'a> Plan<'a> {
    fn new(view: &'a View, facts: &'a Facts) -> Option<Self> {
        Some(Self { view, facts, fabric: view.fabric()? })
    }

    /// This node's mesh address of a family: the source of its own packets into the fabric.
    fn source(&self, family: Family) -> Option<IpAddr> {
        let own = self.view.peer(&self.facts.node)?;
        self.fabric.families.has(family).then(|| own.mesh.of(family).copied())?
    }

    fn of_items(&self, keys: &BTreeSet<ItemKey>) -> Wanted<RouteKey, RouteValue> {
        let mut wanted = Vec::new();
        for key in keys {
            match key {
                ItemKey::Fabric => wanted.push((Source::Node, self.of_node())),
                ItemKey::Peer(node) => {
                    wanted.push(self.of_peer_source(node));
                    // The next hop and MTU of a node's blocks come from its peer item.
                    let blocks = self.view.blocks_of(node).map(|route| self.of_block_source(route));
                    wanted.extend(blocks);
                }
                ItemKey::Route(block) => {
                    let entries = self.view.routes().get(block).map(|r| self.of_block(r)).unwrap_or_default();
                    wanted.push((Source::Item(key.clone()), entries));
                }
                // Services have one route per range; the rest is translation (service), announcement and names.
                ItemKey::Service(_)
                | ItemKey::Probe(_)
                | ItemKey::Owner(_)
                | ItemKey::Pod(_)
                | ItemKey::Setup(_)
                | ItemKey::Policy(_)
                | ItemKey::Namespace(_)
                | ItemKey::Identity(_) => {}
            }
        }
        wanted
    }

    fn of_peer_source(&self, node: &NodeName) -> (Source, Entries) {
        let entries = self.view.peer(node).map(|peer| self.of_peer(peer)).unwrap_or_default();
        (Source::Item(ItemKey::Peer(node.clone())), entries)
    }

    fn of_block_source(&self, route: &RouteItem) -> (Source, Entries) {
        (Source::Item(ItemKey::Route(route.block)), self.of_block(route))
    }

    fn of_pod_source(&self, uid: PodUid) -> (Source, Entries) {
        (Source::Pod(uid), self.facts.pods.get(&uid).map(|pod| self.of_pod(pod)).unwrap_or_default())
    }

    /// Rules, the closed ranges of `main`, and the way of services to the bridge, where they are translated.
    fn of_node(&self) -> Entries {
        let mut entries = Vec::new();
        for family in self.fabric.families.list() {
            let rules = self.rules(*family);
            entries.extend(rules.into_iter().map(|rule| (RouteKey::Rule(rule), RouteValue::Rule)));
        }
        let ranges = &self.fabric.ranges;
        for range in ranges.pods.iter().chain(&ranges.nodes).chain(&ranges.services) {
            let value = RouteValue::Route { path: Path::Unreachable, source: None, mtu: None };
            entries.push((RouteKey::Route { table: TABLE_MAIN, destination: *range }, value));
        }
        for range in &ranges.services {
            entries.extend(self.entry(TABLE_FABRIC, *range, Path::Device(BRIDGE.to_owned()), None));
        }
        entries
    }

    fn rules(&self, family: Family) -> Vec<Rule> {
        let marked = Some((MARK_ROUTABLE, MARK_ROUTABLE));
        let unmarked = Some((0, MARK_ROUTABLE));
        let rule = |priority, interface: Option<&str>, mark, action| Rule {
            family,
            priority,
            interface: interface.map(str::to_owned),
            mark,
            action,
        };
        let mut rules = vec![
            rule(RULE_FABRIC, None, marked, RuleAction::Lookup(TABLE_FABRIC)),
            rule(RULE_LOCAL, Some("lo"), None, RuleAction::Lookup(TABLE_FABRIC)),
            rule(RULE_CLOSED_BRIDGE, Some(BRIDGE), unmarked, RuleAction::Unreachable),
        ];
        if self.fabric.overlay == Overlay::Wireguard {
            rules.push(rule(RULE_UNDERLAY, Some(BRIDGE), marked, RuleAction::Lookup(TABLE_UNDERLAY)));
            // Both devices, there or not: a device that appears is closed from its first packet on.
            for (device, priority) in MESH_DEVICES.into_iter().zip(RULE_CLOSED_MESH) {
                rules.push(rule(priority, Some(device), unmarked, RuleAction::Unreachable));
            }
        }
        rules
    }

    /// Another node's mesh addresses (table A) and, through the mesh, its underlay addresses (table B).
    fn of_peer(&self, peer: &PeerItem) -> Entries {
        if peer.node == self.facts.node {
            return Vec::new();
        }
        let mut entries = Vec::new();
        for (family, address) in peer.mesh.iter() {
            let Some((path, mtu)) = self.towards(peer, family) else { continue };
            entries.extend(self.entry(TABLE_FABRIC, AddressRange::host(*address), path, mtu));
        }
        if self.fabric.overlay == Overlay::Wireguard {
            for address in &peer.underlay {
                let Some((path, mtu)) = self.towards(peer, Family::of(*address)) else { continue };
                entries.extend(self.entry(TABLE_UNDERLAY, AddressRange::host(*address), path, mtu));
            }
        }
        entries
    }

    fn of_block(&self, route: &RouteItem) -> Entries {
        let Some(peer) = self.view.peer(&route.node).filter(|peer| peer.node != self.facts.node) else {
            return Vec::new();
        };
        let Some((path, mtu)) = self.towards(peer, route.block.family()) else { return Vec::new() };
        self.entry(TABLE_FABRIC, route.block, path, mtu).into_iter().collect()
    }

    fn of_pod(&self, pod: &LocalPod) -> Entries {
        let bridge_mtu = self.facts.pod_mtu(self.fabric);
        let entry = |address: &IpAddr| {
            let mtu = mtu::route_mtu(pod.mtu, bridge_mtu, Family::of(*address));
            self.entry(TABLE_FABRIC, AddressRange::host(*address), Path::Device(BRIDGE.to_owned()), mtu)
        };
        pod.addresses.iter().filter_map(entry).collect()
    }

    /// Where packets of a family to a peer go, and the MTU of that path where it is narrower than the device.
    ///
    /// `None`: there is no way (no mesh device yet, no underlay address of the family); then the ranges stay unreachable.
    fn towards(&self, peer: &PeerItem, family: Family) -> Option<(Path, Option<u32>)> {
        let probed = self.facts.probed_mtus.get(&peer.node).copied();
        let underlay = self.facts.underlay.as_ref();
        match self.fabric.overlay {
            Overlay::Wireguard => {
                let device = self.facts.active_mesh()?;
                let outer = peer.endpoint.map(|endpoint| Family::of(endpoint.ip()));
                let computed = outer.zip(underlay).map(|(outer, u)| mtu::inner_mtu(u.mtu, outer, device.mtu));
                let path_mtu = probed.into_iter().chain(computed).min().unwrap_or(device.mtu);
                let metric = mtu::route_mtu(path_mtu, device.mtu, family);
                Some((Path::Device(device.name.clone()), metric))
            }
            Overlay::Routed => {
                let underlay = underlay?;
                let address = peer.underlay.iter().copied().find(|a| Family::of(*a) == family)?;
                let metric = probed.and_then(|path| mtu::route_mtu(path, underlay.mtu, family));
                Some((Path::Gateway { device: underlay.interface.clone(), address }, metric))
            }
        }
    }

    /// An entry with this node's mesh address as source; none while that isn't known or the fabric lacks the family.
    fn entry(
        &self,
        table: u32,
        destination: AddressRange,
        path: Path,
        mtu: Option<u32>,
    ) -> Option<(RouteKey, RouteValue)> {
        let source = self.source(destination.family())?;
        Some((RouteKey::Route { table, destination }, RouteValue::Route { path, source: Some(source), mtu }))
    }
}

/// What this node and fabric can't do together: to be reported, and to be refused at join.
pub fn problems(view: &View, facts: &Facts) -> Vec<Error> {
    let (Some(fabric), Some(underlay)) = (view.fabric(), facts.underlay.as_ref()) else {
        return Vec::new();
    };
    let families = fabric.families.list();
    let mut found = Vec::new();
    found.extend(mtu::pod_mtu(fabric.overlay, underlay.mtu, underlay.outer(), families).err());
    if fabric.overlay == Overlay::Routed {
        for family in families {
            let own = underlay.address(*family).is_none().then(|| facts.node.clone());
            let others = view.peers().values().filter(|peer| {
                peer.node != facts.node && !peer.underlay.iter().any(|a| Family::of(*a) == *family)
            });
            let nodes = own.into_iter().chain(others.map(|peer| peer.node.clone()));
            found.extend(nodes.map(|node| Error::NotRoutable { node, family: *family }));
        }
    }
    found
}

impl fmt::Display for Rule {
    /// As `ip rule` writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rule {}:", self.family, self.priority)?;
        if let Some(interface) = &self.interface {
            write!(f, " iif {interface}")?;
        }
        if let Some((mark, mask)) = self.mark {
            write!(f, " fwmark {mark:#x}/{mask:#x}")?;
        }
        match self.action {
            RuleAction::Lookup(table) => write!(f, " lookup {table}"),
            RuleAction::Unreachable => f.write_str(" unreachable"),
        }
    }
}

impl fmt::Display for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => write!(f, "{rule}"),
            Self::Route { table: TABLE_MAIN, destination } => write!(f, "route {destination} in main"),
            Self::Route { table, destination } => write!(f, "route {destination} in table {table}"),
            Self::Foreign(ForeignRoute { table, destination, protocol, metric }) => {
                write!(
                    f,
                    "route {destination} of protocol {protocol} and metric {metric} in table {table}, which is ours"
                )
            }
        }
    }
}

impl fmt::Display for RouteValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Route { path, source, mtu } = self else { return f.write_str("present") };
        match path {
            Path::Unreachable => f.write_str("unreachable")?,
            Path::Device(device) => write!(f, "dev {device}")?,
            Path::Gateway { device, address } => write!(f, "via {address} dev {device} onlink")?,
        }
        if let Some(source) = source {
            write!(f, " src {source}")?;
        }
        if let Some(mtu) = mtu {
            write!(f, " mtu {mtu}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
