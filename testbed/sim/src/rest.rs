//! Once the faults have ended: does everything agree, and is nothing lost?

use std::collections::BTreeMap;

use weft_raft::StateRole;

use crate::{
    machine::Condition,
    sim::{Sim, Step},
};

impl Sim {
    /// Whether everything is well and agrees; else what isn't.
    pub(crate) fn agreement(&self) -> Step {
        let now = self.world.now;
        if let Some(agent) = self.agents.iter().find(|agent| agent.is_dark(now)) {
            return Err(format!("node {} has no power and nobody finds it silent", agent.name));
        }
        if !self.operator.is_idle() {
            return Err("the operator is busy".to_owned());
        }
        let usable: Vec<_> = self.machines.iter().filter(|it| it.condition == Condition::Usable).collect();
        let up: Vec<_> = usable.iter().filter_map(|it| it.replica.as_ref()).collect();
        if up.len() != usable.len() || usable.len() != 3 {
            return Err(format!("{} of {} machines are up", up.len(), usable.len()));
        }
        let leaders = up.iter().filter(|replica| replica.status().role.role == StateRole::Leader).count();
        let Some(first) = up.first().map(|replica| replica.status()) else { return Ok(()) };
        for replica in &up {
            let status = replica.status();
            if status.conf.voters.len() != 3 || !status.conf.learners.is_empty() {
                let others: Vec<_> = up.iter().map(|replica| replica.status()).collect();
                return Err(format!("the configuration is {:?}: {others:?}", status.conf));
            }
            if status.applied != status.last || status.applied != first.applied || leaders != 1 {
                return Err(format!("{leaders} leaders, {} applied of {}", status.applied, status.last));
            }
        }
        let state = up.first().map(|replica| replica.state());
        if let Some(silent) = state.and_then(|state| state.silent_nodes().first()) {
            return Err(format!("node {silent} is well, and silent in the log"));
        }
        state.map_or(Ok(()), |state| self.agents.iter().try_for_each(|agent| agent.agrees(state)))
    }

    /// What must hold then.
    pub(crate) fn checks_at_rest(&self) -> Step {
        let up: Vec<_> = self.machines.iter().filter_map(|machine| machine.replica.as_ref()).collect();
        let digests: BTreeMap<_, _> =
            up.iter().map(|replica| (replica.state().digest(), replica.status().applied)).collect();
        if digests.len() > 1 {
            return Err("the rows of the replicas differ".to_owned());
        }
        up.iter().try_for_each(|replica| {
            self.operator.shop.agrees(replica.state())?;
            self.checks.complete(replica.state())
        })
    }
}
