//! Expectations beside policies: who shall reach whom and who shall not, held against a world.
//!
//! In: cases (their text is read elsewhere) and a world, of a cluster or of files alone. Out: of each whether it holds, and the
//! flow and rule that says so. A case about several pods holds if it holds for each pair, in every family both have.

use std::{fmt, net::IpAddr};

use weft_model::{Family, LabelSelector, NamespaceName, NodeName, PodName};

use crate::{
    decision::{Closest, Decision, Verdict},
    flow::{Flow, Transport},
    world::World,
};

/// One end of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaseEnd {
    /// A pod.
    Pod(PodName),
    /// All pods of a namespace with such labels.
    Pods {
        /// The namespace.
        namespace: NamespaceName,
        /// Labels.
        labels: LabelSelector,
    },
    /// Whoever has this address.
    Address(IpAddr),
    /// Processes of a node.
    Node(NodeName),
}

impl fmt::Display for CaseEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(name) => write!(f, "pod/{name}"),
            Self::Pods { namespace, labels } if labels.is_empty() => write!(f, "namespace/{namespace}"),
            Self::Pods { namespace, labels } => {
                write!(f, "pods of {namespace}")?;
                for (index, (key, value)) in labels.labels.iter().enumerate() {
                    write!(f, "{} {key}={value}", if index == 0 { " with" } else { "," })?;
                }
                Ok(())
            }
            Self::Address(address) => write!(f, "{address}"),
            Self::Node(name) => write!(f, "node/{name}"),
        }
    }
}

/// What is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Who begins.
    pub from: CaseEnd,
    /// Whom it is for, behind services.
    pub to: CaseEnd,
    /// Protocol and port; an echo is that of the family.
    pub transport: Transport,
    /// What shall become of it.
    pub expect: Verdict,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} {}: {}", self.from, self.to, self.transport, self.expect)
    }
}

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every flow met what was expected; the last one, with its reasons.
    Holds {
        /// The flow.
        flow: Flow,
        /// What was decided.
        decision: Decision,
    },
    /// A flow met something else.
    Fails {
        /// The flow.
        flow: Flow,
        /// What was decided.
        decision: Decision,
        /// Where it was denied: the rule that came nearest to allowing it.
        closest: Option<Closest>,
    },
    /// Nothing could be asked: why.
    Unasked(String),
}

impl Outcome {
    /// Whether the case holds.
    pub const fn holds(&self) -> bool {
        matches!(self, Self::Holds { .. })
    }
}

impl World {
    /// Runs one case.
    pub fn run(&self, case: &Case) -> Outcome {
        let flows = match self.flows(case) {
            Ok(flows) => flows,
            Err(why) => return Outcome::Unasked(why),
        };
        let mut last = None;
        for flow in flows {
            let (decision, closest) = self.explain(&flow);
            if decision.verdict != case.expect {
                return Outcome::Fails { flow, decision, closest };
            }
            last = Some((flow, decision));
        }
        match last {
            Some((flow, decision)) => Outcome::Holds { flow, decision },
            None => Outcome::Unasked(format!("{} and {} have no family in common", case.from, case.to)),
        }
    }

    /// What is decided of a flow; where it is denied, with the rule that came nearest to allowing it.
    pub fn explain(&self, flow: &Flow) -> (Decision, Option<Closest>) {
        let decision = self.decide(flow);
        let closest = decision.denied().and_then(|(direction, _)| self.closest(flow, direction));
        (decision, closest)
    }

    /// The flows that a case is about, in order of its ends and their families; none where both ends have no family in common.
    ///
    /// # Errors
    /// In words, that an end is nobody.
    pub fn flows(&self, case: &Case) -> Result<Vec<Flow>, String> {
        let (from, to) = (self.addresses_of(&case.from)?, self.addresses_of(&case.to)?);
        let mut flows = Vec::new();
        for source in &from {
            for destination in to.iter().filter(|end| Family::of(**end) == Family::of(*source)) {
                let pairs = self.pod_at(*source).zip(self.pod_at(*destination));
                let several = from.len() > 2 || to.len() > 2;
                if several && pairs.is_some_and(|((a, _), (b, _))| a == b) {
                    // Of several pods each is asked about the others.
                    continue;
                }
                flows.push(flow(case, *source, *destination));
            }
        }
        Ok(flows)
    }

    fn addresses_of(&self, end: &CaseEnd) -> Result<Vec<IpAddr>, String> {
        match end {
            CaseEnd::Address(address) => Ok(vec![*address]),
            CaseEnd::Pod(name) => match self.pod(name) {
                Some(pod) => Ok(pod.addresses.clone()),
                None => Err(format!("there is no pod {name}")),
            },
            CaseEnd::Node(name) => match self.node(name) {
                Some(addresses) => Ok(addresses.to_vec()),
                None => Err(format!("there is no node {name}")),
            },
            CaseEnd::Pods { namespace, labels } => {
                let own = self.pods().filter(|(name, _)| name.namespace == *namespace);
                let meant = own.filter(|(_, pod)| labels.selects(&pod.labels));
                let addresses: Vec<_> = meant.flat_map(|(_, pod)| pod.addresses.iter().copied()).collect();
                if addresses.is_empty() { Err(format!("{end}: there are none")) } else { Ok(addresses) }
            }
        }
    }
}

fn flow(case: &Case, source: IpAddr, destination: IpAddr) -> Flow {
    let transport = match case.transport {
        Transport::Other(1 | 58) => Transport::echo(Family::of(source)),
        Transport::Port(..) | Transport::Other(_) => case.transport,
    };
    let flow = Flow::new(source, destination, transport);
    match case.from {
        CaseEnd::Node(_) => flow.by_process(),
        CaseEnd::Pod(_) | CaseEnd::Pods { .. } | CaseEnd::Address(_) => flow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{policy, selector, world};

    fn end(text: &str) -> CaseEnd {
        match text.split_once(':') {
            Some(("node", name)) => CaseEnd::Node(name.parse().unwrap()),
            Some(("pods", rest)) => {
                let (namespace, labels) = rest.split_once('?').unwrap();
                CaseEnd::Pods { namespace: namespace.parse().unwrap(), labels: selector(labels) }
            }
            _ => text.parse().map_or_else(|_| CaseEnd::Pod(text.parse().unwrap()), CaseEnd::Address),
        }
    }

    fn check(from: &str, to: &str, port: &str, expect: Verdict, expected: &str) {
        let mut world = world(
            "ns shop team=a
             node n1 10.9.0.1
             pod shop/web-0 app=web n1 10.0.0.1,fd00::1
             pod shop/web-1 app=web n1 10.0.0.2,fd00::2
             pod shop/db app=db n1 10.0.0.4,fd00::4
             pod shop/old app=old n1 fd00::5",
        );
        let (name, spec) =
            policy("shop/db-in app=db: in from pods app=web ports tcp/5432; in from block 10.0.0.5/32");
        world.put_policy(name, spec);
        let case = Case { from: end(from), to: end(to), transport: port.parse().unwrap(), expect };
        let found = match world.run(&case) {
            Outcome::Holds { decision, .. } => format!("holds: {} | {}", decision.egress, decision.ingress),
            Outcome::Fails { flow, decision, closest } => {
                let closest = closest.map_or(String::new(), |closest| format!(" | {closest}"));
                format!("{flow}: {} | {}{closest}", decision.egress, decision.ingress)
            }
            Outcome::Unasked(why) => why,
        };
        assert_eq!(found, expected, "{case}");
    }

    #[test]
    fn cases_hold_or_name_the_flow_and_the_rule() {
        use Verdict::{Allow, Deny};
        let open = "no policy selects the pod";
        let rule = format!("holds: {open} | networkpolicy shop/db-in rule 1");
        check("shop/web-0", "shop/db", "5432", Allow, &rule);
        check("pods:shop?app=web", "shop/db", "5432", Allow, &rule);
        check(
            "shop/web-0",
            "shop/db",
            "80",
            Allow,
            "10.0.0.1 -> 10.0.0.4 80/tcp: no policy selects the pod | isolated by shop/db-in; no rule matches | \
             closest: networkpolicy shop/db-in rule 1: it allows 5432/tcp",
        );
        check(
            "shop/web-0",
            "shop/db",
            "5432",
            Deny,
            "10.0.0.1 -> 10.0.0.4 5432/tcp: no policy selects the pod | networkpolicy shop/db-in rule 1",
        );
        check(
            "pods:shop?*",
            "shop/db",
            "icmp",
            Deny,
            &format!("holds: {open} | isolated by shop/db-in; no rule matches"),
        );
        check("node:n1", "shop/db", "22", Allow, "holds: no policy applies here | the pod's own node");
        check(
            "10.9.0.1",
            "shop/db",
            "22",
            Deny,
            "holds: no policy applies here | isolated by shop/db-in; no rule matches",
        );
        check("shop/old", "10.0.0.4", "80", Deny, "pod/shop/old and 10.0.0.4 have no family in common");
        check("shop/none", "shop/db", "80", Deny, "there is no pod shop/none");
        check("pods:shop?app=x", "shop/db", "80", Deny, "pods of shop with app=x: there are none");
    }
}
