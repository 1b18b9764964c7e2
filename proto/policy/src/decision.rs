//! What was decided and why, with the words for people.

use std::fmt;

use weft_model::{Direction, LabelRequirement, NamespaceName, PolicyName};

use crate::ports::PortSet;

/// Passes or doesn't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Passes.
    Allow,
    /// Is dropped.
    Deny,
}

impl Verdict {
    /// Allow for `true`.
    pub const fn of(allowed: bool) -> Self {
        if allowed { Self::Allow } else { Self::Deny }
    }

    /// Whether it passes.
    pub const fn allows(self) -> bool {
        matches!(self, Self::Allow)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        })
    }
}

/// Who isolates a pod in a direction that denies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Policies that select it, in order of name; at least one.
    Policies(Vec<PolicyName>),
    /// No policy: what is closed by default in its namespace.
    Default(NamespaceName),
}

/// Why one end of a flow lets it pass or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The end is no pod that policies could select.
    NoPod,
    /// Both ends are the same pod: nothing stands between.
    SamePod,
    /// The other end is the pod's own node: its processes always come in; pods get out to it where the fabric says so.
    OwnNode,
    /// Nothing isolates the pod in this direction.
    NotIsolated,
    /// A rule allows it.
    Allowed {
        /// The first policy, in order of name, with such a rule.
        policy: PolicyName,
        /// Its place in the policy's list for the direction, from 0.
        rule: usize,
    },
    /// The pod is isolated and no rule fits.
    Denied(Isolation),
}

impl Reason {
    /// Whether this end lets the flow pass.
    pub const fn allows(&self) -> bool {
        !matches!(self, Self::Denied(_))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPod => f.write_str("no policy applies here"),
            Self::SamePod => f.write_str("a pod always reaches itself"),
            Self::OwnNode => f.write_str("the pod's own node"),
            Self::NotIsolated => f.write_str("no policy selects the pod"),
            Self::Allowed { policy, rule } => write!(f, "networkpolicy {policy} rule {}", rule + 1),
            Self::Denied(Isolation::Default(namespace)) => {
                write!(f, "closed by default in namespace {namespace}; no policy selects the pod")
            }
            Self::Denied(Isolation::Policies(policies)) => {
                f.write_str("isolated by ")?;
                for (index, policy) in policies.iter().enumerate() {
                    write!(f, "{}{policy}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("; no rule matches")
            }
        }
    }
}

/// The whole decision: both ends must allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What happens.
    pub verdict: Verdict,
    /// The source's end.
    pub egress: Reason,
    /// The destination's end.
    pub ingress: Reason,
}

impl Decision {
    /// The direction that denies, and why; egress first, as packets meet it first.
    pub fn denied(&self) -> Option<(Direction, &Reason)> {
        let ends = [(Direction::Egress, &self.egress), (Direction::Ingress, &self.ingress)];
        ends.into_iter().find(|(_, reason)| !reason.allows())
    }
}

/// One thing that a flow would need for a rule to fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The peer is no pod, and the rule names pods.
    NoPod,
    /// The peer is a pod of another namespace.
    Namespace(NamespaceName),
    /// The labels of the peer's namespace don't fulfil this.
    NamespaceLabel(LabelRequirement),
    /// The peer's labels don't fulfil this.
    Label(LabelRequirement),
    /// The peer's address isn't in this block, or is excepted from it.
    Address(String),
    /// The port isn't among these.
    Port(PortSet),
    /// The destination has no port of this name.
    PortName(String),
}

fn requirement(f: &mut fmt::Formatter<'_>, requirement: &LabelRequirement) -> fmt::Result {
    use weft_model::LabelOperator::{DoesNotExist, Exists, In, NotIn};
    let key = &requirement.key;
    let values = || requirement.values.iter().map(String::as_str).collect::<Vec<_>>().join("|");
    match requirement.operator {
        In => write!(f, "{key}={}", values()),
        NotIn => write!(f, "{key}!={}", values()),
        Exists => f.write_str(key),
        DoesNotExist => write!(f, "!{key}"),
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPod => f.write_str("the peer is no pod"),
            Self::Namespace(namespace) => write!(f, "the peer isn't in namespace {namespace}"),
            Self::NamespaceLabel(wanted) => {
                f.write_str("the peer's namespace lacks ")?;
                requirement(f, wanted)
            }
            Self::Label(wanted) => {
                f.write_str("the peer lacks ")?;
                requirement(f, wanted)
            }
            Self::Address(block) => write!(f, "the peer's address isn't in {block}"),
            Self::Port(ports) if ports.is_empty() => f.write_str("it allows no port"),
            Self::Port(ports) => write!(f, "it allows {ports}"),
            Self::PortName(name) => write!(f, "no port of the destination is named {name}"),
        }
    }
}

/// The rule that came nearest to allowing a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closest {
    /// Its policy.
    pub policy: PolicyName,
    /// Its place in the policy's list for the direction, from 0.
    pub rule: usize,
    /// What is lacking; at least one.
    pub lacks: Vec<Lack>,
}

impl fmt::Display for Closest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "closest: networkpolicy {} rule {}", self.policy, self.rule + 1)?;
        for (index, lack) in self.lacks.iter().enumerate() {
            write!(f, "{} {lack}", if index == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}
