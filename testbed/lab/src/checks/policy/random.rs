//! Random policies, labels and ports for the grid, as people would write them; seeded.

use std::collections::BTreeMap;

use super::{NAMESPACES, PODS};

/// Seeded chance (splitmix64).
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `bound`, which isn't 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    pub(super) fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.below(from.len() as u64)).unwrap_or(0)]
    }
}

/// Keys with values, as labels have them and selectors ask for them.
type Words = &'static [(&'static str, &'static [&'static str])];

const OF_PODS: Words = &[("pod", &["a", "b", "c"]), ("app", &["web", "db"]), ("tier", &["q", "r"])];
const OF_NAMESPACES: Words =
    &[("ns", &["x", "y", "z"]), ("team", &["q", "r"]), ("kubernetes.io/metadata.name", &["x", "y"])];
/// Names of ports, which pods give to numbers.
const NAMES: [&str; 2] = ["web", "dns"];

/// A port's name, its number, whether over TCP.
pub(super) type Named = (String, u16, bool);

/// A world of the grid, as text: what the control plane is told, and what the evaluator reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sketch {
    /// Labels of namespaces.
    pub(super) namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Labels, and ports.
    pub(super) pods: BTreeMap<String, (BTreeMap<String, String>, Vec<Named>)>,
    /// Specifications by name.
    pub(super) policies: BTreeMap<String, String>,
}

/// The first one: every pod and namespace has its name as a label, and there are a few policies.
pub(super) fn sketch(chance: &mut Chance, blocks: &[String]) -> Sketch {
    let mut sketch = Sketch::default();
    for namespace in NAMESPACES {
        sketch.namespaces.insert(namespace.to_owned(), [("ns".to_owned(), namespace.to_owned())].into());
        for pod in PODS {
            label_pod(&mut sketch, chance, namespace, pod);
        }
    }
    for _ in 0..3 {
        put_policy(&mut sketch, chance, blocks);
    }
    sketch
}

/// A few things change.
pub(super) fn step(sketch: &mut Sketch, chance: &mut Chance, blocks: &[String]) {
    for _ in 0..=chance.below(3) {
        match chance.below(8) {
            0..=3 => put_policy(sketch, chance, blocks),
            4 => {
                let names: Vec<String> = sketch.policies.keys().cloned().collect();
                if !names.is_empty() {
                    sketch.policies.remove(chance.pick(&names));
                }
            }
            5 | 6 => {
                let (namespace, pod) = (*chance.pick(&NAMESPACES), *chance.pick(&PODS));
                label_pod(sketch, chance, namespace, pod);
            }
            _ => {
                let name = *chance.pick(&NAMESPACES);
                let mut labels = some_labels(chance, &OF_NAMESPACES[1..2]);
                labels.insert("ns".to_owned(), name.to_owned());
                sketch.namespaces.insert(name.to_owned(), labels);
            }
        }
    }
}

fn some_labels(chance: &mut Chance, words: Words) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (key, values) in words {
        if !chance.one_in(3) {
            labels.insert((*key).to_owned(), (*chance.pick(values)).to_owned());
        }
    }
    labels
}

fn label_pod(sketch: &mut Sketch, chance: &mut Chance, namespace: &str, pod: &str) {
    let mut labels = some_labels(chance, &OF_PODS[1..]);
    labels.insert("pod".to_owned(), pod.to_owned());
    let mut ports = Vec::new();
    for name in NAMES {
        if !chance.one_in(3) {
            ports.push((name.to_owned(), *chance.pick(&[80, 81]), chance.one_in(2)));
        }
    }
    sketch.pods.insert(format!("{namespace}/{pod}"), (labels, ports));
}

fn put_policy(sketch: &mut Sketch, chance: &mut Chance, blocks: &[String]) {
    let name = format!("{}/policy-{}", chance.pick(&NAMESPACES), chance.below(3));
    let types = *chance.pick(&["Ingress", "Egress", "Ingress, Egress", "Ingress, Egress", ""]);
    let types = if types.is_empty() { String::new() } else { format!(", policyTypes: [{types}]") };
    let (pods, ingress, egress) =
        (selector(chance, OF_PODS), rules(chance, "from", blocks), rules(chance, "to", blocks));
    let spec = format!("{{podSelector: {pods}{types}, ingress: [{ingress}], egress: [{egress}]}}");
    sketch.policies.insert(name, spec);
}

fn rules(chance: &mut Chance, side: &str, blocks: &[String]) -> String {
    let count = *chance.pick(&[0, 1, 1, 2, 3]);
    let rule = |chance: &mut Chance| {
        let mut parts = Vec::new();
        let peers: Vec<String> = (0..*chance.pick(&[0, 1, 1, 1, 2])).map(|_| peer(chance, blocks)).collect();
        if !peers.is_empty() {
            parts.push(format!("{side}: [{}]", peers.join(", ")));
        }
        let ports: Vec<String> = (0..*chance.pick(&[0, 0, 1, 1, 2])).map(|_| port(chance)).collect();
        if !ports.is_empty() {
            parts.push(format!("ports: [{}]", ports.join(", ")));
        }
        format!("{{{}}}", parts.join(", "))
    };
    (0..count).map(|_| rule(chance)).collect::<Vec<_>>().join(", ")
}

fn peer(chance: &mut Chance, blocks: &[String]) -> String {
    match chance.below(5) {
        0 => format!("{{podSelector: {}}}", selector(chance, OF_PODS)),
        1 => format!("{{namespaceSelector: {}}}", selector(chance, OF_NAMESPACES)),
        2 | 3 => {
            let (namespaces, pods) = (selector(chance, OF_NAMESPACES), selector(chance, OF_PODS));
            format!("{{namespaceSelector: {namespaces}, podSelector: {pods}}}")
        }
        _ => format!("{{ipBlock: {}}}", chance.pick(blocks)),
    }
}

fn port(chance: &mut Chance) -> String {
    let protocol = *chance.pick(&["TCP", "TCP", "UDP", "UDP", "SCTP"]);
    let port = match chance.below(6) {
        0 => String::new(),
        1 | 2 => format!("port: {}, ", chance.pick(&[80, 81])),
        3 => format!("port: {}, endPort: {}, ", chance.pick(&[1, 80, 81]), chance.pick(&[81, 99, 60_000])),
        4 => format!("port: 1000, endPort: {}, ", chance.pick(&[1000, 1010, 60_000])),
        _ => format!("port: {}, ", chance.pick(&NAMES)),
    };
    format!("{{{port}protocol: {protocol}}}")
}

fn selector(chance: &mut Chance, words: Words) -> String {
    let mut labels = BTreeMap::new();
    let mut expressions = Vec::new();
    for _ in 0..*chance.pick(&[0, 1, 1, 1, 2]) {
        let (key, values) = *chance.pick(words);
        let value = *chance.pick(values);
        let more = if chance.one_in(3) { ", other" } else { "" };
        match chance.below(6) {
            0..=2 => {
                labels.insert(key, value);
            }
            3 => expressions.push(format!("{{key: {key}, operator: In, values: [{value}{more}]}}")),
            4 => expressions.push(format!("{{key: {key}, operator: NotIn, values: [{value}{more}]}}")),
            _ => {
                let operator = chance.pick(&["Exists", "DoesNotExist"]);
                expressions.push(format!("{{key: {key}, operator: {operator}}}"));
            }
        }
    }
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    format!("{{matchLabels: {{{}}}, matchExpressions: [{}]}}", labels.join(", "), expressions.join(", "))
}
