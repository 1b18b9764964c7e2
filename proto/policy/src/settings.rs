//! What policies leave to the fabric and its namespaces.

use weft_model::{Labels, NamespaceName};

/// Label of a namespace: the directions in which its pods are closed though no policy selects them: `ingress`, `egress`,
/// `both` or `none`. Without it the fabric's setting counts.
pub const DEFAULT_DENY_LABEL: &str = "weft.io/default-deny";

/// Namespaces of the system: the fabric's default doesn't close them, their own label and policies do.
pub const SYSTEM_NAMESPACES: [&str; 2] = ["kube-system", "weft-system"];

/// Directions that are closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefaultDeny {
    /// Towards pods.
    pub ingress: bool,
    /// From pods.
    pub egress: bool,
}

impl DefaultDeny {
    /// Reads the value of [`DEFAULT_DENY_LABEL`]; `None` for any other word.
    pub fn from_label(value: &str) -> Option<Self> {
        Some(match value {
            "none" => Self { ingress: false, egress: false },
            "ingress" => Self { ingress: true, egress: false },
            "egress" => Self { ingress: false, egress: true },
            "both" => Self { ingress: true, egress: true },
            _ => return None,
        })
    }

    /// Whether a direction is closed.
    pub const fn in_direction(self, direction: weft_model::Direction) -> bool {
        match direction {
            weft_model::Direction::Ingress => self.ingress,
            weft_model::Direction::Egress => self.egress,
        }
    }
}

/// Settings of the fabric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Directions closed for pods that no policy selects, unless their namespace says otherwise.
    pub default_deny: DefaultDeny,
    /// Pods always reach their own node's addresses; otherwise policy decides (`nodeEgress: allow`).
    pub node_egress: bool,
}

impl Settings {
    /// What is closed for pods of a namespace that no policy selects. A label with a word that isn't one closes both: who
    /// wrote it wanted something closed.
    pub fn default_for(&self, namespace: &NamespaceName, labels: Option<&Labels>) -> DefaultDeny {
        match labels.and_then(|labels| labels.get(DEFAULT_DENY_LABEL)) {
            Some(word) => {
                DefaultDeny::from_label(word).unwrap_or(DefaultDeny { ingress: true, egress: true })
            }
            None if SYSTEM_NAMESPACES.contains(&namespace.as_str()) => DefaultDeny::default(),
            None => self.default_deny,
        }
    }
}
