//! The other replicas: one link to each, following the list of members.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{runtime::Handle, sync::mpsc};
use tokio_util::sync::CancellationToken;
use weft_model::{ReplicaId, ReplicaName};
use weft_process::Tasks;
use weft_proto::v1::raft_client::RaftClient;
use weft_raft::{Message, MessageKind};
use weft_rpc::{Channel, ChannelOptions, SharedIdentity, Transport, Trust};

use crate::{inbox::Event, outbox::Outbox, peer_link, wire::split};

/// A replica and where it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) id: ReplicaId,
    /// Unknown until this replica has a state.
    pub(crate) name: Option<ReplicaName>,
    pub(crate) address: SocketAddr,
}

/// The way to one replica.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) place: Place,
    pub(crate) channel: Channel,
    pub(crate) outbox: Arc<Outbox>,
    /// Whether its stream is open.
    pub(crate) connected: Arc<AtomicBool>,
    /// Whether a snapshot is on its way to it.
    pub(crate) sending: Arc<AtomicBool>,
    pub(crate) stop: CancellationToken,
}

impl Link {
    /// Puts a message into the outbox, in parts that fit the wire; false when older ones had to go for it.
    fn push(&self, message: Message) -> bool {
        let mut kept = true;
        for part in split(message) {
            kept &= self.outbox.push(part);
        }
        kept
    }
}

/// All links of this replica; clones share them.
#[derive(Clone)]
pub(crate) struct Peers {
    inner: Arc<Inner>,
}

struct Inner {
    us: ReplicaId,
    identity: SharedIdentity,
    tasks: Tasks,
    runtime: Handle,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
    links: Mutex<BTreeMap<ReplicaId, Link>>,
}

impl Peers {
    /// No links yet. To be made inside the runtime that shall carry them.
    pub(crate) fn new(
        us: ReplicaId,
        identity: SharedIdentity,
        tasks: Tasks,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let inner = Inner {
            us,
            identity,
            tasks,
            runtime: Handle::current(),
            events,
            stop: CancellationToken::new(),
            links: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Makes the links be those to these replicas, whoever calls and however often.
    pub(crate) fn follow(&self, places: impl IntoIterator<Item = Place>) {
        let us = self.inner.us;
        let wanted: BTreeMap<_, _> =
            places.into_iter().filter(|place| place.id != us).map(|place| (place.id, place)).collect();
        let mut links = self.links();
        links.retain(|id, link| {
            let stays = wanted.get(id).is_some_and(|place| place.address == link.place.address);
            if !stays {
                link.stop.cancel();
            }
            stays
        });
        for (id, place) in wanted {
            if let Some(link) = links.get_mut(&id) {
                link.place = place;
            } else if let Some(link) = self.connect(place) {
                links.insert(id, link);
            }
        }
    }

    fn connect(&self, place: Place) -> Option<Link> {
        // The caller may be on a thread of its own: tasks and channels belong to the runtime of the process.
        let _runtime = self.inner.runtime.enter();
        let options = ChannelOptions {
            endpoints: vec![place.address.to_string()],
            trust: Trust::Authority(self.inner.identity.current().authority().to_vec()),
            identity: Some(self.inner.identity.clone()),
            replica: Some(place.id),
        };
        let channel = match Channel::new(options) {
            Ok(channel) => channel,
            Err(error) => {
                tracing::error!(id = place.id.0, %error, "no channel to a replica");
                return None;
            }
        };
        let link = Link {
            place,
            channel,
            outbox: Arc::default(),
            connected: Arc::default(),
            sending: Arc::default(),
            stop: self.inner.stop.child_token(),
        };
        let task = peer_link::run(link.clone(), self.inner.events.clone());
        self.inner.tasks.spawn(format!("link to replica {}", link.place.id), task);
        Some(link)
    }

    /// Sends what can be sent. Gives back who can't be reached, and whether a snapshot was lost with it.
    pub(crate) fn send(&self, messages: Vec<Message>) -> Vec<(ReplicaId, bool)> {
        let mut lost = Vec::new();
        if messages.is_empty() {
            return lost;
        }
        let links = self.links();
        for message in messages {
            let snapshot = message.kind == MessageKind::Snapshot;
            let to = message.to;
            let sent = match links.get(&to) {
                None => false,
                Some(link) if snapshot => self.send_snapshot(link, message),
                Some(link) => link.push(message),
            };
            if !sent {
                lost.push((to, snapshot));
            }
        }
        lost
    }

    /// One at a time to each replica.
    fn send_snapshot(&self, link: &Link, message: Message) -> bool {
        if link.sending.swap(true, Ordering::AcqRel) {
            return false;
        }
        let _runtime = self.inner.runtime.enter();
        let task = peer_link::send_snapshot(link.clone(), message, self.inner.events.clone());
        self.inner.tasks.spawn(format!("snapshot to replica {}", link.place.id), task);
        true
    }

    /// A client for calls to one replica; `None` when it isn't a member.
    pub(crate) fn client(&self, id: ReplicaId) -> Option<RaftClient<Transport>> {
        self.links().get(&id).map(|link| link.channel.raft())
    }

    /// Clients for calls to all others.
    pub(crate) fn clients(&self) -> Vec<(ReplicaId, RaftClient<Transport>)> {
        self.links().iter().map(|(id, link)| (*id, link.channel.raft())).collect()
    }

    /// Whether the stream to a replica is open.
    pub(crate) fn is_connected(&self, id: ReplicaId) -> bool {
        self.links().get(&id).is_some_and(|link| link.connected.load(Ordering::Relaxed))
    }

    /// Whether a replica is a member, as far as is known here.
    pub(crate) fn has(&self, id: ReplicaId) -> bool {
        self.links().contains_key(&id)
    }

    /// A line for each other replica: who answers, who doesn't.
    pub(crate) fn describe(&self) -> Vec<String> {
        let line = |link: &Link| {
            let name =
                link.place.name.as_ref().map_or_else(|| format!("id {}", link.place.id), ToString::to_string);
            let state =
                if link.connected.load(Ordering::Relaxed) { "is connected" } else { "doesn't answer" };
            format!("replica {name} at {} {state}", link.place.address)
        };
        self.links().values().map(line).collect()
    }

    /// Ends all links.
    pub(crate) fn stop(&self) {
        self.inner.stop.cancel();
    }

    /// No statement leaves the map half changed, so a poisoned lock is still good.
    fn links(&self) -> MutexGuard<'_, BTreeMap<ReplicaId, Link>> {
        self.inner.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
