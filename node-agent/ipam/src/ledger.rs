//! The ledger: decides, and applies what was decided, now or in a replay.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use weft_model::{
    AttachmentId, Block, Epoch, Families, Family, Labels, PodName, PodUid, Probes, Revision, WallTime,
};

use crate::{
    BlockState, BootId, Entry, Error, Holding, Origin, Serving, Settings, Shown, Uptime, block::Book,
};

/// What an attachment asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The attachment.
    pub attachment: AttachmentId,
    /// Identity of the pod's life.
    pub uid: PodUid,
    /// Namespace and name.
    pub pod: PodName,
    /// Labels.
    pub labels: Labels,
    /// Path of its network namespace.
    pub netns: String,
    /// Name of the node's end of the veth.
    pub link: String,
    /// MAC of the pod's end.
    pub mac: [u8; 6],
    /// MTU of both ends, bytes.
    pub mtu: u32,
    /// Who asks.
    pub origin: Origin,
    /// Wall time.
    pub created: WallTime,
    /// Families of the fabric: one address each, in that order.
    pub families: Families,
    /// Addresses that must be used, at most one per family; may be empty.
    pub wanted: Vec<IpAddr>,
    /// Addresses that are given only when nothing else is left: others may still take them for those of the pods that had them.
    pub avoid: BTreeSet<IpAddr>,
}

/// Use of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The block.
    pub block: Block,
    /// Epoch of its lease.
    pub epoch: Epoch,
    /// What may be done with it.
    pub state: BlockState,
    /// Addresses that pods hold.
    pub held: u128,
    /// Addresses that were released and not given out again, also those that have rested.
    pub resting: u128,
    /// Addresses it can give out in all.
    pub capacity: u128,
}

/// All addresses of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    settings: Settings,
    boot: BootId,
    /// Revision of the View that changed the blocks last: an older one knows less than the ledger.
    seen: Revision,
    blocks: BTreeMap<Block, Book>,
    holdings: BTreeMap<AttachmentId, Holding>,
    holders: BTreeMap<IpAddr, AttachmentId>,
}

impl Ledger {
    /// An empty ledger.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            boot: BootId::default(),
            seen: Revision(0),
            blocks: BTreeMap::new(),
            holdings: BTreeMap::new(),
            holders: BTreeMap::new(),
        }
    }

    /// The ledger that the entries add up to.
    pub fn replay<'a>(settings: Settings, entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut ledger = Self::new(settings);
        entries.into_iter().for_each(|entry| ledger.apply(entry));
        ledger
    }

    /// The shortest list of entries that adds up to this ledger: what compaction writes.
    pub fn snapshot(&self) -> Vec<Entry> {
        let mut entries = vec![Entry::Boot { boot: self.boot, at: Uptime::default() }];
        if self.seen != Revision(0) {
            entries.push(Entry::Seen { revision: self.seen });
        }
        for book in self.blocks.values() {
            let Book { block, epoch, .. } = *book;
            entries.push(Entry::Block { block, epoch, state: BlockState::Open, fresh: book.fresh() });
            let rest = book.resting_addresses().map(|(address, since)| Entry::Rest { address, since });
            entries.extend(rest);
        }
        entries.extend(self.holdings.values().flat_map(Holding::entries));
        for book in self.blocks.values().filter(|book| book.state != BlockState::Open) {
            let Book { block, epoch, state, .. } = *book;
            entries.push(Entry::Block { block, epoch, state, fresh: book.fresh() });
        }
        entries
    }

    /// Notes the boot the machine runs under. `None` when it is the one known; else no pod of before lives.
    pub fn begin_boot(&mut self, boot: BootId, at: Uptime) -> Option<Entry> {
        (boot != self.boot).then(|| self.enact(Entry::Boot { boot, at }))
    }

    /// Takes over the leases of a View; one that is older than what the ledger has seen says nothing. A closed block
    /// stays closed: its lease was given back or has ended, and an epoch is granted once. Blocks that are missing go only
    /// when the View is complete: at once when they hold nothing, else with their last pod.
    pub fn lease(&mut self, shown: &Shown) -> Vec<Entry> {
        let Shown { revision, complete, leases } = shown;
        if !self.knows(*revision) {
            return Vec::new();
        }
        let mut entries = Vec::new();
        for (block, epoch) in leases {
            if self.blocks.get(block).is_none_or(|book| book.epoch < *epoch) {
                let (block, epoch) = (*block, *epoch);
                entries.push(Entry::Block { block, epoch, state: BlockState::Open, fresh: 0 });
            }
        }
        if *complete {
            let lost = self.blocks.values().filter(|book| !leases.contains_key(&book.block));
            entries.extend(lost.filter_map(|book| {
                let Book { block, epoch, state, .. } = *book;
                if book.held() == 0 {
                    return Some(Entry::BlockGone { block });
                }
                let withdrawn = BlockState::Withdrawn;
                (state != withdrawn).then(|| Entry::Block {
                    block,
                    epoch,
                    state: withdrawn,
                    fresh: book.fresh(),
                })
            }));
        }
        // First: a journal that ends between these entries must not take an older View for a newer one.
        if !entries.is_empty() && *revision > self.seen {
            entries.insert(0, Entry::Seen { revision: *revision });
        }
        entries.iter().for_each(|entry| self.apply(entry));
        entries
    }

    /// Whether a View of this revision is at least as new as what the ledger has seen.
    pub fn knows(&self, revision: Revision) -> bool {
        self.seen <= revision
    }

    /// Gives addresses to an attachment: one per family, all or none.
    pub fn allocate(&mut self, request: Request, now: Uptime) -> Result<(Holding, Entry), Error> {
        let Request {
            attachment,
            uid,
            pod,
            labels,
            netns,
            link,
            mac,
            mtu,
            origin,
            created,
            families,
            wanted,
            avoid,
        } = request;
        if self.holdings.contains_key(&attachment) {
            return Err(Error::AttachmentExists { attachment });
        }
        self.check_wanted(&wanted, families)?;
        let mut addresses = Vec::with_capacity(families.list().len());
        for family in families.list() {
            addresses.push(match wanted.iter().find(|address| Family::of(**address) == *family) {
                Some(address) => self.requested(*address, now)?,
                None => self.next(*family, now, &avoid)?,
            });
        }
        let attached = false;
        let holding = Holding {
            attachment,
            uid,
            pod,
            labels,
            addresses,
            netns,
            link,
            mac,
            mtu,
            origin,
            created,
            attached,
            serving: Serving::default(),
        };
        let entry = self.enact(Entry::Hold(Box::new(holding.clone())));
        Ok((holding, entry))
    }

    /// Takes over a pod that the kernel has and a damaged journal lost. Nothing when one of its addresses is held, or the
    /// attachment is known.
    pub fn adopt(&mut self, holding: &Holding) -> Vec<Entry> {
        let free = holding.addresses.iter().all(|address| !self.holders.contains_key(address));
        let unknown = !self.holdings.contains_key(&holding.attachment);
        if !free || !unknown || holding.addresses.is_empty() {
            return Vec::new();
        }
        holding.entries().into_iter().map(|entry| self.enact(entry)).collect()
    }

    /// Notes that everything of an attachment is made. `None` when it is unknown or was noted before.
    pub fn confirm(&mut self, attachment: &AttachmentId) -> Option<Entry> {
        let open = self.holdings.get(attachment).is_some_and(|holding| !holding.attached);
        open.then(|| self.enact(Entry::Attached { attachment: attachment.clone() }))
    }

    /// Notes how a pod is asked whether it is ready. `None` when it holds nothing, or when this is known.
    pub fn probe(&mut self, attachment: &AttachmentId, probes: Box<Probes>) -> Option<Entry> {
        let other = self.holdings.get(attachment)?.serving.probes != probes;
        other.then(|| self.enact(Entry::Probed { attachment: attachment.clone(), probes }))
    }

    /// Notes what a pod's answers amount to. `None` when it holds nothing, or when this is known.
    pub fn judge(&mut self, attachment: &AttachmentId, ready: bool) -> Option<Entry> {
        let other = self.holdings.get(attachment)?.serving.verdict != Some(ready);
        other.then(|| self.enact(Entry::Judged { attachment: attachment.clone(), ready }))
    }

    /// Notes that a pod is about to end, and when. `None` when it holds nothing, or ends no later anyway.
    pub fn drain(&mut self, attachment: &AttachmentId, until: Uptime) -> Option<Entry> {
        let known = self.holdings.get(attachment)?.serving.drained_at;
        let sooner = known.is_none_or(|known| until < known);
        sooner.then(|| self.enact(Entry::Draining { attachment: attachment.clone(), until }))
    }

    /// Frees the addresses of an attachment; they rest first. `None` when it holds nothing: repeating is fine.
    pub fn release(&mut self, attachment: &AttachmentId, now: Uptime) -> Option<(Holding, Entry)> {
        let holding = self.holdings.get(attachment)?.clone();
        let entry = self.enact(Entry::Release { attachment: attachment.clone(), at: now });
        Some((holding, entry))
    }

    /// Begins to give a block back: nothing is allocated from it any more. `None` when it isn't open or isn't empty.
    pub fn retire(&mut self, block: Block) -> Option<Entry> {
        let book = self.blocks.get(&block)?;
        let Book { epoch, state, .. } = *book;
        if state != BlockState::Open || book.held() != 0 {
            return None;
        }
        let fresh = book.fresh();
        Some(self.enact(Entry::Block { block, epoch, state: BlockState::Retiring, fresh }))
    }

    /// One attachment.
    pub fn holding(&self, attachment: &AttachmentId) -> Option<&Holding> {
        self.holdings.get(attachment)
    }

    /// All attachments, in order.
    pub fn holdings(&self) -> impl Iterator<Item = &Holding> {
        self.holdings.values()
    }

    /// Who holds an address.
    pub fn holder(&self, address: IpAddr) -> Option<&Holding> {
        self.holdings.get(self.holders.get(&address)?)
    }

    /// Resting addresses of all blocks, per block oldest first.
    pub fn resting(&self) -> impl Iterator<Item = (IpAddr, Uptime)> {
        self.blocks.values().flat_map(Book::resting_addresses)
    }

    /// Use of every block.
    pub fn usage(&self) -> impl Iterator<Item = Usage> {
        self.blocks.values().map(|book| Usage {
            block: book.block,
            epoch: book.epoch,
            state: book.state,
            held: book.held(),
            resting: book.resting(),
            capacity: book.capacity(),
        })
    }

    /// Addresses of a block that are still in quarantine.
    pub fn quarantined(&self, block: Block, now: Uptime) -> u128 {
        self.blocks.get(&block).map_or(0, |book| book.unrested(now, self.settings.quarantine_ms))
    }

    /// Whether an attachment would get an address of the family now; fails with what it would fail with.
    pub fn has_free(&self, family: Family, now: Uptime) -> Result<(), Error> {
        self.next(family, now, &BTreeSet::new()).map(|_| ())
    }

    /// Whether another block of the family is wanted: none is open, or the open ones are nearly full of addresses that
    /// can't be given out now, also under pressure.
    pub fn wants_block(&self, family: Family, now: Uptime) -> bool {
        let (used, capacity) = self.open_use(family, None, now, self.settings.least_rest_ms);
        used.saturating_mul(100) >= capacity.saturating_mul(self.settings.nearly_full_percent.into())
    }

    /// An empty block that the family can do without: the youngest one.
    pub fn surplus(&self, family: Family, now: Uptime) -> Option<(Block, Epoch)> {
        let open = self.open_books(family).filter(|book| book.is_idle(&self.settings, now));
        let idle = open.max_by_key(|book| book.epoch)?;
        let rest = self.settings.quarantine_ms;
        let (used, capacity) = self.open_use(family, Some(idle.block), now, rest);
        let spare = used.saturating_mul(100) < capacity.saturating_mul(self.settings.surplus_percent.into());
        spare.then_some((idle.block, idle.epoch))
    }

    /// Blocks that wait for the control plane to take them back.
    pub fn retiring(&self) -> impl Iterator<Item = (Block, Epoch)> {
        let retiring = self.blocks.values().filter(|book| book.state == BlockState::Retiring);
        retiring.map(|book| (book.block, book.epoch))
    }

    fn open_books(&self, family: Family) -> impl Iterator<Item = &Book> {
        self.blocks.values().filter(move |b| b.state == BlockState::Open && b.block.family() == family)
    }

    /// Addresses of open blocks but one that are held or haven't rested for so many milliseconds, and the capacity.
    fn open_use(&self, family: Family, without: Option<Block>, now: Uptime, rest: u64) -> (u128, u128) {
        self.open_books(family)
            .filter(|book| Some(book.block) != without)
            .fold((0, 0), |(used, all), book| {
                (used + book.held() + book.unrested(now, rest), all + book.capacity())
            })
    }

    fn book_of(&self, address: IpAddr) -> Option<&Book> {
        self.blocks.values().find(|book| book.block.contains(address))
    }

    fn check_wanted(&self, wanted: &[IpAddr], families: Families) -> Result<(), Error> {
        for (index, address) in wanted.iter().enumerate() {
            let refuse = |why| Err(Error::NotOurs { address: *address, why });
            let family = Family::of(*address);
            if !families.has(family) {
                return refuse("the fabric doesn't have its family");
            }
            if wanted.iter().take(index).any(|other| Family::of(*other) == family) {
                return refuse("a pod has one address per family");
            }
            match self.book_of(*address) {
                None => return refuse("it is in no block of this node"),
                Some(book) if book.state != BlockState::Open => {
                    return refuse("its block is leaving this node");
                }
                Some(book) if !book.is_usable(*address) => return refuse("it isn't a host address"),
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn requested(&self, address: IpAddr, now: Uptime) -> Result<IpAddr, Error> {
        if let Some(holder) = self.holders.get(&address) {
            return Err(Error::Taken { address, holder: holder.clone() });
        }
        let rested = self.book_of(address).and_then(|book| book.rests_since(address)).map(|s| now.since(s));
        match rested.and_then(|rested| self.settings.least_rest_ms.checked_sub(rested)) {
            Some(rest_ms) if rest_ms > 0 => Err(Error::Resting { address, rest_ms }),
            Some(_) | None => Ok(address),
        }
    }

    /// The next address of a family: the oldest block that has one; under pressure those that rested less; those to avoid at the very
    /// last.
    fn next(&self, family: Family, now: Uptime, avoid: &BTreeSet<IpAddr>) -> Result<IpAddr, Error> {
        let mut books: Vec<_> = self.open_books(family).collect();
        books.sort_by_key(|book| book.epoch);
        let (none, quarantine, least) =
            (BTreeSet::new(), self.settings.quarantine_ms, self.settings.least_rest_ms);
        for (rest, avoid) in [(quarantine, avoid), (least, avoid), (quarantine, &none), (least, &none)] {
            let found = books.iter().find_map(|book| book.candidate(&self.settings, now, rest, avoid));
            if let Some(address) = found {
                return Ok(address);
            }
        }
        let held = books.iter().map(|book| book.held()).sum();
        let resting = books.iter().map(|book| book.resting()).sum();
        Err(Error::Exhausted { family, held, resting, blocks: books.len() })
    }

    fn enact(&mut self, entry: Entry) -> Entry {
        self.apply(&entry);
        entry
    }

    /// Applies an entry. Total: an entry that doesn't fit (a salvaged journal) does what it still can.
    fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Boot { boot, at } => self.reboot(*boot, *at),
            Entry::Seen { revision } => self.seen = self.seen.max(*revision),
            Entry::Block { block, epoch, state, fresh } => self.put_block(*block, *epoch, *state, *fresh),
            Entry::BlockGone { block } => {
                if self.blocks.get(block).is_some_and(|book| book.held() == 0) {
                    self.blocks.remove(block);
                }
            }
            Entry::Hold(holding) => self.hold(holding),
            Entry::Attached { attachment } => {
                if let Some(holding) = self.holdings.get_mut(attachment) {
                    holding.attached = true;
                }
            }
            Entry::Release { attachment, at } => self.free(attachment, *at),
            Entry::Probed { attachment, probes } => {
                self.with_serving(attachment, |serving| serving.probes.clone_from(probes));
            }
            Entry::Judged { attachment, ready } => {
                self.with_serving(attachment, |serving| serving.verdict = Some(*ready));
            }
            Entry::Draining { attachment, until } => {
                self.with_serving(attachment, |serving| serving.drained_at = Some(*until));
            }
            Entry::Rest { address, since } => {
                if !self.holders.contains_key(address) {
                    self.with_book(*address, |book| book.rest(*address, *since));
                }
            }
        }
    }

    fn reboot(&mut self, boot: BootId, at: Uptime) {
        if boot == self.boot {
            return;
        }
        self.boot = boot;
        self.blocks.values_mut().for_each(|book| book.restart_rest(at));
        let attachments: Vec<_> = self.holdings.keys().cloned().collect();
        attachments.iter().for_each(|attachment| self.free(attachment, at));
    }

    fn put_block(&mut self, block: Block, epoch: Epoch, state: BlockState, fresh: u128) {
        let holders = &self.holders;
        let book = self.blocks.entry(block).or_insert_with(|| {
            let mut book = Book::new(block, epoch, state, fresh);
            // Of a damaged journal pods may be known before their block is.
            holders.range(block.first()..=block.last()).for_each(|(address, _)| book.hold(*address));
            book
        });
        book.epoch = epoch;
        book.state = state;
        book.raise_fresh(fresh);
    }

    fn hold(&mut self, holding: &Holding) {
        let free = holding.addresses.iter().all(|address| !self.holders.contains_key(address));
        if !free || self.holdings.contains_key(&holding.attachment) {
            return;
        }
        for address in &holding.addresses {
            self.holders.insert(*address, holding.attachment.clone());
            self.with_book(*address, |book| book.hold(*address));
        }
        self.holdings.insert(holding.attachment.clone(), holding.clone());
    }

    fn free(&mut self, attachment: &AttachmentId, at: Uptime) {
        let Some(holding) = self.holdings.remove(attachment) else { return };
        for address in &holding.addresses {
            self.holders.remove(address);
            self.with_book(*address, |book| book.rest(*address, at));
        }
        self.blocks.retain(|_, book| book.state != BlockState::Withdrawn || book.held() != 0);
    }

    fn with_serving(&mut self, attachment: &AttachmentId, act: impl FnOnce(&mut Serving)) {
        if let Some(holding) = self.holdings.get_mut(attachment) {
            act(&mut holding.serving);
        }
    }

    fn with_book(&mut self, address: IpAddr, act: impl FnOnce(&mut Book)) {
        if let Some(book) = self.blocks.values_mut().find(|book| book.block.contains(address)) {
            act(book);
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
