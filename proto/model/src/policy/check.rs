//! What can be wrong with a policy, all of it at once, in the words of Kubernetes (`ValidateNetworkPolicySpec`,
//! `ValidateLabelSelector`), with the path of the field. Whoever reads texts asks part by part, the control plane asks
//! for the whole.

use std::fmt::Debug;

use super::{LabelOperator, LabelSelector, PolicyPeer, PolicyPort, PolicyRule, PolicySpec, PortMatch};
use crate::{AddressRange, MAX_LABELS, check_label, check_port_name};

/// Most rules of one direction of a policy (reliability, section 6); more are refused.
pub const MAX_POLICY_RULES: usize = 256;
/// Most peers of one rule, and exceptions of one block; more are refused.
pub const MAX_POLICY_PEERS: usize = 256;
/// Most ports of one rule; more are refused.
pub const MAX_POLICY_PORTS: usize = 100;
/// Most values of one requirement on a label; more are refused.
pub const MAX_LABEL_VALUES: usize = 256;

/// Something wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    /// Path of the field: `spec.ingress[0].from[1].ipBlock.except[0]`.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}

impl FieldProblem {
    fn invalid(field: String, value: impl Debug, why: &str) -> Self {
        Self { field, why: format!("Invalid value: {value:?}: {why}") }
    }

    fn required(field: String, why: &str) -> Self {
        Self { field, why: format!("Required value: {why}") }
    }

    fn too_many(field: String, count: usize, limit: usize) -> Option<Self> {
        (count > limit)
            .then(|| Self { field, why: format!("Too many: {count}: must have at most {limit} items") })
    }
}

impl LabelSelector {
    /// What is wrong with a selector that stands at `at`.
    pub fn problems(&self, at: &str) -> Vec<FieldProblem> {
        let mut found = Vec::new();
        let labels = format!("{at}.matchLabels");
        for (key, value) in &self.labels {
            if let Err(error) = check_label(key, value) {
                found.push(FieldProblem::invalid(format!("{labels}[{key}]"), value, &error.to_string()));
            }
        }
        found.extend(FieldProblem::too_many(labels, self.labels.len(), MAX_LABELS));
        let list = format!("{at}.matchExpressions");
        found.extend(FieldProblem::too_many(list.clone(), self.expressions.len(), MAX_LABELS));
        for (index, requirement) in self.expressions.iter().take(MAX_LABELS).enumerate() {
            let field = |name: &str| format!("{list}[{index}].{name}");
            if let Err(error) = check_label(&requirement.key, "") {
                found.push(FieldProblem::invalid(field("key"), &requirement.key, &error.to_string()));
            }
            let values = &requirement.values;
            match requirement.operator {
                LabelOperator::In | LabelOperator::NotIn if values.is_empty() => {
                    let why = "must be specified when `operator` is 'In' or 'NotIn'";
                    found.push(FieldProblem::required(field("values"), why));
                }
                LabelOperator::Exists | LabelOperator::DoesNotExist if !values.is_empty() => {
                    let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                    found.push(FieldProblem { field: field("values"), why: format!("Forbidden: {why}") });
                }
                LabelOperator::In
                | LabelOperator::NotIn
                | LabelOperator::Exists
                | LabelOperator::DoesNotExist => {}
            }
            found.extend(FieldProblem::too_many(field("values"), values.len(), MAX_LABEL_VALUES));
            // A bad key is told already: only what is wrong with the value itself.
            let bad = values.iter().find_map(|value| Some((value, check_label("key", value).err()?)));
            if let Some((value, _)) = bad {
                found.push(FieldProblem::invalid(field("values"), value, VALUE));
            }
        }
        found
    }
}

const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
                     and must start and end with an alphanumeric character, at most 63 characters";

impl PolicyPeer {
    /// What is wrong with a peer that stands at `at`.
    pub fn problems(&self, at: &str) -> Vec<FieldProblem> {
        match self {
            Self::Pods { namespaces: None, pods: None } => {
                vec![FieldProblem::required(at.to_owned(), "must specify a peer")]
            }
            Self::Pods { namespaces, pods } => {
                let parts = [("podSelector", pods), ("namespaceSelector", namespaces)];
                let of = |(name, selector): (&str, &Option<LabelSelector>)| {
                    let problems = selector.as_ref().map(|s| s.problems(&format!("{at}.{name}")));
                    problems.unwrap_or_default()
                };
                parts.into_iter().flat_map(of).collect()
            }
            Self::Block { range, except } => {
                let field = format!("{at}.ipBlock.except");
                let inside = |inner: &AddressRange| range.covers(*inner) && inner.prefix() > range.prefix();
                let bad = except.iter().enumerate().filter(|(_, inner)| !inside(inner));
                let mut found: Vec<_> = bad
                    .map(|(index, inner)| {
                        let why = format!("must be a strict subset of `cidr`, {range}");
                        FieldProblem::invalid(format!("{field}[{index}]"), inner.to_string(), &why)
                    })
                    .collect();
                found.extend(FieldProblem::too_many(field, except.len(), MAX_POLICY_PEERS));
                found
            }
        }
    }
}

impl PolicyPort {
    /// What is wrong with a port that stands at `at`.
    pub fn problems(&self, at: &str) -> Vec<FieldProblem> {
        match &self.port {
            PortMatch::Any => Vec::new(),
            PortMatch::Name(name) => check_port_name(name)
                .err()
                .map(|why| FieldProblem::invalid(format!("{at}.port"), name, why))
                .into_iter()
                .collect(),
            PortMatch::Numbers(first, last) => {
                let mut found = Vec::new();
                if *first == 0 {
                    let why = "must be between 1 and 65535, inclusive";
                    found.push(FieldProblem::invalid(format!("{at}.port"), first, why));
                }
                if last < first {
                    let why = format!("must be greater than or equal to `port`, {first}");
                    found.push(FieldProblem::invalid(format!("{at}.endPort"), last, &why));
                }
                found
            }
        }
    }
}

impl PolicyRule {
    /// What is wrong with a rule that stands at `at`; its peers are called `peers` there: `from` or `to`.
    fn problems(&self, at: &str, peers: &str) -> Vec<FieldProblem> {
        let (peers, ports) = (format!("{at}.{peers}"), format!("{at}.ports"));
        let of_peers = self.peers.iter().take(MAX_POLICY_PEERS).enumerate();
        let of_ports = self.ports.iter().take(MAX_POLICY_PORTS).enumerate();
        let mut found: Vec<_> = of_peers
            .flat_map(|(index, peer)| peer.problems(&format!("{peers}[{index}]")))
            .chain(of_ports.flat_map(|(index, port)| port.problems(&format!("{ports}[{index}]"))))
            .collect();
        found.extend(self.too_many(&peers, &ports));
        found
    }

    /// Whether there are more peers, which stand at `peers`, or ports than a rule may have.
    pub fn too_many(&self, peers: &str, ports: &str) -> Vec<FieldProblem> {
        let counted =
            [(peers, self.peers.len(), MAX_POLICY_PEERS), (ports, self.ports.len(), MAX_POLICY_PORTS)];
        let over = |(field, count, limit): (&str, usize, usize)| {
            FieldProblem::too_many(field.to_owned(), count, limit)
        };
        counted.into_iter().filter_map(over).collect()
    }
}

impl PolicySpec {
    /// Everything that is wrong with it; both directions, whether they are heeded or not.
    pub fn problems(&self) -> Vec<FieldProblem> {
        let mut found = self.pods.problems("spec.podSelector");
        if !self.isolates_ingress && !self.isolates_egress {
            let why = "must name Ingress, Egress or both";
            found.push(FieldProblem::required("spec.policyTypes".to_owned(), why));
        }
        for (at, peers, rules) in
            [("spec.ingress", "from", &self.ingress), ("spec.egress", "to", &self.egress)]
        {
            let rules_of = rules.iter().take(MAX_POLICY_RULES).enumerate();
            found.extend(rules_of.flat_map(|(index, rule)| rule.problems(&format!("{at}[{index}]"), peers)));
            found.extend(FieldProblem::too_many(at.to_owned(), rules.len(), MAX_POLICY_RULES));
        }
        found
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
