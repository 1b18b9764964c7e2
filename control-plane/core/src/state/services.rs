//! Reading services and what belongs to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    ops::Bound,
};

use weft_model::{
    AddressOwner, EndpointSlice, Labels, LoadBalancerPool, Name, NamedPort, Namespace, NamespaceName,
    NodeName, ObjectName, Pod, PodName, PodPhase, PodSpec, Service, ServiceName,
};

use super::State;
use crate::limits;

/// A living pod that owns its name, with what people say of it.
#[derive(Clone, Copy, Debug)]
pub struct EffectivePod<'a> {
    /// The pod as its node published it.
    pub pod: &'a Pod,
    /// What people say.
    pub spec: Option<&'a PodSpec>,
}

impl<'a> EffectivePod<'a> {
    /// Labels of both; those that people say win.
    pub fn labels(&self) -> Labels {
        joined(&self.pod.labels, self.spec)
    }

    /// Ports that people say, unless they say none.
    pub fn ports(&self) -> &'a [NamedPort] {
        match self.spec {
            Some(spec) if !spec.ports.is_empty() => &spec.ports,
            Some(_) | None => &self.pod.ports,
        }
    }

    /// Whether it passes its readiness check, also while it ends.
    pub fn is_serving(&self) -> bool {
        self.pod.ready && self.spec.is_none_or(|spec| spec.ready != Some(false))
    }

    /// Whether it is about to end.
    pub fn is_terminating(&self) -> bool {
        self.pod.terminating || self.spec.is_some_and(|spec| spec.terminating)
    }

    /// Name within `subdomain`; may be empty.
    pub fn hostname(&self) -> &'a str {
        self.spec.map_or("", |spec| &spec.hostname)
    }

    /// Name of its headless service; may be empty.
    pub fn subdomain(&self) -> &'a str {
        self.spec.map_or("", |spec| &spec.subdomain)
    }
}

/// Labels of a pod with those that people say of it.
pub(crate) fn joined(labels: &Labels, spec: Option<&PodSpec>) -> Labels {
    let mut labels = labels.clone();
    labels.extend(spec.into_iter().flat_map(|spec| spec.labels.clone()));
    labels
}

/// Rows by name.
impl State {
    /// Namespaces that were written.
    pub const fn namespaces(&self) -> &BTreeMap<NamespaceName, Namespace> {
        &self.namespaces
    }

    /// Services by namespace and name.
    pub const fn services(&self) -> &BTreeMap<ServiceName, Service> {
        &self.services
    }

    /// Endpoint slices that people wrote, by namespace and name.
    pub const fn slices(&self) -> &BTreeMap<ObjectName, EndpointSlice> {
        &self.slices
    }

    /// What people say of pods, by the pods' namespace and name.
    pub const fn pod_specs(&self) -> &BTreeMap<PodName, PodSpec> {
        &self.pod_specs
    }

    /// Pools of load-balancer addresses by name; that of the fabric isn't among them.
    pub const fn pools(&self) -> &BTreeMap<Name, LoadBalancerPool> {
        &self.pools
    }

    /// Who answers for load-balancer addresses.
    pub const fn owners(&self) -> &BTreeMap<IpAddr, AddressOwner> {
        &self.owners
    }
}

/// What follows from several rows.
impl State {
    /// The living pod of a name, with what people say of it.
    pub fn effective_pod(&self, name: &PodName) -> Option<EffectivePod<'_>> {
        let pod = self.pod_named(name).filter(|pod| pod.phase == PodPhase::Active)?;
        Some(EffectivePod { pod, spec: self.pod_specs.get(name) })
    }

    /// Names of which pods live, in order.
    pub(crate) fn pod_names(&self) -> impl Iterator<Item = &PodName> {
        self.index.names.keys()
    }

    /// The pods that a service selects, in order of their names; none without a selector.
    pub fn selected_pods(&self, service: &Service) -> impl Iterator<Item = EffectivePod<'_>> {
        let names = self.index.services.selected(&service.name.namespace, &service.spec.selector);
        names.into_iter().filter_map(|name| self.effective_pod(name))
    }

    /// Services whose selector matches a pod of a namespace with these labels.
    pub fn selecting_services(&self, namespace: &NamespaceName, labels: &Labels) -> Vec<ServiceName> {
        let matches = |name: &&ServiceName| {
            let selector = self.services.get(*name).map(|service| &service.spec.selector);
            selector
                .is_some_and(|selector| selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
        };
        self.index.services.selecting(namespace, labels).into_iter().filter(matches).cloned().collect()
    }

    /// Slices that people wrote for a service, in order of their names.
    pub fn slices_of(&self, service: &ServiceName) -> impl Iterator<Item = &EndpointSlice> {
        self.index.services.slices_of(service).filter_map(|name| self.slices.get(name))
    }

    /// Services that have one of these addresses as an endpoint that people wrote.
    pub(crate) fn written_at(&self, addresses: &[IpAddr]) -> impl Iterator<Item = ServiceName> {
        let names = addresses.iter().flat_map(|address| self.index.services.slices_at(*address));
        names.filter_map(|name| self.slices.get(name)?.service())
    }

    /// Which service holds an address inside the fabric.
    pub fn service_at(&self, address: IpAddr) -> Option<&Service> {
        self.index.services.cluster.get(&address).and_then(|name| self.services.get(name))
    }

    /// Which service holds a port of the nodes, for traffic or for health checks.
    pub fn node_port_holder(&self, port: u16) -> Option<&Service> {
        self.index.services.node_ports.get(&port).and_then(|name| self.services.get(name))
    }

    /// Which services have a load-balancer address.
    pub fn balanced_by(&self, address: IpAddr) -> impl Iterator<Item = &Service> {
        let names = self.index.services.balanced.get(&address);
        names.into_iter().flatten().filter_map(|name| self.services.get(name))
    }

    /// Load-balancer addresses that services have, in order.
    pub fn balanced_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.index.services.balanced.keys().copied()
    }

    /// Whether a namespace exists: it was written, a pod lives in it, or it is one that always exists.
    pub fn has_namespace(&self, name: &NamespaceName) -> bool {
        limits::FIXED_NAMESPACES.contains(&name.as_str())
            || self.namespaces.contains_key(name)
            || self.pod_in(name).is_some()
    }

    /// A pod that lives in a namespace.
    pub(crate) fn pod_in(&self, namespace: &NamespaceName) -> Option<&PodName> {
        within(&self.index.names, namespace).map(|(name, _)| name).next()
    }

    /// Services that select pods of a node: those that follow its zone and whether it is heard.
    pub(crate) fn services_on(&self, node: &NodeName) -> BTreeSet<ServiceName> {
        let pods = self.node_pods(node).filter_map(|pod| self.effective_pod(&pod.name));
        pods.flat_map(|pod| self.selecting_services(&pod.pod.name.namespace, &pod.labels())).collect()
    }
}

/// The entries of one namespace.
pub(crate) fn within<'a, 'n, V>(
    map: &'a BTreeMap<ObjectName, V>,
    namespace: &'n NamespaceName,
) -> impl Iterator<Item = (&'a ObjectName, &'a V)> + use<'a, 'n, V> {
    // No name comes before this one: names begin with a letter or a digit.
    let first = Name::new("0").ok().map(|name| ObjectName { namespace: namespace.clone(), name });
    let from = first.map_or(Bound::Unbounded, Bound::Included);
    let inside = move |(name, _): &(&ObjectName, &V)| name.namespace == *namespace;
    map.range((from, Bound::Unbounded)).take_while(inside)
}
