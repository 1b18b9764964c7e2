//! The evaluator: what a flow meets, straight from the specification (Kubernetes, networking/v1 NetworkPolicy), without any
//! cleverness. Everything else in this crate is held against it.
//!
//! Choices of ours where the text is open: protocols without ports need a rule without `ports`; the own node's processes come
//! in, what it forwards is judged by its source address; a named port in an egress rule fits no `ipBlock`; the resolver of
//! nodes is the system pod, which selectors match and no policy selects; a namespace that isn't known matches `{}` alone.

use weft_model::{
    DefaultPolicy, Direction, LabelSelector, NamespaceName, NodeEgress, PodName, PolicyName, PolicyPeer,
    PolicyPort, PolicyRule, PolicySpec, PortMatch,
};

use crate::{
    decision::{Decision, Isolation, Reason, Verdict},
    flow::{Flow, Transport},
    world::{Party, World, WorldPod},
};

impl World {
    /// What becomes of a flow, and the rule of either end that says so.
    pub fn decide(&self, flow: &Flow) -> Decision {
        let source = self.pod_at(flow.source);
        let destination = self.pod_at(flow.destination);
        let same = source.is_some() && source.map(|(name, _)| name) == destination.map(|(name, _)| name);
        let (egress, ingress) = if same {
            (Reason::SamePod, Reason::SamePod)
        } else {
            let egress = source.map_or(Reason::NoPod, |(name, pod)| {
                let open = self.settings.node_egress == NodeEgress::Allow;
                let own = open && self.is_own_node(pod, flow.destination);
                if own { Reason::OwnNode } else { self.judge(Direction::Egress, name, pod, flow) }
            });
            let ingress = destination.map_or(Reason::NoPod, |(name, pod)| {
                let own = flow.process && self.is_own_node(pod, flow.source);
                if own { Reason::OwnNode } else { self.judge(Direction::Ingress, name, pod, flow) }
            });
            (egress, ingress)
        };
        Decision { verdict: Verdict::of(egress.allows() && ingress.allows()), egress, ingress }
    }

    /// Policies that isolate a pod in a direction, with their rules for it, in order of name.
    pub fn isolating<'a>(
        &'a self,
        direction: Direction,
        name: &'a PodName,
        pod: &'a WorldPod,
    ) -> impl Iterator<Item = (&'a PolicyName, &'a [PolicyRule])> {
        let own = self.policies.iter().filter(move |(policy, _)| policy.namespace == name.namespace);
        own.filter(|(_, spec)| spec.pods.selects(&pod.labels))
            .filter_map(move |(policy, spec)| Some((policy, PolicySpec::rules(spec, direction)?)))
    }

    fn is_own_node(&self, pod: &WorldPod, address: std::net::IpAddr) -> bool {
        let node = pod.node.as_ref().and_then(|node| self.nodes.get(node));
        node.is_some_and(|addresses| addresses.contains(&address))
    }

    /// What holds for pods of a namespace that no policy selects.
    pub(crate) fn default_of(&self, namespace: &NamespaceName) -> DefaultPolicy {
        let labels = self.namespaces.get(namespace);
        labels.map_or(self.settings.default, |labels| self.settings.default_of(labels))
    }

    /// One end of a flow.
    fn judge(&self, direction: Direction, name: &PodName, pod: &WorldPod, flow: &Flow) -> Reason {
        let isolating: Vec<_> = self.isolating(direction, name, pod).collect();
        if isolating.is_empty() {
            return if self.default_of(&name.namespace).isolates(direction) {
                Reason::Denied(Isolation::Default(name.namespace.clone()))
            } else {
                Reason::NotIsolated
            };
        }
        for (policy, rules) in &isolating {
            for (rule, content) in rules.iter().enumerate() {
                if self.rule_fits(direction, &policy.namespace, content, flow) {
                    return Reason::Allowed { policy: (*policy).clone(), rule };
                }
            }
        }
        Reason::Denied(Isolation::Policies(isolating.into_iter().map(|(policy, _)| policy.clone()).collect()))
    }

    /// Whether a rule of a policy in `namespace` allows a flow.
    fn rule_fits(
        &self,
        direction: Direction,
        namespace: &NamespaceName,
        rule: &PolicyRule,
        flow: &Flow,
    ) -> bool {
        let destination = self.party(flow.destination);
        let port_fits = |named: bool| {
            rule.ports.is_empty()
                || rule.ports.iter().any(|port| port_fits(port, flow.transport, destination, named))
        };
        if rule.peers.is_empty() {
            return port_fits(true);
        }
        rule.peers.iter().any(|peer| {
            let named = direction == Direction::Ingress || matches!(peer, PolicyPeer::Pods { .. });
            self.peer_fits(direction, namespace, peer, flow) && port_fits(named)
        })
    }

    fn peer_fits(
        &self,
        direction: Direction,
        namespace: &NamespaceName,
        peer: &PolicyPeer,
        flow: &Flow,
    ) -> bool {
        let address = match direction {
            Direction::Ingress => flow.source,
            Direction::Egress => flow.destination,
        };
        match peer {
            PolicyPeer::Pods { namespaces, pods } => self.party(address).is_some_and(|party| {
                let namespace_fits = match namespaces {
                    None => party.namespace == namespace,
                    Some(selector) => self.namespace_fits(selector, party.namespace),
                };
                namespace_fits && pods.as_ref().is_none_or(|selector| selector.selects(party.labels))
            }),
            PolicyPeer::Block { range, except } => {
                range.contains(address) && !except.iter().any(|hole| hole.contains(address))
            }
        }
    }

    /// Whether a namespace is selected: the empty selector selects all, others only those that are known.
    pub(crate) fn namespace_fits(&self, selector: &LabelSelector, namespace: &NamespaceName) -> bool {
        selector.is_empty() || self.namespaces.get(namespace).is_some_and(|labels| selector.selects(labels))
    }
}

/// Whether an entry of a rule's ports fits; a name only where names count.
fn port_fits(port: &PolicyPort, transport: Transport, destination: Option<Party<'_>>, named: bool) -> bool {
    let Transport::Port(protocol, number) = transport else { return false };
    protocol == port.protocol
        && match &port.port {
            PortMatch::Any => true,
            PortMatch::Numbers(first, last) => (*first..=*last).contains(&number),
            PortMatch::Name(name) => {
                named
                    && destination.is_some_and(|party| {
                        party.ports.iter().any(|port| {
                            port.name == *name && port.protocol == protocol && port.port == number
                        })
                    })
            }
        }
}
