//! The simulation: moves time, carries effects out, makes faults, checks.

use weft_model::{LogIndex, ReplicaId};
use weft_raft::{Effects, Error, Input, MessageKind, ReadReply, Reply, StateRole};

use crate::{
    Faults, Mutant, Report, Violation,
    agent::Agent,
    client::{Acked, Ask, Client},
    disk::MemDisk,
    founding::first_snapshot,
    invariants::Invariants,
    machine::{Condition, Machine},
    net::Net,
    operator::Operator,
    world::{Answered, Event, UNITS_PER_TICK, World},
};

/// A cluster, its nodes and its operator.
pub struct Sim {
    pub(crate) seed: u64,
    pub(crate) world: World,
    pub(crate) machines: Vec<Machine>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) operator: Operator,
    pub(crate) net: Net,
    pub(crate) checks: Invariants,
    pub(crate) faults: Faults,
    pub(crate) mutant: Option<Mutant>,
    /// Nothing new is begun.
    quiet: bool,
    /// The first replica that stopped because its state differed.
    pub(crate) diverged: Option<(ReplicaId, LogIndex)>,
}

/// A violation is told in words; where and when is added outside.
pub(crate) type Step = Result<(), String>;

impl Sim {
    /// One replica, to which the operator adds two, and eight nodes.
    pub fn new(seed: u64) -> Self {
        Self::with(seed, None)
    }

    /// The same with a bug in it.
    pub fn with(seed: u64, mutant: Option<Mutant>) -> Self {
        const NODES: usize = 8;
        let disk = MemDisk::seeded(first_snapshot());
        let mut sim = Self {
            seed,
            world: World::new(seed),
            machines: vec![Machine::new(ReplicaId(1), disk, Vec::new(), mutant)],
            agents: (0..NODES).filter_map(|number| Agent::new(number).ok()).collect(),
            operator: Operator::new(NODES),
            net: Net::new(&Faults::NONE),
            checks: Invariants::new(),
            faults: Faults::NONE,
            mutant,
            quiet: false,
            diverged: None,
        };
        sim.world.after(1, Event::Restart { machine: 0 });
        sim
    }

    /// Sets what goes wrong.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self.net = Net::new(&faults);
        self
    }

    /// Leaves the comparison of states to the replicas.
    #[must_use]
    pub const fn without_own_comparison(mut self) -> Self {
        self.checks.compare_hashes = false;
        self
    }

    /// Lets so many units pass.
    pub fn run(&mut self, units: u64) -> Result<(), Violation> {
        for _ in 0..units {
            self.step().map_err(|what| self.violation(what))?;
        }
        Ok(())
    }

    /// Ends all faults, and waits at most so many units until everything agrees.
    pub fn settle(&mut self, units: u64) -> Result<(), Violation> {
        self.faults = Faults::NONE;
        self.net = Net::new(&Faults::NONE);
        self.quiet = true;
        self.darken_one();
        for machine in 0..self.machines.len() {
            self.machines[machine].slow = false;
            if !self.machines[machine].is_up() && self.machines[machine].condition == Condition::Usable {
                self.world.after(1, Event::Restart { machine });
            }
        }
        let mut why = String::new();
        for _ in 0..units {
            self.step().map_err(|what| self.violation(what))?;
            if !self.world.now.is_multiple_of(16) {
                continue;
            }
            self.light_the_silent();
            match self.agreement() {
                Ok(()) => return self.checks_at_rest().map_err(|what| self.violation(what)),
                Err(what) => why = what,
            }
        }
        Err(self.violation(format!("it doesn't converge in {units} units: {why}")))
    }

    /// How much happened.
    pub fn report(&self) -> Report {
        Report { trace: self.world.trace(), replacements: self.operator.replacements(), ..self.checks.report }
    }

    /// The replica that stopped because its state differed from the majority's, and where that was seen.
    pub const fn diverged(&self) -> Option<(ReplicaId, LogIndex)> {
        self.diverged
    }

    fn violation(&self, what: String) -> Violation {
        Violation { seed: self.seed, at: self.world.now, what }
    }

    fn step(&mut self) -> Step {
        self.world.now += 1;
        while let Some(event) = self.world.due() {
            self.happen(event)?;
        }
        if self.world.now.is_multiple_of(UNITS_PER_TICK) {
            for machine in 0..self.machines.len() {
                self.give(machine, Input::Tick)?;
            }
        }
        self.agents_live()?;
        self.nodes_speak();
        self.leaders_listen()?;
        self.operator_lives();
        self.clients_ask();
        self.make_faults()
    }

    fn happen(&mut self, event: Event) -> Step {
        match event {
            Event::Deliver { machine, message } => {
                let numbers =
                    [1, u64::from(message.kind.number()), message.from.0, message.to.0, message.index.0];
                self.world.note(&numbers);
                if message.kind == MessageKind::Snapshot && self.machines[machine].is_up() {
                    self.checks.report.snapshots += 1;
                }
                self.give(machine, Input::Message { certified: message.from, message })
            }
            Event::SnapshotSent { machine, boot, to, taken } if self.machines[machine].boot == boot => {
                self.give(machine, Input::SnapshotReport { to, taken })
            }
            Event::Synced { machine, boot, number } if self.machines[machine].boot == boot => {
                self.machines[machine].disk.synced(number);
                if self.mutant == Some(Mutant::AckBeforeDurable) {
                    return Ok(());
                }
                self.give(machine, Input::Persisted(number))
            }
            Event::Present { machine, boot, via, nodes } if self.machines[machine].boot == boot => {
                let ear = &mut self.machines[machine].ear;
                nodes.iter().for_each(|(node, given)| ear.hear(node, *given, via));
                Ok(())
            }
            Event::SnapshotSent { .. } | Event::Synced { .. } | Event::Present { .. } => Ok(()),
            Event::Asked { machine, client, serial, ask } => self.asked(machine, client, serial, *ask),
            Event::Replied { client, serial, reply } => self.replied(client, serial, *reply),
            Event::Restart { machine } => self.restart(machine),
            Event::Heal => {
                self.net.heal();
                self.machines.iter_mut().for_each(|machine| machine.slow = false);
                Ok(())
            }
        }
    }

    pub(crate) fn give(&mut self, machine: usize, input: Input) -> Step {
        match self.machines[machine].input(input) {
            Some(effects) => self.carry_out(machine, effects),
            None => Ok(()),
        }
    }

    fn restart(&mut self, machine: usize) -> Step {
        let seed = self.world.between(0, u64::MAX);
        let it = &mut self.machines[machine];
        if it.is_up() || it.condition != Condition::Usable {
            return Ok(());
        }
        match it.start(seed) {
            Ok(()) => self.give(machine, Input::Start),
            Err(error) => Err(format!("replica {} can't start: {error}", it.id)),
        }
    }

    /// What the driver of a replica does, in simulated time.
    fn carry_out(&mut self, machine: usize, effects: Effects) -> Step {
        if let Some(error) = effects.fatal {
            return self.stopped(machine, &error);
        }
        let (id, boot) = (self.machines[machine].id, self.machines[machine].boot);
        if let Some(role) = effects.role
            && role.role == StateRole::Leader
        {
            self.checks.leads(role.term, id)?;
            self.machines[machine].ear.led_since = self.world.now;
        }
        let mut early = Vec::new();
        for draft in effects.persist {
            let number = draft.number;
            let it = &mut self.machines[machine];
            let units = it.disk.write(&mut self.world, draft, it.slow);
            self.world.after(units, Event::Synced { machine, boot, number });
            if self.mutant == Some(Mutant::AckBeforeDurable) {
                early.push(number);
            }
        }
        for batch in effects.applied {
            self.machines[machine].disk.apply(batch);
        }
        if let Some(compaction) = effects.compact {
            self.checks.report.compactions += 1;
            self.machines[machine].disk.shorten(compaction);
        }
        self.compare(machine)?;
        let voted = |message: &weft_raft::Message| {
            message.kind == MessageKind::RequestVoteResponse && !message.reject
        };
        let voted = effects.messages.iter().any(voted);
        effects.messages.iter().try_for_each(|message| self.checks.votes(message))?;
        self.send(machine, effects.messages);
        self.publish(machine, effects.items_reset, effects.items);
        for (ticket, reply) in effects.answers {
            self.answer(machine, ticket, Answered::Write(reply));
        }
        for (ticket, reply) in effects.reads {
            self.answer(machine, ticket, Answered::Read(reply));
        }
        if effects.removed {
            self.machines[machine].replica = None;
            self.machines[machine].condition = Condition::Retired;
        }
        early.into_iter().try_for_each(|number| self.give(machine, Input::Persisted(number)))?;
        if voted && self.world.one_in(self.faults.crash_after_vote) {
            self.crash(machine, 4);
        }
        Ok(())
    }

    fn stopped(&mut self, machine: usize, error: &Error) -> Step {
        let id = self.machines[machine].id;
        self.machines[machine].replica = None;
        if let Error::Diverged { index, .. } = error
            && !self.checks.compare_hashes
        {
            self.diverged = self.diverged.or(Some((id, *index)));
            self.machines[machine].condition = Condition::Retired;
            return Ok(());
        }
        Err(format!("replica {id} stopped: {error}"))
    }

    fn compare(&mut self, machine: usize) -> Step {
        let Some(replica) = &self.machines[machine].replica else { return Ok(()) };
        let meta = *replica.state().meta();
        self.world.note(&[2, machine as u64, meta.applied.0, u64::from(meta.hash[0])]);
        self.checks.applied(meta.applied, meta.hash, self.machines[machine].id)
    }

    fn send(&mut self, machine: usize, messages: Vec<weft_raft::Message>) {
        let boot = self.machines[machine].boot;
        for message in messages {
            let (to, kind) = (message.to, message.kind);
            let Some(receiver) = self.machines.iter().position(|other| other.id == to) else { continue };
            let sent = self.net.send(&mut self.world, machine, receiver, message);
            if kind == MessageKind::Snapshot {
                let taken = sent && self.machines[receiver].is_up();
                self.world.after(25, Event::SnapshotSent { machine, boot, to, taken });
            }
        }
    }

    fn answer(&mut self, machine: usize, ticket: weft_raft::Ticket, reply: Answered) {
        let Some(waiting) = self.machines[machine].answered(ticket) else { return };
        if self.world.one_in(self.faults.loss) {
            return;
        }
        let delay = self.world.between(1, 3);
        let (client, serial) = (waiting.client, waiting.serial);
        self.world.after(delay, Event::Replied { client, serial, reply: Box::new(reply) });
    }

    fn asked(&mut self, machine: usize, client: usize, serial: u64, ask: Ask) -> Step {
        if !self.machines[machine].is_up() {
            return Ok(());
        }
        let ticket = self.machines[machine].ticket(client, serial);
        let input = match ask {
            Ask::Command(command) => Input::Propose { ticket, command },
            Ask::Member(change) => Input::ProposeMember { ticket, change },
            Ask::Read if self.mutant == Some(Mutant::StaleRead) => {
                Input::Await { ticket, index: LogIndex(0) }
            }
            Ask::Read => Input::Read { ticket },
        };
        self.give(machine, input)
    }

    fn client(&mut self, client: usize) -> &mut Client {
        match self.agents.get_mut(client) {
            Some(agent) => &mut agent.client,
            None => &mut self.operator.client,
        }
    }

    fn replied(&mut self, client: usize, serial: u64, reply: Answered) -> Step {
        let now = self.world.now;
        let is_dark = self.agents.get(client).is_some_and(|agent| agent.is_dark(now));
        if is_dark || !self.client(client).waits_for(serial) {
            return Ok(());
        }
        match reply {
            Answered::Read(ReadReply::Ready(index)) => {
                let pending = self.client(client).pending.take();
                pending.map_or(Ok(()), |pending| self.checks.read(index, pending.floor))
            }
            Answered::Write(Reply::Applied { index, outcome }) => self.applied(client, index, *outcome),
            Answered::Write(Reply::Member(refusal)) => {
                self.operator.client.pending = None;
                self.member_done(now, Some(&refusal));
                Ok(())
            }
            Answered::Read(ReadReply::NotLeader(leader))
            | Answered::Write(Reply::NotLeader { leader } | Reply::Undecided { leader }) => {
                self.client(client).refused(now, leader);
                Ok(())
            }
            Answered::Write(Reply::Dropped(_)) => {
                self.client(client).refused(now, None);
                Ok(())
            }
        }
    }

    fn member_done(&mut self, now: u64, refusal: Option<&weft_raft::MemberRefusal>) {
        if let Some(removed) = self.operator.member_answered(now, refusal)
            && let Some(machine) = self.machines.iter_mut().find(|machine| machine.id == removed)
        {
            machine.replica = None;
            machine.condition = Condition::Retired;
        }
    }

    fn applied(&mut self, client: usize, index: LogIndex, outcome: weft_core::Outcome) -> Step {
        let Some(pending) = self.client(client).pending.take() else { return Ok(()) };
        self.world.note(&[3, client as u64, index.0]);
        let command = match pending.ask {
            Ask::Command(command) => command,
            Ask::Member(_) => {
                self.member_done(self.world.now, None);
                return Ok(());
            }
            Ask::Read => return Ok(()),
        };
        let acked = Acked { index, outcome, command: *command };
        self.checks.acknowledge(&acked, pending.floor)?;
        let (action, outcome) = (&acked.command.action, &acked.outcome);
        if let Some(agent) = self.agents.get_mut(client) {
            return agent.answered(action, outcome, &mut self.checks, self.mutant);
        }
        if let Some((node, token)) = self.operator.answered(action, outcome)?
            && let Some(agent) = self.agents.get_mut(node)
        {
            agent.token = Some(token);
        }
        Ok(())
    }

    fn agents_live(&mut self) -> Step {
        for number in 0..self.agents.len() {
            if self.agents[number].is_dark(self.world.now) {
                continue;
            }
            self.keep_watching(number);
            let agent = &mut self.agents[number];
            agent.step(&mut self.world, &mut self.checks, self.mutant, self.quiet)?;
            if self.world.one_in(self.faults.agent_restart) {
                self.agents[number].restart();
            }
        }
        Ok(())
    }

    fn operator_lives(&mut self) {
        if !self.operator.is_replacing()
            && let Some(lost) = self.machines.iter().find(|machine| machine.condition == Condition::Lost)
        {
            self.operator.replace(lost.id);
        }
        if let Some(member) = self.operator.step(&mut self.world, self.checks.newest) {
            let known = self.machines.iter().map(|machine| machine.id).collect();
            let machine = Machine::new(member.id, MemDisk::default(), known, self.mutant);
            self.machines.push(machine);
            let machine = self.machines.len() - 1;
            self.world.after(1, Event::Restart { machine });
        }
    }

    fn clients_ask(&mut self) {
        let (now, mutant) = (self.world.now, self.mutant);
        for number in 0..=self.agents.len() {
            if self.agents.get(number).is_some_and(|agent| agent.is_dark(now)) {
                continue;
            }
            let Some((serial, ask)) = self.client(number).due(now, mutant) else { continue };
            let leader = self.client(number).leader.take();
            let Some(machine) = self.somebody(leader) else { continue };
            if self.world.one_in(self.faults.loss) {
                continue;
            }
            let delay = self.world.between(1, 3);
            self.world.after(delay, Event::Asked { machine, client: number, serial, ask: Box::new(ask) });
        }
    }

    /// The named replica if it is up, else any that is.
    fn somebody(&mut self, named: Option<ReplicaId>) -> Option<usize> {
        let up = |machine: &Machine| machine.is_up();
        if let Some(machine) = self.machines.iter().position(|it| Some(it.id) == named && up(it)) {
            return Some(machine);
        }
        let all: Vec<_> = (0..self.machines.len()).filter(|machine| up(&self.machines[*machine])).collect();
        let any = self.world.between(0, (all.len() as u64).max(1) - 1);
        all.get(usize::try_from(any).unwrap_or(0)).copied()
    }
}
