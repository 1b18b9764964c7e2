//! The replica as all services use it: mutations, linearizable reads, looks at the state.
//!
//! A mutation is tried here when this replica leads, else carried to the leader; while nobody can take it, it is tried
//! again under the same client and sequence, so it is applied once however often it was sent.

use std::time::Instant;

use tokio::sync::{oneshot, watch};
use weft_core::{Change, Outcome, State};
use weft_errors::{BUSY, Coded, DEADLINE, Error, INTERNAL, NO_LEADER, TOO_LARGE, UNREACHABLE};
use weft_model::{Answer, Command, LogIndex, ReplicaId, Revision, Term};
use weft_proto::{codec, v1};
use weft_raft::{Conf, ReadReply, Reply, StateRole};

use crate::{
    inbox::{Look, Proposal, Question, Senders},
    limits::{COMMAND_BYTES, LEADERLESS_CALL, RETRY_PAUSE},
    peers::Peers,
    room::Room,
};

/// What became of a mutation.
#[derive(Debug)]
pub(crate) struct Applied {
    /// Revision of the store after it.
    pub(crate) revision: Revision,
    /// What the caller is told.
    pub(crate) answer: Result<Answer, Error>,
}

/// What this replica, as the leader, made of a mutation.
#[derive(Debug)]
pub(crate) struct Decided {
    /// Where it was applied.
    pub(crate) index: LogIndex,
    /// What core says.
    pub(crate) outcome: Box<Outcome>,
}

impl From<Decided> for Applied {
    fn from(decided: Decided) -> Self {
        let outcome = decided.outcome;
        Self { revision: outcome.revision, answer: outcome.answer.map_err(|refusal| refusal.envelope()) }
    }
}

/// How the replica is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReplicaView {
    /// Who it is.
    pub(crate) id: ReplicaId,
    /// Its part.
    pub(crate) role: StateRole,
    /// Its term.
    pub(crate) term: Term,
    /// Who leads, if known.
    pub(crate) leader: Option<ReplicaId>,
    /// Last applied entry.
    pub(crate) applied: LogIndex,
    /// Who takes part.
    pub(crate) conf: Conf,
}

impl ReplicaView {
    /// Whether it leads.
    pub(crate) const fn leads(&self) -> bool {
        matches!(self.role, StateRole::Leader)
    }

    fn where_to(&self) -> Where {
        match self.leader {
            _ if self.leads() => Where::Here,
            Some(leader) if leader != self.id => Where::At(leader),
            Some(_) | None => Where::Nowhere,
        }
    }
}

/// Who takes mutations now.
enum Where {
    Here,
    At(ReplicaId),
    Nowhere,
}

/// The way to the replica task; clones share it.
#[derive(Clone)]
pub(crate) struct ReplicaHandle {
    senders: Senders,
    view: watch::Receiver<ReplicaView>,
    peers: Peers,
    room: Room,
}

impl ReplicaHandle {
    pub(crate) const fn new(
        senders: Senders,
        view: watch::Receiver<ReplicaView>,
        peers: Peers,
        room: Room,
    ) -> Self {
        Self { senders, view, peers, room }
    }

    /// How the replica is doing.
    pub(crate) fn status(&self) -> ReplicaView {
        self.view.borrow().clone()
    }

    /// Applies a mutation exactly once; what it came to is in the answer.
    ///
    /// Fails with `NO_LEADER`, `BUSY` or `DEADLINE` when nobody took it or decided it in time (it may still be applied),
    /// with `TOO_LARGE` beyond 2 MiB.
    pub(crate) async fn propose(&self, command: Command, deadline: Instant) -> Result<Applied, Error> {
        let begun = Instant::now();
        loop {
            let tried = match self.status().where_to() {
                Where::Here => self.propose_here(command.clone(), deadline).await.map(Applied::from),
                Where::At(leader) => self.forward(leader, &command, deadline).await,
                Where::Nowhere => Err(self.no_leader()),
            };
            match tried {
                Ok(applied) => return Ok(applied),
                Err(error) => self.again(error, begun, deadline).await?,
            }
        }
    }

    /// Returns once the state here is as young as everything that was acknowledged before the call: a look at it is
    /// then linearizable.
    ///
    /// Fails with `NO_LEADER` or `DEADLINE`.
    pub(crate) async fn barrier(&self, deadline: Instant) -> Result<(), Error> {
        let begun = Instant::now();
        loop {
            let tried = match self.status().where_to() {
                Where::Here => self.read_here(deadline).await.map(|_| ()),
                Where::At(leader) => self.read_at(leader, deadline).await,
                Where::Nowhere => Err(self.no_leader()),
            };
            match tried {
                Ok(()) => return Ok(()),
                Err(error) => self.again(error, begun, deadline).await?,
            }
        }
    }

    /// Looks at the state as it is. Runs between two inputs of the replica: must be cheap.
    ///
    /// Fails only when the replica is stopping.
    pub(crate) async fn query<R: Send + 'static>(
        &self,
        look: impl FnOnce(&State) -> R + Send + 'static,
    ) -> Result<R, Error> {
        let (sender, receiver) = oneshot::channel();
        // The asker may have given up; then nobody needs the result.
        self.look(Box::new(move |replica| drop(sender.send(look(replica.state()))))).await?;
        receiver.await.map_err(|_| stopping())
    }

    /// What a command would do now; the state stays as it is.
    pub(crate) async fn dry_run(&self, command: Command) -> Result<Outcome, Error> {
        let (sender, receiver) = oneshot::channel();
        self.look(Box::new(move |replica| drop(sender.send(replica.dry_run(&command))))).await?;
        receiver.await.map_err(|_| stopping())
    }

    /// The same, with looks at the state as it is and, where the command isn't refused, as it would be then. Both run between two
    /// inputs of the replica: they must be cheap.
    pub(crate) async fn preview<B, A>(
        &self,
        command: Command,
        before: impl FnOnce(&State) -> B + Send + 'static,
        after: impl FnOnce(&State, &[Change]) -> A + Send + 'static,
    ) -> Result<(Outcome, B, Option<A>), Error>
    where
        B: Send + 'static,
        A: Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        self.look(Box::new(move |replica| {
            let before = before(replica.state());
            let (outcome, after) = replica.preview(&command, after);
            drop(sender.send((outcome, before, after)));
        }))
        .await?;
        receiver.await.map_err(|_| stopping())
    }

    async fn look(&self, look: Look) -> Result<(), Error> {
        self.senders.questions.send(Question::Look(look)).await.map_err(|_| stopping())
    }

    /// One try on this replica: `NO_LEADER` when it doesn't lead or lost that in between, `DISK_FULL` when it has no
    /// room for more.
    pub(crate) async fn propose_here(&self, command: Command, deadline: Instant) -> Result<Decided, Error> {
        if self.status().leads() {
            self.room.check(&command.action)?;
        }
        let room = tokio::time::timeout_at(deadline.into(), self.senders.proposals.reserve()).await;
        let room = room
            .map_err(|_| Error::new(&BUSY, "more changes are pending than the control plane accepts"))?
            .map_err(|_| stopping())?;
        let (reply, answer) = oneshot::channel();
        room.send(Proposal { command: Box::new(command.clone()), reply });
        let answer = tokio::time::timeout_at(deadline.into(), answer).await;
        match answer.map_err(|_| undecided())?.map_err(|_| stopping())? {
            Reply::Applied { index, outcome } => Ok(Decided { index, outcome }),
            Reply::NotLeader { .. } | Reply::Undecided { .. } => Err(self.no_leader()),
            Reply::Dropped(_) if codec::encode_command(&command).len() > COMMAND_BYTES => {
                Err(Error::new(&TOO_LARGE, format!("one change holds at most {COMMAND_BYTES} bytes")))
            }
            Reply::Dropped(why) => Err(Error::new(&BUSY, "the change was not taken").because(why)),
            Reply::Member(refusal) => {
                Err(Error::new(&INTERNAL, "a mutation was answered as a change of members")
                    .because(format!("{refusal:?}")))
            }
        }
    }

    /// The index at which a read is linearizable; applied here already. `NO_LEADER` when this replica doesn't lead.
    pub(crate) async fn read_here(&self, deadline: Instant) -> Result<LogIndex, Error> {
        match self.ask(deadline, Question::Read).await? {
            ReadReply::Ready(index) => Ok(index),
            ReadReply::NotLeader(_) => Err(self.no_leader()),
        }
    }

    async fn ask(
        &self,
        deadline: Instant,
        question: impl FnOnce(oneshot::Sender<ReadReply>) -> Question,
    ) -> Result<ReadReply, Error> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.senders.questions.send(question(reply)).await.map_err(|_| stopping())?;
            answer.await.map_err(|_| stopping())
        };
        tokio::time::timeout_at(deadline.into(), asked).await.map_err(|_| self.late())?
    }

    /// Carries a mutation to the leader, and waits until its effect is here too: who wrote may read here at once.
    async fn forward(
        &self,
        leader: ReplicaId,
        command: &Command,
        deadline: Instant,
    ) -> Result<Applied, Error> {
        let Some(mut client) = self.peers.client(leader) else { return Err(self.no_leader()) };
        let request = v1::ProposeRequest { command: codec::encode_command(command) };
        let request = weft_rpc::with_deadline(request, left(deadline));
        let response = self.while_leading(leader, client.propose(request)).await?.into_inner();
        let answer = codec::decode_answer(&response.answer)
            .map_err(|e| Error::new(&INTERNAL, "the leader's answer can't be read").because(e))?;
        let index = LogIndex(response.index);
        // Best effort: the mutation is applied whether or not this replica knows of it yet.
        drop(self.ask(deadline, |reply| Question::Await(index, reply)).await);
        Ok(Applied {
            revision: Revision(response.revision),
            answer: answer.map_err(|refusal| weft_core::Error::from(*refusal).envelope()),
        })
    }

    async fn read_at(&self, leader: ReplicaId, deadline: Instant) -> Result<(), Error> {
        let Some(mut client) = self.peers.client(leader) else { return Err(self.no_leader()) };
        let request = weft_rpc::with_deadline(v1::ReadIndexRequest {}, left(deadline));
        let index =
            LogIndex(self.while_leading(leader, client.read_index(request)).await?.into_inner().index);
        self.ask(deadline, |reply| Question::Await(index, reply)).await.map(|_| ())
    }

    /// A call to the leader, given up as soon as somebody else leads: a dead machine doesn't answer.
    async fn while_leading<T>(
        &self,
        leader: ReplicaId,
        call: impl Future<Output = Result<weft_rpc::Response<T>, weft_rpc::Status>>,
    ) -> Result<weft_rpc::Response<T>, Error> {
        let mut view = self.view.clone();
        tokio::select! {
            response = call => response.map_err(|status| weft_rpc::error_of(&status)),
            _ = view.wait_for(|view| view.leader != Some(leader)) => Err(self.no_leader()),
        }
    }

    /// Pauses when the error passes by itself and there is time; gives it back otherwise.
    async fn again(&self, error: Error, begun: Instant, deadline: Instant) -> Result<(), Error> {
        if ![&NO_LEADER, &UNREACHABLE, &BUSY].contains(&error.registered())
            || self.senders.proposals.is_closed()
        {
            return Err(error);
        }
        // Without a leader for so long, this replica may be the one that is cut off: its caller should ask another.
        let alone = error.registered() == &NO_LEADER && begun.elapsed() >= LEADERLESS_CALL;
        if alone || left(deadline) <= RETRY_PAUSE {
            return Err(error);
        }
        let mut view = self.view.clone();
        tokio::select! {
            () = tokio::time::sleep(RETRY_PAUSE) => {}
            _ = view.changed() => {}
        }
        Ok(())
    }

    /// Returns once this replica has known no leader for so long without a break.
    pub(crate) async fn leaderless_for(&self, span: std::time::Duration) {
        let mut view = self.view.clone();
        loop {
            if view.wait_for(|view| view.leader.is_none()).await.is_err() {
                return;
            }
            let led = view.wait_for(|view| view.leader.is_some());
            if tokio::time::timeout(span, led).await.is_err() {
                return;
            }
        }
    }

    /// Nobody leads, as far as is known here: with who answers and who doesn't.
    fn no_leader(&self) -> Error {
        let error = Error::new(&NO_LEADER, "no replica leads the control plane at this moment");
        self.peers.describe().into_iter().fold(error, Error::because)
    }

    fn late(&self) -> Error {
        match self.status().where_to() {
            Where::Nowhere => self.no_leader(),
            Where::Here | Where::At(_) => {
                Error::new(&DEADLINE, "the time limit passed before a majority of the replicas answered")
            }
        }
    }
}

fn left(deadline: Instant) -> std::time::Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn undecided() -> Error {
    Error::new(&DEADLINE, "the time limit passed before the change was decided")
        .because("a majority of the replicas has not stored it yet; it may still be applied")
        .try_this("repeat the same command: it is applied once", "")
}

fn stopping() -> Error {
    Error::new(&UNREACHABLE, "this replica is stopping").try_this("ask another replica", "")
}
