//! Which rule came nearest to allowing what was denied, and what it lacks.
//!
//! Nearest: first those that lack only the port, then by how few labels or other things the peer lacks; of equals the first in
//! order of policies and rules.

use weft_model::{
    Direction, LabelOperator, LabelRequirement, LabelSelector, Labels, NamespaceName, PolicyPeer, PolicyRule,
    PortMatch,
};

use crate::{
    decision::{Closest, Lack},
    flow::{Flow, Transport},
    ports::PortSet,
    world::{Party, World},
};

impl World {
    /// The rule that came nearest to allowing a flow in a direction in which it is denied; `None` where it isn't denied, or
    /// where no policy that isolates the pod has a rule.
    pub fn closest(&self, flow: &Flow, direction: Direction) -> Option<Closest> {
        let decision = self.decide(flow);
        let (reason, own, other) = match direction {
            Direction::Egress => (&decision.egress, flow.source, flow.destination),
            Direction::Ingress => (&decision.ingress, flow.destination, flow.source),
        };
        let (name, pod) = self.pod_at(own).filter(|_| !reason.allows())?;
        let mut best: Option<(usize, Closest)> = None;
        for (policy, rules) in self.isolating(direction, name, pod) {
            for (rule, content) in rules.iter().enumerate() {
                let mut lacks = self.peer_lacks(&policy.namespace, content, other);
                // A wrong port is mended more easily than a peer of another kind.
                let cost = 2 * lacks.len();
                let port = self.port_lacks(content, flow);
                let cost = cost + usize::from(port.is_some());
                lacks.extend(port);
                if !lacks.is_empty() && best.as_ref().is_none_or(|(least, _)| cost < *least) {
                    best = Some((cost, Closest { policy: policy.clone(), rule, lacks }));
                }
            }
        }
        best.map(|(_, closest)| closest)
    }

    /// What the other end lacks to be the peer of a rule that is nearest.
    fn peer_lacks(&self, own: &NamespaceName, rule: &PolicyRule, other: std::net::IpAddr) -> Vec<Lack> {
        let party = self.party(other);
        let lacks = |peer: &PolicyPeer| match peer {
            PolicyPeer::Block { range, except } => {
                let inside = range.contains(other) && !except.iter().any(|hole| hole.contains(other));
                let holes = except.iter().map(|hole| format!(" without {hole}")).collect::<String>();
                if inside { Vec::new() } else { vec![Lack::Address(format!("{range}{holes}"))] }
            }
            PolicyPeer::Pods { namespaces, pods } => match party {
                None => vec![Lack::NoPod],
                Some(party) => self.pod_lacks(own, namespaces.as_ref(), pods.as_ref(), party),
            },
        };
        rule.peers.iter().map(lacks).min_by_key(Vec::len).unwrap_or_default()
    }

    fn pod_lacks(
        &self,
        own: &NamespaceName,
        namespaces: Option<&LabelSelector>,
        pods: Option<&LabelSelector>,
        party: Party<'_>,
    ) -> Vec<Lack> {
        let mut lacks = Vec::new();
        match namespaces {
            None if party.namespace == own => {}
            None => lacks.push(Lack::Namespace(own.clone())),
            Some(selector) => {
                let nothing = Labels::new();
                let labels = self.namespaces.get(party.namespace).unwrap_or(&nothing);
                lacks.extend(unmet(selector, labels).map(Lack::NamespaceLabel));
            }
        }
        lacks.extend(pods.into_iter().flat_map(|selector| unmet(selector, party.labels)).map(Lack::Label));
        lacks
    }

    /// What is wrong with the port, if something is.
    fn port_lacks(&self, rule: &PolicyRule, flow: &Flow) -> Option<Lack> {
        let destination = self.party(flow.destination);
        let mut allowed = PortSet::default();
        let mut missing = None;
        for port in &rule.ports {
            match &port.port {
                PortMatch::Any => allowed.add_every(port.protocol),
                PortMatch::Numbers(first, last) => allowed.add(port.protocol, *first, *last),
                PortMatch::Name(name) => {
                    let ports = destination.map(|party| party.ports).unwrap_or_default();
                    let named = ports.iter().filter(|one| one.name == *name && one.protocol == port.protocol);
                    let before = allowed.clone();
                    named.for_each(|one| allowed.add(one.protocol, one.port, one.port));
                    if before == allowed {
                        missing = Some(Lack::PortName(name.clone()));
                    }
                }
            }
        }
        let fits = rule.ports.is_empty() || allowed.has(flow.transport);
        match flow.transport {
            _ if fits => None,
            Transport::Port(..) if allowed.is_empty() => missing.or(Some(Lack::Port(allowed))),
            Transport::Port(..) | Transport::Other(_) => Some(Lack::Port(allowed)),
        }
    }
}

/// Requirements of a selector that labels don't fulfil.
fn unmet<'a>(selector: &'a LabelSelector, labels: &'a Labels) -> impl Iterator<Item = LabelRequirement> + 'a {
    let equal = selector.labels.iter().map(|(key, value)| LabelRequirement {
        key: key.clone(),
        operator: LabelOperator::In,
        values: [value.clone()].into(),
    });
    equal.chain(selector.expressions.iter().cloned()).filter(|wanted| !wanted.holds(labels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{policy, world};

    fn check(policies: &[&str], flow: Flow, expected: &str) {
        let mut world = world(
            "ns shop team=a
             ns dev team=b
             pod shop/web app=web n1 10.0.0.1
             pod shop/db app=db n1 10.0.0.2 tcp/5432=sql
             pod dev/web app=web,tier=x n1 10.0.0.3",
        );
        policies.iter().map(|text| policy(text)).for_each(|(name, spec)| world.put_policy(name, spec));
        let closest = world.closest(&flow, Direction::Ingress).map(|closest| closest.to_string());
        assert_eq!(closest.unwrap_or_default(), expected, "{policies:?} {flow}");
    }

    #[test]
    fn the_nearest_rule_is_told_with_what_it_lacks() {
        let at = |from: &str, port| {
            let transport = Transport::Port(weft_model::Protocol::Tcp, port);
            Flow::new(from.parse().unwrap(), "10.0.0.2".parse().unwrap(), transport)
        };
        let web = "shop/in app=db: in from pods app=web ports tcp/5432";
        check(&[web], at("10.0.0.1", 5432), "");
        check(&[web], at("10.0.0.1", 80), "closest: networkpolicy shop/in rule 1: it allows 5432/tcp");
        check(
            &[web],
            at("10.0.0.3", 5432),
            "closest: networkpolicy shop/in rule 1: the peer isn't in namespace shop",
        );
        check(&[web], at("192.0.2.1", 5432), "closest: networkpolicy shop/in rule 1: the peer is no pod");
        check(&["shop/in app=db: in none"], at("10.0.0.1", 80), "");
        let two = "shop/in app=db: in from pods app=api,!tier ports tcp/80; in from ns team=a or ns team=c pods app=web";
        check(
            &[two],
            at("10.0.0.3", 80),
            "closest: networkpolicy shop/in rule 2: the peer's namespace lacks team=a",
        );
        let block = "shop/in app=db: in from block 10.0.0.0/8 -10.0.0.0/24";
        check(
            &[block],
            at("10.0.0.1", 80),
            "closest: networkpolicy shop/in rule 1: the peer's address isn't in 10.0.0.0/8 without 10.0.0.0/24",
        );
        let named = "shop/in app=db: in ports tcp/none";
        check(
            &[named],
            at("10.0.0.1", 80),
            "closest: networkpolicy shop/in rule 1: no port of the destination is named none",
        );
        check(
            &[named, "shop/a app=db: in from pods app=web ports tcp/sql"],
            at("10.0.0.1", 80),
            "closest: networkpolicy shop/a rule 1: it allows 5432/tcp",
        );
    }
}
