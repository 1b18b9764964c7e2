//! Committed entries meet the state: in order, once, and what comes of it goes into the effects.

use std::collections::BTreeMap;

use bytes::Bytes;
use raft::eraftpb;
use weft_core::{Change, Outcome};
use weft_model::{Action, Command, LogIndex, ReplicaId, Term};

use crate::{
    Batch, BatchRow, Checkpoint, Conf, Effects, Entry, EntryKind, Error, Published, Replica, Reply,
    convert::{ConfStep, ConfStepKind},
    watch::read_verdict,
};

/// Rows changed since the last batch; a later change of a key replaces an earlier one.
#[derive(Debug, Default)]
pub(crate) struct Rows(BTreeMap<String, Option<Bytes>>);

impl Rows {
    fn take(&mut self) -> Vec<BatchRow> {
        std::mem::take(&mut self.0).into_iter().map(|(key, value)| BatchRow { key, value }).collect()
    }
}

impl Replica {
    /// Applies committed entries.
    pub(crate) fn apply_all(
        &mut self,
        entries: &[eraftpb::Entry],
        effects: &mut Effects,
    ) -> Result<(), Error> {
        for entry in entries {
            self.apply_entry(&Entry::from(entry), effects)?;
        }
        Ok(())
    }

    fn apply_entry(&mut self, entry: &Entry, effects: &mut Effects) -> Result<(), Error> {
        let (index, term) = (entry.index, entry.term);
        if index != self.applied.0.next() {
            let why = format!("entry {index} is to be applied after {}", self.applied.0);
            return Err(Error::Inconsistent { why });
        }
        let outcome = match entry.kind {
            EntryKind::Normal if entry.data.is_empty() => {
                self.check_verdict(entry)?;
                None
            }
            EntryKind::Normal => Some(self.apply_command(index, term, &entry.data)?),
            EntryKind::ConfChange => self.apply_conf(entry, effects)?,
        };
        self.applied = (index, term);
        self.unwritten = true;
        if let Some(outcome) = &outcome {
            self.gather(outcome, effects);
        } else {
            let changes = weft_core::apply_empty(&mut self.state, index, term).changes;
            self.gather_changes(&changes);
        }
        if index.0.is_multiple_of(self.config.check_every) {
            self.hashes.passed(Checkpoint { index, hash: self.state.meta().hash });
        }
        self.reply(index, term, outcome, effects);
        Ok(())
    }

    fn apply_command(&mut self, index: LogIndex, term: Term, data: &[u8]) -> Result<Outcome, Error> {
        let command = self.decode(index, data)?;
        self.time = self.time.max(command.stamp.time);
        Ok(weft_core::apply(&mut self.state, index, term, &command))
    }

    fn decode(&self, index: LogIndex, data: &[u8]) -> Result<Command, Error> {
        (self.codec.decode_command)(data)
            .map_err(|why| Error::Undecodable { what: format!("the command of entry {index}"), why })
    }

    /// Whether a change counts is decided from replicated state alone, so every replica decides alike.
    fn apply_conf(&mut self, entry: &Entry, effects: &mut Effects) -> Result<Option<Outcome>, Error> {
        let Some(step) = ConfStep::read(&entry.data) else {
            let what = format!("the configuration change of entry {}", entry.index);
            return Err(Error::Undecodable { what, why: "it is malformed".to_owned() });
        };
        if !may_follow(&self.conf, step) {
            return Ok(None);
        }
        let command = self.decode(entry.index, &entry.context)?;
        if !matches!(command.action, Action::ChangeMember { .. } | Action::RemoveMember { .. }) {
            let what = format!("the configuration change of entry {}", entry.index);
            return Err(Error::Undecodable { what, why: "it carries another command".to_owned() });
        }
        let conf = self
            .raw
            .apply_conf_change(&step.to_library())
            .map_err(|e| Error::Inconsistent { why: format!("a configuration change failed: {e}") })?;
        self.conf = Conf::from_library(&conf);
        effects.conf_changed = true;
        effects.removed |= step.kind == ConfStepKind::Remove && step.id == self.config.id;
        Ok(Some(weft_core::apply(&mut self.state, entry.index, entry.term, &command)))
    }

    fn check_verdict(&mut self, entry: &Entry) -> Result<(), Error> {
        match read_verdict(&entry.context) {
            Some(verdict) if self.hashes.differs(&verdict) => {
                Err(Error::Diverged { id: self.config.id, index: verdict.index })
            }
            _ => Ok(()),
        }
    }

    fn gather(&mut self, outcome: &Outcome, effects: &mut Effects) {
        self.gather_changes(&outcome.changes);
        if !outcome.items.is_empty() {
            effects.items.push(Published { revision: outcome.revision, changes: outcome.items.clone() });
        }
    }

    fn gather_changes(&mut self, changes: &[Change]) {
        for change in changes {
            let (key, value) = match change {
                Change::Put(record) => (record.key(), Some((self.codec.encode_record)(record))),
                Change::Delete(key) => (key.clone(), None),
            };
            self.rows.0.insert(key.to_string(), value);
        }
    }

    fn reply(&mut self, index: LogIndex, term: Term, outcome: Option<Outcome>, effects: &mut Effects) {
        let answer = match (self.pending.take(index, term), outcome) {
            (None, _) => return,
            (Some(Ok(ticket)), Some(outcome)) => {
                (ticket, Reply::Applied { index, outcome: Box::new(outcome) })
            }
            (Some(Ok(ticket)), None) => {
                (ticket, Reply::Dropped("another change of the configuration came first"))
            }
            (Some(Err(ticket)), _) => {
                (ticket, Reply::Dropped("another leader wrote its entry in that place"))
            }
        };
        effects.answers.push(answer);
    }

    /// Closes the batch of what was applied since the last one.
    pub(crate) fn close_batch(&mut self, effects: &mut Effects) {
        if !std::mem::take(&mut self.unwritten) {
            return;
        }
        let (index, term) = self.applied;
        let rows = self.rows.take();
        effects.applied.push(Batch { index, term, conf: self.conf.clone(), replace: false, rows });
    }
}

/// A learner is added when it takes no part, promoted from learner, and removed when it takes part and isn't the last voter.
fn may_follow(conf: &Conf, step: ConfStep) -> bool {
    match step.kind {
        ConfStepKind::AddLearner => !conf.has(step.id),
        ConfStepKind::AddVoter => conf.learners.contains(&step.id),
        ConfStepKind::Remove => conf.has(step.id) && conf.voters.iter().any(|id| *id != step.id),
    }
}

/// The next configuration, for checks before a change is proposed.
pub(crate) fn voters_without(conf: &Conf, id: ReplicaId) -> Vec<ReplicaId> {
    conf.voters.iter().copied().filter(|voter| *voter != id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_that_make_no_sense_are_passed_over() {
        let conf = Conf { voters: vec![ReplicaId(1)], learners: vec![ReplicaId(2)] };
        let check = |kind, id, expected| {
            assert_eq!(may_follow(&conf, ConfStep { kind, id: ReplicaId(id) }), expected, "{kind:?} {id}");
        };
        check(ConfStepKind::AddLearner, 3, true);
        check(ConfStepKind::AddLearner, 1, false);
        check(ConfStepKind::AddLearner, 2, false);
        check(ConfStepKind::AddVoter, 2, true);
        check(ConfStepKind::AddVoter, 3, false);
        check(ConfStepKind::AddVoter, 1, false);
        check(ConfStepKind::Remove, 2, true);
        check(ConfStepKind::Remove, 1, false);
        check(ConfStepKind::Remove, 3, false);
    }
}
