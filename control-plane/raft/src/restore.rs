//! From what the disk held to a replica: which parts are believed, which are rebuilt, which end it.

use std::collections::VecDeque;

use weft_core::State;
use weft_model::{LogIndex, ReplicaId, Term};

use crate::{
    AppliedState, Codec, Conf, Entry, Error, HardState, Replica, ReplicaConfig, Restored, Snapshot, log::Log,
    snapshot,
};

/// What a replica is put together from.
pub(crate) struct Parts {
    pub(crate) log: Log,
    pub(crate) state: State,
    pub(crate) conf: Conf,
    pub(crate) applied: (LogIndex, Term),
    pub(crate) hard_state: HardState,
    /// The state store must be written anew.
    pub(crate) rebuild: bool,
    /// Why what it held wasn't used.
    pub(crate) unusable: Option<String>,
}

/// Builds a replica from what its disk held.
pub(crate) fn replica(config: ReplicaConfig, restored: Restored, codec: Codec) -> Result<Replica, Error> {
    let Restored { hard_state, snapshot, entries, applied, acknowledged, acknowledged_term } = restored;
    let (base, entries) = place(entries, snapshot.as_deref())?;
    let last = LogIndex(base.0.0 + entries.len() as u64);
    let last_term = entries.back().map_or(base.1, |entry| entry.term);
    let hard_state = complete(hard_state, snapshot.as_deref(), applied.as_ref(), last_term);

    let most = acknowledged.max(hard_state.commit);
    if last < most || hard_state.term < acknowledged_term {
        return Err(Error::LogLost { id: config.id, last, term: hard_state.term, acknowledged: most });
    }
    let term_at = |index: LogIndex| {
        if index == base.0 {
            return Some(base.1);
        }
        let position = usize::try_from(index.0.checked_sub(base.0.0 + 1)?).ok()?;
        entries.get(position).map(|entry: &Entry| entry.term)
    };
    let floor = snapshot.as_ref().map_or(LogIndex(0), |snapshot| snapshot.index);
    let (usable, unusable) = match applied.map(|stored| believed(stored, floor, term_at, &codec)) {
        Some(Ok(usable)) => (Some(usable), None),
        Some(Err(why)) => (None, Some(why)),
        None => (None, None),
    };
    let (state, conf, applied, rebuild) = match usable {
        Some((state, stored)) => (state, stored.conf, (stored.index, stored.term), false),
        None => from_snapshot(snapshot.as_deref(), &codec)?,
    };
    if state.fabric().is_some() && state.meta().cluster != config.cluster {
        return Err(Error::OtherCluster { expected: config.cluster, found: state.meta().cluster });
    }
    let entries = entries.iter().map(raft::eraftpb::Entry::from).collect();
    let log = Log::new(hard_state, conf.clone(), base, entries, snapshot);
    let parts = Parts { log, state, conf, applied, hard_state, rebuild, unusable };
    Replica::assemble(config, codec, parts)
}

/// Where the log begins, and its entries from there on. Entries that a newer snapshot contradicts or has outrun go.
fn place(
    entries: Vec<Entry>,
    snapshot: Option<&Snapshot>,
) -> Result<((LogIndex, Term), VecDeque<Entry>), Error> {
    let mut entries = VecDeque::from(entries);
    let inconsistent = |why: String| Err(Error::Inconsistent { why });
    if let Some((one, next)) =
        entries.iter().zip(entries.iter().skip(1)).find(|(a, b)| b.index != a.index.next())
    {
        return inconsistent(format!("entry {} is followed by {}", one.index, next.index));
    }
    let Some(first) = entries.front().map(|entry| entry.index) else {
        return Ok((snapshot.map_or((LogIndex(0), Term(0)), |s| (s.index, s.term)), entries));
    };
    let Some(snapshot) = snapshot else {
        return inconsistent(format!("the log begins with entry {first} and there is no snapshot before it"));
    };
    if first > snapshot.index.next() {
        return inconsistent(format!("the snapshot ends at {}, the log begins with {first}", snapshot.index));
    }
    if first == snapshot.index.next() {
        return Ok(((snapshot.index, snapshot.term), entries));
    }
    let position = usize::try_from(snapshot.index.0 - first.0).unwrap_or(usize::MAX);
    if entries.get(position).map(|entry| entry.term) != Some(snapshot.term) {
        // A snapshot of the leader was installed and the crash came before the old log went.
        return Ok(((snapshot.index, snapshot.term), VecDeque::new()));
    }
    // The term before the first entry went with the compaction: the first entry takes that place.
    let base = entries.pop_front().map_or((LogIndex(0), Term(0)), |entry| (entry.index, entry.term));
    Ok((base, entries))
}

/// The commit index is not written for its own sake: what a snapshot or an applied batch holds was committed.
fn complete(
    stored: HardState,
    snapshot: Option<&Snapshot>,
    applied: Option<&AppliedState>,
    last_term: Term,
) -> HardState {
    let commit = stored
        .commit
        .max(snapshot.map_or(LogIndex(0), |snapshot| snapshot.index))
        .max(applied.map_or(LogIndex(0), |applied| applied.index));
    let term = stored.term.max(last_term).max(snapshot.map_or(Term(0), |snapshot| snapshot.term));
    // In a term that was never stored, no vote can have left.
    let vote = if term == stored.term { stored.vote } else { ReplicaId(0) };
    HardState { term, vote, commit }
}

/// The stored state with its rows read, or why it can't be used: it must lie in the log and make a valid state.
fn believed(
    stored: AppliedState,
    floor: LogIndex,
    term_at: impl Fn(LogIndex) -> Option<Term>,
    codec: &Codec,
) -> Result<(State, AppliedState), String> {
    let AppliedState { index, term, .. } = stored;
    if index < floor {
        return Err(format!("it stands at {index}, the snapshot of the log at {floor}"));
    }
    match term_at(index) {
        Some(logged) if logged == term => {}
        Some(logged) => {
            return Err(format!("entry {index} is of term {logged}, it was applied in term {term}"));
        }
        None => return Err(format!("it stands at {index}, which isn't in the log")),
    }
    let state = snapshot::restore(&stored.rows, codec).map_err(|error| error.to_string())?;
    Ok((state, stored))
}

type Applied = (State, Conf, (LogIndex, Term), bool);

/// The state of the snapshot, or an empty one.
fn from_snapshot(snapshot: Option<&Snapshot>, codec: &Codec) -> Result<Applied, Error> {
    match snapshot {
        Some(snapshot) => {
            let state = snapshot::read(snapshot, codec)?;
            Ok((state, snapshot.conf.clone(), (snapshot.index, snapshot.term), true))
        }
        None => Ok((State::new(), Conf::default(), (LogIndex(0), Term(0)), false)),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::EntryKind;

    fn log(range: std::ops::RangeInclusive<u64>, term: u64) -> Vec<Entry> {
        let entry = |index| Entry {
            index: LogIndex(index),
            term: Term(term),
            kind: EntryKind::Normal,
            data: Bytes::new(),
            context: Bytes::new(),
        };
        range.map(entry).collect()
    }

    /// Log and snapshot (index, term) -> base and number of entries behind it, or an error.
    fn check(entries: Vec<Entry>, snapshot: Option<(u64, u64)>, expected: Option<(u64, u64, usize)>) {
        let snapshot = snapshot.map(|(index, term)| Snapshot {
            index: LogIndex(index),
            term: Term(term),
            ..Snapshot::default()
        });
        let placed = place(entries, snapshot.as_ref()).ok();
        assert_eq!(placed.map(|((index, term), rest)| (index.0, term.0, rest.len())), expected);
    }

    #[test]
    fn the_log_stands_on_its_snapshot() {
        check(vec![], None, Some((0, 0, 0)));
        check(vec![], Some((5, 2)), Some((5, 2, 0)));
        check(log(6..=9, 2), Some((5, 2)), Some((5, 2, 4)));
        check(log(3..=9, 2), Some((5, 2)), Some((3, 2, 6)));
        check(log(3..=9, 2), Some((5, 3)), Some((5, 3, 0)));
        check(log(3..=4, 2), Some((5, 2)), Some((5, 2, 0)));
        check(log(7..=9, 2), Some((5, 2)), None);
        check(log(1..=9, 2), None, None);
        check([log(6..=7, 2), log(9..=9, 2)].concat(), Some((5, 2)), None);
    }

    #[test]
    fn what_was_applied_was_committed_and_an_unstored_term_has_no_vote() {
        let stored = HardState { term: Term(3), vote: ReplicaId(2), commit: LogIndex(7) };
        let applied = AppliedState { index: LogIndex(9), ..AppliedState::default() };
        let same = complete(stored, None, Some(&applied), Term(3));
        assert_eq!(same, HardState { commit: LogIndex(9), ..stored });
        let newer = complete(stored, None, None, Term(4));
        assert_eq!(newer, HardState { term: Term(4), vote: ReplicaId(0), commit: LogIndex(7) });
    }
    #[test]
    fn a_stored_state_that_is_not_used_says_why() {
        let restored = crate::fixture::restored(1);
        let snapshot = restored.snapshot.clone().unwrap();
        let stored = AppliedState { index: snapshot.index, term: snapshot.term, ..AppliedState::default() };
        let start = |applied: Option<AppliedState>| {
            let restored = Restored { applied, ..restored.clone() };
            let mut replica =
                Replica::new(crate::fixture::config(1), restored, crate::fixture::codec()).unwrap();
            let effects = replica.input(crate::Input::Start);
            (effects.applied.len(), effects.state_unusable)
        };
        assert_eq!(start(None), (1, None), "nothing was lost");
        let (written, why) = start(Some(AppliedState { index: LogIndex(0), ..stored.clone() }));
        assert!(written == 1 && why.as_ref().is_some_and(|why| why.contains("it stands at 0")), "{why:?}");
        let (written, why) = start(Some(AppliedState { term: Term(9), ..stored.clone() }));
        assert!(written == 1 && why.as_ref().is_some_and(|why| why.contains("term 9")), "{why:?}");
        let rows = vec![Bytes::from_static(b"nonsense")];
        let (written, why) = start(Some(AppliedState { rows, conf: snapshot.conf.clone(), ..stored }));
        assert!(written == 1 && why.is_some(), "{why:?}");
    }
}
