//! The policy tables after any events, against a fresh start; who is closed and who is open.

use std::net::IpAddr;

use proptest::prelude::*;
use weft_model::IdentityItem;
use weft_model::{
    Direction, Families, IdentityId, Item, ItemKey, LabelSelector, Labels, NamespaceItem, NamespaceName,
    PodItem, PodUid, PolicyItem, PolicyPeer, PolicyPort, PolicyRule, PolicySpec, PortMatch, Protocol,
    Revision,
};
use weft_nft::Data;
use weft_policy::{Flow, Transport, whole_identity};

use super::*;
use crate::{HeldPolicies, Judgement, explain, world};

const NAMESPACES: [&str; 2] = ["a", "b"];
const ROLES: [&str; 3] = ["web", "db", "log"];

fn namespace(name: &str) -> NamespaceName {
    name.parse().unwrap()
}

fn labels(role: &str) -> Labels {
    Labels::from([("role".to_owned(), role.to_owned())])
}

fn roles(role: &str) -> LabelSelector {
    LabelSelector { labels: labels(role), expressions: Vec::new() }
}

fn identity(space: usize, role: usize) -> (IdentityId, IdentityItem) {
    let (id, identity) = whole_identity(&namespace(NAMESPACES[space]), &labels(ROLES[role]), &[]);
    (id, IdentityItem { id, identity })
}

fn addresses(index: u8) -> Vec<IpAddr> {
    vec![format!("10.1.1.{index}").parse().unwrap(), format!("fd00:0:0:1::{index}").parse().unwrap()]
}

/// What happens: pods get identities, policies come and go, pods of this node come and go.
#[derive(Clone, Debug)]
enum Event {
    Pod { index: u8, identity: Option<(usize, usize)> },
    Local { index: u8, is_there: bool },
    Policy { space: usize, about: usize, peer: Option<usize>, port: Option<u16> },
    NoPolicy { space: usize, about: usize },
}

fn event() -> impl Strategy<Value = Event> {
    let index = 1_u8..6;
    prop_oneof![
        (index.clone(), prop::option::weighted(0.8, (0..2_usize, 0..3_usize)))
            .prop_map(|(index, identity)| Event::Pod { index, identity }),
        (index, any::<bool>()).prop_map(|(index, is_there)| Event::Local { index, is_there }),
        (
            0..2_usize,
            0..3_usize,
            prop::option::of(0..3_usize),
            prop::option::of(prop::sample::select(vec![80, 443]))
        )
            .prop_map(|(space, about, peer, port)| Event::Policy { space, about, peer, port }),
        (0..2_usize, 0..3_usize).prop_map(|(space, about)| Event::NoPolicy { space, about }),
    ]
}

struct World {
    view: View,
    facts: Facts,
}

impl World {
    fn new() -> Self {
        let mut items = vec![Item::Fabric(world::fabric(Families::Dual, weft_model::Overlay::Wireguard))];
        items.extend(
            NAMESPACES
                .map(|name| Item::Namespace(NamespaceItem { name: namespace(name), labels: Labels::new() })),
        );
        let all = (0..2).flat_map(|space| (0..3).map(move |role| Item::Identity(identity(space, role).1)));
        items.extend(all);
        Self { view: View::restored(Revision(1), items), facts: world::facts() }
    }

    /// Does it; which items and pods it touches.
    fn happens(&mut self, event: &Event) -> (BTreeSet<ItemKey>, BTreeSet<PodUid>) {
        let mut items: BTreeMap<ItemKey, Item> = self.view.items().map(|item| (item.key(), item)).collect();
        let (mut keys, mut uids) = (BTreeSet::new(), BTreeSet::new());
        match event {
            Event::Pod { index, identity: of } => {
                let name = name_of(*index);
                let item = of.map(|(space, role)| {
                    let (id, _) = identity(space, role);
                    Item::Pod(PodItem {
                        name: name.clone(),
                        addresses: addresses(*index),
                        hostname: String::new(),
                        subdomain: String::new(),
                        identity: id,
                    })
                });
                keys.insert(put(&mut items, ItemKey::Pod(name), item));
            }
            Event::Local { index, is_there } => {
                let mut pod = world::pod(Families::Dual, *index);
                pod.name = name_of(*index);
                uids.insert(pod.uid);
                if *is_there {
                    self.facts.pods.insert(pod.uid, pod);
                } else {
                    self.facts.pods.remove(&pod.uid);
                }
            }
            Event::Policy { space, about, peer, port } => {
                let name = policy_name(*space, *about);
                let rule = PolicyRule {
                    peers: peer
                        .iter()
                        .map(|peer| PolicyPeer::Pods { namespaces: None, pods: Some(roles(ROLES[*peer])) })
                        .collect(),
                    ports: port
                        .iter()
                        .map(|port| PolicyPort {
                            protocol: Protocol::Tcp,
                            port: PortMatch::Numbers(*port, port + 40),
                        })
                        .collect(),
                };
                let spec = PolicySpec {
                    pods: roles(ROLES[*about]),
                    isolates_ingress: true,
                    isolates_egress: port.is_some(),
                    ingress: vec![rule.clone()],
                    egress: vec![rule],
                };
                let item = Item::Policy(PolicyItem { name: name.clone(), spec });
                keys.insert(put(&mut items, ItemKey::Policy(name), Some(item)));
            }
            Event::NoPolicy { space, about } => {
                keys.insert(put(&mut items, ItemKey::Policy(policy_name(*space, *about)), None));
            }
        }
        self.view = View::restored(Revision(self.view.revision().0 + 1), items.into_values());
        (keys, uids)
    }
}

fn put(items: &mut BTreeMap<ItemKey, Item>, key: ItemKey, item: Option<Item>) -> ItemKey {
    match item {
        Some(item) => items.insert(key.clone(), item),
        None => items.remove(&key),
    };
    key
}

fn name_of(index: u8) -> weft_model::PodName {
    format!("{}/p{index}", NAMESPACES[usize::from(index % 2)]).parse().unwrap()
}

fn policy_name(space: usize, about: usize) -> weft_model::PolicyName {
    format!("{}/of-{}", NAMESPACES[space], ROLES[about]).parse().unwrap()
}

/// What a kernel would hold after all transactions; refuses what a kernel refuses.
#[derive(Default)]
struct Kernel(BTreeMap<Place, Element>);

impl Kernel {
    fn settle(&mut self, policies: &mut Policies) {
        while let Some(transaction) = policies.next(Sweep::Allowed) {
            self.0.retain(|(family, ..), _| !transaction.made.contains(family));
            for place in &transaction.places {
                let unit = &policies.pending[place];
                assert_eq!(self.0.get(place), unit.there.as_ref(), "what goes is what is there: {place:?}");
                match &unit.wanted {
                    Some(element) => self.0.insert(place.clone(), element.clone()),
                    None => self.0.remove(place),
                };
            }
            policies.committed(transaction);
        }
    }
}

fn fresh(world: &World) -> BTreeMap<Place, Element> {
    let mut policies = Policies::new();
    policies.want(&world.view, &world.facts, Scope::All);
    policies.wanted()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn after_any_events_the_kernel_has_what_a_fresh_start_would_make(events in prop::collection::vec(event(), 1..30)) {
        let mut world = World::new();
        let (mut policies, mut kernel) = (Policies::new(), Kernel::default());
        policies.want(&world.view, &world.facts, Scope::All);
        kernel.settle(&mut policies);
        for event in &events {
            let (keys, uids) = world.happens(event);
            if !keys.is_empty() {
                policies.want(&world.view, &world.facts, Scope::Items(&keys));
            }
            if !uids.is_empty() {
                policies.want(&world.view, &world.facts, Scope::Pods(&uids));
            }
            kernel.settle(&mut policies);
            prop_assert_eq!(&kernel.0, &fresh(&world), "after {:?}", event);
        }
    }

    #[test]
    fn what_several_changes_ask_is_sent_once(events in prop::collection::vec(event(), 1..20)) {
        let mut world = World::new();
        let (mut policies, mut kernel) = (Policies::new(), Kernel::default());
        policies.want(&world.view, &world.facts, Scope::All);
        for event in &events {
            let (keys, uids) = world.happens(event);
            policies.want(&world.view, &world.facts, Scope::Items(&keys));
            policies.want(&world.view, &world.facts, Scope::Pods(&uids));
        }
        kernel.settle(&mut policies);
        prop_assert_eq!(kernel.0, fresh(&world));
    }

    #[test]
    fn what_is_read_back_of_the_kernel_and_what_is_explained_agree(events in prop::collection::vec(event(), 1..30)) {
        let mut world = World::new();
        for event in &events {
            // What a pod is, and its name, are of one namespace.
            let event = if let Event::Pod { index, identity: Some((_, role)) } = event {
                &Event::Pod { index: *index, identity: Some((usize::from(index % 2), *role)) }
            } else {
                event
            };
            world.happens(event);
        }
        let (mut held, all) = (HeldPolicies::default(), fresh(&world));
        [Family::V4, Family::V6].into_iter().for_each(|family| held.put(family, all.clone()));
        let mut policies = Policies::new();
        policies.want(&world.view, &world.facts, Scope::All);
        let unknown = policies.unknown_pods();
        for pod in world.facts.pods.values() {
            let ends = (1..8).flat_map(|other| pod.addresses.clone().into_iter().zip(addresses(other)));
            for (own, other) in ends.collect::<Vec<_>>() {
                for (port, direction) in ASKED {
                    let transport = Transport::Port(Protocol::Tcp, port);
                    let judgement = held.judge(direction, own, other, transport);
                    if unknown.contains(&pod.uid) {
                        prop_assert_eq!(judgement, Judgement::Unknown);
                        continue;
                    }
                    let ends = if direction == Direction::Ingress { (other, own) } else { (own, other) };
                    let flow = Flow::new(ends.0, ends.1, transport);
                    let decision = explain(&world.view, &world.facts, &flow).decision;
                    let reason = if direction == Direction::Ingress { decision.ingress } else { decision.egress };
                    prop_assert_eq!(judgement.allows(), reason.allows(), "{} {}: {}", flow, judgement, reason);
                }
            }
        }
    }
}

/// Ports within and outside of the policies' ranges.
const ASKED: [(u16, Direction); 4] =
    [(80, Direction::Ingress), (100, Direction::Ingress), (443, Direction::Egress), (79, Direction::Egress)];

#[test]
fn without_a_table_every_pod_is_closed() {
    let own = addresses(1)[0];
    let judgement = HeldPolicies::default().judge(Direction::Ingress, own, own, Transport::echo(Family::V4));
    assert_eq!((judgement, judgement.allows()), (Judgement::NoTable, false));
}

/// A local pod whose namespace has a policy, and a View that knows or doesn't know what the pod is.
fn judged(known: Option<(usize, usize)>, policy: bool) -> BTreeSet<&'static str> {
    let mut world = World::new();
    world.happens(&Event::Local { index: 2, is_there: true });
    if policy {
        world.happens(&Event::Policy { space: 0, about: 0, peer: None, port: Some(80) });
    }
    if known.is_some() {
        world.happens(&Event::Pod { index: 2, identity: known });
    }
    fresh(&world).keys().filter(|place| pod_of(place).is_some()).map(|place| place.1).collect()
}

#[test]
fn a_pod_is_closed_until_it_is_known_unless_no_policy_could_select_it() {
    let open = BTreeSet::from(["open_in", "open_out", "denied_in", "denied_out", "itself"]);
    assert_eq!(judged(None, false), open, "nothing selects");
    assert_eq!(judged(None, true), BTreeSet::new(), "it may be selected");
    assert_eq!(judged(Some((0, 1)), true), open, "it is known, and not selected");
    let isolated = BTreeSet::from(["profiles_in", "profiles_out", "denied_in", "denied_out", "itself"]);
    assert_eq!(judged(Some((0, 0)), true), isolated);
}

#[test]
fn rules_and_elements_agree_on_names_and_types() {
    let mut world = World::new();
    for index in 1..6 {
        world.happens(&Event::Local { index, is_there: true });
        world
            .happens(&Event::Pod { index, identity: Some((usize::from(index % 2), usize::from(index % 3))) });
    }
    for space in 0..2 {
        world.happens(&Event::Policy { space, about: 0, peer: Some(1), port: Some(80) });
        world.happens(&Event::Policy { space, about: 1, peer: None, port: None });
    }
    let all = fresh(&world);
    for ((family, name, key), element) in &all {
        let table = rules::table(*family, NodeEgress::Policy);
        let set = table.set(name).unwrap_or_else(|| panic!("{name} is a set"));
        assert_eq!(key.len(), set.key.len(), "{name}");
        assert_eq!(element.data.is_some(), set.data.is_some(), "{name}");
        assert!(
            !matches!(&element.data, Some(Data::Value(Value::U32(0) | Value::ClassId(0)))),
            "{name}: {element}"
        );
    }
    for name in ["identities", "peers", "defaults", "port_classes", "range_ports", "profiles_out"] {
        assert!(all.keys().any(|place| place.1 == name), "{name} is used here");
    }
}

#[test]
fn whether_a_pod_may_always_ask_its_node_is_a_rule() {
    let mut world = World::new();
    world.happens(&Event::Local { index: 2, is_there: true });
    let (mut policies, mut kernel) = (Policies::new(), Kernel::default());
    policies.want(&world.view, &world.facts, Scope::All);
    kernel.settle(&mut policies);
    let allowed = "accept comment \"a pod may ask its node\"";
    assert!(!policies.text().contains(allowed));
    let mut fabric = world.view.fabric().unwrap().clone();
    fabric.policy.node_egress = NodeEgress::Allow;
    let items = world.view.items().filter(|item| !matches!(item, Item::Fabric(_)));
    let items: Vec<Item> = items.chain([Item::Fabric(fabric)]).collect();
    world.view = View::restored(Revision(99), items);
    policies.want(&world.view, &world.facts, Scope::Items(&[ItemKey::Fabric].into()));
    assert!(policies.text().contains(allowed));
    kernel.settle(&mut policies);
    assert_eq!(kernel.0, fresh(&world), "the tables are made anew, and filled");
}
