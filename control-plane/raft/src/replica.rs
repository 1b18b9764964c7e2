//! The replica: one value, one function. Everything it knows of time are ticks, of disks the numbers of its drafts.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use raft::{RawNode, SnapshotStatus};
use weft_core::State;
use weft_model::{LogIndex, ReplicaId, Term, WallTime};

use crate::{
    Codec, Compaction, Conf, Draft, Effects, Error, HardState, Input, Message, MessageKind, ReadReply,
    Refusal, ReplicaConfig, Reply, Restored, RoleChange, Snapshot, StateRole, Ticket,
    apply::Rows,
    chance::Chance,
    config::library_config,
    convert::message_from_library,
    gate::{self, MAX_ENTRY, Standing},
    log::Log,
    member::CloseBehind,
    pending::Pending,
    read::Reads,
    snapshot,
    watch::{Hashes, write_verdict},
};

/// A part of the library's output whose writes are not all durable yet.
struct Outstanding {
    number: u64,
    /// Whether it has a draft of its own; if not it waits for those before it.
    writes: bool,
    /// Whether that draft holds entries or a snapshot.
    log: bool,
    /// Whether that draft holds a new term or vote.
    voted: bool,
    snapshot: bool,
    messages: Vec<Message>,
}

/// A replica of the control plane.
pub struct Replica {
    pub(crate) config: ReplicaConfig,
    pub(crate) codec: Codec,
    pub(crate) raw: RawNode<Log>,
    pub(crate) state: State,
    pub(crate) conf: Conf,
    pub(crate) applied: (LogIndex, Term),
    pub(crate) pending: Pending,
    pub(crate) hashes: Hashes,
    pub(crate) rows: Rows,
    /// Something was applied that is in no batch yet.
    pub(crate) unwritten: bool,
    /// Latest wall time of a command.
    pub(crate) time: WallTime,
    /// Ticks so far.
    pub(crate) now: u64,
    pub(crate) heard: BTreeMap<ReplicaId, u64>,
    pub(crate) close_behind: BTreeMap<ReplicaId, CloseBehind>,
    pub(crate) reads: Reads,
    outstanding: VecDeque<Outstanding>,
    /// Snapshots on their way, with the ticks since they left.
    pub(crate) sending: BTreeMap<ReplicaId, usize>,
    /// State of the snapshot that is being taken.
    incoming: Option<(LogIndex, Term, State)>,
    hard_state: HardState,
    pub(crate) chance: Chance,
    pub(crate) timeout: usize,
    pub(crate) seen: RoleChange,
    rebuild: bool,
    state_unusable: Option<String>,
    stopped: bool,
}

impl Replica {
    /// Builds a replica from what its disk held.
    ///
    /// Fails when the disk lost what was acknowledged (`LogLost`: it must join again under a new id), holds another
    /// cluster, or can't be understood.
    pub fn new(config: ReplicaConfig, restored: Restored, codec: Codec) -> Result<Self, Error> {
        crate::restore::replica(config, restored, codec)
    }

    pub(crate) fn assemble(
        config: ReplicaConfig,
        codec: Codec,
        parts: crate::restore::Parts,
    ) -> Result<Self, Error> {
        let library = library_config(&config, parts.applied.0);
        let raw = RawNode::new(&library, parts.log, &config.logger)
            .map_err(|e| Error::Setup { why: e.to_string() })?;
        let chance = Chance::new(config.seed ^ config.id.0.rotate_left(32));
        let mut replica = Self {
            timeout: config.timing.election_ticks,
            config,
            codec,
            raw,
            state: parts.state,
            conf: parts.conf,
            applied: parts.applied,
            pending: Pending::default(),
            hashes: Hashes::default(),
            rows: Rows::default(),
            unwritten: false,
            time: WallTime(0),
            now: 0,
            heard: BTreeMap::new(),
            close_behind: BTreeMap::new(),
            reads: Reads::default(),
            outstanding: VecDeque::new(),
            sending: BTreeMap::new(),
            incoming: None,
            hard_state: parts.hard_state,
            chance,
            seen: RoleChange { term: parts.hard_state.term, role: StateRole::Follower, leader: None },
            rebuild: parts.rebuild,
            state_unusable: parts.unusable,
            stopped: false,
        };
        replica.draw_timeout();
        Ok(replica)
    }

    /// Takes one input. Cheap: encoding and applying, no waiting.
    pub fn input(&mut self, input: Input) -> Effects {
        self.inputs([input])
    }

    /// Takes several inputs at once: their entries share messages and drafts.
    pub fn inputs(&mut self, inputs: impl IntoIterator<Item = Input>) -> Effects {
        let mut effects = Effects::default();
        if self.stopped {
            return effects;
        }
        for input in inputs {
            self.take(input, &mut effects);
            if effects.fatal.is_some() {
                break;
            }
        }
        if let Err(error) = self.advance(&mut effects) {
            // What was worked out from a state that can't be trusted must not leave.
            effects = Effects { fatal: Some(error), ..Effects::default() };
        }
        self.stopped = effects.fatal.is_some() || effects.removed;
        effects
    }

    /// The applied state.
    pub const fn state(&self) -> &State {
        &self.state
    }

    fn take(&mut self, input: Input, effects: &mut Effects) {
        match input {
            Input::Start => {
                effects.state_unusable = self.state_unusable.take();
                if std::mem::take(&mut self.rebuild) {
                    let (index, term) = self.applied;
                    let batch = snapshot::replacement(&self.state, index, term, &self.conf, &self.codec);
                    effects.applied.push(batch);
                }
            }
            Input::Tick => self.tick(),
            Input::Paused => {
                if self.leads() {
                    let term = self.raw.raft.term;
                    self.raw.raft.become_follower(term, 0);
                }
            }
            Input::Message { certified, message } => {
                if let Err(refusal) = self.message(certified, &message) {
                    self.refuse(refusal, effects);
                }
            }
            Input::Unreachable(id) => self.raw.report_unreachable(id.0),
            Input::Propose { ticket, command } => {
                let reply = self.propose(ticket, &command);
                effects.answers.extend(reply.map(|reply| (ticket, reply)));
            }
            Input::Read { ticket } if self.leads() => self.reads.ask(ticket),
            Input::Read { ticket } => effects.reads.push((ticket, ReadReply::NotLeader(self.leader()))),
            Input::Await { ticket, index } => self.reads.wait(index, ticket),
            Input::Cancel(ticket) => {
                self.pending.cancel(ticket);
                self.reads.cancel(ticket);
            }
            Input::Persisted(number) => self.persisted(number, effects),
            Input::SnapshotReport { to, taken } => self.snapshot_sent(to, taken),
            Input::ProposeMember { ticket, change } => self.propose_member(ticket, change, effects),
            Input::Transfer(to) => self.transfer(to),
        }
    }

    /// Of several refusals in one turn, one that the sender must hear of is kept.
    fn refuse(&self, refusal: Refusal, effects: &mut Effects) {
        if let Refusal::LogLost { commit, last } = refusal {
            let term = Term(self.raw.raft.term);
            effects.fatal = Some(Error::LogLost { id: self.config.id, last, term, acknowledged: commit });
        }
        if !matches!(effects.refused, Some(Refusal::Removed { .. })) {
            effects.refused = Some(refusal);
        }
    }

    fn tick(&mut self) {
        self.now += 1;
        // A replica whose own log isn't durable must not come to lead by itself, and the library reads the log from
        // the applied index when it campaigns: not while a snapshot is being installed.
        let alone = self.conf.voters == [self.config.id] && !self.is_durable();
        if self.leads() || !(alone || self.outstanding.iter().any(|part| part.snapshot)) {
            let campaigned = self.raw.raft.election_elapsed;
            self.raw.tick();
            if !self.leads() && self.raw.raft.election_elapsed < campaigned {
                self.draw_timeout();
            }
        }
        self.reads.tick(self.config.timing.election_ticks);
        self.sending.values_mut().for_each(|ticks| *ticks += 1);
        let patience = self.config.timing.snapshot_ticks;
        while let Some((&to, _)) = self.sending.iter().find(|(_, ticks)| **ticks > patience) {
            self.snapshot_sent(to, false);
        }
        if self.leads() {
            self.promote_learners();
        }
    }

    fn message(&mut self, certified: ReplicaId, message: &Message) -> Result<(), Refusal> {
        let log = &self.raw.raft.raft_log;
        let standing = Standing {
            cluster: self.config.cluster,
            us: self.config.id,
            term: Term(self.raw.raft.term),
            leads: self.leads(),
            last: LogIndex(log.last_index()),
            durable: self.is_durable(),
            known: &|id| self.knows(id),
        };
        let checked = gate::admit(&standing, certified, message)?;
        if let Some(snapshot) = &message.snapshot
            && snapshot.index.0 > log.committed
        {
            let malformed = |why| Refusal::Malformed { from: message.from, kind: message.kind, why };
            let state =
                snapshot::read(snapshot, &self.codec).map_err(|_| malformed("rows of the snapshot"))?;
            if state.meta().cluster != self.config.cluster {
                return Err(malformed("cluster of the snapshot"));
            }
            self.incoming = Some((snapshot.index, snapshot.term, state));
        }
        self.heard.insert(message.from, self.now);
        if let Some(checkpoint) = message.checkpoint
            && self.leads()
            && message.term.0 == self.raw.raft.term
        {
            self.hashes.told(message.from, checkpoint);
        }
        // The only errors left are responses of a replica that has just been removed: nothing to do about them.
        let _ = self.raw.step(checked);
        self.settle_timeout();
        Ok(())
    }

    /// Whether everything in our log is on disk.
    fn is_durable(&self) -> bool {
        let log = &self.raw.raft.raft_log;
        log.persisted == log.last_index() && !self.outstanding.iter().any(|part| part.log)
    }

    fn propose(&mut self, ticket: Ticket, command: &weft_model::Command) -> Option<Reply> {
        if !self.leads() {
            return Some(Reply::NotLeader { leader: self.leader() });
        }
        let data = (self.codec.encode_command)(command);
        if data.len() > MAX_ENTRY {
            return Some(Reply::Dropped("the command is larger than 2 MiB"));
        }
        if self.raw.propose(Vec::new(), data.into()).is_err() {
            return Some(Reply::Dropped("leadership is being handed over, or too much waits"));
        }
        let term = Term(self.raw.raft.term);
        self.pending.insert(self.last(), term, ticket);
        None
    }

    fn persisted(&mut self, number: u64, effects: &mut Effects) {
        let mut done = None;
        while let Some(part) = self.outstanding.pop_front_if(|part| part.number <= number || !part.writes) {
            done = Some(part.number);
            effects.messages.extend(part.messages);
        }
        if let Some(done) = done {
            self.raw.on_persist_ready(done);
        }
    }

    fn snapshot_sent(&mut self, to: ReplicaId, taken: bool) {
        if self.sending.remove(&to).is_some() {
            let status = if taken { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
            self.raw.report_snapshot(to.0, status);
        }
    }

    /// Lets the library work until it has nothing more to say.
    fn advance(&mut self, effects: &mut Effects) -> Result<(), Error> {
        if let Some(error) = effects.fatal.take() {
            return Err(error);
        }
        loop {
            self.settle_timeout();
            while self.raw.has_ready() {
                self.ready(effects)?;
            }
            let log = &self.raw.raft.raft_log;
            let done = self.applied.0.0.min(log.committed).min(log.persisted);
            if done > log.applied {
                self.raw.advance_apply_to(done);
            }
            self.follow_role(effects);
            self.ask_more();
            if !self.raw.has_ready() {
                break;
            }
        }
        self.close_batch(effects);
        self.shorten(effects);
        effects.reads.extend(self.reads.applied(self.applied.0));
        Ok(())
    }

    /// Rounds of reads, verdicts, snapshots for replicas that need one.
    fn ask_more(&mut self) {
        if self.leads() && self.raw.raft.commit_to_current_term() {
            if let Some(context) = self.reads.begin() {
                self.raw.read_index(context);
            }
            if let Some(verdict) = self.hashes.verdict(self.config.id, &self.conf) {
                // A verdict that is dropped comes again with the next checkpoint.
                let _ = self.raw.propose(write_verdict(&verdict).to_vec(), Vec::new());
            }
        }
        if self.raw.store().take_wanted() {
            let snapshot = self.snapshot();
            self.raw.mut_store().offer(snapshot);
        }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        snapshot::shared(&self.state, self.applied, &self.conf, &self.codec)
    }

    fn ready(&mut self, effects: &mut Effects) -> Result<(), Error> {
        let mut ready = self.raw.ready();
        let number = ready.number();
        let now = ready.take_messages();
        let later = ready.take_persisted_messages();
        let committed = ready.take_committed_entries();
        let entries = ready.take_entries();
        let reads = ready.take_read_states();
        let mut draft = Draft { number, ..Draft::default() };
        let mut voted = false;
        if let Some(state) = ready.hs() {
            let state = HardState::from_library(state);
            voted = (state.term, state.vote) != (self.hard_state.term, self.hard_state.vote);
            self.hard_state = state;
            self.raw.mut_store().set_hard_state(state);
        }
        if !ready.snapshot().is_empty() {
            let snapshot = Arc::new(Snapshot::from_library(ready.snapshot()));
            self.install(&snapshot, effects)?;
            draft.snapshot = Some(snapshot);
        }
        self.raw.mut_store().append(&entries);
        draft.entries = entries.iter().map(crate::Entry::from).collect();
        self.raw.advance_append_async(ready);

        let mut now = self.outgoing(now);
        let mut messages = self.outgoing(later);
        if voted || self.outstanding.iter().any(|part| part.voted) {
            // A sole voter leads before its term is durable. Were it to speak in that term and forget it, it could lead
            // the same term again, with other entries at the same places.
            now.append(&mut messages);
            messages = std::mem::take(&mut now);
        }
        effects.messages.extend(now);
        self.hold(draft, voted, messages, effects);
        for read in reads {
            self.reads.confirmed(&read.request_ctx, LogIndex(read.index));
        }
        self.apply_all(&committed, effects)
    }

    /// A draft leaves with everything that has to wait for it. A commit index alone is no reason to write: it goes
    /// along with the next draft, and a start takes the applied index for it.
    fn hold(&mut self, mut draft: Draft, voted: bool, messages: Vec<Message>, effects: &mut Effects) {
        let number = draft.number;
        let (snapshot, log) =
            (draft.snapshot.is_some(), draft.snapshot.is_some() || !draft.entries.is_empty());
        let writes = log || voted;
        if writes {
            draft.hard_state = Some(self.hard_state);
            effects.persist.push(draft);
        } else if self.outstanding.is_empty() {
            effects.messages.extend(messages);
            self.raw.on_persist_ready(number);
            return;
        }
        self.outstanding.push_back(Outstanding { number, writes, log, voted, snapshot, messages });
    }

    /// Takes the state of a snapshot in place of ours.
    fn install(&mut self, snapshot: &Arc<Snapshot>, effects: &mut Effects) -> Result<(), Error> {
        let state = match self.incoming.take() {
            Some((index, term, state)) if (index, term) == (snapshot.index, snapshot.term) => state,
            _ => snapshot::read(snapshot, &self.codec)?,
        };
        self.close_batch(effects);
        self.state = state;
        self.conf = snapshot.conf.clone();
        self.applied = (snapshot.index, snapshot.term);
        self.hashes.replaced();
        self.raw.mut_store().install(Arc::clone(snapshot));
        effects.answers.extend(self.pending.abandon(self.leader()));
        effects.items.clear();
        effects.items_reset = true;
        effects.conf_changed = true;
        let (index, term) = self.applied;
        effects.applied.push(snapshot::replacement(&self.state, index, term, &self.conf, &self.codec));
        Ok(())
    }

    fn outgoing(&mut self, messages: Vec<raft::eraftpb::Message>) -> Vec<Message> {
        let mut out = Vec::with_capacity(messages.len());
        for message in &messages {
            let Some(mut ours) = message_from_library(self.config.cluster, message) else { continue };
            match ours.kind {
                MessageKind::Snapshot => {
                    ours.snapshot = Some(self.sendable(message.get_snapshot()));
                    self.sending.insert(ours.to, 0);
                }
                MessageKind::AppendResponse | MessageKind::HeartbeatResponse => {
                    ours.checkpoint = self.hashes.latest();
                }
                MessageKind::Append
                | MessageKind::RequestVote
                | MessageKind::RequestVoteResponse
                | MessageKind::Heartbeat
                | MessageKind::TimeoutNow
                | MessageKind::RequestPreVote
                | MessageKind::RequestPreVoteResponse => {}
            }
            out.push(ours);
        }
        out
    }

    /// The shared snapshot when it is the one meant, so that it isn't hashed again.
    fn sendable(&self, wanted: &raft::eraftpb::Snapshot) -> Arc<Snapshot> {
        let meta = wanted.get_metadata();
        match self.raw.store().offered() {
            Some(ours) if ours.index.0 == meta.index && ours.term.0 == meta.term => Arc::clone(ours),
            _ => Arc::new(Snapshot::from_library(wanted)),
        }
    }

    /// Shortens the log to half of its bounds when it has reached them.
    fn shorten(&mut self, effects: &mut Effects) {
        let log = self.raw.store();
        let (base, last) = (log.base().0, log.last());
        let long = last.0 - base.0 > self.config.keep_entries || log.bytes() > self.config.keep_bytes;
        if !long {
            return;
        }
        let by_count = LogIndex((last.0 + 1).saturating_sub(self.config.keep_entries / 2));
        let by_bytes = log.first_within(self.config.keep_bytes / 2);
        let applied = LogIndex(self.raw.raft.raft_log.applied);
        let first = by_count.max(by_bytes).min(applied.next());
        // Not for a few entries: each shortening writes a snapshot.
        if first.0 <= base.0 + (self.config.keep_entries / 8).max(1)
            && log.bytes() <= 2 * self.config.keep_bytes
        {
            return;
        }
        let snapshot = self.snapshot();
        let log = self.raw.mut_store();
        log.compact(first);
        log.offer(Arc::clone(&snapshot));
        effects.compact = Some(Compaction { snapshot, first });
    }
}

#[cfg(test)]
#[path = "replica_tests.rs"]
mod tests;
