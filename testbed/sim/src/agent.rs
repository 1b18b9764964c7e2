//! A simulated node: its View, its ledger and journal, pods that come and go, and what it tells the control plane.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use weft_core::Outcome;
use weft_errors::{BLOCKS_EXHAUSTED, Coded, LEASE_STALE, RANGE_IN_USE};
use weft_ipam::{BlockState, Entry, Leasing, Ledger, Origin, Request, Settings, Shown, Step, Uptime};
use weft_model::{
    Action, Answer, AttachmentId, Block, Epoch, Families, Family, Item, Labels, LogIndex, Name,
    NamespaceName, NodeFacts, NodeName, NodeUid, Pod, PodName, PodPhase, PodReport, PodUid, Revision,
    WallTime,
};
use weft_view::{Update, View};

use crate::{
    Mutant,
    client::{Ask, Client},
    invariants::Invariants,
    world::World,
};

/// Addresses rest shortly: they shall come back within a run.
const SETTINGS: Settings = Settings {
    quarantine_ms: 60,
    least_rest_ms: 20,
    nearly_full_percent: 80,
    surplus_percent: 50,
    fresh_first: 4096,
};

/// Where the stream of an agent comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    pub(crate) machine: usize,
    pub(crate) boot: u64,
}

/// A node.
pub(crate) struct Agent {
    pub(crate) client: Client,
    pub(crate) name: NodeName,
    pub(crate) uid: NodeUid,
    pub(crate) token: Option<[u8; 32]>,
    pub(crate) joined: bool,
    /// Without power before this time.
    pub(crate) dark_until: u64,
    /// Some replica had it as silent at the last look.
    pub(crate) silent: bool,
    pub(crate) view: View,
    pub(crate) watch: Option<Watch>,
    pub(crate) ledger: Ledger,
    /// The next report is of everything.
    complete: bool,
    /// Pods that came and went since the last report.
    came: BTreeSet<AttachmentId>,
    went: BTreeSet<PodUid>,
    /// The View changed since the leases were taken from it.
    stale_leases: bool,
    feed: VecDeque<(u64, Update)>,
    journal: Vec<Entry>,
    /// Entries of the journal that survive a crash.
    durable: usize,
    /// The View as it was written down last.
    saved: View,
    leasing: Leasing,
    pods: u64,
    number: u64,
}

impl Agent {
    pub(crate) fn new(number: usize) -> Result<Self, String> {
        let id = number as u64;
        let mut uid = [9; 16];
        uid[..8].copy_from_slice(&id.to_be_bytes());
        Ok(Self {
            client: Client::new(id),
            name: NodeName::new(format!("n{number}")).map_err(|e| e.to_string())?,
            uid: NodeUid(uid),
            token: None,
            joined: false,
            dark_until: 0,
            silent: false,
            view: View::default(),
            watch: None,
            ledger: Ledger::new(SETTINGS),
            complete: false,
            came: BTreeSet::new(),
            went: BTreeSet::new(),
            stale_leases: false,
            feed: VecDeque::new(),
            journal: Vec::new(),
            durable: 0,
            saved: View::default(),
            leasing: Leasing::default(),
            pods: 0,
            number: id,
        })
    }

    /// The process ends and comes back: what was durable of the journal is all it has, and the View it had written down.
    pub(crate) fn restart(&mut self) {
        self.journal.truncate(self.durable);
        self.ledger = Ledger::replay(SETTINGS, &self.journal);
        self.view = View::restored(self.saved.revision(), self.saved.items());
        self.leasing = Leasing::default();
        self.watch = None;
        self.feed.clear();
        self.complete = true;
        self.stale_leases = true;
    }

    /// Whether it has no power.
    pub(crate) const fn is_dark(&self, now: u64) -> bool {
        now < self.dark_until
    }

    fn is_dirty(&self) -> bool {
        self.complete || !self.came.is_empty() || !self.went.is_empty()
    }

    /// The stream begins anew.
    pub(crate) fn follow(&mut self, watch: Watch, now: u64, updates: impl IntoIterator<Item = Update>) {
        self.watch = Some(watch);
        self.feed.clear();
        self.view.abandon_snapshot();
        self.feed.extend(updates.into_iter().map(|update| (now + 2, update)));
    }

    /// The stream goes on; order is kept whatever the delay.
    pub(crate) fn feed(&mut self, at: u64, update: Update) {
        let last = self.feed.back().map_or(0, |(time, _)| *time);
        self.feed.push_back((at.max(last), update));
    }

    /// One unit of life.
    pub(crate) fn step(
        &mut self,
        world: &mut World,
        checks: &mut Invariants,
        mutant: Option<Mutant>,
        quiet: bool,
    ) -> Result<(), String> {
        while let Some((_, update)) = self.feed.pop_front_if(|(time, _)| *time <= world.now) {
            self.view.fold(update).map_err(|e| format!("node {}: {e}", self.name))?;
            self.stale_leases = true;
        }
        if world.one_in(40) {
            self.saved = self.view.clone();
        }
        if world.one_in(60) {
            self.durable = self.journal.len();
        }
        if std::mem::take(&mut self.stale_leases) {
            self.take_leases(mutant);
        }
        if self.joined && !quiet {
            self.pods_come_and_go(world, checks)?;
            if world.one_in(30) {
                self.give_up_a_block(world.now, checks.newest, world, mutant);
            }
        }
        if self.client.pending.is_none() {
            self.ask(world, checks.newest, quiet);
        }
        Ok(())
    }

    fn take_leases(&mut self, mutant: Option<Mutant>) {
        let mut shown = self.shown();
        shown.complete &= mutant != Some(Mutant::KeepReturnedBlock);
        if mutant == Some(Mutant::TrustOldView) {
            shown.revision = Revision(u64::MAX);
        }
        self.journal.extend(self.ledger.lease(&shown));
    }

    fn shown(&self) -> Shown {
        let leases = self.view.blocks_of(&self.name).map(|route| (route.block, route.epoch)).collect();
        Shown { revision: self.view.revision(), complete: self.view.is_in_sync(), leases }
    }

    fn pods_come_and_go(&mut self, world: &mut World, checks: &mut Invariants) -> Result<(), String> {
        let now = Uptime(world.now);
        let wanted = 1 + (world.now / 400 + self.number) % 3 * 11;
        let held = self.ledger.holdings().count() as u64;
        if held < wanted && world.one_in(5) {
            self.pods += 1;
            let request = self.request(world);
            if let Ok((holding, entry)) = self.ledger.allocate(request, now) {
                self.journal.push(entry);
                self.journal.extend(self.ledger.confirm(&holding.attachment));
                self.durable = self.journal.len();
                self.came.insert(holding.attachment.clone());
                for address in &holding.addresses {
                    checks.hold(*address, format!("{} of {}", holding.pod, self.name))?;
                }
            }
        }
        if held > 0 && world.one_in(if held > wanted { 2 } else { 150 }) {
            let skip = usize::try_from(world.between(0, held - 1)).unwrap_or(0);
            let victim = self.ledger.holdings().nth(skip).map(|holding| holding.attachment.clone());
            if let Some((holding, entry)) = victim.and_then(|victim| self.ledger.release(&victim, now)) {
                self.journal.push(entry);
                self.durable = self.journal.len();
                // A report that is on its way may name it: then it must be told that it went.
                self.came.remove(&holding.attachment);
                self.went.insert(holding.uid);
                holding.addresses.iter().for_each(|address| checks.release(*address));
            }
        }
        Ok(())
    }

    fn request(&self, world: &mut World) -> Request {
        let name = format!("p{}-{}", self.number, self.pods);
        Request {
            attachment: AttachmentId { container: name.clone(), interface: "eth0".to_owned() },
            uid: PodUid(world.bytes()),
            pod: PodName {
                namespace: NamespaceName::new("sim").expect("a label"),
                name: Name::new(name).expect("a label"),
            },
            labels: Labels::new(),
            netns: String::new(),
            link: String::new(),
            mac: [2; 6],
            mtu: 1420,
            origin: Origin::Weft,
            created: WallTime(1_000_000 + world.now),
            families: Families::V4,
            wanted: Vec::new(),
            avoid: BTreeSet::new(),
        }
    }

    fn give_up_a_block(&mut self, now: u64, floor: LogIndex, world: &mut World, mutant: Option<Mutant>) {
        // Also blocks that the ledger would rather keep: leases shall change hands often.
        let empty = self.ledger.usage().filter(|usage| usage.held == 0 && usage.state == BlockState::Open);
        let empty = empty.map(|usage| (usage.block, usage.epoch)).last();
        let spare = self.ledger.surplus(Family::V4, Uptime(now));
        let Some((block, epoch)) = spare.or(empty) else { return };
        if mutant != Some(Mutant::KeepReturnedBlock) {
            self.journal.extend(self.ledger.retire(block));
            if mutant != Some(Mutant::ReturnBeforeDurable) {
                self.durable = self.journal.len();
            }
        } else if self.client.pending.is_none() && !self.is_dirty() {
            self.give_back(world, block, epoch, floor);
        }
    }

    fn give_back(&mut self, world: &mut World, block: Block, epoch: Epoch, floor: LogIndex) {
        let action = Action::ReturnBlock { node: self.name.clone(), uid: self.uid, block, epoch };
        self.client.begin(world, action, floor);
    }

    fn ask(&mut self, world: &mut World, floor: LogIndex, quiet: bool) {
        if !self.joined {
            let Some(token) = self.token else { return };
            let facts = NodeFacts::default();
            let (name, uid, labels) = (self.name.clone(), self.uid, Labels::new());
            self.client.begin(world, Action::JoinNode { token, name, uid, labels, facts }, floor);
            return;
        }
        if self.is_dirty() {
            let report = self.report();
            self.client.begin(world, Action::PublishPods(report), floor);
            return;
        }
        let (now, shown) = (Uptime(world.now), self.shown());
        let steps = self.leasing.steps(&self.ledger, &shown, &[Family::V4], now);
        match steps.into_iter().find(|step| !quiet || matches!(step, Step::Return { .. })) {
            Some(Step::Return { block, epoch }) => self.give_back(world, block, epoch, floor),
            Some(Step::Ask(family)) => {
                let action = Action::LeaseBlock { node: self.name.clone(), uid: self.uid, family };
                self.client.begin(world, action, floor);
            }
            None if !quiet && world.one_in(25) => self.client.ask(Ask::Read, floor),
            None => {}
        }
    }

    fn report(&mut self) -> PodReport {
        let complete = std::mem::take(&mut self.complete);
        let came = std::mem::take(&mut self.came);
        let deletes = std::mem::take(&mut self.went);
        let deletes = if complete { Vec::new() } else { deletes.into_iter().collect() };
        let told = self.ledger.holdings().filter(|holding| complete || came.contains(&holding.attachment));
        let upserts = told.map(|holding| Pod {
            uid: holding.uid,
            name: holding.pod.clone(),
            labels: holding.labels.clone(),
            node: self.name.clone(),
            attachment: holding.attachment.clone(),
            addresses: holding.addresses.clone(),
            ports: Vec::new(),
            phase: PodPhase::Active,
            ready: true,
            terminating: false,
            created: holding.created,
            revision: Revision(0),
        });
        let upserts = upserts.collect();
        PodReport { node: self.name.clone(), uid: self.uid, complete, upserts, deletes }
    }

    /// A mutation was answered.
    pub(crate) fn answered(
        &mut self,
        action: &Action,
        outcome: &Outcome,
        checks: &mut Invariants,
        mutant: Option<Mutant>,
    ) -> Result<(), String> {
        // A refusal that is repeated has another shape, but the same code.
        let refusal = outcome.answer.as_ref().err().map(|error| error.code().number);
        let exhausted = refusal == Some(BLOCKS_EXHAUSTED.number);
        match (action, &outcome.answer) {
            (Action::JoinNode { .. }, Ok(Answer::Node(..))) => {
                self.joined = true;
                self.leasing.granted(Family::V4, outcome.revision);
            }
            (Action::LeaseBlock { family, .. }, Ok(Answer::Lease(_))) => {
                self.leasing.granted(*family, outcome.revision);
            }
            (Action::LeaseBlock { .. } | Action::JoinNode { .. }, Err(_)) if exhausted => {}
            (Action::ReturnBlock { .. }, Err(_)) if refusal == Some(RANGE_IN_USE.number) => {
                self.complete = true
            }
            (Action::ReturnBlock { block, epoch, .. }, answer)
                if answer.is_ok() || refusal == Some(LEASE_STALE.number) =>
            {
                checks.report.returns += u64::from(answer.is_ok());
                self.leasing.ended(*block, *epoch);
                if mutant == Some(Mutant::ForgetReturnedEarly) {
                    self.journal.push(Entry::BlockGone { block: *block });
                    self.ledger = Ledger::replay(SETTINGS, &self.journal);
                }
                self.stale_leases = true;
            }
            (Action::PublishPods(_), Ok(Answer::Done)) => {}
            (action, answer) => {
                return Err(format!("node {}: {action:?} was answered {answer:?}", self.name));
            }
        }
        Ok(())
    }

    /// Whether nothing is left to do and everything agrees with the control plane; else what doesn't.
    pub(crate) fn agrees(&self, state: &weft_core::State) -> Result<(), String> {
        let complain = |what: &str| Err(format!("node {}: {what}", self.name));
        if self.client.pending.is_some() || self.is_dirty() || !self.joined || !self.feed.is_empty() {
            return complain("it still has something to do");
        }
        let by_key =
            |items: Vec<Item>| items.into_iter().map(|item| (item.key(), item)).collect::<BTreeMap<_, _>>();
        if by_key(self.view.items().collect()) != by_key(state.items()) {
            return complain("its View differs from the items of the control plane");
        }
        let leases: BTreeMap<_, _> =
            state.node_leases(&self.name).map(|lease| (lease.block, lease.epoch)).collect();
        let blocks: BTreeMap<_, _> = self.ledger.usage().map(|usage| (usage.block, usage.epoch)).collect();
        if leases != blocks {
            return complain("its blocks differ from its leases");
        }
        let published: BTreeMap<_, _> =
            state.node_pods(&self.name).map(|pod| (pod.uid, pod.addresses.clone())).collect();
        let held: BTreeMap<_, _> =
            self.ledger.holdings().map(|holding| (holding.uid, holding.addresses.clone())).collect();
        if published != held {
            return complain("its pods differ from the published ones");
        }
        Ok(())
    }
}
