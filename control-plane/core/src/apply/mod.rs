//! Applying commands: total and deterministic. One file per subject.
//!
//! Each action either does the whole of what it says or nothing: an error undoes the edit. Exactly-once stands
//! here too: the last answer of each client is kept beside the objects and given again for the same sequence.

mod found;
mod lease;
mod node;
mod object;
pub(crate) mod owner;
mod pods;
mod replica;
pub(crate) mod service;
mod silence;
mod token;
mod write;

use weft_model::{
    Action, Answer, ClientRecord, Command, LogIndex, Record, RecordKey, Refusal, Revision, Term, WallTime,
};

pub(crate) use node::merge_node;
pub(crate) use write::check_revision;

use crate::{Change, Error, Outcome, State, edit::Edit, hash, limits};

/// Applies the committed entry `index` of `term`.
///
/// Never fails as a whole: a refusal is the answer in the outcome, recorded for its client like any other, except a
/// conflict: made anew from the present revision, the same mutation may come again under the same sequence. An entry
/// at or below the applied index changes nothing and answers `OutOfOrder`.
pub fn apply(state: &mut State, index: LogIndex, term: Term, command: &Command) -> Outcome {
    if let Some(outcome) = out_of_order(state, index) {
        return outcome;
    }
    if let Some(record) = state.clients().get(&command.client) {
        if record.sequence == command.sequence {
            let answer = record.answer.clone().map_err(|refusal| Error::from(*refusal));
            return seal(state, index, term, Outcome { repeated: true, ..outcome_of(answer) });
        }
        if record.sequence > command.sequence {
            let (client, given, last) = (command.client, command.sequence, record.sequence);
            return seal(state, index, term, outcome_of(Err(Error::StaleSequence { client, given, last })));
        }
    }
    let mut edit = Edit::new(state, Revision(index.0), command.stamp);
    let mut outcome = match act(&mut edit, &command.action) {
        Ok(answer) => {
            let (changes, items) = edit.finish();
            Outcome { changes, items, ..outcome_of(Ok(answer)) }
        }
        Err(error) => {
            edit.undo();
            outcome_of(Err(error))
        }
    };
    if !matches!(outcome.answer, Err(Error::Conflict { .. })) {
        remember(state, index, command, &mut outcome);
    }
    seal(state, index, term, outcome)
}

/// Passes over a committed entry without a command: that of a new leader, or a configuration change without one.
pub fn apply_empty(state: &mut State, index: LogIndex, term: Term) -> Outcome {
    match out_of_order(state, index) {
        Some(outcome) => outcome,
        None => seal(state, index, term, outcome_of(Ok(Answer::Done))),
    }
}

/// What a command would do if it were the next entry; the state is left as it was.
///
/// The client's sequence is not looked at. `changes` holds neither counters nor the client's record.
pub fn dry_run(state: &mut State, command: &Command) -> Outcome {
    preview(state, command, |_, _| ()).0
}

/// The same, and a look at the state as it would be then, with what changed; `None` where the command is refused.
pub fn preview<T>(
    state: &mut State,
    command: &Command,
    look: impl FnOnce(&State, &[Change]) -> T,
) -> (Outcome, Option<T>) {
    let revision = Revision(state.meta().applied.next().0);
    let mut edit = Edit::new(state, revision, command.stamp);
    let mut seen = None;
    let mut outcome = match act(&mut edit, &command.action) {
        Ok(answer) => {
            let (changes, items) = edit.finish();
            seen = Some(look(edit.state(), &changes));
            Outcome { changes, items, ..outcome_of(Ok(answer)) }
        }
        Err(error) => outcome_of(Err(error)),
    };
    outcome.revision = edit.state().meta().revision;
    edit.undo();
    (outcome, seen)
}

fn act(edit: &mut Edit<'_>, action: &Action) -> Result<Answer, Error> {
    if let Action::Found { cluster, fabric, member } = action {
        return found::found(edit, *cluster, fabric, member);
    }
    if edit.state().fabric().is_none() {
        return Err(Error::NotFounded);
    }
    match action {
        Action::Found { .. } => Err(Error::AlreadyFounded),
        Action::Write { objects } => write::write(edit, objects),
        Action::Delete { keys } => object::delete(edit, keys),
        Action::AssignOwners { owners } => Ok(owner::assign(edit, owners)),
        Action::NoteSilence { nodes } => Ok(silence::note(edit, nodes)),
        Action::CreateToken { token } => token::create(edit, token),
        Action::RevokeToken { id } => token::revoke(edit, id),
        Action::JoinNode { token, name, uid, labels, facts } => {
            node::join(edit, token, &node::Joining { name, uid: *uid, labels, facts })
        }
        Action::JoinReplica { token, name, address } => replica::join(edit, token, name, *address),
        Action::JoinPerson { token, name } => token::join_person(edit, token, name),
        Action::PublishNode { node, uid, facts } => node::publish(edit, node, *uid, facts),
        Action::LeaseBlock { node, uid, family } => lease::lease(edit, node, *uid, *family),
        Action::ReturnBlock { node, uid, block, epoch } => lease::give_back(edit, node, *uid, *block, *epoch),
        Action::PublishPods(report) => pods::publish(edit, report),
        Action::RemoveNode { name } => node::remove(edit, name),
        Action::ChangeMember { member } => replica::change(edit, member),
        Action::RemoveMember { id } => Ok(replica::remove(edit, *id)),
    }
}

const fn outcome_of(answer: Result<Answer, Error>) -> Outcome {
    Outcome { revision: Revision(0), answer, repeated: false, changes: Vec::new(), items: Vec::new() }
}

fn out_of_order(state: &State, index: LogIndex) -> Option<Outcome> {
    let applied = state.meta().applied;
    let revision = state.meta().revision;
    (index <= applied).then(|| Outcome { revision, ..outcome_of(Err(Error::OutOfOrder { index, applied })) })
}

/// Keeps the answer for its client, and forgets clients that were silent for too long.
fn remember(state: &mut State, index: LogIndex, command: &Command, outcome: &mut Outcome) {
    let now = command.stamp.time;
    let record = ClientRecord {
        client: command.client,
        sequence: command.sequence,
        index,
        time: now,
        answer: outcome.answer.clone().map_err(|error| Box::new(Refusal::from(&error))),
    };
    state.insert(Record::Client(record.clone()));
    outcome.changes.push(Change::Put(Record::Client(record)));
    for _ in 0..limits::MAX_FORGOTTEN_PER_COMMAND {
        let Some((_, oldest)) = state.index.client_order.first().copied() else { break };
        let silent = state.clients().get(&oldest).is_some_and(|record| is_silent(record.time, now));
        if !silent && state.clients().len() <= limits::MAX_CLIENTS {
            break;
        }
        let key = RecordKey::Client(oldest);
        state.remove(&key);
        outcome.changes.push(Change::Delete(key));
    }
}

const fn is_silent(last: WallTime, now: WallTime) -> bool {
    now.0.saturating_sub(last.0) >= limits::CLIENT_TTL_MILLIS
}

/// Counts the entry as applied and carries the hash on.
fn seal(state: &mut State, index: LogIndex, term: Term, mut outcome: Outcome) -> Outcome {
    state.meta.applied = index;
    state.meta.term = term;
    outcome.revision = state.meta.revision;
    state.meta.hash = hash::carry_on(&state.meta, &outcome);
    outcome.changes.push(Change::Put(Record::Meta(state.meta)));
    outcome
}
