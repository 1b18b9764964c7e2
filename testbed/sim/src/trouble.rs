//! Making faults: power, network, disks, leadership.

use weft_model::ReplicaId;
use weft_raft::{Error, Input};

use crate::{
    machine::{Condition, Machine},
    sim::{Sim, Step},
    world::Event,
};

impl Sim {
    /// One unit of faults.
    pub(crate) fn make_faults(&mut self) -> Step {
        let faults = self.faults;
        let count = self.machines.len() as u64;
        let any = usize::try_from(self.world.between(0, count - 1)).unwrap_or(0);
        if self.world.one_in(faults.crash) {
            self.crash(any, 250);
        }
        if self.world.one_in(faults.power_cut) {
            (0..self.machines.len()).for_each(|machine| self.crash(machine, 250));
        }
        if self.world.one_in(faults.partition) && self.net.is_whole() {
            self.cut(any);
        }
        if self.world.one_in(faults.slow_disk) {
            self.machines[any].slow = true;
            let units = self.world.between(50, 300);
            self.world.after(units, Event::Heal);
        }
        if self.world.one_in(faults.disk_loss) && self.may_lose_a_disk() {
            self.lose_disk(any)?;
        }
        if self.world.one_in(faults.transfer) {
            self.give(any, Input::Transfer(ReplicaId(0)))?;
        }
        if self.world.one_in(faults.dark_node) {
            let node = usize::try_from(self.world.between(0, self.agents.len() as u64 - 1)).unwrap_or(0);
            let units = self.world.between(100, 500);
            self.agents[node].dark_until = self.world.now + units;
            self.agents[node].restart();
        }
        if self.world.one_in(faults.pause) {
            self.give(any, Input::Paused)?;
        }
        Ok(())
    }

    /// Power goes, and comes back within so many units.
    pub(crate) fn crash(&mut self, machine: usize, most: u64) {
        let it = &mut self.machines[machine];
        if !it.is_up() {
            return;
        }
        it.replica = None;
        it.waiting.clear();
        it.disk.crash(&mut self.world);
        self.checks.report.crashes += 1;
        let units = self.world.between(1, most);
        self.world.after(units, Event::Restart { machine });
    }

    /// One machine is cut off: wholly, or in one direction, or from one other.
    fn cut(&mut self, machine: usize) {
        self.checks.report.partitions += 1;
        let kind = self.world.between(0, 3);
        for other in (0..self.machines.len()).filter(|other| *other != machine) {
            if kind != 1 {
                self.net.cut(machine, other);
            }
            if kind != 2 {
                self.net.cut(other, machine);
            }
            if kind == 3 {
                break;
            }
        }
        let units = self.world.between(50, 500);
        self.world.after(units, Event::Heal);
    }

    /// Only what a majority of well replicas can make good.
    fn may_lose_a_disk(&self) -> bool {
        let usable = |machine: &&Machine| machine.condition == Condition::Usable;
        let voters = |machine: &Machine| machine.replica.as_ref().map(|it| it.status().conf.voters.len());
        self.operator.is_idle()
            && self.net.is_whole()
            && self.machines.iter().filter(usable).count() == 3
            && self.machines.iter().filter(usable).all(|machine| voters(machine) == Some(3))
    }

    fn lose_disk(&mut self, machine: usize) -> Step {
        if !self.machines[machine].is_up() {
            return Ok(());
        }
        self.checks.report.disk_losses += 1;
        let tail = self.world.one_in(2);
        let seed = self.world.between(0, u64::MAX);
        let it = &mut self.machines[machine];
        it.replica = None;
        it.waiting.clear();
        if tail {
            it.disk.crash(&mut self.world);
            if it.disk.lose(2) {
                match it.start(seed) {
                    Err(Error::LogLost { .. }) => {}
                    Err(error) => return Err(format!("a lost tail was taken for: {error}")),
                    Ok(()) => return Err(format!("replica {} lost a synced tail and didn't notice", it.id)),
                }
            }
        }
        it.replica = None;
        it.condition = Condition::Lost;
        Ok(())
    }
}
