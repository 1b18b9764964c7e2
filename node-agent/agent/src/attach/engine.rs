//! Makes and removes pods: journal, link, guard, in an order in which a crash at any point leaves what can be undone.
//!
//! ADD: address in the journal (durable) → link → guard in the kernel → confirmed → answer → published.
//! DEL: guard and link out of service → address to rest in the journal (durable) → answer → published.

use std::{net::IpAddr, sync::Arc, time::Instant};

use weft_dns::node_resolv_conf;
use weft_errors::{ALREADY_EXISTS, ATTACHMENT_EXISTS, BUSY, Coded, Error, LINK_FAILED};
use weft_ipam::{Holding, Origin, Request};
use weft_kernel::{Namespace, PodLink};
use weft_model::{AttachmentId, Labels, PodName, PodUid, Probes};
use weft_plan::{pod_link_name, pod_mac};

use crate::{
    addresses::{Durability, Ticket},
    clock,
    inbox::{Wish, Work},
    limits,
    locks::Held,
    node::{Node, local_pod, published},
    notes::Notes,
    setup::{Setup, Setups},
};

/// Names that are tried for the node's end before giving up.
const NAME_TRIES: u8 = 16;

/// A pod that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewPod {
    /// The attachment.
    pub(crate) attachment: AttachmentId,
    /// Namespace and name.
    pub(crate) pod: PodName,
    /// Labels.
    pub(crate) labels: Labels,
    /// Path of its network namespace.
    pub(crate) netns: String,
    /// Who asks.
    pub(crate) origin: Origin,
    /// Requested addresses.
    pub(crate) wanted: Vec<IpAddr>,
    /// Device and inode of a namespace that it may not be.
    pub(crate) forbidden_netns: Option<String>,
    /// Whether a pod of the same name is refused.
    pub(crate) unique: bool,
    /// How it is asked whether it is ready.
    pub(crate) probes: Probes,
}

/// What makes and removes pods.
#[derive(Debug)]
pub(crate) struct Engine {
    node: Arc<Node>,
    notes: Notes,
    setups: Setups,
}

impl Engine {
    /// For one node.
    pub(crate) const fn new(node: Arc<Node>, notes: Notes, setups: Setups) -> Self {
        Self { node, notes, setups }
    }

    /// What pods were given when they were made.
    pub(crate) const fn setups(&self) -> &Setups {
        &self.setups
    }

    /// The node.
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Takes the lock of a container.
    pub(crate) fn lock(&self, container: &str, deadline: Instant) -> Result<Held<'_>, Error> {
        self.node.locks.take(container, deadline).ok_or_else(|| {
            Error::new(&BUSY, format!("another call for container {container} is still under way"))
        })
    }

    /// Attaches a pod: all or nothing. The caller holds the container's lock.
    pub(crate) fn add(&self, _held: &Held<'_>, new: NewPod, deadline: Instant) -> Result<Holding, Error> {
        let namespace = open_namespace(&new)?;
        let holding = self.allocate(new, deadline)?;
        let uid = holding.uid;
        let made = self.make(holding.clone(), &namespace, deadline);
        if made.is_err() {
            self.undo(&holding, deadline);
        }
        self.node.end_attach(uid);
        made
    }

    /// Removes a pod: goes on after errors, releases the address in any case. `None` when nothing was held.
    ///
    /// Fails only when the release can't be made durable.
    pub(crate) fn remove(
        &self,
        _held: &Held<'_>,
        attachment: &AttachmentId,
        deadline: Instant,
    ) -> Result<Option<Holding>, Error> {
        let Some(holding) = self.node.addresses.read(|ledger| ledger.holding(attachment).cloned()) else {
            return Ok(None);
        };
        self.take_away(&holding, deadline);
        self.notes.remove(holding.uid);
        let ticket = self.release(attachment);
        self.forget_setup(&attachment.container);
        // In this order: a complete publication in between still names the pod, and this takes it back.
        self.node.publications.remove(holding.uid, &holding.addresses);
        self.node.addresses.wait(ticket, deadline)?;
        Ok(Some(holding))
    }

    /// Notes all pods anew: somebody deleted their notes.
    pub(crate) fn note_all(&self) {
        let held: Vec<_> = self
            .node
            .addresses
            .read(|ledger| ledger.holdings().filter(|holding| holding.attached).cloned().collect());
        held.iter().for_each(|holding| self.notes.put(holding));
    }

    /// Deletes links whose pods are gone, all of a moment in one request, until the process stops.
    pub(crate) fn reap_all(&self) -> Result<(), Error> {
        let inbox = &self.node.inboxes.reap;
        // An agent that was killed may have left some.
        inbox.poke(Wish::default());
        loop {
            let idle = Instant::now() + limits::OBSERVE_EVERY;
            match inbox.take(idle) {
                Work::Stop => return Ok(()),
                Work::Nothing => continue,
                Work::Wish(..) => {}
            }
            // What dies meanwhile goes along.
            let gathered = Instant::now() + limits::REAP_EVERY;
            loop {
                match inbox.take(gathered) {
                    Work::Stop => return Ok(()),
                    Work::Nothing => break,
                    Work::Wish(..) => {}
                }
            }
            if let Err(error) = weft_kernel::reap() {
                tracing::warn!(%error, "dead links can't be deleted yet");
                inbox.poke(Wish::default());
            }
        }
    }

    /// Undoes attachments that were under way when the agent stopped: their runtime never got an answer.
    pub(crate) fn undo_unfinished(&self, deadline: Instant) {
        let all: Vec<_> =
            self.node.addresses.read(|l| l.holdings().filter(|h| !h.attached).cloned().collect());
        for holding in all {
            tracing::info!(pod = %holding.pod, "an attachment that wasn't finished is undone");
            self.undo(&holding, deadline);
        }
    }

    fn allocate(&self, new: NewPod, deadline: Instant) -> Result<Holding, Error> {
        let view = self.node.view();
        let fabric = view.fabric().ok_or_else(|| {
            Error::new(&BUSY, "this node doesn't know its fabric yet")
                .because("no replica has been reached since it joined")
        })?;
        let uid = PodUid(clock::random()?);
        let mtu = self.node.facts().pod_mtu(fabric);
        let NewPod { attachment, pod, labels, netns, origin, wanted, unique, probes, .. } = new;
        let resting =
            || self.node.addresses.read(|ledger| ledger.resting().map(|(address, _)| address).collect());
        let request = Request {
            attachment,
            uid,
            pod,
            labels,
            netns,
            link: self.free_link_name(uid),
            mac: pod_mac(uid),
            mtu,
            origin,
            created: clock::wall(),
            families: fabric.families,
            wanted,
            avoid: self.node.publications.untold(resting),
        };
        let (result, ticket) = self.node.addresses.change(Durability::Durable, |ledger| {
            if unique && ledger.holdings().any(|holding| holding.pod == request.pod) {
                let error =
                    Error::new(&ALREADY_EXISTS, format!("pod {} exists on this node already", request.pod));
                return (Err(error), Vec::new());
            }
            match ledger.allocate(request, clock::uptime()) {
                Ok((mut holding, entry)) => {
                    let mut entries = vec![entry];
                    if !probes.is_empty() {
                        entries.extend(ledger.probe(&holding.attachment, Box::new(probes)));
                        holding = ledger.holding(&holding.attachment).cloned().unwrap_or(holding);
                    }
                    (Ok(holding), entries)
                }
                Err(error) => (Err(error.envelope()), Vec::new()),
            }
        });
        let holding = result?;
        // Nothing is made yet: an address that isn't safe in time is given back, so that the same ADD can come again.
        self.node.addresses.wait(ticket, deadline).inspect_err(|_| {
            self.release(&holding.attachment);
        })?;
        Ok(holding)
    }

    /// Lets the addresses of an attachment rest; wait for the ticket before anybody hears of it.
    fn release(&self, attachment: &AttachmentId) -> Ticket {
        let (_, ticket) = self.node.addresses.change(Durability::Durable, |ledger| {
            let released = ledger.release(attachment, clock::uptime());
            ((), released.map(|(_, entry)| entry).into_iter().collect())
        });
        ticket
    }

    /// A name that no pod of the ledger has; the kernel decides in the end.
    fn free_link_name(&self, uid: PodUid) -> String {
        let taken = |name: &String| self.node.addresses.read(|l| l.holdings().any(|h| h.link == *name));
        let names = (0..NAME_TRIES).map(|attempt| pod_link_name(uid, attempt));
        names.into_iter().find(|name| !taken(name)).unwrap_or_else(|| pod_link_name(uid, 0))
    }

    fn make(&self, holding: Holding, namespace: &Namespace, deadline: Instant) -> Result<Holding, Error> {
        let link = pod_link(&self.node, &holding)?;
        // Known to the loops before any of it is in the kernel, where they would take it for somebody else's.
        self.node.begin_attach(local_pod(&holding));
        let ticket = self.node.inboxes.nft.poke(Wish::pod(holding.uid));
        self.node.inboxes.links.poke(Wish::pod(holding.uid));
        self.node.inboxes.routes.poke(Wish::pod(holding.uid));
        self.node.inboxes.services.poke(Wish::pod(holding.uid));
        let policies = self.node.inboxes.policies.poke(Wish::pod(holding.uid));
        weft_kernel::attach(namespace, &link).map_err(|error| {
            if matches!(error, weft_kernel::Error::InterfaceTaken { .. }) {
                return Error::new(&ATTACHMENT_EXISTS, error.to_string()).object(
                    "pod",
                    holding.pod.namespace.as_str(),
                    &holding.pod.name,
                );
            }
            error.envelope()
        })?;
        self.node.inboxes.nft.wait_for_pod(ticket, holding.uid, deadline)?;
        let made = Holding { attached: true, ..holding };
        self.set_up(&made);
        self.node.inboxes.dns.poke(Wish::pod(made.uid));
        // The runtime hears of it only when the next start would know it too.
        let (_, ticket) = self.node.addresses.change(Durability::Written, |ledger| {
            ((), ledger.confirm(&made.attachment).into_iter().collect())
        });
        self.node.addresses.wait(ticket, deadline)?;
        self.notes.put(&made);
        self.node.publications.put(published(&self.node, &made));
        // Policies select by what the control plane says the pod is: it comes back with the publication.
        let soon = deadline.min(Instant::now() + limits::JUDGED);
        self.node.inboxes.policies.wait(policies, soon);
        if !self.node.judged.wait(made.uid, soon) {
            tracing::warn!(pod = %made.pod, "a pod stays closed until the control plane says which policies select it");
        }
        Ok(made)
    }

    fn undo(&self, holding: &Holding, deadline: Instant) {
        self.take_away(holding, deadline);
        let ticket = self.release(&holding.attachment);
        self.forget_setup(&holding.attachment.container);
        if let Err(error) = self.node.addresses.wait(ticket, deadline) {
            tracing::warn!(%error, pod = %holding.pod, "the address of a failed attachment isn't free yet");
        }
    }

    /// Writes down what the pod gets from what is known now. A second attachment of a container changes nothing.
    fn set_up(&self, holding: &Holding) {
        let container = &holding.attachment.container;
        let is_other = |other: &Holding| other.attachment.container == *container && other.uid != holding.uid;
        let has_other = self.node.addresses.read(|ledger| ledger.holdings().any(is_other));
        if has_other && self.setups.read(container).is_some() {
            return;
        }
        let setup = Setup::of(&self.node.view(), &holding.pod, &node_resolv_conf());
        if let Err(error) = self.setups.put(container, &setup) {
            tracing::warn!(%error, pod = %holding.pod, "what a pod is given can't be written down");
        }
    }

    /// Forgets what a container was given, unless it has another attachment.
    fn forget_setup(&self, container: &str) {
        let stays =
            |ledger: &weft_ipam::Ledger| ledger.holdings().any(|h| h.attachment.container == container);
        if !self.node.addresses.read(stays) {
            self.setups.remove(container);
        }
    }

    /// Out of the kernel, whatever of it is there. Errors are logged: the loops try again, and DEL goes on.
    fn take_away(&self, holding: &Holding, deadline: Instant) {
        // The loops stop wanting it before it goes: nobody repairs what is being taken away.
        self.node.drop_pod(holding.uid);
        let ticket = self.node.inboxes.nft.poke(Wish::pod(holding.uid));
        self.node.inboxes.links.poke(Wish::pod(holding.uid));
        self.node.inboxes.routes.poke(Wish::pod(holding.uid));
        let services = self.node.inboxes.services.poke(Wish::pod(holding.uid));
        self.node.inboxes.policies.poke(Wish::pod(holding.uid));
        self.node.inboxes.dns.poke(Wish::pod(holding.uid));
        // While it can still answer, this node's new connections already go elsewhere.
        let soon = deadline.min(Instant::now() + limits::LEAVE_SERVICES);
        self.node.inboxes.services.wait(services, soon);
        if let Err(error) = weft_kernel::detach(&holding.link, holding.mac, &holding.addresses) {
            tracing::warn!(%error, link = holding.link, "a link can't be taken out of service yet");
        }
        self.node.inboxes.reap.poke(Wish::default());
        if let Err(error) = self.node.inboxes.nft.wait_for_pod(ticket, holding.uid, deadline) {
            tracing::warn!(%error, link = holding.link, "the rights of a removed pod aren't gone yet");
        }
    }
}

/// Everything that is decided about a pod's link.
pub(crate) fn pod_link(node: &Node, holding: &Holding) -> Result<PodLink, Error> {
    let view = node.view();
    let own = view.peer(&node.name).ok_or_else(|| {
        Error::new(&LINK_FAILED, "this node has no mesh addresses yet")
            .because("the control plane hasn't said who this node is")
    })?;
    Ok(PodLink {
        uid: holding.uid,
        link: holding.link.clone(),
        interface: holding.attachment.interface.clone(),
        mac: holding.mac,
        addresses: holding.addresses.clone(),
        mtu: holding.mtu,
        mesh: own.mesh,
    })
}

fn open_namespace(new: &NewPod) -> Result<Namespace, Error> {
    let namespace = Namespace::open_foreign(&new.netns).map_err(|e| e.envelope())?;
    let (device, inode) = namespace.identity();
    if new.forbidden_netns.as_deref() == Some(format!("{device}:{inode}").as_str()) {
        let error = weft_kernel::Error::Namespace {
            path: new.netns.clone().into(),
            why: "is the plugin's own, not a pod's",
            source: None,
        };
        return Err(error.envelope());
    }
    Ok(namespace)
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
