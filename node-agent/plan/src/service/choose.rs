//! Which endpoints serve a packet, for this node: readiness, ends of life, topology, traffic policy.
//!
//! Source: Kubernetes, `pkg/proxy/topology.go` (CategorizeEndpoints), KEP 1669 (terminating endpoints), KEP 2433 and 3015 (hints).

use weft_model::{Conditions, EndpointItem, Family, NodeName};

use super::local::Local;

/// Where the packets are that are decided about.
#[derive(Clone, Copy, Debug)]
pub struct Here<'a> {
    /// This node.
    pub node: &'a NodeName,
    /// Its zone; may be empty.
    pub zone: &'a str,
    /// What it knows of its own addresses: endpoints that it lacks serve nobody.
    pub local: &'a Local,
}

/// The endpoints of one port of a service, of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen<'a> {
    /// For policy Cluster; empty only when nobody serves anywhere.
    pub cluster: Vec<&'a EndpointItem>,
    /// For policy Local; empty when nobody serves here.
    pub local: Vec<&'a EndpointItem>,
}

/// Chooses among endpoints that have the port of this place in their lists.
pub fn choose<'a>(endpoints: &'a [EndpointItem], port: usize, family: Family, here: Here<'_>) -> Chosen<'a> {
    let has_port = |e: &EndpointItem| e.ports.get(port).is_some_and(|number| *number != 0);
    let all = endpoints
        .iter()
        .filter(|e| Family::of(e.address) == family && has_port(e) && !here.local.lacks(e.address));
    let ready: Vec<_> = all.clone().filter(|e| e.conditions.is_ready()).collect();
    let ending: Vec<_> = all.filter(|e| serves_to_the_end(e.conditions)).collect();
    let is_here = |e: &&&EndpointItem| e.node.as_ref() == Some(here.node);
    let mut local: Vec<_> = ready.iter().filter(is_here).copied().collect();
    if local.is_empty() {
        local = ending.iter().filter(is_here).copied().collect();
    }
    let cluster = if ready.is_empty() { ending } else { near(ready, here) };
    Chosen { cluster, local }
}

fn serves_to_the_end(conditions: Conditions) -> bool {
    !conditions.is_ready() && conditions.is_serving() && conditions.is_terminating()
}

/// Hints count only if every endpoint has some and one of them is for us: else a node without hints would get nothing.
fn near<'a>(ready: Vec<&'a EndpointItem>, here: Here<'_>) -> Vec<&'a EndpointItem> {
    let for_node = |e: &&EndpointItem| e.hints.nodes.contains(here.node);
    if ready.iter().all(|e| !e.hints.nodes.is_empty()) && ready.iter().any(for_node) {
        return ready.into_iter().filter(for_node).collect();
    }
    let for_zone = |e: &&EndpointItem| e.hints.zones.iter().any(|zone| zone == here.zone);
    let is_known = !here.zone.is_empty();
    if is_known && ready.iter().all(|e| !e.hints.zones.is_empty()) && ready.iter().any(for_zone) {
        return ready.into_iter().filter(for_zone).collect();
    }
    ready
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// `ADDRESS [ready|unready|ending|dying] [@node] [^zone] [nodes=a,b] [zones=a,b] [noport]`, one endpoint per word list.
    fn endpoints(text: &str) -> Vec<EndpointItem> {
        let one = |line: &str| {
            let mut words = line.split_whitespace();
            let mut endpoint = EndpointItem {
                address: words.next().unwrap().parse().unwrap(),
                ports: vec![80].into(),
                conditions: Conditions::default(),
                node: None,
                zone: Default::default(),
                hints: Default::default(),
                hostname: Default::default(),
                pod: None,
            };
            for word in words {
                let conditions = |ready, serving, terminating| Conditions {
                    ready: Some(ready),
                    serving: Some(serving),
                    terminating: Some(terminating),
                };
                let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
                match word {
                    "unready" => endpoint.conditions = conditions(false, false, false),
                    "ending" => endpoint.conditions = conditions(false, true, true),
                    "dying" => endpoint.conditions = conditions(false, false, true),
                    "noport" => endpoint.ports = [0].into(),
                    _ if word.starts_with('@') => endpoint.node = Some(word[1..].parse().unwrap()),
                    _ if word.starts_with("nodes=") => {
                        Arc::make_mut(&mut endpoint.hints).nodes =
                            list(&word[6..]).iter().map(|n| n.parse().unwrap()).collect();
                    }
                    _ if word.starts_with("zones=") => {
                        Arc::make_mut(&mut endpoint.hints).zones = list(&word[6..])
                    }
                    _ => panic!("{word}"),
                }
            }
            endpoint
        };
        text.split(';').map(str::trim).filter(|line| !line.is_empty()).map(one).collect()
    }

    fn check(text: &str, cluster: &str, local: &str) {
        let (node, endpoints) = ("n1".parse().unwrap(), endpoints(text));
        let chosen =
            choose(&endpoints, 0, Family::V4, Here { node: &node, zone: "z1", local: &Local::default() });
        let last = |list: &[&EndpointItem]| {
            list.iter()
                .map(|e| e.address.to_string().rsplit('.').next().unwrap().to_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            (last(&chosen.cluster).as_str(), last(&chosen.local).as_str()),
            (cluster, local),
            "{text}"
        );
    }

    #[test]
    fn readiness_and_ends_of_life() {
        check("", "", "");
        check("10.0.0.1; 10.0.0.2 unready; 10.0.0.3 ending; 10.0.0.4 dying", "1", "");
        check("10.0.0.2 unready; 10.0.0.3 ending; 10.0.0.4 dying", "3", "");
        check("10.0.0.1 noport; fd00::2; 10.0.0.3", "3", "");
        // Each list is decided on its own.
        check("10.0.0.1 @n2; 10.0.0.3 ending @n1", "1", "3");
        check("10.0.0.1 @n1; 10.0.0.3 ending @n1", "1", "1");
        check("10.0.0.1 unready @n1; 10.0.0.4 dying @n1", "", "");
    }

    #[test]
    fn hints_count_only_when_all_have_them_and_one_is_for_us() {
        check("10.0.0.1 zones=z1; 10.0.0.2 zones=z2", "1", "");
        check("10.0.0.1 zones=z1; 10.0.0.2", "1 2", "");
        check("10.0.0.1 zones=z3; 10.0.0.2 zones=z2", "1 2", "");
        check("10.0.0.1 zones=z1,z2; 10.0.0.2 zones=z2", "1", "");
        check("10.0.0.1 nodes=n1 zones=z1; 10.0.0.2 nodes=n2 zones=z1", "1", "");
        // Without a node hint for us the zone decides.
        check("10.0.0.1 nodes=n3 zones=z2; 10.0.0.2 nodes=n2 zones=z1", "2", "");
        // An endpoint that isn't ready needs no hint, and Local takes no notice of any.
        check("10.0.0.1 zones=z1; 10.0.0.2 unready; 10.0.0.3 zones=z2 @n1", "1", "3");
        check("10.0.0.3 ending zones=z2; 10.0.0.4 ending zones=z1", "3 4", "");
    }
}
