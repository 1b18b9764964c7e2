//! Random writes around policies: deltas make the snapshot, rows make the state (`World::check`), a dry run promises what
//! happens, and identities are what all policies together ask for, computed from the rows alone.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};
use weft_model::{
    Action, Direction, Families, IdentityId, Item, Key, LabelSelector, Labels, NamedPort, Namespace,
    NamespaceName, NetworkPolicy, Object, Pod, PodDns, PodSpec, PodUid, PolicyPeer, PortMatch, Protocol,
    Revision, WallTime,
};

use super::{World, labels, pod, policies, write};
use crate::{State, dry_run};

#[derive(Clone, Debug)]
enum Step {
    Policy {
        name: u8,
        selector: u8,
        peer: u8,
        port: u8,
        types: u8,
    },
    DeletePolicy {
        name: u8,
    },
    /// Two policies and what people say of a pod, in one command.
    Several {
        name: u8,
        selector: u8,
        pod: u8,
    },
    Pods {
        pods: Vec<(u8, u8, u8)>,
    },
    PodSpec {
        pod: u8,
        labels: u8,
        port: u8,
    },
    DeletePodSpec {
        pod: u8,
    },
    Namespace {
        name: u8,
        there: bool,
        label: u8,
    },
    /// A command that is refused half-way: everything is undone.
    Refused {
        name: u8,
        selector: u8,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let policy = (0..6_u8, 0..6_u8, 0..4_u8, 0..3_u8, 0..3_u8);
    let step = prop_oneof![
        6 => policy.prop_map(|(name, selector, peer, port, types)| Step::Policy { name, selector, peer, port, types }),
        3 => (0..6_u8).prop_map(|name| Step::DeletePolicy { name }),
        2 => (0..6_u8, 0..6_u8, 0..6_u8).prop_map(|(name, selector, pod)| Step::Several { name, selector, pod }),
        6 => vec((0..6_u8, 0..5_u8, 0..3_u8), 0..4).prop_map(|pods| Step::Pods { pods }),
        3 => (0..6_u8, 0..5_u8, 0..3_u8).prop_map(|(pod, labels, port)| Step::PodSpec { pod, labels, port }),
        1 => (0..6_u8).prop_map(|pod| Step::DeletePodSpec { pod }),
        2 => (0..3_u8, any::<bool>(), 0..3_u8)
            .prop_map(|(name, there, label)| Step::Namespace { name, there, label }),
        1 => (0..6_u8, 0..6_u8).prop_map(|(name, selector)| Step::Refused { name, selector }),
    ];
    vec(step, 1..50)
}

const SPACES: [&str; 3] = ["default", "shop", "dev"];

fn space(number: u8) -> &'static str {
    SPACES[usize::from(number) % SPACES.len()]
}

fn selector(number: u8) -> LabelSelector {
    policies::selector(["", "app=web", "app", "tier", "tier=a app", "hash=1"][usize::from(number)])
}

fn texts(number: u8) -> Labels {
    labels(["", "app=web", "app=db tier=a", "tier=b hash=1", "hash=2 other=x"][usize::from(number)])
}

fn ports(number: u8) -> Vec<NamedPort> {
    let port = |name: &str, port| NamedPort { name: name.to_owned(), protocol: Protocol::Tcp, port };
    match number {
        0 => Vec::new(),
        1 => vec![port("http", 80)],
        _ => vec![port("http", 8080), port("admin", 9)],
    }
}

fn policy(number: u8, selected: u8, peer: u8, port: u8, types: u8) -> NetworkPolicy {
    policies::policy(&format!("{}/p{number}", space(number)), |p| {
        p.spec.pods = selector(selected);
        (p.spec.isolates_ingress, p.spec.isolates_egress) =
            [(true, false), (false, true), (true, true)][usize::from(types)];
        let name = ["", "http", "admin"][usize::from(port)];
        let mut rule = policies::rule("", peer == 1, name);
        match peer {
            0 | 1 => {
                if let Some(PolicyPeer::Pods { pods, .. }) = rule.peers.first_mut() {
                    *pods = Some(selector((selected + 1) % 6));
                }
            }
            2 => rule.peers.clear(),
            _ => rule.peers.push(PolicyPeer::Block { range: super::range("10.0.0.0/8"), except: Vec::new() }),
        }
        p.spec.ingress = vec![rule.clone()];
        p.spec.egress = vec![rule];
    })
}

fn pod_name(number: u8) -> String {
    format!("{}/w{number}", space(number))
}

fn pod_spec(number: u8, labels: u8, port: u8) -> Object {
    Object::PodSpec(PodSpec {
        name: pod_name(number).parse().unwrap(),
        labels: texts(labels),
        ports: ports(port),
        ready: None,
        terminating: false,
        readiness: None,
        startup: None,
        hostname: String::new(),
        subdomain: String::new(),
        dns: PodDns::default(),
        service_links: true,
        annotations: Labels::new(),
        generation: 0,
        revision: Revision(0),
    })
}

struct Run(World);

impl Run {
    fn new() -> Self {
        let mut world = World::small(Families::V4);
        world.join("n1");
        Self(world)
    }

    fn apply(&mut self, action: Action) {
        let command = self.0.command(action);
        let promised = dry_run(&mut self.0.state, &command);
        self.0.check();
        let outcome = self.0.apply(&command);
        assert_eq!((&promised.answer, &promised.items), (&outcome.answer, &outcome.items));
        check(&self.0.state);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Policy { name, selector, peer, port, types } => {
                self.apply(write(Object::NetworkPolicy(policy(name, selector, peer, port, types))));
            }
            Step::DeletePolicy { name } => {
                let name = format!("{}/p{name}", space(name)).parse().unwrap();
                self.apply(Action::Delete { keys: vec![Key::NetworkPolicy(name)] });
            }
            Step::Several { name, selector, pod } => {
                let one = Object::NetworkPolicy(policy(name, selector, 1, 1, 2));
                let two = Object::NetworkPolicy(policy((name + 1) % 6, (selector + 2) % 6, 0, 2, 0));
                self.apply(Action::Write { objects: vec![one, pod_spec(pod, selector % 5, 1), two] });
            }
            Step::Refused { name, selector } => {
                let one = Object::NetworkPolicy(policy(name, selector, 1, 1, 2));
                let mut bad = policy(name, selector, 0, 0, 0);
                bad.spec.isolates_ingress = false;
                self.apply(Action::Write { objects: vec![one, Object::NetworkPolicy(bad)] });
            }
            Step::Pods { pods } => self.pods(&pods),
            Step::PodSpec { pod, labels, port } => self.apply(write(pod_spec(pod, labels, port))),
            Step::DeletePodSpec { pod } => {
                self.apply(Action::Delete { keys: vec![Key::PodSpec(pod_name(pod).parse().unwrap())] });
            }
            Step::Namespace { name, there, label } => {
                let name: NamespaceName = space(name).parse().unwrap();
                let labels = labels(["", "team=a", "team=b"][usize::from(label)]);
                let namespace =
                    Namespace { name: name.clone(), labels, created: WallTime(0), revision: Revision(0) };
                self.apply(if there {
                    write(Object::Namespace(namespace))
                } else {
                    Action::Delete { keys: vec![Key::Namespace(name)] }
                });
            }
        }
    }

    fn pods(&mut self, pods: &[(u8, u8, u8)]) {
        let living = |&(number, labels, port): &(u8, u8, u8)| {
            let pod = pod(number + 1, "n1", &pod_name(number), &format!("10.0.0.{}", number + 2), 1);
            Pod { labels: texts(labels), ports: ports(port), ..pod }
        };
        let mut report = self.0.report("n1", pods.iter().map(living).collect());
        report.complete = true;
        report.upserts.sort_by_key(|pod| pod.uid);
        report.upserts.dedup_by_key(|pod| pod.uid);
        report.deletes = vec![PodUid([99; 16])];
        self.apply(Action::PublishPods(report));
    }
}

/// Whether a policy asks pods of a namespace for a label.
fn asks_for_label(policy: &NetworkPolicy, namespace: &NamespaceName, key: &str) -> bool {
    let own = policy.name.namespace == *namespace;
    let has = |selector: &LabelSelector| selector.keys().any(|known| known == key);
    let rules = [Direction::Ingress, Direction::Egress].into_iter();
    let mut peers =
        rules.filter_map(|direction| policy.spec.rules(direction)).flatten().flat_map(|rule| &rule.peers);
    own && has(&policy.spec.pods)
        || peers.any(|peer| match peer {
            PolicyPeer::Pods { namespaces, pods: Some(pods) } => has(pods) && (own || namespaces.is_some()),
            PolicyPeer::Pods { pods: None, .. } | PolicyPeer::Block { .. } => false,
        })
}

/// Whether a policy looks for a port's name on pods of a namespace.
fn asks_for_port(policy: &NetworkPolicy, namespace: &NamespaceName, name: &str) -> bool {
    let own = policy.name.namespace == *namespace;
    let named = |rule: &&weft_model::PolicyRule| {
        rule.ports.iter().any(|port| port.port == PortMatch::Name(name.to_owned()))
    };
    let is_foreign = |peer: &PolicyPeer| matches!(peer, PolicyPeer::Pods { namespaces: Some(_), .. });
    let inward = policy.spec.rules(Direction::Ingress).unwrap_or_default().iter().any(|rule| named(&rule));
    let mut outward = policy.spec.rules(Direction::Egress).unwrap_or_default().iter().filter(named);
    own && inward || outward.any(|rule| own || rule.peers.is_empty() || rule.peers.iter().any(is_foreign))
}

/// Identities from the rows alone, by asking every policy about every label.
fn check(state: &State) {
    let mut expected: BTreeMap<IdentityId, weft_model::Identity> = BTreeMap::new();
    let names: BTreeSet<_> = state.pods().values().map(|pod| pod.name.clone()).collect();
    for name in names {
        let pod = state.effective_pod(&name).expect("somebody owns it");
        let (labels, policies) = (pod.labels(), state.policies().values());
        let asked = |key: &&String| {
            policies.clone().any(|policy| asks_for_label(policy, &name.namespace, key.as_str()))
        };
        let keys: BTreeSet<String> = labels.keys().filter(asked).cloned().collect();
        let named = pod.ports().iter().map(|port| &port.name);
        let sought = |text: &&String| {
            policies.clone().any(|policy| asks_for_port(policy, &name.namespace, text.as_str()))
        };
        let ports: BTreeSet<String> = named.filter(sought).cloned().collect();
        let (id, identity) = weft_policy::identity_of(&name.namespace, &labels, pod.ports(), &keys, &ports);
        assert_eq!(state.identity_of(&name), Some(id), "{name}");
        for policy in state.policies().values().filter(|policy| policy.name.namespace == name.namespace) {
            let selects = |labels: &Labels| policy.spec.pods.selects(labels);
            assert_eq!(selects(&identity.labels), selects(&labels), "{} and {name}", policy.name);
        }
        expected.insert(id, identity);
    }
    let items = state.items().into_iter().filter_map(|item| {
        let Item::Identity(item) = item else { return None };
        Some((item.id, item.identity))
    });
    assert_eq!(items.collect::<BTreeMap<_, _>>(), expected, "one of each that somebody has");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn identities_are_what_all_policies_ask_for_after_every_command(steps in steps()) {
        let mut run = Run::new();
        steps.into_iter().for_each(|step| run.step(step));
    }
}
