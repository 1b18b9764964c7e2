//! Which load-balancer addresses this node answers for on its link, and what it says there and when.
//!
//! In: owners of the View, what others claim on the link, whether a replica is followed and the link carries anything; time as a span since any fixed moment.
//! Out: addresses to hold, announcements, questions. Pure. Not here: who owns (weft-core), frames and tables.
//!
//! - Without a replica the last owner goes on; it asks on the link, twice a second, whether somebody else answers.
//! - It yields at once to an announcement with a higher epoch, whatever its View says, and takes the address again only with a higher
//!   one still, or when its View goes on saying so for 30 s. To a claim without an epoch it yields while it follows no replica: then it can't know better.
//! - Of two that follow a replica the View decides: a claim without a higher epoch is answered by an announcement.
//! - Whoever was cut off from the link (`hearing`) holds nothing until others had the time to answer, and whatever they say counts: a View that
//!   is followed may be late. What it says counts again 3 s later, when it would have come.
//! - An agent that starts and wasn't expected back is in doubt: its addresses may have moved. It waits for a replica, and asks on
//!   the link meanwhile; when neither tells otherwise it goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use crate::Hearing;

/// Pauses before the announcements of an address that has just come: three in 100 ms, since the first may be lost, then fewer.
const FIRST: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(50),
    Duration::from_millis(50),
    Duration::from_secs(1),
    Duration::from_secs(3),
];
/// And from then on, for machines that missed all of them.
const LATER: Duration = Duration::from_secs(60);
/// Announcements that answer a wrong claim come at most this often: two that don't yield don't fill the link.
const DEFEND: Duration = Duration::from_millis(200);
/// How often a node that follows no replica asks whether somebody else has its addresses.
const ASK: Duration = Duration::from_millis(500);
/// Most addresses that it asks for at a time when it asks each time that it looks: these come in turn.
const ASK_AT_ONCE: usize = 8;
/// How long an agent that starts in doubt waits for a replica or a claim.
pub const DOUBT: Duration = Duration::from_secs(3);

/// Who follows a replica whose View still says so this long after it yielded takes the address again: any machine of the link can claim
/// any epoch, and one frame may not take an address away for good. A true owner of a higher epoch says so again, and is yielded to.
const REGRET: Duration = Duration::from_secs(30);

/// Somebody else says on the link that an address is his.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// Which.
    pub address: IpAddr,
    /// Epoch of the ownership that is claimed; `None`: it isn't said.
    pub epoch: Option<u64>,
}

/// What a claim led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It isn't about an address of ours.
    Nothing,
    /// The other has it from now on.
    Yielded,
    /// It is ours all the same, and is announced again.
    Defended,
}

/// An address that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Duty {
    epoch: u64,
    said: usize,
    at: Duration,
    last: Option<Duration>,
}

/// Whom an address was left to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Yield {
    /// An owner of this epoch; when that was said last.
    To(u64, Duration),
    /// Somebody; what a replica says counts more.
    ToSomebody,
    /// Somebody who answered after a cut, at that time; what a replica says counts more once it is of later.
    ToWhoAnswers(Duration),
}

/// Duties of one node.
#[derive(Debug, Default)]
pub struct Duties {
    owned: BTreeMap<IpAddr, u64>,
    held: BTreeMap<IpAddr, Duty>,
    yielded: BTreeMap<IpAddr, Yield>,
    in_touch: bool,
    /// Nothing may be said on the link now; others are asked.
    closed: bool,
    asks: bool,
    /// Where among its addresses the next questions begin.
    turn: usize,
    doubt_until: Option<Duration>,
    asked: Option<Duration>,
}

impl Duties {
    /// Of an agent that starts; `expected`: an agent before it said that it would come back, and its time isn't over.
    pub fn new(expected: bool, now: Duration) -> Self {
        Self { doubt_until: (!expected).then_some(now + DOUBT), ..Self::default() }
    }

    /// Whether the link may be spoken on now. Counts from the next [`Self::own`] on.
    pub fn hears(&mut self, hearing: &Hearing) {
        (self.closed, self.asks) = (!hearing.is_open(), hearing.asks());
    }

    /// What the View says: owned addresses with the epoch of their ownership. `in_touch`: a replica is followed, so that the View
    /// is of now.
    pub fn own(&mut self, owned: &[(IpAddr, u64)], in_touch: bool, now: Duration) {
        self.in_touch = in_touch;
        if in_touch || self.doubt_until.is_some_and(|until| now >= until) {
            self.doubt_until = None;
        }
        self.owned = owned.iter().copied().collect();
        let owned = &self.owned;
        self.yielded.retain(|address, to| {
            owned.get(address).is_some_and(|epoch| match to {
                Yield::To(higher, said) => {
                    *higher >= *epoch && !(in_touch && now.saturating_sub(*said) >= REGRET)
                }
                Yield::ToSomebody => !in_touch,
                Yield::ToWhoAnswers(at) => !in_touch || now.saturating_sub(*at) < DOUBT,
            })
        });
        let doubt = self.doubt_until.is_some();
        let silent = doubt || self.closed;
        let ours = |address: &IpAddr| !silent && !self.yielded.contains_key(address);
        self.held.retain(|address, duty| owned.get(address) == Some(&duty.epoch) && ours(address));
        for (address, epoch) in self.owned.iter().filter(|(address, _)| ours(address)) {
            let begun = Duty { epoch: *epoch, said: 0, at: now, last: None };
            self.held.entry(*address).or_insert(begun);
        }
    }

    /// Addresses to hold.
    pub fn held(&self) -> BTreeSet<IpAddr> {
        self.held.keys().copied().collect()
    }

    /// Addresses that stay held if they are: those to hold, and those of which it isn't known yet.
    pub fn kept(&self) -> BTreeSet<IpAddr> {
        self.owned.keys().filter(|address| !self.yielded.contains_key(address)).copied().collect()
    }

    /// Addresses to listen for: also those that were left to others, or are in doubt.
    pub fn watched(&self) -> BTreeSet<IpAddr> {
        self.owned.keys().copied().collect()
    }

    /// Another machine claims an address.
    pub fn hear(&mut self, claim: Claim, now: Duration) -> Heard {
        let Some(own) = self.owned.get(&claim.address).copied() else { return Heard::Nothing };
        let to = match claim.epoch {
            Some(epoch) if epoch > own => Some(Yield::To(epoch, now)),
            Some(_) => None,
            // An owner's kernel answers without one.
            None if self.closed => Some(Yield::ToWhoAnswers(now)),
            None => (!self.in_touch).then_some(Yield::ToSomebody),
        };
        if let Some(to) = to {
            self.yielded.insert(claim.address, to);
            return if self.held.remove(&claim.address).is_some() { Heard::Yielded } else { Heard::Nothing };
        }
        let Some(duty) = self.held.get_mut(&claim.address) else { return Heard::Nothing };
        duty.at = duty.at.min(duty.last.map_or(now, |last| now.max(last + DEFEND)));
        Heard::Defended
    }

    /// The link is another one: everything is said anew there.
    pub fn moved(&mut self, now: Duration) {
        for duty in self.held.values_mut() {
            *duty = Duty { said: 0, at: now, last: None, ..*duty };
        }
    }

    /// Addresses that are to be announced now, with their epochs; they are due again later.
    pub fn take_due(&mut self, now: Duration) -> Vec<(IpAddr, u64)> {
        let mut due = Vec::new();
        for (address, duty) in self.held.iter_mut().filter(|(_, duty)| duty.at <= now) {
            duty.said += 1;
            duty.at = now + FIRST.get(duty.said).copied().unwrap_or(LATER);
            duty.last = Some(now);
            due.push((*address, duty.epoch));
        }
        due
    }

    /// Addresses to ask for now: whether somebody else answers for them.
    pub fn take_questions(&mut self, now: Duration) -> Vec<IpAddr> {
        let due = self.asked.is_none_or(|asked| now.saturating_sub(asked) >= ASK);
        let asks = if self.closed { self.asks } else { self.asks || (!self.in_touch && due) };
        if !asks {
            return Vec::new();
        }
        self.asked = Some(now);
        let mine = self.owned.keys().filter(|address| !self.yielded.contains_key(address)).copied();
        let mine: Vec<IpAddr> = mine.collect();
        if !self.asks {
            return mine;
        }
        let from = self.turn.checked_rem(mine.len()).unwrap_or_default();
        self.turn = from.saturating_add(ASK_AT_ONCE);
        mine.iter().cycle().skip(from).take(mine.len().min(ASK_AT_ONCE)).copied().collect()
    }

    /// When the next announcement is due.
    pub fn next_at(&self) -> Option<Duration> {
        self.held.values().map(|duty| duty.at).min()
    }
}

#[cfg(test)]
#[path = "duty_tests.rs"]
mod tests;
