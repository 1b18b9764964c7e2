//! What holds for pods that no policy isolates, and for traffic to a pod's own node: settings of the fabric and of a
//! namespace.

use std::{fmt, str::FromStr};

use super::Direction;
use crate::Labels;

/// Label of a namespace that always holds its own name (Kubernetes; policies select namespaces by it).
pub const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Label of a namespace: the [`DefaultPolicy`] of its pods, in place of the fabric's.
pub const DEFAULT_POLICY_LABEL: &str = "weft.io/default-policy";

/// Namespaces of the system: the fabric's default doesn't close them; their own label and policies do.
pub const SYSTEM_NAMESPACES: [&str; 2] = ["kube-system", "weft-system"];

/// What holds for a pod in a direction in which no policy isolates it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DefaultPolicy {
    /// Everything is allowed, as in Kubernetes.
    #[default]
    Allow,
    /// Nothing comes in.
    DenyIngress,
    /// Nothing goes out.
    DenyEgress,
    /// Neither.
    Deny,
}

impl DefaultPolicy {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Allow, Self::DenyIngress, Self::DenyEgress, Self::Deny];

    /// Whether every pod counts as isolated for a direction, as if a policy without rules selected it.
    pub const fn isolates(self, direction: Direction) -> bool {
        match direction {
            Direction::Ingress => matches!(self, Self::DenyIngress | Self::Deny),
            Direction::Egress => matches!(self, Self::DenyEgress | Self::Deny),
        }
    }
}

impl fmt::Display for DefaultPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::DenyIngress => "deny-ingress",
            Self::DenyEgress => "deny-egress",
            Self::Deny => "deny",
        })
    }
}

impl FromStr for DefaultPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|known| known.to_string() == text)
            .ok_or_else(|| format!("unknown default {text:?}: use allow, deny-ingress, deny-egress or deny"))
    }
}

/// How a pod's traffic to its own node is judged. The specification exempts only what comes from the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeEgress {
    /// By policy, like any other.
    #[default]
    Policy,
    /// It passes always, as Kubernetes' concept page reads.
    Allow,
}

impl fmt::Display for NodeEgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Policy => "policy",
            Self::Allow => "allow",
        })
    }
}

impl FromStr for NodeEgress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Policy, Self::Allow]
            .into_iter()
            .find(|known| known.to_string() == text)
            .ok_or_else(|| format!("unknown word {text:?}: use policy or allow"))
    }
}

/// Settings of a fabric around policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicySettings {
    /// For pods of namespaces that say nothing else.
    pub default: DefaultPolicy,
    /// For traffic of a pod to its own node.
    pub node_egress: NodeEgress,
}

impl PolicySettings {
    /// What holds in a namespace with these labels: what its own label says, else the fabric's setting, which leaves the
    /// system's namespaces alone. A label with another word closes: who wrote it wanted something closed.
    pub fn default_of(&self, namespace: &Labels) -> DefaultPolicy {
        let is_system = || {
            let name = namespace.get(NAMESPACE_NAME_LABEL);
            name.is_some_and(|name| SYSTEM_NAMESPACES.contains(&name.as_str()))
        };
        match namespace.get(DEFAULT_POLICY_LABEL) {
            Some(word) => word.parse().unwrap_or(DefaultPolicy::Deny),
            None if is_system() => DefaultPolicy::Allow,
            None => self.default,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_from_their_text() {
        for default in DefaultPolicy::ALL {
            assert_eq!(default.to_string().parse(), Ok(default));
        }
        for egress in [NodeEgress::Policy, NodeEgress::Allow] {
            assert_eq!(egress.to_string().parse(), Ok(egress));
        }
        assert!("Deny".parse::<DefaultPolicy>().is_err() && "deny".parse::<NodeEgress>().is_err());
    }

    #[test]
    fn a_namespace_has_its_own_word_before_the_fabric() {
        use Direction::{Egress, Ingress};
        let check = |fabric: DefaultPolicy, space: &str, label: &str, ingress: bool, egress: bool| {
            let settings = PolicySettings { default: fabric, ..PolicySettings::default() };
            let mut labels = Labels::from([(NAMESPACE_NAME_LABEL.to_owned(), space.to_owned())]);
            if !label.is_empty() {
                labels.insert(DEFAULT_POLICY_LABEL.to_owned(), label.to_owned());
            }
            let default = settings.default_of(&labels);
            assert_eq!(
                (default.isolates(Ingress), default.isolates(Egress)),
                (ingress, egress),
                "{space} {label}"
            );
        };
        check(DefaultPolicy::Allow, "shop", "", false, false);
        check(DefaultPolicy::Deny, "shop", "", true, true);
        check(DefaultPolicy::Deny, "shop", "allow", false, false);
        check(DefaultPolicy::Allow, "shop", "deny-ingress", true, false);
        check(DefaultPolicy::Allow, "shop", "deny-egress", false, true);
        check(DefaultPolicy::Allow, "shop", "Deny-Ingress", true, true);
        check(DefaultPolicy::Deny, "kube-system", "", false, false);
        check(DefaultPolicy::Allow, "kube-system", "deny", true, true);
    }
}
