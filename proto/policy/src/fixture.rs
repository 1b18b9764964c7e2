//! What tests share: small worlds and policies from text, seeded chance.
//!
//! A policy: `NS/NAME SELECTOR: RULE; RULE …`. A rule: `in` or `eg`, or `none` after it for a direction that is isolated and
//! allows nothing, `from`/`to` peers joined by `or`, `ports`. A peer: `pods SELECTOR`, `ns SELECTOR`, `ns SELECTOR pods
//! SELECTOR`, `block CIDR -CIDR …`. A selector: `*`, or `k=v`, `k=a|b`, `k!=a|b`, `k`, `!k` joined by commas. A port: `tcp`,
//! `tcp/80`, `tcp/80-90`, `tcp/name`. `idle-in`, `idle-eg`: a rule in a direction that isn't isolated.

pub(crate) mod fabric;
pub(crate) mod random;
pub(crate) mod script;

use std::{collections::BTreeSet, sync::Arc};

use weft_model::{
    AddressRange, LabelOperator, LabelRequirement, LabelSelector, Labels, NamedPort, PolicyName, PolicyPeer,
    PolicyPort, PolicyRule, PolicySettings, PolicySpec, PortMatch, Protocol,
};

use crate::{World, WorldPod};

/// Seeded chance (splitmix64).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    pub(crate) fn small(&mut self, bound: u16) -> u16 {
        u16::try_from(self.below(bound.into())).unwrap()
    }

    pub(crate) fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

/// Labels from `k=v,k=v`; `*` has none.
pub(crate) fn labels(text: &str) -> Labels {
    let pairs = text.split(',').filter(|part| *part != "*" && !part.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

pub(crate) fn selector(text: &str) -> LabelSelector {
    let mut selector = LabelSelector::default();
    for part in text.split(',').filter(|part| *part != "*") {
        let values = |text: &str| text.split('|').map(str::to_owned).collect::<BTreeSet<_>>();
        let (key, operator, values) = if let Some((key, list)) = part.split_once("!=") {
            (key, LabelOperator::NotIn, values(list))
        } else if let Some((key, list)) = part.split_once('=') {
            if !list.contains('|') {
                selector.labels.insert(key.to_owned(), list.to_owned());
                continue;
            }
            (key, LabelOperator::In, values(list))
        } else if let Some(key) = part.strip_prefix('!') {
            (key, LabelOperator::DoesNotExist, BTreeSet::new())
        } else {
            (part, LabelOperator::Exists, BTreeSet::new())
        };
        selector.expressions.push(LabelRequirement { key: key.to_owned(), operator, values });
    }
    selector
}

fn protocol(text: &str) -> Protocol {
    match text {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => panic!("protocol {text:?}"),
    }
}

fn port(text: &str) -> PolicyPort {
    let (name, port) = text.split_once('/').unwrap_or((text, ""));
    let port = match port.split_once('-').unwrap_or((port, port)) {
        ("", _) => PortMatch::Any,
        (first, last) => match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) => PortMatch::Numbers(first, last),
            _ => PortMatch::Name(port.to_owned()),
        },
    };
    PolicyPort { protocol: protocol(name), port }
}

fn peer(words: &[&str]) -> PolicyPeer {
    let range = |text: &str| AddressRange::new(text.parse().unwrap()).unwrap();
    match words {
        ["pods", pods] => PolicyPeer::Pods { namespaces: None, pods: Some(selector(pods)) },
        ["ns", namespaces] => PolicyPeer::Pods { namespaces: Some(selector(namespaces)), pods: None },
        ["ns", namespaces, "pods", pods] => {
            PolicyPeer::Pods { namespaces: Some(selector(namespaces)), pods: Some(selector(pods)) }
        }
        ["block", cidr, except @ ..] => PolicyPeer::Block {
            range: range(cidr),
            except: except.iter().map(|hole| range(hole.strip_prefix('-').unwrap())).collect(),
        },
        _ => panic!("peer {words:?}"),
    }
}

fn rule(words: &[&str]) -> PolicyRule {
    let (peers, ports) = match words.iter().position(|word| *word == "ports") {
        Some(at) => (&words[..at], &words[at + 1..]),
        None => (words, &[][..]),
    };
    let peers = match peers {
        ["from" | "to", peers @ ..] => peers.split(|word| *word == "or").map(peer).collect(),
        [] => Vec::new(),
        _ => panic!("rule {words:?}"),
    };
    PolicyRule { peers, ports: ports.iter().map(|text| port(text)).collect() }
}

pub(crate) fn policy(text: &str) -> (PolicyName, Arc<PolicySpec>) {
    let (head, rules) = text.split_once(": ").unwrap_or((text, ""));
    let (name, pods) = head.trim().split_once(' ').unwrap();
    let mut spec = PolicySpec { pods: selector(pods.trim()), ..PolicySpec::default() };
    for text in rules.split(';') {
        let words: Vec<_> = text.split_whitespace().collect();
        match &words[..] {
            ["in", "none"] => spec.isolates_ingress = true,
            ["eg", "none"] => spec.isolates_egress = true,
            ["in", words @ ..] => {
                spec.isolates_ingress = true;
                spec.ingress.push(rule(words));
            }
            ["eg", words @ ..] => {
                spec.isolates_egress = true;
                spec.egress.push(rule(words));
            }
            ["idle-in", words @ ..] => spec.ingress.push(rule(words)),
            ["idle-eg", words @ ..] => spec.egress.push(rule(words)),
            [] => {}
            _ => panic!("rule {text:?}"),
        }
    }
    (name.parse().unwrap(), Arc::new(spec))
}

/// A world from lines: `ns NAME LABELS`, `pod NS/NAME LABELS NODE ADDRESSES [PROTOCOL/NUMBER=NAME …]`, `node NAME ADDRESSES`.
pub(crate) fn world(text: &str) -> World {
    let mut world = World::new(PolicySettings::default());
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let addresses = |text: &str| text.split(',').map(|address| address.parse().unwrap()).collect();
        match &words[..] {
            ["ns", name, text] => world.put_namespace(name.parse().unwrap(), labels(text)),
            ["node", name, text] => world.put_node(name.parse().unwrap(), addresses(text)),
            ["pod", name, text, node, at, ports @ ..] => {
                let ports = ports.iter().map(|text| {
                    let (place, name) = text.split_once('=').unwrap();
                    let (name_of_protocol, number) = place.split_once('/').unwrap();
                    let protocol = protocol(name_of_protocol);
                    NamedPort { name: name.to_owned(), protocol, port: number.parse().unwrap() }
                });
                let pod = WorldPod {
                    labels: labels(text),
                    addresses: addresses(at),
                    ports: ports.collect(),
                    node: Some(node.parse().unwrap()),
                };
                world.put_pod(name.parse().unwrap(), pod);
            }
            [] => {}
            _ => panic!("line {line:?}"),
        }
    }
    world
}
