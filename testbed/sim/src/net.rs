//! The network between replicas: delays, reorders, repeats, loses, cuts.

use std::collections::BTreeSet;

use weft_raft::{Message, MessageKind};

use crate::{
    Faults,
    world::{Event, World},
};

/// Which directions are cut, and how bad the rest is.
#[derive(Debug)]
pub(crate) struct Net {
    cut: BTreeSet<(usize, usize)>,
    /// One message in so many is lost; 0 for none.
    pub(crate) loss: u64,
    /// Units that a message takes at most.
    pub(crate) delay: u64,
}

impl Net {
    pub(crate) const fn new(faults: &Faults) -> Self {
        Self { cut: BTreeSet::new(), loss: faults.loss, delay: faults.delay }
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains(&(from, to))
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.cut.is_empty()
    }

    /// Sends a message; whether it will arrive.
    pub(crate) fn send(&self, world: &mut World, from: usize, to: usize, message: Message) -> bool {
        if self.is_cut(from, to) || world.one_in(self.loss) {
            return false;
        }
        let large = message.kind == MessageKind::Snapshot;
        let delay = if large { world.between(4, 20) } else { world.between(1, self.delay) };
        let late = if self.loss > 0 && world.one_in(20) { world.between(1, 30) } else { 0 };
        if self.loss > 0 && world.one_in(50) {
            let again = world.between(1, 40);
            world.after(delay + again, Event::Deliver { machine: to, message: Box::new(message.clone()) });
        }
        world.after(delay + late, Event::Deliver { machine: to, message: Box::new(message) });
        true
    }
}
