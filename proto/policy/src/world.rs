//! Everything that a question about policies depends on, as the nouns say it: what the evaluator looks at.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use weft_model::{
    Labels, NamedPort, NamespaceName, NodeName, PodName, PolicyName, PolicySettings, PolicySpec, Protocol,
};

/// Namespace of the pod that nodes' resolvers stand for.
pub const RESOLVER_NAMESPACE: &str = "kube-system";
/// Its label, key and value.
pub const RESOLVER_LABEL: (&str, &str) = ("k8s-app", "kube-dns");

/// A pod that holds addresses. Pods on the host's network and pods that have ended aren't pods here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorldPod {
    /// Its labels.
    pub labels: Labels,
    /// Its addresses, at most one per family.
    pub addresses: Vec<IpAddr>,
    /// Its ports with names.
    pub ports: Vec<NamedPort>,
    /// The node it is on; `None` when that makes no difference.
    pub node: Option<NodeName>,
}

/// What stands behind an address, as peers of policies see it.
#[derive(Clone, Copy, Debug)]
pub struct Party<'a> {
    /// The pod; `None` for the resolver, which is on every node and which no policy selects.
    pub pod: Option<&'a PodName>,
    /// Its namespace.
    pub namespace: &'a NamespaceName,
    /// Its labels.
    pub labels: &'a Labels,
    /// Its ports with names.
    pub ports: &'a [NamedPort],
}

/// The system pod that the resolvers of nodes stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolver {
    /// Where nodes answer for names.
    pub addresses: Vec<IpAddr>,
    pub(crate) namespace: NamespaceName,
    pub(crate) labels: Labels,
    pub(crate) ports: Vec<NamedPort>,
}

impl Resolver {
    /// The resolver at these addresses, with the labels and port names that cluster DNS has everywhere.
    pub fn at(addresses: Vec<IpAddr>) -> Self {
        let namespace = NamespaceName::new(RESOLVER_NAMESPACE).expect("the constant is a name");
        let labels = Labels::from([(RESOLVER_LABEL.0.to_owned(), RESOLVER_LABEL.1.to_owned())]);
        let port = |name: &str, protocol| NamedPort { name: name.to_owned(), protocol, port: 53 };
        let ports = vec![port("dns", Protocol::Udp), port("dns-tcp", Protocol::Tcp)];
        Self { addresses, namespace, labels, ports }
    }

    fn party(&self) -> Party<'_> {
        let Self { namespace, labels, ports, .. } = self;
        Party { pod: None, namespace, labels, ports }
    }

    /// Its identity.
    pub fn identity(&self) -> (weft_model::IdentityId, weft_model::Identity) {
        crate::identity::whole_identity(&self.namespace, &self.labels, &self.ports)
    }
}

/// The world.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub(crate) settings: PolicySettings,
    pub(crate) namespaces: BTreeMap<NamespaceName, Labels>,
    pub(crate) pods: BTreeMap<PodName, WorldPod>,
    pub(crate) addresses: BTreeMap<IpAddr, PodName>,
    pub(crate) nodes: BTreeMap<NodeName, Vec<IpAddr>>,
    pub(crate) policies: BTreeMap<PolicyName, Arc<PolicySpec>>,
    pub(crate) resolver: Option<Resolver>,
}

impl World {
    /// A world without anything.
    pub fn new(settings: PolicySettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Puts a namespace, or other labels of it.
    pub fn put_namespace(&mut self, name: NamespaceName, labels: Labels) {
        self.namespaces.insert(name, labels);
    }

    /// Takes a namespace away; what is in it stays.
    pub fn remove_namespace(&mut self, name: &NamespaceName) {
        self.namespaces.remove(name);
    }

    /// Puts a pod, or what it is now. Of two pods with one address the one put last has it.
    pub fn put_pod(&mut self, name: PodName, pod: WorldPod) {
        self.remove_pod(&name);
        for address in &pod.addresses {
            self.addresses.insert(*address, name.clone());
        }
        self.pods.insert(name, pod);
    }

    /// Takes a pod away.
    pub fn remove_pod(&mut self, name: &PodName) {
        for address in self.pods.remove(name).map(|pod| pod.addresses).unwrap_or_default() {
            if self.addresses.get(&address) == Some(name) {
                self.addresses.remove(&address);
            }
        }
    }

    /// Puts a policy, or what it says now.
    pub fn put_policy(&mut self, name: PolicyName, spec: Arc<PolicySpec>) {
        self.policies.insert(name, spec);
    }

    /// Takes a policy away.
    pub fn remove_policy(&mut self, name: &PolicyName) {
        self.policies.remove(name);
    }

    /// Puts a node with all its own addresses.
    pub fn put_node(&mut self, name: NodeName, addresses: Vec<IpAddr>) {
        self.nodes.insert(name, addresses);
    }

    /// Says where nodes answer for names.
    pub fn put_resolver(&mut self, resolver: Option<Resolver>) {
        self.resolver = resolver;
    }

    /// Settings of the fabric.
    pub const fn settings(&self) -> PolicySettings {
        self.settings
    }

    /// Changes the fabric's settings.
    pub fn put_settings(&mut self, settings: PolicySettings) {
        self.settings = settings;
    }

    /// All pods.
    pub fn pods(&self) -> impl Iterator<Item = (&PodName, &WorldPod)> {
        self.pods.iter()
    }

    /// One pod.
    pub fn pod(&self, name: &PodName) -> Option<&WorldPod> {
        self.pods.get(name)
    }

    /// All policies.
    pub fn policies(&self) -> impl Iterator<Item = (&PolicyName, &Arc<PolicySpec>)> {
        self.policies.iter()
    }

    /// All namespaces with their labels.
    pub fn namespaces(&self) -> impl Iterator<Item = (&NamespaceName, &Labels)> {
        self.namespaces.iter()
    }

    /// Addresses of a node.
    pub fn node(&self, name: &NodeName) -> Option<&[IpAddr]> {
        self.nodes.get(name).map(Vec::as_slice)
    }

    /// The node that has an address.
    pub fn node_at(&self, address: IpAddr) -> Option<&NodeName> {
        self.nodes.iter().find(|(_, addresses)| addresses.contains(&address)).map(|(name, _)| name)
    }

    /// The pod that holds an address; nobody holds the resolver's.
    pub fn pod_at(&self, address: IpAddr) -> Option<(&PodName, &WorldPod)> {
        if self.resolver.as_ref().is_some_and(|resolver| resolver.addresses.contains(&address)) {
            return None;
        }
        let name = self.addresses.get(&address)?;
        self.pods.get(name).map(|pod| (name, pod))
    }

    /// All pods, and the resolver, as peers see them.
    pub(crate) fn parties(&self) -> impl Iterator<Item = Party<'_>> {
        let pods = self.pods.iter().map(|(name, pod)| Party {
            pod: Some(name),
            namespace: &name.namespace,
            labels: &pod.labels,
            ports: &pod.ports,
        });
        pods.chain(self.resolver.as_ref().map(Resolver::party))
    }

    /// What stands behind an address, if that is a pod or the resolver.
    pub fn party(&self, address: IpAddr) -> Option<Party<'_>> {
        if let Some((name, pod)) = self.pod_at(address) {
            let namespace = &name.namespace;
            return Some(Party { pod: Some(name), namespace, labels: &pod.labels, ports: &pod.ports });
        }
        let resolver = self.resolver.as_ref().filter(|resolver| resolver.addresses.contains(&address))?;
        Some(resolver.party())
    }
}
