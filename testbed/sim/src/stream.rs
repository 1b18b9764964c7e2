//! The streams of items from replicas to agents.

use weft_core::ItemChange;
use weft_raft::Published;
use weft_view::Update;

use crate::{Mutant, agent::Watch, sim::Sim};

impl Sim {
    /// What a replica published reaches those that follow it.
    pub(crate) fn publish(&mut self, machine: usize, reset: bool, items: Vec<Published>) {
        let watch = Watch { machine, boot: self.machines[machine].boot };
        for agent in self.agents.iter_mut().filter(|agent| agent.watch == Some(watch)) {
            if reset {
                agent.watch = None;
                continue;
            }
            for published in &items {
                if self.mutant == Some(Mutant::LoseDelta) && self.world.one_in(40) {
                    continue;
                }
                let at = self.world.now + self.world.between(1, 12);
                agent.feed(at, delta(published));
            }
        }
    }

    /// An agent whose stream has ended tries another replica; all are told from time to time how far they are.
    pub(crate) fn keep_watching(&mut self, number: usize) {
        let now = self.world.now;
        let live = self.agents[number].watch.filter(|watch| {
            let machine = &self.machines[watch.machine];
            machine.is_up() && machine.boot == watch.boot
        });
        if let Some(watch) = live {
            if (now + number as u64).is_multiple_of(25)
                && let Some(replica) = &self.machines[watch.machine].replica
            {
                let revision = replica.state().meta().revision;
                self.agents[number].feed(now + 1, Update::InSync { revision });
            }
            return;
        }
        if !self.world.one_in(6) {
            return;
        }
        let machine = usize::try_from(self.world.between(0, self.machines.len() as u64 - 1)).unwrap_or(0);
        let Some(replica) = &self.machines[machine].replica else { return };
        let state = replica.state();
        let revision = state.meta().revision;
        if state.fabric().is_none() || revision < self.agents[number].view.revision() {
            return;
        }
        let items = state.items();
        let part = Update::SnapshotPart { revision, first: true, last: true, items };
        let watch = Watch { machine, boot: self.machines[machine].boot };
        self.agents[number].follow(watch, now, [part, Update::InSync { revision }]);
    }
}

fn delta(published: &Published) -> Update {
    let (mut upserts, mut deletes) = (Vec::new(), Vec::new());
    for change in &published.changes {
        match change {
            ItemChange::Upsert(item) => upserts.push(item.clone()),
            ItemChange::Delete(key) => deletes.push(key.clone()),
        }
    }
    Update::Delta { revision: published.revision, upserts, deletes }
}
