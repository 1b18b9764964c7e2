//! Load-balancer addresses that this node owns: answered for on the link, and announced when they come.
//!
//! In: owners of the View, claims of other machines on the link. Out: addresses held in the kernel, signs of life that let
//! answers through while this loop runs (`gate`), announcements. An address is held only while the rules of services are in place, which drop what
//! is for it and isn't a service's; it stays while the agent starts anew and when there is no leader. Not here: who yields to whom
//! and what is said when (weft-plan, `Duties`), signs of life (`pulse`).

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use weft_errors::{Coded, Error};
use weft_kernel::{Announce, Announcer, Claims, HeldAddresses, LinkEnd, Netlink, NftSocket};
use weft_plan::{Duties, Facts, Heard, Hearing, Sweep};

use crate::{
    gate::Gate,
    inbox::{Outcome, Work},
    limits,
    node::Node,
    reconcile::sweep,
    states::Subsystem,
};

/// Works until the process stops.
pub(crate) fn run(node: &Node, socket: NftSocket) -> Result<(), Error> {
    let mut keeper = Keeper::new(node, socket);
    let mut failed = false;
    let mut until = Instant::now();
    loop {
        match node.inboxes.announce.take(until) {
            Work::Stop => {
                keeper.gate.rest();
                return Ok(());
            }
            Work::Wish(wish, ticket) => {
                if wish.observe {
                    keeper.gate.look_soon();
                }
                if wish.all {
                    keeper.known = None;
                }
                node.inboxes.announce.done(ticket, Outcome::default());
            }
            Work::Nothing => {}
        }
        until = match keeper.pass() {
            Ok(until) => {
                failed = false;
                until
            }
            Err(error) => {
                keeper.forget();
                if !std::mem::replace(&mut failed, true) {
                    tracing::warn!(%error, "load-balancer addresses can't be answered for as they should be");
                }
                Instant::now() + limits::ANNOUNCE_AGAIN
            }
        };
    }
}

/// One node's end of the link.
struct Keeper<'a> {
    node: &'a Node,
    gate: Gate,
    began: Instant,
    duties: Duties,
    link: Option<LinkEnd>,
    hearing: Hearing,
    /// Reads what the link shows.
    signs: Option<Netlink>,
    claims: Option<Claims>,
    /// Addresses that the kernel is known to hold, since when; `None`: look first.
    known: Option<(BTreeSet<IpAddr>, Instant)>,
    /// Tables that an agent before this one left have been looked at.
    begun: bool,
}

impl<'a> Keeper<'a> {
    fn new(node: &'a Node, socket: NftSocket) -> Self {
        Self {
            node,
            gate: Gate::new(socket),
            began: Instant::now(),
            duties: Duties::default(),
            link: None,
            hearing: Hearing::default(),
            signs: None,
            claims: None,
            known: None,
            begun: false,
        }
    }

    /// After a failure nothing is known.
    fn forget(&mut self) {
        (self.claims, self.known, self.signs) = (None, None, None);
        self.gate.forget();
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// One look; until when nothing is to be done, unless something comes.
    fn pass(&mut self) -> Result<Instant, Error> {
        let (view, facts) = (self.node.view(), self.node.facts());
        let Some((uplink, link)) = uplink(&facts) else {
            return self.without_uplink(sweep(&view));
        };
        self.begin(uplink)?;
        if self.link.replace(link) != Some(link) {
            self.duties.moved(self.now());
            self.hearing.moved();
        }
        self.look(link)?;
        // Before anything is said: an agent that was frozen hears here first that its addresses moved.
        self.listen()?;
        let owned = weft_plan::owned_addresses(&view, &facts);
        self.duties.own(&owned, self.node.is_connected(), self.now());
        let services = self.node.states.all().get(&Subsystem::Services).is_some_and(|s| s.applied.is_some());
        let wanted = if services { self.duties.held() } else { BTreeSet::new() };
        self.release_others(sweep(&view))?;
        self.vouch(&wanted, uplink);
        self.hold(&wanted, uplink)?;
        self.speak(link, services)?;
        self.watch(link)?;
        let pause = match (self.duties.watched().is_empty(), services) {
            (true, _) => limits::OBSERVE_EVERY,
            (false, true) => limits::AWAKE_EVERY,
            (false, false) => limits::ANNOUNCE_AGAIN,
        };
        let due = self.duties.next_at().map(|at| self.began + at);
        let until = Instant::now() + pause;
        Ok(due.filter(|_| services).map_or(until, |due| due.min(until)))
    }

    /// At the first look: did an agent before this one say that it would come back?
    fn begin(&mut self, uplink: &str) -> Result<(), Error> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        let expected = self.gate.begin(uplink)?;
        self.duties = Duties::new(expected, self.now());
        Ok(())
    }

    /// A node that lost its uplink answers nowhere, and keeps what it has for the next one.
    fn without_uplink(&mut self, removal: Sweep) -> Result<Instant, Error> {
        if self.link.take().is_some() {
            self.hearing.cut();
        }
        self.release_others(removal)?;
        Ok(Instant::now() + limits::ANNOUNCE_AGAIN)
    }

    /// Whether the link carries anything. Only who owns addresses needs to know.
    fn look(&mut self, link: LinkEnd) -> Result<(), Error> {
        if self.duties.watched().is_empty() {
            // What happens to the link meanwhile says nothing of what this node owns later.
            self.hearing = Hearing::default();
        } else {
            let mut netlink = match self.signs.take() {
                Some(netlink) => netlink,
                None => Netlink::open().map_err(|e| e.envelope())?,
            };
            let signs = netlink.link_signs(link.index).map_err(|e| e.envelope())?;
            self.signs = Some(netlink);
            if signs.is_some_and(|signs| self.hearing.see(signs, self.began.elapsed())) {
                tracing::info!(
                    "the uplink is cut off: before this node answers for load-balancer addresses again it asks whether others do"
                );
            }
        }
        self.duties.hears(&self.hearing);
        Ok(())
    }

    fn listen(&mut self) -> Result<(), Error> {
        let Some(claims) = &mut self.claims else { return Ok(()) };
        for claim in claims.read().map_err(|e| e.envelope())? {
            let address = claim.address;
            match self.duties.hear(claim, self.began.elapsed()) {
                Heard::Nothing => {}
                Heard::Yielded => {
                    tracing::info!(%address, epoch = claim.epoch, "another node answers for a load-balancer address now");
                }
                Heard::Defended => {
                    tracing::warn!(%address, epoch = claim.epoch, "another machine on the link claims a load-balancer address of this node");
                }
            }
        }
        Ok(())
    }

    /// Takes away what isn't this node's. Nothing before the View was in sync, but what was left to another node.
    fn release_others(&mut self, removal: Sweep) -> Result<(), Error> {
        let fresh = |(_, since): &(BTreeSet<IpAddr>, Instant)| since.elapsed() < limits::OBSERVE_EVERY;
        let known = self.known.take().filter(fresh);
        let (mut there, since) = match known {
            Some(known) => known,
            None => {
                let read = HeldAddresses::open().and_then(|mut held| held.read());
                (read.map_err(|e| e.envelope())?, Instant::now())
            }
        };
        let (kept, left) = (self.duties.kept(), self.duties.watched());
        let gone: Vec<IpAddr> = there
            .difference(&kept)
            .filter(|address| removal == Sweep::Allowed || left.contains(*address))
            .copied()
            .collect();
        if !gone.is_empty() {
            let mut held = HeldAddresses::open().map_err(|e| e.envelope())?;
            for address in gone {
                held.release(address).map_err(|e| e.envelope())?;
                there.remove(&address);
                tracing::info!(%address, "this node doesn't answer for a load-balancer address any more");
            }
        }
        self.known = Some((there, since));
        Ok(())
    }

    /// Lets answers for held addresses through for a moment.
    fn vouch(&mut self, wanted: &BTreeSet<IpAddr>, uplink: &str) {
        let there = self.known.as_ref().map(|(there, _)| there.clone()).unwrap_or_default();
        let held: BTreeSet<IpAddr> = wanted.union(&there).copied().collect();
        if !wanted.is_empty() || held.is_empty() {
            self.gate.vouch(&held, uplink);
        } else {
            // What nobody vouches for is held back, until that is known or it is released.
            self.gate.close();
        }
    }

    fn hold(&mut self, wanted: &BTreeSet<IpAddr>, uplink: &str) -> Result<(), Error> {
        let Some((there, _)) = &mut self.known else { return Ok(()) };
        let missing: Vec<IpAddr> = wanted.difference(there).copied().collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut held = HeldAddresses::open().map_err(|e| e.envelope())?;
        for address in missing {
            held.hold(address, uplink).map_err(|e| e.envelope())?;
            there.insert(address);
            tracing::info!(%address, uplink, "this node answers for a load-balancer address");
        }
        Ok(())
    }

    /// Announcements, and questions of who follows no replica.
    fn speak(&mut self, link: LinkEnd, services: bool) -> Result<(), Error> {
        let now = self.now();
        let due = if services { self.duties.take_due(now) } else { Vec::new() };
        let questions = self.duties.take_questions(now);
        if due.is_empty() && questions.is_empty() {
            return Ok(());
        }
        let mut announcer = Announcer::open().map_err(|e| e.envelope())?;
        due.into_iter()
            .try_for_each(|(address, epoch)| announcer.announce(link, address, epoch))
            .and_then(|()| questions.into_iter().try_for_each(|address| announcer.ask(link, address)))
            .map_err(|e| e.envelope())
    }

    /// Listens for others' claims to everything that is this node's by its View.
    fn watch(&mut self, link: LinkEnd) -> Result<(), Error> {
        let watched = self.duties.watched();
        if watched.is_empty() {
            self.claims = None;
        } else if !self.claims.as_ref().is_some_and(|claims| claims.is_about(link, &watched)) {
            self.claims = Some(Claims::open(link, &watched).map_err(|e| e.envelope())?);
        }
        Ok(())
    }
}

/// The link that carries the mesh carries load balancers' clients too; one without a hardware address announces nothing.
fn uplink(facts: &Facts) -> Option<(&str, LinkEnd)> {
    let underlay = facts.underlay.as_ref()?;
    Some((&underlay.interface, LinkEnd { index: underlay.index, mac: underlay.mac? }))
}
