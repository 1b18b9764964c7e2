//! One block: which of its positions are fresh, held or resting.

use std::{
    collections::{BTreeSet, VecDeque},
    net::IpAddr,
};

use weft_model::{Block, Epoch, Family};

use crate::{BlockState, Settings, Uptime};

/// The book of one block. Positions count from the network address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Book {
    pub(crate) block: Block,
    pub(crate) epoch: Epoch,
    pub(crate) state: BlockState,
    /// First position that was never given out; all below it are taken.
    fresh: u128,
    /// Held and resting positions.
    taken: BTreeSet<u128>,
    /// Resting positions, oldest first.
    resting: VecDeque<(u128, Uptime)>,
}

impl Book {
    pub(crate) fn new(block: Block, epoch: Epoch, state: BlockState, fresh: u128) -> Self {
        let first = first_usable();
        Self {
            block,
            epoch,
            state,
            fresh: fresh.max(first),
            taken: BTreeSet::new(),
            resting: VecDeque::new(),
        }
    }

    pub(crate) const fn fresh(&self) -> u128 {
        self.fresh
    }

    pub(crate) fn raise_fresh(&mut self, fresh: u128) {
        self.fresh = self.fresh.max(fresh);
        self.skip_taken();
    }

    /// Positions that can be given out at all.
    pub(crate) fn capacity(&self) -> u128 {
        self.end() - first_usable()
    }

    pub(crate) fn held(&self) -> u128 {
        (self.taken.len() - self.resting.len()) as u128
    }

    pub(crate) fn resting(&self) -> u128 {
        self.resting.len() as u128
    }

    /// Addresses that have rested for less than so many milliseconds.
    pub(crate) fn unrested(&self, now: Uptime, rest: u64) -> u128 {
        self.resting.iter().filter(|(_, since)| now.since(*since) < rest).count() as u128
    }

    /// Resting addresses, oldest first.
    pub(crate) fn resting_addresses(&self) -> impl Iterator<Item = (IpAddr, Uptime)> {
        self.resting.iter().filter_map(|(index, since)| Some((self.block.nth(*index)?, *since)))
    }

    /// The address to give out next: fresh ones first, then the longest rested that isn't to be avoided; `None` when nothing has rested
    /// for so many milliseconds.
    pub(crate) fn candidate(
        &self,
        settings: &Settings,
        now: Uptime,
        rest: u64,
        avoid: &BTreeSet<IpAddr>,
    ) -> Option<IpAddr> {
        if self.state != BlockState::Open {
            return None;
        }
        let fresh = (self.fresh < self.end()).then_some(self.fresh);
        let long_enough = self.resting.iter().take_while(|(_, since)| now.since(*since) >= rest);
        let may_be = |index: &u128| self.block.nth(*index).is_some_and(|address| !avoid.contains(&address));
        let rested = long_enough.map(|(index, _)| *index).find(may_be);
        let index = if self.fresh < settings.fresh_first { fresh.or(rested) } else { rested.or(fresh) };
        self.block.nth(index?)
    }

    /// Whether pods may have this address: not the network address, not the last one of IPv4.
    pub(crate) fn is_usable(&self, address: IpAddr) -> bool {
        self.block.index_of(address).is_some_and(|index| index >= first_usable() && index < self.end())
    }

    /// Since when an address rests.
    pub(crate) fn rests_since(&self, address: IpAddr) -> Option<Uptime> {
        let index = self.block.index_of(address)?;
        self.resting.iter().find(|(i, _)| *i == index).map(|(_, since)| *since)
    }

    pub(crate) fn hold(&mut self, address: IpAddr) {
        let Some(index) = self.block.index_of(address) else { return };
        if !self.taken.insert(index) {
            self.resting.retain(|(i, _)| *i != index);
        }
        self.skip_taken();
    }

    pub(crate) fn rest(&mut self, address: IpAddr, since: Uptime) {
        let Some(index) = self.block.index_of(address) else { return };
        self.taken.insert(index);
        self.resting.retain(|(i, _)| *i != index);
        self.resting.push_back((index, since));
        self.skip_taken();
    }

    /// Another boot: what rested begins again, in the same order.
    pub(crate) fn restart_rest(&mut self, at: Uptime) {
        self.resting.iter_mut().for_each(|(_, since)| *since = at);
    }

    /// Whether nothing is held and everything that rests has rested.
    pub(crate) fn is_idle(&self, settings: &Settings, now: Uptime) -> bool {
        let rested = self.resting.iter().all(|(_, since)| now.since(*since) >= settings.quarantine_ms);
        self.held() == 0 && rested
    }

    fn skip_taken(&mut self) {
        while self.taken.contains(&self.fresh) {
            self.fresh += 1;
        }
    }

    /// First position behind the usable ones: IPv4 leaves out the broadcast address (RFC 919).
    fn end(&self) -> u128 {
        match self.block.family() {
            Family::V4 => self.block.size() - 1,
            Family::V6 => self.block.size(),
        }
    }
}

/// The network address (RFC 1122 section 3.2.1.3) and the subnet-router anycast address (RFC 4291 section 2.6.1) are left out.
const fn first_usable() -> u128 {
    1
}
