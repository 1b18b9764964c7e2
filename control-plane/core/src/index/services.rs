//! Reverse indexes of services: who holds which address and port, who selects whom, which slices belong to whom.
//!
//! The labels by which services find pods are those of the pod and of what people say of it, joined.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use weft_model::{
    EndpointSlice, Family, Labels, NamespaceName, Node, NodeState, ObjectName, PodName, Service, ServiceName,
    ServiceType, ZONE_LABEL,
};

use super::{join, part, release};
use crate::{
    runs::Runs,
    terms::{is_automatic, sharing_key},
};

/// A label of a namespace's pods.
type Label = (NamespaceName, String, String);

/// Numbers of the taken addresses of each family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    v4: Runs,
    v6: Runs,
}

impl Taken {
    /// The lowest free address from `first` to `last`, which are of one family.
    pub(crate) fn free(&self, first: IpAddr, last: IpAddr) -> Option<IpAddr> {
        match Family::of(first) {
            Family::V4 => {
                let number = self.v4.free(number(first), number(last))?;
                u32::try_from(number).ok().map(|number| IpAddr::V4(number.into()))
            }
            Family::V6 => self.v6.free(number(first), number(last)).map(|number| IpAddr::V6(number.into())),
        }
    }

    fn set(&mut self, address: IpAddr, taken: bool) {
        let runs = match Family::of(address) {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        };
        if taken { runs.insert(number(address)) } else { runs.remove(number(address)) }
    }
}

/// An address as a number.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => address.into(),
    }
}

/// Who holds, selects and describes what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceIndex {
    /// Which service holds a cluster address.
    pub(crate) cluster: BTreeMap<IpAddr, ServiceName>,
    /// Cluster addresses that are held.
    pub(crate) cluster_taken: Taken,
    /// Which service holds a port of the nodes, for traffic or for health checks.
    pub(crate) node_ports: BTreeMap<u16, ServiceName>,
    /// Ports of the nodes that are held.
    pub(crate) ports_taken: Runs,
    /// Which services have a load-balancer address.
    pub(crate) balanced: BTreeMap<IpAddr, BTreeSet<ServiceName>>,
    /// Load-balancer addresses that are held.
    pub(crate) balanced_taken: Taken,
    /// Which services name an external address.
    pub(crate) external: BTreeMap<IpAddr, BTreeSet<ServiceName>>,
    /// Services of type LoadBalancer.
    pub(crate) balancers: BTreeSet<ServiceName>,
    /// Services by the key under which they share addresses.
    pub(crate) sharing: BTreeMap<String, BTreeSet<ServiceName>>,
    /// Services whose endpoints are spread over the zones by numbers.
    pub(crate) automatic: BTreeSet<ServiceName>,
    /// Active nodes of each zone that are heard.
    pub(crate) zones: BTreeMap<String, u32>,
    /// Endpoints in slices that people wrote.
    pub(crate) written: usize,
    /// Services by one label of their selector.
    selecting: BTreeMap<Label, BTreeSet<ServiceName>>,
    /// Labels of each pod that owns its name.
    labels: BTreeMap<PodName, Labels>,
    /// Those pods by each of their labels.
    labelled: BTreeMap<Label, BTreeSet<PodName>>,
    /// Slices of a service.
    slices: BTreeMap<ServiceName, BTreeSet<ObjectName>>,
    /// Slices that name an address as an endpoint.
    slices_at: BTreeMap<IpAddr, BTreeSet<ObjectName>>,
}

/// Reading.
impl ServiceIndex {
    /// Names of services whose selector may match a pod with these labels: those under one of its labels.
    pub(crate) fn selecting(&self, namespace: &NamespaceName, labels: &Labels) -> BTreeSet<&ServiceName> {
        let key = |(key, value): (&String, &String)| (namespace.clone(), key.clone(), value.clone());
        labels.iter().filter_map(|label| self.selecting.get(&key(label))).flatten().collect()
    }

    /// Names of the pods that have all labels of a selector, which isn't empty.
    pub(crate) fn selected(&self, namespace: &NamespaceName, selector: &Labels) -> Vec<&PodName> {
        let set = |(key, value): (&String, &String)| {
            self.labelled.get(&(namespace.clone(), key.clone(), value.clone()))
        };
        let sets: Option<Vec<_>> = selector.iter().map(set).collect();
        let Some(mut sets) = sets else { return Vec::new() };
        sets.sort_by_key(|set| set.len());
        let Some((fewest, others)) = sets.split_first() else { return Vec::new() };
        fewest.iter().filter(|name| others.iter().all(|set| set.contains(*name))).collect()
    }

    /// Labels of a living pod that owns its name.
    pub(crate) fn labels_of(&self, pod: &PodName) -> Option<&Labels> {
        self.labels.get(pod)
    }

    /// Names of the pods of a namespace that have a label with this key.
    pub(crate) fn with_label<'a>(
        &'a self,
        namespace: &NamespaceName,
        key: &str,
    ) -> impl Iterator<Item = &'a PodName> + use<'a> {
        let first: Label = (namespace.clone(), key.to_owned(), String::new());
        let (namespace, key) = (first.0.clone(), first.1.clone());
        let labelled =
            self.labelled.range(first..).take_while(move |(label, _)| label.0 == namespace && label.1 == key);
        labelled.flat_map(|(_, pods)| pods)
    }

    /// Names of the slices of a service, in their order.
    pub(crate) fn slices_of(&self, service: &ServiceName) -> impl Iterator<Item = &ObjectName> {
        self.slices.get(service).into_iter().flatten()
    }

    /// Names of the slices that name an address as an endpoint.
    pub(crate) fn slices_at(&self, address: IpAddr) -> impl Iterator<Item = &ObjectName> {
        self.slices_at.get(&address).into_iter().flatten()
    }
}

/// Following the rows.
impl ServiceIndex {
    pub(crate) fn add_service(&mut self, service: &Service) {
        let (name, spec) = (&service.name, &service.spec);
        for address in spec.addresses.list() {
            self.cluster.insert(*address, name.clone());
            self.cluster_taken.set(*address, true);
        }
        for port in held_ports(service) {
            self.node_ports.insert(port, name.clone());
            self.ports_taken.insert(u128::from(port));
        }
        for given in &service.load_balancer {
            join(&mut self.balanced, given.address, name.clone());
            self.balanced_taken.set(given.address, true);
        }
        spec.external_ips.iter().for_each(|address| join(&mut self.external, *address, name.clone()));
        if let Some(label) = indexed_label(service) {
            join(&mut self.selecting, label, name.clone());
        }
        if spec.kind == ServiceType::LoadBalancer {
            self.balancers.insert(name.clone());
            if let Some(key) = sharing_key(service) {
                join(&mut self.sharing, key.to_owned(), name.clone());
            }
        }
        if is_automatic(service) {
            self.automatic.insert(name.clone());
        }
    }

    pub(crate) fn remove_service(&mut self, service: &Service) {
        let (name, spec) = (&service.name, &service.spec);
        for address in spec.addresses.list() {
            release(&mut self.cluster, address, name);
            self.cluster_taken.set(*address, self.cluster.contains_key(address));
        }
        for port in held_ports(service) {
            release(&mut self.node_ports, &port, name);
            if !self.node_ports.contains_key(&port) {
                self.ports_taken.remove(u128::from(port));
            }
        }
        for given in &service.load_balancer {
            part(&mut self.balanced, &given.address, name);
            self.balanced_taken.set(given.address, self.balanced.contains_key(&given.address));
        }
        spec.external_ips.iter().for_each(|address| part(&mut self.external, address, name));
        if let Some(label) = indexed_label(service) {
            part(&mut self.selecting, &label, name);
        }
        self.balancers.remove(name);
        if let Some(key) = sharing_key(service) {
            part(&mut self.sharing, &key.to_owned(), name);
        }
        self.automatic.remove(name);
    }

    pub(crate) fn add_slice(&mut self, slice: &EndpointSlice) {
        self.written += slice.endpoints.len();
        if let Some(service) = slice.service() {
            join(&mut self.slices, service, slice.name.clone());
        }
        endpoints_of(slice).for_each(|address| join(&mut self.slices_at, address, slice.name.clone()));
    }

    pub(crate) fn remove_slice(&mut self, slice: &EndpointSlice) {
        self.written = self.written.saturating_sub(slice.endpoints.len());
        if let Some(service) = slice.service() {
            part(&mut self.slices, &service, &slice.name);
        }
        endpoints_of(slice).for_each(|address| part(&mut self.slices_at, &address, &slice.name));
    }

    /// A pod has these labels now; `None`: nobody owns the name.
    pub(crate) fn set_labels(&mut self, name: &PodName, labels: Option<Labels>) {
        if self.labels.get(name) == labels.as_ref() {
            return;
        }
        let key = |key: &String, value: &String| (name.namespace.clone(), key.clone(), value.clone());
        for (k, v) in self.labels.remove(name).iter().flatten() {
            part(&mut self.labelled, &key(k, v), name);
        }
        if let Some(labels) = labels {
            labels.iter().for_each(|(k, v)| join(&mut self.labelled, key(k, v), name.clone()));
            self.labels.insert(name.clone(), labels);
        }
    }

    pub(crate) fn add_node(&mut self, node: &Node) {
        if let Some(zone) = carried_zone(node) {
            *self.zones.entry(zone.to_owned()).or_default() += 1;
        }
    }

    pub(crate) fn remove_node(&mut self, node: &Node) {
        let Some(zone) = carried_zone(node) else { return };
        if let Some(count) = self.zones.get_mut(zone) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.zones.remove(zone);
            }
        }
    }
}

/// The addresses of a slice that packets may go to: of each endpoint the first counts.
fn endpoints_of(slice: &EndpointSlice) -> impl Iterator<Item = IpAddr> {
    slice.endpoints.iter().filter_map(|endpoint| endpoint.addresses.first().copied())
}

/// Ports of the nodes that a service holds, each once.
pub(crate) fn held_ports(service: &Service) -> BTreeSet<u16> {
    let ports = service.spec.ports.iter().map(|port| port.node_port);
    ports.chain([service.spec.health_check_node_port]).filter(|port| *port != 0).collect()
}

/// Zone of an active node.
pub(crate) fn zone_of(node: &Node) -> Option<&str> {
    let zone = node.labels.get(ZONE_LABEL).map(String::as_str)?;
    (node.state == NodeState::Active && !zone.is_empty()).then_some(zone)
}

/// The zone that a node carries a part of: a silent one carries none.
fn carried_zone(node: &Node) -> Option<&str> {
    zone_of(node).filter(|_| node.silent.is_none())
}

/// The label of its selector under which a service is found: the longest, because what all have in common is short.
fn indexed_label(service: &Service) -> Option<Label> {
    if service.spec.kind == ServiceType::ExternalName {
        return None;
    }
    let longest = service.spec.selector.iter().max_by_key(|(key, value)| (value.len(), *key));
    longest.map(|(key, value)| (service.name.namespace.clone(), key.clone(), value.clone()))
}
