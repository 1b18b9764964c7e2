//! Random commands: after each of them every invariant holds (`World::check`), and they go the same way twice.

use proptest::{collection::vec, prelude::*};
use weft_model::{
    Action, Command, Families, Family, LogIndex, Node, NodeFacts, NodeName, NodeUid, Object, PodReport,
    PodUid, Role, Term, WireguardKey,
};

use super::{World, facts, join, name, pod, ranges, small_fabric, write};
use crate::{State, apply, dry_run};

/// One step; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Join { node: u8, uid: u8, underlay: u8 },
    Publish { node: u8, underlay: u8, key: u8 },
    Remove { node: u8 },
    Lease { node: u8, six: bool },
    Return { node: u8, lease: u8 },
    Pods { node: u8, pods: Vec<(u8, u8, u8, u8)>, deletes: Vec<u8>, complete: bool },
    Ranges { which: u8 },
    Label { node: u8, value: u8 },
    Repeat { back: u8 },
    Wait { hours: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pods = vec((0..12_u8, 0..3_u8, 0..64_u8, 0..4_u8), 0..4);
    let step = prop_oneof![
        3 => (0..4_u8, any::<u8>(), 0..4_u8).prop_map(|(node, uid, underlay)| Step::Join { node, uid, underlay }),
        2 => (0..4_u8, 0..4_u8, 0..3_u8).prop_map(|(node, underlay, key)| Step::Publish { node, underlay, key }),
        1 => (1..4_u8).prop_map(|node| Step::Remove { node }),
        3 => (0..4_u8, any::<bool>()).prop_map(|(node, six)| Step::Lease { node, six }),
        3 => (0..4_u8, any::<u8>()).prop_map(|(node, lease)| Step::Return { node, lease }),
        9 => (0..4_u8, pods, vec(0..12_u8, 0..3), any::<bool>())
            .prop_map(|(node, pods, deletes, complete)| Step::Pods { node, pods, deletes, complete }),
        1 => (0..4_u8).prop_map(|which| Step::Ranges { which }),
        1 => (0..4_u8, 0..2_u8).prop_map(|(node, value)| Step::Label { node, value }),
        1 => (0..4_u8).prop_map(|back| Step::Repeat { back }),
        1 => (0..30_u8).prop_map(|hours| Step::Wait { hours }),
    ];
    vec(step, 1..120)
}

/// A world and the commands it has seen.
struct Run {
    world: World,
    log: Vec<Command>,
}

impl Run {
    fn new() -> Self {
        let mut run = Self { world: World::empty(), log: Vec::new() };
        run.apply(super::found(small_fabric(Families::Dual)));
        for node in 0..3 {
            run.step(Step::Join { node, uid: 200 + node, underlay: 0 });
        }
        run
    }

    fn apply(&mut self, action: Action) {
        let command = self.world.command(action);
        // What a dry run promises is what happens.
        let promised = dry_run(&mut self.world.state, &command);
        self.world.check();
        let outcome = self.world.apply(&command);
        assert_eq!((&promised.answer, &promised.items), (&outcome.answer, &outcome.items));
        self.log.push(command);
    }

    fn step(&mut self, step: Step) {
        let action = match step {
            Step::Join { node, uid, underlay } => {
                let token = self.token();
                join(token, &node_name(node), uid, underlay_facts(underlay))
            }
            Step::Publish { node, underlay, key } => {
                let key = (key > 0).then_some(WireguardKey([key; 32]));
                let facts = NodeFacts { wireguard_key: key, ..underlay_facts(underlay) };
                Action::PublishNode { node: name(&node_name(node)), uid: self.uid(node), facts }
            }
            Step::Remove { node } => Action::RemoveNode { name: name(&node_name(node)) },
            Step::Lease { node, six } => {
                let family = if six { Family::V6 } else { Family::V4 };
                Action::LeaseBlock { node: name(&node_name(node)), uid: self.uid(node), family }
            }
            Step::Return { node, lease } => return self.give_back(node, lease),
            Step::Pods { node, pods, deletes, complete } => self.report(node, pods, deletes, complete),
            Step::Ranges { which } => {
                let mut fabric = small_fabric(Families::Dual);
                let four =
                    ["10.0.0.0/22", "10.0.0.0/21", "10.0.0.0/22 10.9.0.0/23", "10.9.0.0/23 10.0.0.0/22"];
                fabric.ranges.pods = ranges(&format!("{} fd00::/62", four[usize::from(which)]));
                write(Object::Fabric(fabric))
            }
            Step::Label { node, value } => {
                let Some(found) = self.node(node) else { return };
                let mut node = found.clone();
                node.labels.insert("value".to_owned(), value.to_string());
                write(Object::Node(node))
            }
            Step::Repeat { back } => return self.repeat(back),
            Step::Wait { hours } => {
                self.world.now += u64::from(hours) * 3_600_000;
                return;
            }
        };
        self.apply(action);
    }

    fn token(&mut self) -> [u8; 32] {
        let before = self.world.sequence;
        let hash = self.world.token(Role::Node);
        // Replayed like the others.
        let token =
            self.world.state.tokens().values().find(|token| token.id == format!("t{before}")).cloned();
        self.world.sequence = before;
        let token = token.unwrap();
        let command = self.world.command(Action::CreateToken { token });
        self.log.push(command);
        hash
    }

    fn node(&self, node: u8) -> Option<&Node> {
        self.world.state.nodes().get(&name(&node_name(node)))
    }

    fn uid(&self, node: u8) -> NodeUid {
        self.node(node).map_or(NodeUid([0; 16]), |node| node.uid)
    }

    fn give_back(&mut self, node: u8, lease: u8) {
        let named: NodeName = name(&node_name(node));
        let leases: Vec<_> = self.world.state.node_leases(&named).cloned().collect();
        if leases.is_empty() {
            return;
        }
        let lease = &leases[usize::from(lease) % leases.len()];
        let (uid, block, epoch) = (self.uid(node), lease.block, lease.epoch);
        self.apply(Action::ReturnBlock { node: named, uid, block, epoch });
    }

    fn report(&self, node: u8, pods: Vec<(u8, u8, u8, u8)>, deletes: Vec<u8>, complete: bool) -> Action {
        let block = |family: Family, place: u8| {
            let held = self.world.state.node_leases(&name(&node_name(node))).map(|lease| lease.block);
            let held: Vec<_> = held.filter(|block| block.family() == family).collect();
            // Mostly one of its own blocks, now and then one that may be another's.
            let first = ranges("10.0.0.0/24 fd00::/64")[usize::from(family == Family::V6)];
            if place.is_multiple_of(13) {
                first
            } else {
                *held.get(usize::from(place) % held.len().max(1)).unwrap_or(&first)
            }
        };
        let pods = pods.into_iter().map(|(uid, text, place, created)| {
            let at = |family| block(family, place / 4).nth(u128::from(place % 4 + 2)).unwrap();
            let addresses = format!("{} {}", at(Family::V4), at(Family::V6));
            let (uid, text) = (uid + 16 * node, format!("shop/p{text}"));
            pod(if place == 5 { 1 } else { uid }, &node_name(node), &text, &addresses, u64::from(created))
        });
        Action::PublishPods(PodReport {
            node: name(&node_name(node)),
            uid: self.uid(node),
            complete,
            upserts: pods.collect(),
            deletes: deletes.into_iter().map(|uid| PodUid([uid + 16 * node; 16])).collect(),
        })
    }

    /// An earlier command comes again: an exact repetition of the last, or an older one. Neither changes an object.
    fn repeat(&mut self, back: u8) {
        let Some(command) = self.log.iter().rev().nth(usize::from(back)).cloned() else { return };
        let before = self.world.objects();
        let outcome = self.world.apply(&command);
        assert!(outcome.items.is_empty() && self.world.objects() == before);
        assert_eq!(outcome.repeated, command.sequence.0 == self.world.sequence);
        self.log.push(command);
    }
}

fn node_name(node: u8) -> String {
    format!("n{node}")
}

fn underlay_facts(underlay: u8) -> NodeFacts {
    match underlay {
        0 => NodeFacts::default(),
        1 => facts("192.168.1.1 2001:db8::1", "192.168.1.0/24"),
        2 => facts("192.168.1.2", "192.168.1.0/24"),
        _ => facts("192.168.1.1", "10.9.0.0/24"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_invariant_holds_after_every_command_and_the_log_goes_the_same_way_twice(steps in steps()) {
        let mut run = Run::new();
        steps.into_iter().for_each(|step| run.step(step));
        let mut again = State::new();
        for (position, command) in run.log.iter().enumerate() {
            apply(&mut again, LogIndex(position as u64 + 1), Term(1), command);
        }
        prop_assert_eq!(&again, &run.world.state);
        prop_assert_eq!(again.meta().hash, run.world.state.meta().hash);
        prop_assert_eq!(again.digest(), run.world.state.digest());
    }
}
