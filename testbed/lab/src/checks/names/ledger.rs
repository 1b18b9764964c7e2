//! What was true of names, and when: answers are held against it. Pure.
//!
//! A change happens somewhere between the moment when it is asked for and the moment when it is done. An answer may show what was true
//! at any moment from a while before its question to its arrival: it must hold what was there throughout, and nothing that wasn't
//! there at all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A moment, microseconds of the wall clock.
pub(super) type Moment = u64;

/// What may be true of a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fact {
    /// There is something of this name.
    Exists(String),
    /// It has this address.
    At(String, IpAddr),
}

/// One change of a fact.
#[derive(Clone, Copy, Debug)]
struct Change {
    holds: bool,
    begun: Moment,
    done: Moment,
}

/// Facts with their changes.
#[derive(Debug, Default)]
pub(super) struct Ledger(BTreeMap<Fact, Vec<Change>>);

/// One answer.
#[derive(Clone, Debug)]
pub(super) struct Answer<'a> {
    pub(super) name: &'a str,
    /// Whether addresses of IPv4 were asked for.
    pub(super) v4: bool,
    /// Whether the answer says that nothing has this name.
    pub(super) denied: bool,
    pub(super) addresses: &'a BTreeSet<IpAddr>,
    pub(super) sent: Moment,
    pub(super) received: Moment,
}

/// What was wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// An address that the name has no more, so many microseconds after it was withdrawn.
    Withdrawn(IpAddr, u64),
    /// An address that the name never had before.
    Unknown(IpAddr),
    /// An address is missing that was there for so many microseconds at least.
    Missing(IpAddr, u64),
    /// "No such name", of a name that was there for so many microseconds at least.
    Denied(u64),
}

impl Ledger {
    /// Notes a change. Changes of a fact are noted in their order.
    pub(super) fn set(&mut self, fact: Fact, holds: bool, begun: Moment, done: Moment) {
        self.0.entry(fact).or_default().push(Change { holds, begun, done });
    }

    /// How long before `from` a fact may have held last; 0 if it may have between both moments, `None` if it never had when they ended.
    fn since_held(&self, fact: &Fact, from: Moment, to: Moment) -> Option<u64> {
        let changes = self.0.get(fact)?;
        let mut last = None;
        let held = |change: &Change| change.holds && change.begun <= to;
        for (place, _) in changes.iter().enumerate().filter(|(_, change)| held(change)) {
            let end = changes[place..].iter().find(|next| !next.holds);
            last = last.max(Some(end.map_or(Moment::MAX, |end| end.done)));
        }
        last.map(|last| from.saturating_sub(last))
    }

    /// For how long before `to` a fact held without a break, for certain.
    fn held_for(&self, fact: &Fact, to: Moment) -> Option<u64> {
        let changes = self.0.get(fact)?;
        let last = changes.iter().rposition(|change| change.begun <= to)?;
        let mut since = None;
        for change in changes[..=last].iter().rev() {
            if !change.holds {
                break;
            }
            since = Some(change.done);
        }
        Some(to.saturating_sub(since?))
    }

    /// What is wrong with an answer that may be so many microseconds behind.
    pub(super) fn judge(&self, answer: &Answer<'_>, lag: u64) -> Option<Wrong> {
        let Answer { name, v4, denied, addresses, sent, received } = *answer;
        let span = received.saturating_sub(sent) + lag;
        for address in addresses {
            match self.since_held(&Fact::At(name.to_owned(), *address), sent, received) {
                None => return Some(Wrong::Unknown(*address)),
                Some(ago) if ago > lag => return Some(Wrong::Withdrawn(*address, ago)),
                Some(_) => {}
            }
        }
        if denied
            && let Some(held) =
                self.held_for(&Fact::Exists(name.to_owned()), received).filter(|held| *held > span)
        {
            return Some(Wrong::Denied(held));
        }
        let first = Fact::At(name.to_owned(), [0, 0, 0, 0].into());
        let of_name = self.0.range(first..).map_while(|(fact, _)| match fact {
            Fact::At(other, address) if other == name => Some((fact, *address)),
            Fact::At(..) | Fact::Exists(_) => None,
        });
        of_name.filter(|(_, address)| address.is_ipv4() == v4 && !addresses.contains(address)).find_map(
            |(fact, address)| {
                let held = self.held_for(fact, received).filter(|held| *held > span)?;
                Some(Wrong::Missing(address, held))
            },
        )
    }

    /// How old what it tells is at least, microseconds.
    pub(super) fn age(&self, answer: &Answer<'_>) -> u64 {
        let gone = answer.addresses.iter().filter_map(|address| {
            self.since_held(&Fact::At(answer.name.to_owned(), *address), answer.sent, answer.received)
        });
        gone.max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG: u64 = 100;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    /// Name `web` with the address .1 from 1000 (asked for at 990) to 2000 (asked for at 1990), and again from 5000; .2 always.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        let at = |last| Fact::At("web".to_owned(), address(last));
        ledger.set(Fact::Exists("web".to_owned()), true, 0, 0);
        ledger.set(at(2), true, 0, 0);
        for (holds, begun, done) in [(true, 990, 1000), (false, 1990, 2000), (true, 4990, 5000)] {
            ledger.set(at(1), holds, begun, done);
        }
        ledger
    }

    fn check(addresses: &[u8], sent: Moment, expected: Option<Wrong>) {
        let addresses: BTreeSet<_> = addresses.iter().map(|last| address(*last)).collect();
        let denied = addresses.is_empty();
        let answer =
            Answer { name: "web", v4: true, denied, addresses: &addresses, sent, received: sent + 10 };
        assert_eq!(ledger().judge(&answer, LAG), expected, "{addresses:?} at {sent}");
    }

    #[test]
    fn an_answer_tells_what_was_so_throughout_and_nothing_that_was_not_so_at_all() {
        check(&[2], 500, None);
        check(&[1, 2], 500, Some(Wrong::Unknown(address(1))));
        check(&[1, 2], 979, Some(Wrong::Unknown(address(1))));
        check(&[1, 2], 980, None);
        check(&[2], 1090, None);
        check(&[2], 1101, Some(Wrong::Missing(address(1), 111)));
        check(&[2], 1979, Some(Wrong::Missing(address(1), 989)));
        check(&[2], 1980, None);
        check(&[1, 2], 2100, None);
        check(&[1, 2], 2101, Some(Wrong::Withdrawn(address(1), 101)));
        check(&[1, 2], 4979, Some(Wrong::Withdrawn(address(1), 2979)));
        check(&[1, 2], 4980, None);
        check(&[1], 6000, Some(Wrong::Missing(address(2), 6010)));
        check(&[], 3000, Some(Wrong::Denied(3010)));
        check(&[3], 3000, Some(Wrong::Unknown(address(3))));
    }

    #[test]
    fn what_has_no_changes_left_is_judged_by_its_last_one() {
        let ledger = ledger();
        let both = BTreeSet::from([address(1), address(2)]);
        let answer =
            |sent| Answer { name: "web", v4: true, denied: false, addresses: &both, sent, received: sent };
        assert_eq!((ledger.age(&answer(2050)), ledger.age(&answer(9000))), (50, 0));
        // Of the other family nothing is known, and nothing is missed.
        let none = BTreeSet::new();
        let other =
            Answer { name: "web", v4: false, denied: false, addresses: &none, sent: 9000, received: 9000 };
        assert_eq!(ledger.judge(&other, LAG), None);
    }
}
