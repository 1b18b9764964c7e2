//! What the parts of the agent share: the View, the host's facts, the addresses, and an inbox per reconcile loop.
//!
//! Values are replaced whole and read as snapshots; whoever changes one tells the loops what to look at.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;
use weft_ipam::{Leasing, Shown};
use weft_model::{NodeFacts, NodeName, Pod, PodPhase, PodUid, Revision, WireguardKey};
use weft_plan::{DeviceState, Facts, LocalPod, Surroundings, node_facts};
use weft_view::{Touched, View};

use crate::{
    addresses::{Addresses, Durability},
    clock,
    desk::Desk,
    drops::Drops,
    judged::Judged,
    locks::Locks,
    loops::{Inboxes, Wakes},
    names::Post,
    ports::PortFindings,
    publish::Publications,
    readiness,
    service_findings::ServiceFindings,
    states::States,
    watchers::Watchers,
};

/// The node.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: NodeName,
    /// Addresses and their journal.
    pub(crate) addresses: Addresses,
    /// One lock per container: attaching, detaching and repairing exclude each other.
    pub(crate) locks: Locks,
    /// States of the subsystems.
    pub(crate) states: States,
    /// Inboxes of the loops.
    pub(crate) inboxes: Inboxes,
    /// Tasks that are woken.
    pub(crate) wakes: Wakes,
    /// What is to be said of services.
    pub(crate) service_findings: ServiceFindings,
    /// Pods that are closed until they are known.
    pub(crate) judged: Judged,
    /// What is to be said of this node's own ports.
    pub(crate) ports: PortFindings,
    /// How names are served.
    pub(crate) names: Post,
    /// Who watches what happens here.
    pub(crate) watchers: Watchers,
    /// What is dropped here.
    pub(crate) drops: Drops,
    /// Questions to the DNS process.
    pub(crate) desk: Desk,
    /// Pods to be published.
    pub(crate) publications: Publications,
    /// What the node says of itself, for publication.
    pub(crate) facts_out: watch::Sender<NodeFacts>,
    /// Public key of the mesh device.
    pub(crate) mesh_key: WireguardKey,
    /// When the process began.
    pub(crate) started: weft_model::WallTime,
    view: Mutex<Arc<View>>,
    facts: Mutex<Arc<Facts>>,
    /// Pods whose links are being made.
    attaching: Mutex<BTreeSet<PodUid>>,
    /// The mesh device as it was last seen, and when; `None`: kernel or built-in tunnel isn't known yet.
    mesh: Mutex<Option<MeshSeen>>,
    rtts: Mutex<BTreeMap<NodeName, u32>>,
    surroundings: Mutex<Surroundings>,
    connected: watch::Sender<bool>,
}

/// The mesh device as it was seen.
#[derive(Clone, Debug)]
pub(crate) struct MeshSeen {
    /// Its state.
    pub(crate) state: DeviceState,
    /// When.
    pub(crate) at: Instant,
    /// Whether the kernel runs it.
    pub(crate) in_kernel: bool,
}

/// Everything a [`Node`] is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) name: NodeName,
    pub(crate) addresses: Addresses,
    pub(crate) view: View,
    pub(crate) facts: Facts,
    pub(crate) mesh_key: WireguardKey,
}

impl Node {
    /// A node that has read its disk and looked at its host.
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { name, addresses, view, facts, mesh_key } = parts;
        let node = Self {
            name,
            addresses,
            locks: Locks::default(),
            states: States::new(),
            inboxes: Inboxes::default(),
            wakes: Wakes::default(),
            service_findings: ServiceFindings::default(),
            judged: Judged::default(),
            ports: PortFindings::default(),
            names: Post::default(),
            watchers: Watchers::default(),
            drops: Drops::default(),
            desk: Desk::default(),
            publications: Publications::default(),
            facts_out: watch::Sender::new(NodeFacts::default()),
            mesh_key,
            started: clock::wall(),
            view: Mutex::new(Arc::new(view)),
            facts: Mutex::new(Arc::new(facts)),
            attaching: Mutex::default(),
            mesh: Mutex::default(),
            rtts: Mutex::default(),
            surroundings: Mutex::default(),
            connected: watch::Sender::new(false),
        };
        node.take_leases();
        node.announce_facts();
        node
    }

    /// The View now.
    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The host's facts now.
    pub(crate) fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.facts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the View and tells every loop what changed.
    pub(crate) fn adopt(&self, view: View, touched: &Touched) {
        let upto = view.revision();
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
        self.take_leases();
        let wide = self.inboxes.tell_of_items(&self.name, upto, touched);
        self.wakes.tell_of_items(wide, touched);
        if wide {
            self.announce_facts();
        }
    }

    /// Changes the facts; every loop looks at everything when that made a difference.
    pub(crate) fn change_facts(&self, change: impl FnOnce(&mut Facts)) -> bool {
        let changed = {
            let mut current = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
            let mut facts = Facts::clone(&current);
            change(&mut facts);
            let changed = facts != **current;
            if changed {
                *current = Arc::new(facts);
            }
            changed
        };
        if changed {
            self.announce_facts();
            self.wakes.ports.notify_one();
            self.inboxes.tell_of_facts();
        }
        changed
    }

    /// A pod came or changed; the caller tells the loops.
    pub(crate) fn put_pod(&self, pod: LocalPod) {
        self.with_pods(|pods| {
            pods.insert(pod.uid, pod);
        });
    }

    /// A pod's link is about to be made by the caller: the loops know it from now on, and leave it to the caller.
    pub(crate) fn begin_attach(&self, pod: LocalPod) {
        self.attaching.lock().unwrap_or_else(PoisonError::into_inner).insert(pod.uid);
        self.put_pod(pod);
    }

    /// The caller has made it, or has taken it away again.
    pub(crate) fn end_attach(&self, uid: PodUid) {
        self.attaching.lock().unwrap_or_else(PoisonError::into_inner).remove(&uid);
        self.wakes.readiness.notify_one();
    }

    /// Pods whose links are being made.
    pub(crate) fn attaching(&self) -> BTreeSet<PodUid> {
        self.attaching.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A pod went; the caller tells the loops.
    pub(crate) fn drop_pod(&self, uid: PodUid) {
        self.with_pods(|pods| {
            pods.remove(&uid);
        });
        self.wakes.readiness.notify_one();
    }

    fn with_pods(&self, change: impl FnOnce(&mut BTreeMap<PodUid, LocalPod>)) {
        let mut current = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut Arc::make_mut(&mut current).pods);
    }

    /// Whether a replica is followed now.
    pub(crate) fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// Notes whether a replica is followed; says whether that is new.
    pub(crate) fn set_connected(&self, connected: bool) -> bool {
        self.connected.send_if_modified(|before| std::mem::replace(before, connected) != connected)
    }

    /// Tells each time that following begins or ends.
    pub(crate) fn connections(&self) -> watch::Receiver<bool> {
        self.connected.subscribe()
    }

    /// Completes while a replica is followed: at once, or when that begins.
    pub(crate) async fn connected(&self) {
        // The sender lives as long as this node, so waiting can't fail.
        let _ = self.connected.subscribe().wait_for(|connected| *connected).await;
    }

    /// The mesh device as it was last seen.
    pub(crate) fn mesh_seen(&self) -> Option<MeshSeen> {
        self.mesh.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how the mesh device is.
    pub(crate) fn set_mesh_seen(&self, seen: MeshSeen) {
        *self.mesh.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }

    /// What others did around us, as it was last seen.
    pub(crate) fn surroundings(&self) -> Surroundings {
        self.surroundings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what others did around us.
    pub(crate) fn change_surroundings(&self, change: impl FnOnce(&mut Surroundings)) {
        change(&mut self.surroundings.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Notes a round trip to a peer, microseconds; `None`: it didn't answer.
    pub(crate) fn set_rtt(&self, peer: &NodeName, rtt: Option<Duration>) {
        let mut rtts = self.rtts.lock().unwrap_or_else(PoisonError::into_inner);
        match rtt {
            Some(rtt) => rtts.insert(peer.clone(), u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX)),
            None => rtts.remove(peer),
        };
    }

    /// Last round trip to a peer, microseconds.
    pub(crate) fn rtt(&self, peer: &NodeName) -> Option<u32> {
        self.rtts.lock().unwrap_or_else(PoisonError::into_inner).get(peer).copied()
    }

    /// Whether pods can be attached: the kernel has been made ready once, and the fabric is known.
    pub(crate) fn is_ready(&self) -> bool {
        use crate::states::Subsystem::{Links, Nft, Routes};
        let states = self.states.all();
        let done = |s| states.get(&s).is_some_and(|state| state.applied.is_some());
        self.view().fabric().is_some() && [Links, Routes, Nft].into_iter().all(done)
    }

    /// All pods of this node as they are published.
    pub(crate) fn pods(&self) -> Vec<Pod> {
        let view = self.view();
        self.addresses.read(|ledger| {
            ledger.holdings().filter(|h| h.attached).map(|h| self.published(&view, h)).collect()
        })
    }

    /// What the View shows of this node's blocks; nothing before the fabric is known.
    pub(crate) fn shown(&self) -> Option<Shown> {
        let view = self.view();
        let leases = view.blocks_of(&self.name).map(|route| (route.block, route.epoch)).collect();
        let shown = Shown { revision: view.revision(), complete: view.is_in_sync(), leases };
        view.fabric().map(|_| shown)
    }

    /// The control plane says that this node was removed: its blocks aren't its own any more.
    pub(crate) fn leave(&self) {
        let revision = self.view().revision();
        self.addresses.change(Durability::Durable, |ledger| ((), Leasing::leave(ledger, revision)));
    }

    fn published(&self, view: &View, holding: &weft_ipam::Holding) -> Pod {
        Pod {
            uid: holding.uid,
            name: holding.pod.clone(),
            labels: holding.labels.clone(),
            node: self.name.clone(),
            attachment: holding.attachment.clone(),
            addresses: holding.addresses.clone(),
            ports: Vec::new(),
            phase: PodPhase::Active,
            ready: readiness::is_ready(view, holding),
            terminating: holding.serving.is_terminating(),
            created: holding.created,
            revision: Revision(0),
        }
    }

    fn take_leases(&self) {
        if let Some(shown) = self.shown() {
            self.addresses.change(Durability::WithNext, |ledger| ((), ledger.lease(&shown)));
        }
    }

    /// Recomputes what the node says of itself.
    fn announce_facts(&self) {
        let (facts, view) = (self.facts(), self.view());
        let said = node_facts(&facts, view.fabric(), self.mesh_key);
        self.facts_out.send_if_modified(|old| {
            let changed = *old != said;
            *old = said;
            changed
        });
    }
}

/// A holding as an object of the control plane.
pub(crate) fn published(node: &Node, holding: &weft_ipam::Holding) -> Pod {
    node.published(&node.view(), holding)
}

/// A holding as the plan sees it.
pub(crate) fn local_pod(holding: &weft_ipam::Holding) -> LocalPod {
    LocalPod {
        uid: holding.uid,
        name: holding.pod.clone(),
        attachment: holding.attachment.clone(),
        link: holding.link.clone(),
        mac: holding.mac,
        addresses: holding.addresses.clone(),
        mtu: holding.mtu,
    }
}
