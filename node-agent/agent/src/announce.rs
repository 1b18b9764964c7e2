//! Load-balancer addresses that this node owns: answered for on the link, and announced when they come.
//!
//! In: owners of the View. Out: addresses held in the kernel, announcements. An address is held only while the rules of services
//! are in place, which drop what is for it and isn't a service's; it stays while the agent starts anew and when there is no
//! leader. Nothing is released before the View was in sync.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use weft_errors::{Coded, Error};
use weft_kernel::{Announce, Announcer, HeldAddresses, LinkEnd};
use weft_plan::{Facts, Sweep};

use crate::{
    inbox::{Outcome, Work},
    limits,
    node::Node,
    reconcile::sweep,
    states::Subsystem,
};

/// Pauses before the announcements of an address that has just come: the first may be lost, and switches learn slowly.
const FIRST: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];
/// And from then on, for machines that missed all of them.
const LATER: Duration = Duration::from_secs(60);

/// An address that is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Duty {
    epoch: u64,
    said: usize,
    at: Instant,
}

/// What is announced, and when next. Pure.
#[derive(Debug, Default)]
struct Duties {
    link: Option<LinkEnd>,
    all: BTreeMap<IpAddr, Duty>,
}

impl Duties {
    /// Owned addresses with the epoch of their ownership, and the link. What is new, or on another link, is announced anew.
    fn own(&mut self, link: LinkEnd, owned: &[(IpAddr, u64)], now: Instant) {
        if self.link.replace(link) != Some(link) {
            self.all.clear();
        }
        self.all.retain(|address, duty| owned.contains(&(*address, duty.epoch)));
        for (address, epoch) in owned {
            self.all.entry(*address).or_insert(Duty { epoch: *epoch, said: 0, at: now });
        }
    }

    /// Addresses that are to be announced now; they are due again later.
    fn take_due(&mut self, now: Instant) -> Vec<IpAddr> {
        let mut due = Vec::new();
        for (address, duty) in self.all.iter_mut().filter(|(_, duty)| duty.at <= now) {
            duty.said += 1;
            duty.at = now + FIRST.get(duty.said).copied().unwrap_or(LATER);
            due.push(*address);
        }
        due
    }

    fn next_at(&self) -> Option<Instant> {
        self.all.values().map(|duty| duty.at).min()
    }
}

/// Works until the process stops.
pub(crate) fn run(node: &Node) -> Result<(), Error> {
    let mut duties = Duties::default();
    let mut failed = false;
    let mut until = Instant::now();
    loop {
        match node.inboxes.announce.take(until) {
            Work::Stop => return Ok(()),
            Work::Wish(_, ticket) => node.inboxes.announce.done(ticket, Outcome::default()),
            Work::Nothing => {}
        }
        let now = Instant::now();
        let slow = now + limits::OBSERVE_EVERY;
        until = match pass(node, &mut duties, now) {
            Ok(true) => {
                failed = false;
                duties.next_at().map_or(slow, |at| at.min(slow))
            }
            Ok(false) => now + limits::ANNOUNCE_AGAIN,
            Err(error) => {
                if !std::mem::replace(&mut failed, true) {
                    tracing::warn!(error = %error.envelope(), "load-balancer addresses can't be announced");
                }
                now + limits::ANNOUNCE_AGAIN
            }
        };
    }
}

/// `false`: the node isn't ready for it yet.
fn pass(node: &Node, duties: &mut Duties, now: Instant) -> Result<bool, weft_kernel::Error> {
    let (view, facts) = (node.view(), node.facts());
    let owned = weft_plan::owned_addresses(&view, &facts);
    let mut held = HeldAddresses::open()?;
    let there = held.read()?;
    if sweep(&view) == Sweep::Allowed {
        for address in there.iter().filter(|address| !owned.iter().any(|(own, _)| own == *address)) {
            held.release(*address)?;
            tracing::info!(%address, "a load-balancer address isn't this node's any more");
        }
    }
    if owned.is_empty() {
        duties.all.clear();
        return Ok(true);
    }
    let guarded = node.states.all().get(&Subsystem::Services).is_some_and(|state| state.applied.is_some());
    let Some((uplink, link)) = uplink(&facts).filter(|_| guarded) else { return Ok(false) };
    for (address, epoch) in &owned {
        if !there.contains(address) {
            held.hold(*address, uplink)?;
            tracing::info!(%address, epoch, uplink, "this node answers for a load-balancer address");
        }
    }
    duties.own(link, &owned, now);
    let due = duties.take_due(now);
    if !due.is_empty() {
        let mut announcer = Announcer::open()?;
        due.into_iter().try_for_each(|address| announcer.announce(link, address))?;
    }
    Ok(true)
}

/// The link that carries the mesh carries load balancers' clients too; one without a hardware address announces nothing.
fn uplink(facts: &Facts) -> Option<(&str, LinkEnd)> {
    let underlay = facts.underlay.as_ref()?;
    Some((&underlay.interface, LinkEnd { index: underlay.index, mac: underlay.mac? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_announced_often_at_first_and_anew_when_it_comes_back() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let link = LinkEnd { index: 2, mac: [2, 0, 0, 0, 0, 1] };
        let (a, b): (IpAddr, IpAddr) = ("192.0.2.9".parse().unwrap(), "2001:db8::9".parse().unwrap());
        let mut duties = Duties::default();
        duties.own(link, &[(a, 1)], after(0));
        let mut times = Vec::new();
        for ms in (0..130_000).step_by(100) {
            if !duties.take_due(after(ms)).is_empty() {
                times.push(ms);
            }
        }
        assert_eq!(times, [0, 200, 1200, 4200, 64_200, 124_200]);
        duties.own(link, &[(a, 1), (b, 1)], after(130_000));
        assert_eq!(duties.take_due(after(130_000)), [b], "only the new one");
        duties.own(link, &[(a, 2), (b, 1)], after(130_000));
        assert_eq!(duties.take_due(after(130_000)), [a], "it was elsewhere meanwhile");
        duties.own(LinkEnd { index: 3, ..link }, &[(a, 2), (b, 1)], after(130_000));
        assert_eq!(duties.take_due(after(130_000)), [a, b], "another link");
        duties.own(LinkEnd { index: 3, ..link }, &[], after(130_000));
        assert_eq!(duties.next_at(), None);
    }
}
