//! Why the tables of a node say what they say of one flow: the evaluator asked with what the compiler knows of both ends.

use std::net::IpAddr;

use weft_model::{Direction, NodeName, PodName, PolicyName};

use super::Compiler;
use crate::{
    decision::{Closest, Decision},
    flow::Flow,
    world::{World, WorldPod},
};

/// One flow with its ends by name, what is decided, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The pod that has the source address.
    pub source: Option<PodName>,
    /// The pod that has the destination address.
    pub destination: Option<PodName>,
    /// What is decided at both ends.
    pub decision: Decision,
    /// Where it is denied: the rule that came nearest to allowing it.
    pub closest: Option<Closest>,
}

impl Compiler {
    /// Explains a flow. `own` are all addresses of this node, whose local pods alone have an own node here. What both ends'
    /// policies need is copied, and nothing else: it costs what their namespaces' policies cost.
    pub fn explain(&self, flow: &Flow, own: &[IpAddr]) -> Explanation {
        let mut world = World::new(self.settings);
        world.put_resolver(self.resolver.clone());
        let here = NodeName::new("here").expect("the constant is a name");
        world.put_node(here.clone(), own.to_vec());
        let ends = [flow.source, flow.destination].map(|address| {
            let (name, id, local) = self.holders.at(address)?;
            let known = self.identities.get(id)?;
            let mut pod = world.pod(name).cloned().unwrap_or_else(|| WorldPod {
                labels: known.identity.labels.clone(),
                addresses: Vec::new(),
                ports: known.identity.ports.clone(),
                node: local.then(|| here.clone()),
            });
            if !pod.addresses.contains(&address) {
                pod.addresses.push(address);
            }
            world.put_pod(name.clone(), pod);
            let policies = self.policies.get(&name.namespace);
            for (policy, spec) in policies.into_iter().flat_map(|policies| &policies.specs) {
                let policy = PolicyName { namespace: name.namespace.clone(), name: policy.clone() };
                world.put_policy(policy, spec.clone());
            }
            Some(name.clone())
        });
        let resolver = self.resolver.as_ref().map(|resolver| &resolver.namespace);
        for namespace in ends.iter().flatten().map(|name| &name.namespace).chain(resolver) {
            if let Some(labels) = self.namespaces.get(namespace) {
                world.put_namespace(namespace.clone(), labels.clone());
            }
        }
        let [source, destination] = ends;
        let decision = world.decide(flow);
        let denied = decision.denied().map(|(direction, _)| direction);
        let closest = denied.and_then(|direction| world.closest(flow, direction));
        Explanation { source, destination, decision, closest }
    }

    /// Policies that isolate the pod of an address in a direction, in order of name; none for pods that no policy isolates,
    /// and for addresses that no pod has.
    pub fn isolated_by(&self, direction: Direction, address: IpAddr) -> Vec<PolicyName> {
        let identity = self.holders.at(address).and_then(|(_, id, _)| self.identities.get(id));
        let isolating = identity.map(|known| self.isolating(direction, &known.identity)).unwrap_or_default();
        let mut names: Vec<_> = isolating.into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names
    }
}
