//! What a reader counts: plain numbers of one thread; the driver adds threads up when somebody looks.

use std::ops::AddAssign;

use crate::{
    message::{RecordType, Transport},
    response::{DropCause, Realm, Source},
};

/// Types of questions that metrics tell apart.
pub const COUNTED_TYPES: [Option<RecordType>; 7] = [
    Some(RecordType::A),
    Some(RecordType::AAAA),
    Some(RecordType::SRV),
    Some(RecordType::PTR),
    Some(RecordType::HTTPS),
    Some(RecordType::TXT),
    None,
];

/// Counters of one thread; they only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Queries by [`COUNTED_TYPES`]; the last counts all others.
    pub types: [u64; 7],
    /// Queries by [`Realm::ALL`].
    pub realms: [u64; 4],
    /// Answers by [`Source::ALL`].
    pub sources: [u64; 6],
    /// Answers by response code 0 to 5; the last counts all others.
    pub rcodes: [u64; 7],
    /// Queries that came over UDP.
    pub udp: u64,
    /// Queries that came over TCP.
    pub tcp: u64,
    /// Answers that didn't fit.
    pub truncated: u64,
    /// Questions that went to the forwarder.
    pub asked: u64,
    /// Of these, questions under a pod's search domain.
    pub searched: u64,
    /// Messages without an answer: too short.
    pub dropped_short: u64,
    /// Messages without an answer: answers themselves.
    pub dropped_answers: u64,
    /// Messages without an answer: over budget.
    pub dropped_budget: u64,
}

impl Counters {
    pub(crate) fn question(&mut self, kind: RecordType, transport: Transport) {
        let place = COUNTED_TYPES.iter().position(|counted| *counted == Some(kind)).unwrap_or(6);
        self.types[place] += 1;
        match transport {
            Transport::Udp => self.udp += 1,
            Transport::Tcp => self.tcp += 1,
        }
    }

    pub(crate) const fn realm(&mut self, realm: Realm) {
        self.realms[realm as usize] += 1;
    }

    /// Takes note of an answer; the driver does so for those of the forwarder.
    pub fn answer(&mut self, message: &[u8], source: Source) {
        let flags = [2, 3].map(|at| message.get(at).copied().unwrap_or_default());
        self.rcodes[usize::from(flags[1] & 0x0f).min(6)] += 1;
        self.truncated += u64::from(flags[0] & 0x02 != 0);
        self.sources[source as usize] += 1;
    }

    pub(crate) const fn dropped(&mut self, cause: DropCause) {
        match cause {
            DropCause::Short => self.dropped_short += 1,
            DropCause::IsAnswer => self.dropped_answers += 1,
            DropCause::Budget => self.dropped_budget += 1,
        }
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        let pairs = (self.types.iter_mut().zip(other.types))
            .chain(self.realms.iter_mut().zip(other.realms))
            .chain(self.sources.iter_mut().zip(other.sources))
            .chain(self.rcodes.iter_mut().zip(other.rcodes));
        pairs.for_each(|(sum, more)| *sum += more);
        self.udp += other.udp;
        self.tcp += other.tcp;
        self.truncated += other.truncated;
        self.asked += other.asked;
        self.searched += other.searched;
        self.dropped_short += other.dropped_short;
        self.dropped_answers += other.dropped_answers;
        self.dropped_budget += other.dropped_budget;
    }
}
