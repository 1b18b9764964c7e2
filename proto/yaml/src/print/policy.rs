//! Network policies, as `networking/v1` has them; `policyTypes` is always said, so that no default changes what is fed
//! back.

use serde_json::{Value, json};
use weft_model::{
    LabelRequirement, LabelSelector, NetworkPolicy, PolicyPeer, PolicyPort, PolicyRule, PolicySpec, PortMatch,
};

use super::{Said, named, protocol_word, ranges, whole_of};
use crate::time::format_time;

pub(super) fn policy_value(policy: &NetworkPolicy) -> Value {
    let mut metadata = named(&policy.name, &policy.labels);
    metadata.some("annotations", json!(policy.annotations));
    metadata.put("uid", policy.uid.to_string());
    metadata.put("generation", policy.generation);
    metadata.put("resourceVersion", policy.revision.to_string());
    metadata.put("creationTimestamp", format_time(policy.created.0));
    let spec = spec_value(&policy.spec);
    whole_of("networking.k8s.io/v1", "NetworkPolicy", metadata.value(), spec, Value::Null)
}

fn spec_value(spec: &PolicySpec) -> Value {
    let types = [("Ingress", spec.isolates_ingress), ("Egress", spec.isolates_egress)];
    let types: Vec<&str> =
        types.into_iter().filter(|(_, isolates)| *isolates).map(|(word, _)| word).collect();
    let mut value = Said::default();
    value.put("podSelector", selector(&spec.pods));
    value.put("policyTypes", types);
    value.some("ingress", spec.ingress.iter().map(|one| rule(one, "from")).collect::<Vec<_>>());
    value.some("egress", spec.egress.iter().map(|one| rule(one, "to")).collect::<Vec<_>>());
    value.value()
}

/// A rule that says nothing is `{}`: anybody, everything.
fn rule(rule: &PolicyRule, peers: &str) -> Value {
    let mut value = Said::default();
    value.some(peers, rule.peers.iter().map(peer).collect::<Vec<_>>());
    value.some("ports", rule.ports.iter().map(port).collect::<Vec<_>>());
    value.value()
}

fn peer(peer: &PolicyPeer) -> Value {
    let mut value = Said::default();
    match peer {
        PolicyPeer::Pods { namespaces, pods } => {
            // An empty selector says something else than none.
            for (key, given) in [("namespaceSelector", namespaces), ("podSelector", pods)] {
                if let Some(given) = given {
                    value.put(key, selector(given));
                }
            }
        }
        PolicyPeer::Block { range, except } => {
            let mut block = Said::default();
            block.put("cidr", range.to_string());
            block.some("except", ranges(except));
            value.put("ipBlock", block.value());
        }
    }
    value.value()
}

fn port(port: &PolicyPort) -> Value {
    let mut value = Said::default();
    value.put("protocol", protocol_word(port.protocol));
    match &port.port {
        PortMatch::Any => {}
        PortMatch::Name(name) => value.put("port", name.as_str()),
        PortMatch::Numbers(first, last) => {
            value.put("port", *first);
            if last != first {
                value.put("endPort", *last);
            }
        }
    }
    value.value()
}

fn selector(selector: &LabelSelector) -> Value {
    let mut value = Said::default();
    value.some("matchLabels", json!(selector.labels));
    value.some("matchExpressions", selector.expressions.iter().map(requirement).collect::<Vec<_>>());
    value.value()
}

fn requirement(requirement: &LabelRequirement) -> Value {
    let mut value = Said::default();
    value.put("key", requirement.key.as_str());
    value.put("operator", requirement.operator.to_string());
    value.some("values", json!(requirement.values));
    value.value()
}
