//! Which blocks a node asks for and which it gives back.
//!
//! In: what the View shows, the ledger, the answers of the control plane. Out: entries for the journal and the next
//! [`Step`]s. Invariants: addresses come only from blocks that the View shows · a block goes back only after its end is
//! durable here, and is forgotten only when the View doesn't show it any more, so an old View can't open it again.

use std::collections::{BTreeMap, BTreeSet};

use weft_model::{Block, Epoch, Family, Revision};

use crate::{Entry, Ledger, Uptime};

/// What a View shows of one node's blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Revision of the View.
    pub revision: Revision,
    /// Whether a replica has said in this life of the process that the View is complete.
    pub complete: bool,
    /// The node's blocks with the epochs of their leases.
    pub leases: BTreeMap<Block, Epoch>,
}

/// One call to the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask for one more block.
    Ask(Family),
    /// Give a block back.
    Return {
        /// The block.
        block: Block,
        /// Epoch of its lease.
        epoch: Epoch,
    },
}

/// What was asked and answered in this life of the process. Everything that must last is in the [`Ledger`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leasing {
    /// Revision of the last grant: until the View stands there, no other block of the family is asked for.
    granted: BTreeMap<Family, Revision>,
    /// Leases that the control plane has ended; the View will show it.
    ended: BTreeSet<(Block, Epoch)>,
}

impl Leasing {
    /// Ends the use of blocks that the families can do without. Make the entries durable before [`Leasing::steps`].
    pub fn retire(ledger: &mut Ledger, families: &[Family], now: Uptime) -> Vec<Entry> {
        let mut entries = Vec::new();
        for family in families {
            let surplus = ledger.surplus(*family, now);
            entries.extend(surplus.and_then(|(block, _)| ledger.retire(block)));
        }
        entries
    }

    /// What is to be called now: first what goes back, then at most one block per family. The ledger must be durable as
    /// far as blocks are retiring in it.
    pub fn steps(&mut self, ledger: &Ledger, shown: &Shown, families: &[Family], now: Uptime) -> Vec<Step> {
        let retiring: BTreeSet<_> = ledger.retiring().collect();
        self.ended.retain(|lease| retiring.contains(lease));
        let back = retiring.difference(&self.ended).map(|(block, epoch)| (*block, *epoch));
        let mut steps: Vec<_> = back.map(|(block, epoch)| Step::Return { block, epoch }).collect();
        // A View that isn't complete may hide a block that is ours already.
        if shown.complete && ledger.knows(shown.revision) {
            let seen = |family| self.granted.get(family).is_none_or(|granted| *granted <= shown.revision);
            let wanted = families.iter().filter(|f| seen(f) && ledger.wants_block(**f, now));
            steps.extend(wanted.map(|family| Step::Ask(*family)));
        }
        steps
    }

    /// The control plane says that the node was removed, so its blocks may be others' from now on: nothing more is
    /// allocated, whatever a View of up to `revision` shows. What pods hold they keep.
    pub fn leave(ledger: &mut Ledger, revision: Revision) -> Vec<Entry> {
        let after = Revision(revision.0.saturating_add(1));
        ledger.lease(&Shown { revision: after, complete: true, leases: BTreeMap::new() })
    }

    /// A block was granted at a revision.
    pub fn granted(&mut self, family: Family, revision: Revision) {
        self.granted.insert(family, revision);
    }

    /// A lease has ended: the control plane took the block back, or says that it isn't ours.
    pub fn ended(&mut self, block: Block, epoch: Epoch) {
        self.ended.insert((block, epoch));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    const V4: &[Family] = &[Family::V4];
    const A: &str = "10.1.0.0/28";
    const B: &str = "10.1.1.0/28";

    fn shown(revision: u64, complete: bool, leases: &[(&str, u64)]) -> Shown {
        let leases = leases.iter().map(|(block, epoch)| (block.parse().unwrap(), Epoch(*epoch))).collect();
        Shown { revision: Revision(revision), complete, leases }
    }

    fn open(ledger: &Ledger) -> Vec<String> {
        ledger.usage().filter(|u| u.state == crate::BlockState::Open).map(|u| u.block.to_string()).collect()
    }

    /// A ledger with A and B at revision 10, of which B is retiring; and its journal.
    fn retiring() -> (Ledger, Vec<Entry>) {
        let mut ledger = Ledger::new(Settings::default());
        let mut journal = ledger.lease(&shown(10, true, &[(A, 1), (B, 2)]));
        let retired = Leasing::retire(&mut ledger, V4, Uptime(0));
        assert_eq!(retired.len(), 1);
        journal.extend(retired);
        (ledger, journal)
    }

    #[test]
    fn a_block_that_goes_back_is_closed_until_the_view_lacks_it() {
        let (mut ledger, _) = retiring();
        let mut leasing = Leasing::default();
        let (block, epoch) = (B.parse().unwrap(), Epoch(2));
        let before = shown(11, true, &[(A, 1), (B, 2)]);
        assert_eq!(leasing.steps(&ledger, &before, V4, Uptime(0)), [Step::Return { block, epoch }]);
        leasing.ended(block, epoch);
        assert_eq!(ledger.lease(&before), []);
        assert_eq!(open(&ledger), [A], "the View that is late doesn't open it again");
        assert_eq!(leasing.steps(&ledger, &before, V4, Uptime(0)), [], "asked once");
        ledger.lease(&shown(12, true, &[(A, 1)]));
        assert_eq!(ledger.usage().count(), 1);
        assert_eq!(leasing.steps(&ledger, &before, V4, Uptime(0)), []);
        ledger.lease(&shown(20, true, &[(A, 1), (B, 7)]));
        assert_eq!(open(&ledger), [A, B], "another lease of it is another matter");
    }

    #[test]
    fn a_restart_with_an_older_view_opens_nothing_that_was_given_back() {
        let (mut ledger, mut journal) = retiring();
        journal.extend(ledger.lease(&shown(12, true, &[(A, 1)])));
        for list in [&journal, &ledger.snapshot()] {
            let mut again = Ledger::replay(Settings::default(), list);
            assert_eq!(again.lease(&shown(11, false, &[(A, 1), (B, 2)])), []);
            assert_eq!(open(&again), [A]);
            assert_eq!(again.lease(&shown(9, true, &[])), [], "a replica that is behind takes nothing away");
            assert_eq!(open(&again), [A]);
            let behind = shown(9, true, &[]);
            assert_eq!(Leasing::default().steps(&again, &behind, &[Family::V6], Uptime(0)), []);
        }
        // Killed between the answer and the View: it is given back once more, and never open.
        let (_, journal) = retiring();
        let mut again = Ledger::replay(Settings::default(), &journal);
        let old = shown(10, false, &[(A, 1), (B, 2)]);
        again.lease(&old);
        assert_eq!((open(&again), again.retiring().count()), (vec![A.to_owned()], 1));
        assert_eq!(Leasing::default().steps(&again, &old, V4, Uptime(0)).len(), 1);
    }

    #[test]
    fn a_removed_node_opens_its_blocks_for_no_view_it_has_seen() {
        let mut ledger = Ledger::new(Settings::default());
        let last = shown(10, true, &[(A, 1), (B, 2)]);
        let mut journal = ledger.lease(&last);
        journal.extend(Leasing::leave(&mut ledger, last.revision));
        assert_eq!(open(&ledger), [] as [&str; 0]);
        assert_eq!(Leasing::leave(&mut ledger, last.revision), [], "said once");
        let mut again = Ledger::replay(Settings::default(), &journal);
        again.lease(&shown(10, false, &[(A, 1), (B, 2)]));
        assert_eq!(open(&again), [] as [&str; 0], "after a restart too");
    }

    #[test]
    fn one_more_block_is_asked_for_when_the_view_shows_the_last_one() {
        let ledger = Ledger::new(Settings::default());
        let mut leasing = Leasing::default();
        let families = &[Family::V4, Family::V6];
        let ask = |families: &[Family]| families.iter().map(|f| Step::Ask(*f)).collect::<Vec<_>>();
        assert_eq!(leasing.steps(&ledger, &shown(5, false, &[]), families, Uptime(0)), []);
        assert_eq!(leasing.steps(&ledger, &shown(5, true, &[]), families, Uptime(0)), ask(families));
        leasing.granted(Family::V4, Revision(8));
        assert_eq!(leasing.steps(&ledger, &shown(7, true, &[]), families, Uptime(0)), ask(&[Family::V6]));
        assert_eq!(leasing.steps(&ledger, &shown(8, true, &[]), families, Uptime(0)), ask(families));
    }
}
