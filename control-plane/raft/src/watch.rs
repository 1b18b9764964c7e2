//! Comparing states: who had which hash at which index, and what the majority says.
//!
//! Followers tell the leader their checkpoints. When the leader knows what the majority has, it writes that into the
//! log; whoever applies such an entry and has another hash there stops, be it the leader itself.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use weft_model::{LogIndex, ReplicaId};

use crate::{Checkpoint, Conf};

/// Own checkpoints kept for comparison.
const KEPT: usize = 64;
/// First byte of the context of a verdict, so that the format may grow.
const VERDICT: u8 = 1;

/// Own checkpoints and, on a leader, those of the others.
#[derive(Debug, Default)]
pub(crate) struct Hashes {
    own: VecDeque<Checkpoint>,
    told: BTreeMap<ReplicaId, Checkpoint>,
    /// Index of the last verdict that is in the log.
    judged: LogIndex,
}

impl Hashes {
    /// Keeps a checkpoint of our own.
    pub(crate) fn passed(&mut self, checkpoint: Checkpoint) {
        if self.own.len() == KEPT {
            self.own.pop_front();
        }
        self.own.push_back(checkpoint);
    }

    /// Our latest, for the leader.
    pub(crate) fn latest(&self) -> Option<Checkpoint> {
        self.own.back().copied()
    }

    /// Keeps what another replica says.
    pub(crate) fn told(&mut self, from: ReplicaId, checkpoint: Checkpoint) {
        self.told.insert(from, checkpoint);
    }

    /// What came from others is of no use in another term.
    pub(crate) fn forget(&mut self) {
        self.told.clear();
    }

    /// Our state was replaced: older hashes are not ours.
    pub(crate) fn replaced(&mut self) {
        self.own.clear();
    }

    /// On a leader: the hash that most voters have at the youngest index where that is known, once per index.
    ///
    /// When all voters spoke and none has a majority (two replicas that differ), the leader's own counts.
    pub(crate) fn verdict(&mut self, us: ReplicaId, conf: &Conf) -> Option<Checkpoint> {
        for own in self.own.iter().rev().take_while(|own| own.index > self.judged) {
            let mut votes: BTreeMap<[u8; 32], usize> = BTreeMap::new();
            let mut spoken = 0;
            for voter in &conf.voters {
                let hash = if *voter == us {
                    Some(own.hash)
                } else {
                    self.told.get(voter).filter(|told| told.index == own.index).map(|told| told.hash)
                };
                if let Some(hash) = hash {
                    *votes.entry(hash).or_default() += 1;
                    spoken += 1;
                }
            }
            let majority =
                votes.iter().find(|(_, count)| **count * 2 > conf.voters.len()).map(|(hash, _)| *hash);
            if let Some(hash) = majority.or_else(|| (spoken == conf.voters.len()).then_some(own.hash)) {
                self.judged = own.index;
                return Some(Checkpoint { index: own.index, hash });
            }
        }
        None
    }

    /// Whether our own hash differs from a verdict. A replica that wasn't there yet has nothing to compare.
    pub(crate) fn differs(&mut self, verdict: &Checkpoint) -> bool {
        self.judged = self.judged.max(verdict.index);
        self.own.iter().any(|own| own.index == verdict.index && own.hash != verdict.hash)
    }
}

/// The context of an entry that carries a verdict.
pub(crate) fn write_verdict(verdict: &Checkpoint) -> Bytes {
    let mut bytes = Vec::with_capacity(41);
    bytes.push(VERDICT);
    bytes.extend_from_slice(&verdict.index.0.to_be_bytes());
    bytes.extend_from_slice(&verdict.hash);
    Bytes::from(bytes)
}

/// Reads such a context; what a newer version wrote is `None` and is passed over.
pub(crate) fn read_verdict(context: &[u8]) -> Option<Checkpoint> {
    let (tag, rest) = context.split_first()?;
    let (index, hash) = rest.split_first_chunk::<8>()?;
    let hash = <[u8; 32]>::try_from(hash).ok()?;
    (*tag == VERDICT).then_some(Checkpoint { index: LogIndex(u64::from_be_bytes(*index)), hash })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index: u64, hash: u8) -> Checkpoint {
        Checkpoint { index: LogIndex(index), hash: [hash; 32] }
    }

    fn conf(voters: u64) -> Conf {
        Conf { voters: (1..=voters).map(ReplicaId).collect(), learners: Vec::new() }
    }

    /// Leader 1 has `own` at index 8; `told` are replicas 2, 3, …; the verdict's hash.
    fn check(own: u8, told: &[Option<u8>], expected: Option<u8>) {
        let mut hashes = Hashes::default();
        hashes.passed(at(8, own));
        for (id, hash) in (2..).zip(told) {
            if let Some(hash) = hash {
                hashes.told(ReplicaId(id), at(8, *hash));
            }
        }
        let verdict = hashes.verdict(ReplicaId(1), &conf(told.len() as u64 + 1));
        assert_eq!(verdict, expected.map(|hash| at(8, hash)), "{own} {told:?}");
        assert_eq!(hashes.verdict(ReplicaId(1), &conf(3)), None, "once");
    }

    #[test]
    fn the_majority_decides_even_against_the_leader() {
        check(7, &[Some(7), None], Some(7));
        check(7, &[Some(9), Some(9)], Some(9));
        check(7, &[Some(9), Some(7)], Some(7));
        check(7, &[], Some(7));
        check(7, &[Some(9)], Some(7));
    }

    #[test]
    fn without_enough_voices_nothing_is_said() {
        let mut hashes = Hashes::default();
        hashes.passed(at(8, 7));
        hashes.told(ReplicaId(2), at(16, 7));
        assert_eq!(hashes.verdict(ReplicaId(1), &conf(3)), None);
        hashes.told(ReplicaId(3), at(8, 7));
        assert_eq!(hashes.verdict(ReplicaId(1), &conf(3)), Some(at(8, 7)));
    }

    #[test]
    fn a_verdict_survives_the_log_and_finds_the_one_that_differs() {
        let verdict = at(8, 7);
        assert_eq!(read_verdict(&write_verdict(&verdict)), Some(verdict));
        assert_eq!(read_verdict(&[]), None);
        assert_eq!(read_verdict(&[2; 41]), None);
        let mut hashes = Hashes::default();
        assert!(!hashes.differs(&verdict), "nothing to compare");
        hashes.passed(at(8, 6));
        assert!(hashes.differs(&verdict));
        hashes.replaced();
        hashes.passed(at(8, 7));
        assert!(!hashes.differs(&verdict));
    }
}
