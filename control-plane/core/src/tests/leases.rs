//! Blocks: which comes next, who may give it back.

use weft_errors as codes;
use weft_model::{Action, Answer, BlockLease, Epoch, Families, Family, NodeFacts, Role};

use super::{World, join, name, pod, range};

fn lease(world: &mut World, node: &str) -> BlockLease {
    let uid = world.node(node).uid;
    let answer = world.good(Action::LeaseBlock { node: name(node), uid, family: Family::V4 });
    let Answer::Lease(lease) = answer else { panic!("{answer:?}") };
    lease
}

fn give_back(world: &World, node: &str, block: &str, epoch: u64) -> Action {
    Action::ReturnBlock {
        node: name(node),
        uid: world.node(node).uid,
        block: range(block),
        epoch: Epoch(epoch),
    }
}

#[test]
fn never_leased_blocks_come_first_then_those_free_for_longest() {
    let mut world = World::small(Families::V4);
    world.join("n1");
    for (block, epoch) in [("10.0.1.0/24", 2), ("10.0.2.0/24", 3)] {
        let got = lease(&mut world, "n1");
        assert_eq!((got.block, got.epoch), (range(block), Epoch(epoch)));
    }
    for (block, epoch) in [("10.0.2.0/24", 3), ("10.0.0.0/24", 1)] {
        let back = give_back(&world, "n1", block, epoch);
        world.good(back);
    }
    for (block, epoch) in [("10.0.3.0/24", 4), ("10.0.2.0/24", 5), ("10.0.0.0/24", 6)] {
        let got = lease(&mut world, "n1");
        assert_eq!((got.block, got.epoch), (range(block), Epoch(epoch)), "a higher epoch each time");
    }
    let uid = world.node("n1").uid;
    world.refused(Action::LeaseBlock { node: name("n1"), uid, family: Family::V4 }, &codes::BLOCKS_EXHAUSTED);
    world.refused(Action::LeaseBlock { node: name("n1"), uid, family: Family::V6 }, &codes::RANGE_MISSING);
    assert_eq!(world.state.meta().last_epoch, Epoch(6), "a refused grant takes no epoch");
}

#[test]
fn only_the_holder_of_an_empty_block_gives_it_back() {
    let mut world = World::small(Families::V4);
    world.join("n1");
    world.join("n2");
    world.publish("n1", vec![pod(1, "n1", "shop/web", "10.0.0.2", 1)]);
    let back = give_back(&world, "n1", "10.0.0.0/24", 1);
    let shown = world.refused(back, &codes::RANGE_IN_USE);
    assert!(shown.contains("pod shop/web") && shown.contains("block 10.0.0.0/24"), "{shown}");
    let refused = [("n2", "10.0.0.0/24", 1), ("n1", "10.0.0.0/24", 2), ("n1", "10.0.9.0/24", 1)];
    for (node, block, epoch) in refused {
        let back = give_back(&world, node, block, epoch);
        world.refused(back, &codes::LEASE_STALE);
    }
    let back = give_back(&world, "n2", "10.0.1.0/24", 2);
    world.good(back);
    // An old paper of a block that was granted again is worth nothing.
    lease(&mut world, "n1");
    lease(&mut world, "n1");
    let again = lease(&mut world, "n2");
    assert_eq!((again.block, again.epoch), (range("10.0.1.0/24"), Epoch(5)));
    let back = give_back(&world, "n2", "10.0.1.0/24", 2);
    world.refused(back, &codes::LEASE_STALE);
}

#[test]
fn one_node_holds_a_limited_number_of_blocks() {
    let mut fabric = super::small_fabric(Families::V4);
    fabric.ranges.pods = vec![range("10.16.0.0/12")];
    let mut world = World::of(fabric);
    world.join("n1");
    for _ in 1..crate::limits::MAX_BLOCKS_PER_NODE {
        // Without the checks of `World`: 255 commands.
        let uid = world.node("n1").uid;
        let command = world.command(Action::LeaseBlock { node: name("n1"), uid, family: Family::V4 });
        let index = super::index(&world).next();
        assert!(crate::apply(&mut world.state, index, weft_model::Term(1), &command).answer.is_ok());
    }
    let uid = world.node("n1").uid;
    let command = world.command(Action::LeaseBlock { node: name("n1"), uid, family: Family::V4 });
    let index = super::index(&world).next();
    let outcome = crate::apply(&mut world.state, index, weft_model::Term(1), &command);
    let code = outcome.answer.map_err(|error| weft_errors::Coded::code(&error));
    assert_eq!(code, Err(&codes::TOO_LARGE));
}

#[test]
fn blocks_of_a_removed_node_come_last() {
    let mut world = World::small(Families::V4);
    world.join("n1");
    world.good(Action::RemoveNode { name: name("n1") });
    let token = world.token(Role::Node);
    world.good(join(token, "n2", 70, NodeFacts::default()));
    let blocks: Vec<_> = (0..3).map(|_| lease(&mut world, "n2").block).collect();
    assert_eq!(blocks, super::ranges("10.0.2.0/24 10.0.3.0/24 10.0.0.0/24"));
}
