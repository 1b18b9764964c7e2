//! The loop that feeds DNS processes: sockets, items of the View, pods of this node.
//!
//! Usually there is one process. When a second one comes it gets everything too, and once it serves the first is told to leave.

use std::{collections::BTreeSet, io, os::fd::AsFd, sync::Arc, time::Instant};

use weft_errors::{DNS_UNREACHABLE, Error};
use weft_model::{Item, ItemKey, Revision, resolver_addresses};
use weft_proto::{
    convert::{delta_frame, in_sync_frame, snapshot_frames},
    v1::{self, names_order::Order},
};
use weft_view::View;

use super::{
    pods::{self, Asker, Askers},
    post::{Arrival, Line},
    sockets::Sockets,
};
use crate::{
    attach::Engine,
    clock,
    inbox::{Outcome, Ticket, Wish, Work},
    limits,
    node::Node,
    states::Subsystem,
};

/// The loop.
pub(crate) struct Feed {
    node: Arc<Node>,
    engine: Arc<Engine>,
    sockets: Sockets,
    askers: Askers,
    links: Vec<Link>,
    /// The process that questions go to.
    asked: Option<u64>,
    began: Instant,
}

/// One DNS process.
struct Link {
    id: u64,
    pid: u32,
    line: Line,
    /// Revision up to which it was told; `None`: it was told nothing yet.
    told: Option<Revision>,
    /// It was told that the View is complete.
    in_sync: bool,
    /// What it last said, and when.
    state: Option<(v1::NamesState, Instant)>,
    leaving: bool,
    /// Whose queries it was told to tell of.
    watch: v1::NamesWatch,
}

impl Feed {
    /// For one node.
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        let node = Arc::clone(engine.node());
        let (askers, links) = (Askers::new(), Vec::new());
        Self { node, engine, sockets: Sockets::new(), askers, links, asked: None, began: Instant::now() }
    }

    /// Works until the process stops.
    pub(crate) fn run(mut self) -> Result<(), Error> {
        let node = Arc::clone(&self.node);
        let mut work = Work::Wish(Wish::everything(), Ticket::default());
        loop {
            let (wish, ticket) = match work {
                Work::Stop => {
                    // Whoever hears them ends too.
                    self.links.iter().for_each(|link| link.line.cut());
                    return Ok(());
                }
                Work::Nothing => (Wish::default(), None),
                Work::Wish(wish, ticket) => (wish, Some(ticket)),
            };
            self.pass(&wish);
            if let Some(ticket) = ticket {
                node.inboxes.dns.done(ticket, Outcome::default());
            }
            let now = Instant::now();
            let pause = self.sockets.pause(now).unwrap_or(limits::DNS_LOOK).min(limits::DNS_LOOK);
            work = node.inboxes.dns.take(now + pause);
        }
    }

    fn pass(&mut self, wish: &Wish) {
        // Arrivals before the View: whoever has come meanwhile is told the View of now.
        for arrival in self.node.names.arrivals() {
            self.arrived(arrival);
        }
        let view = self.node.view();
        let wanted: BTreeSet<_> =
            view.fabric().map(|fabric| resolver_addresses(fabric).collect()).unwrap_or_default();
        let (changed, trouble) = self.sockets.want(&wanted, Instant::now());
        if changed {
            self.tell_all(|link, sockets| give(link, sockets));
        }
        self.feed(&view, &wish.items);
        self.feed_pods(&view);
        self.feed_watchers();
        self.change_over();
        self.report(&view, trouble);
    }

    fn arrived(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Hello { link, pid, line, offered } => {
                self.sockets.offer(offered);
                let watch = v1::NamesWatch { off: true, addresses: Vec::new() };
                let (told, in_sync, state, leaving) = (None, false, None, false);
                self.links.push(Link { id: link, pid, line, told, in_sync, state, leaving, watch });
            }
            Arrival::State { link, state } => {
                if let Some(link) = self.links.iter_mut().find(|other| other.id == link) {
                    link.state = Some((*state, Instant::now()));
                }
            }
            Arrival::Gone { link } => self.links.retain(|other| other.id != link),
        }
    }

    /// Does something for every process; one that can't be reached is hung up on, and comes again.
    fn tell_all(&mut self, mut act: impl FnMut(&mut Link, &Sockets) -> io::Result<()>) {
        let sockets = &self.sockets;
        self.links.retain_mut(|link| match act(link, sockets) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, pid = link.pid, "the DNS process can't be fed");
                link.line.cut();
                false
            }
        });
    }

    fn feed(&mut self, view: &View, keys: &BTreeSet<ItemKey>) {
        let askers = self.askers.clone();
        self.tell_all(|link, sockets| match link.told {
            None => whole(link, sockets, view, &askers),
            Some(told) => change(link, view, told, keys),
        });
    }

    fn feed_pods(&mut self, view: &View) {
        let askers = self.find_askers(view);
        if let Some(change) = pods::difference(&self.askers, &askers) {
            self.tell_all(|link, _| link.line.send(Order::Pods(change.clone()), &[]));
            let names = askers.iter().map(|(address, asker)| (*address, asker.pod.clone()));
            self.node.watchers.know(names.collect());
            self.askers = askers;
        }
    }

    /// Tells processes whose queries somebody watches, when that has changed.
    fn feed_watchers(&mut self) {
        let wanted = self.node.watchers.wanted(Instant::now());
        self.tell_all(|link, _| {
            if link.watch == wanted {
                return Ok(());
            }
            link.watch = wanted.clone();
            link.line.send(Order::Watch(wanted.clone()), &[])
        });
    }

    /// Pods by address. Their search domains were fixed when they were made, and are read once.
    fn find_askers(&self, view: &View) -> Askers {
        let held: Vec<_> = self.node.addresses.read(|ledger| {
            let holdings = ledger.holdings();
            holdings.map(|h| (h.addresses.clone(), h.pod.clone(), h.attachment.container.clone())).collect()
        });
        let mut askers = Askers::new();
        for (addresses, pod, container) in held {
            for address in addresses {
                let known = self.askers.get(&address).filter(|known| {
                    known.pod == pod && known.container == container && !known.search.is_empty()
                });
                let search =
                    known.map_or_else(|| self.search(view, &container), |known| known.search.clone());
                askers.insert(address, Asker { pod: pod.clone(), container: container.clone(), search });
            }
        }
        askers
    }

    /// Empty while the pod is being made: nothing is known of how it searches then.
    fn search(&self, view: &View, container: &str) -> Vec<String> {
        let enabled = view.fabric().is_some_and(|fabric| fabric.dns.enabled);
        let setup = if enabled { self.engine.setups().read(container) } else { None };
        setup.map(|setup| setup.resolv_conf.searches).unwrap_or_default()
    }

    /// Once the newest process serves with everything that it was told, the others leave.
    fn change_over(&mut self) {
        let Some((newest, others)) = self.links.split_last_mut() else { return };
        let serves = newest.state.as_ref().is_some_and(|(state, _)| state.serving);
        if !serves {
            return;
        }
        for link in others.iter_mut().filter(|link| !link.leaving) {
            tracing::info!(old = link.pid, new = newest.pid, "another DNS process has taken over");
            link.leaving = true;
            // One that doesn't hear it is gone.
            let _ = link.line.send(Order::Leave(v1::NamesLeave {}), &[]);
        }
    }

    fn report(&mut self, view: &View, trouble: Option<Error>) {
        let has_sockets = !self.sockets.held().is_empty();
        let serving = self.links.iter().rev().find(|link| {
            let lives = |(state, at): &(v1::NamesState, Instant)| {
                (state.serving || !has_sockets) && at.elapsed() < limits::DNS_SILENT
            };
            link.state.as_ref().is_some_and(lives)
        });
        let enabled = view.fabric().is_some_and(|fabric| fabric.dns.enabled);
        let trouble = match (serving, trouble) {
            (_, Some(error)) => Some(error),
            (None, None) if enabled && self.began.elapsed() > limits::DNS_GRACE => {
                Some(Error::new(&DNS_UNREACHABLE, "no DNS process runs on this node"))
            }
            (None | Some(_), None) => None,
        };
        let state = serving.and_then(|link| link.state.as_ref()).map(|(state, _)| state.clone());
        let now = clock::wall();
        match (&trouble, &state) {
            (Some(error), _) => self.node.states.failed(Subsystem::Dns, error.clone(), now),
            (None, Some(state)) => self.node.states.well(Subsystem::Dns, Revision(state.revision), now),
            (None, None) => {}
        }
        self.node.names.note(state, trouble);
        let asked = serving.map(|link| link.id);
        if asked != self.asked {
            self.asked = asked;
            match serving.map(|link| link.line.clone()) {
                Some(line) => {
                    self.node.desk.open(Arc::new(move |asked| line.send(Order::Question(asked), &[])))
                }
                None => self.node.desk.close(),
            }
        }
    }
}

fn give(link: &Link, sockets: &Sockets) -> io::Result<()> {
    let descriptors: Vec<_> = sockets.held().iter().map(AsFd::as_fd).collect();
    link.line.send(Order::Sockets(weft_dns::to_wire(sockets.held())), &descriptors)
}

/// Sockets first: they keep queries, which are answered from the process's own tables until ours are there.
fn whole(link: &mut Link, sockets: &Sockets, view: &View, askers: &Askers) -> io::Result<()> {
    give(link, sockets)?;
    link.line.send(Order::Pods(pods::whole(askers)), &[])?;
    link.told = Some(view.revision());
    if view.fabric().is_none() {
        return Ok(());
    }
    let items: Vec<Item> = view.items().filter(weft_dns::is_of_names).collect();
    for part in snapshot_frames(view.revision(), &items, weft_dns::ITEMS_PER_FRAME) {
        link.line.send(Order::Items(part), &[])?;
    }
    sync(link, view)
}

/// What changed, merged: such a part may be of the revision that was told last.
fn change(link: &mut Link, view: &View, told: Revision, keys: &BTreeSet<ItemKey>) -> io::Result<()> {
    let keys: Vec<&ItemKey> = keys.iter().filter(|key| is_of_names(key)).collect();
    if view.fabric().is_none() || (keys.is_empty() && told == view.revision()) {
        return Ok(());
    }
    let (mut upserts, mut deletes) = (Vec::new(), Vec::new());
    for key in keys {
        match view.item(key) {
            Some(item) => upserts.push(item),
            None => deletes.push(key.clone()),
        }
    }
    link.line.send(Order::Items(delta_frame(view.revision(), &upserts, &deletes)), &[])?;
    link.told = Some(view.revision());
    sync(link, view)
}

fn sync(link: &mut Link, view: &View) -> io::Result<()> {
    if view.is_in_sync() && !link.in_sync {
        link.line.send(Order::Items(in_sync_frame(view.revision())), &[])?;
        link.in_sync = true;
    }
    Ok(())
}

const fn is_of_names(key: &ItemKey) -> bool {
    match key {
        ItemKey::Fabric | ItemKey::Peer(_) | ItemKey::Service(_) | ItemKey::Pod(_) => true,
        ItemKey::Route(_)
        | ItemKey::Probe(_)
        | ItemKey::Owner(_)
        | ItemKey::Setup(_)
        | ItemKey::Policy(_)
        | ItemKey::Namespace(_)
        | ItemKey::Identity(_) => false,
    }
}
