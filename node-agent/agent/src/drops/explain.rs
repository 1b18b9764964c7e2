//! A copy of a dropped packet, told so that people understand it: names of both sides, who isolates the pod, what would allow it.

use std::{collections::BTreeMap, net::IpAddr, os::unix::net::UnixDatagram, sync::Arc};

use rustix::net::netdevice::index_to_name;
use weft_kernel::LoggedPacket;
use weft_model::{Direction, PodName, Protocol, Revision, ServiceItem, resolver_addresses};
use weft_plan::{DropLabel, DropReason, Facts, LocalPod, PacketHead, explain};
use weft_policy::{Decision, Flow, Isolation, Reason, Transport};
use weft_proto::{convert::address_to_wire, v1};
use weft_view::View;

use crate::limits;

use super::tally::Key;

/// Explains packets; remembers what a View says of a flow.
#[derive(Debug, Default)]
pub(super) struct Explainer {
    revision: Revision,
    known: BTreeMap<(DropReason, Direction, Flow), Known>,
}

/// What is to be said of a flow.
#[derive(Clone, Debug, Default)]
struct Known {
    peer_pod: Option<PodName>,
    peer: String,
    policies: Vec<String>,
    why: String,
    hint: String,
}

/// What is told of a packet, and the pods that it is about: the one whose rules were asked, and the other side.
type Told = (v1::DroppedPacket, [Option<PodName>; 2]);

impl Explainer {
    /// As what a packet is counted, and where somebody watches what is told of it; `None`: it isn't a copy that our rules made.
    pub(super) fn explain(
        &mut self,
        packet: &LoggedPacket,
        view: &View,
        facts: &Facts,
        is_watched: bool,
    ) -> Option<(Key, Option<Told>)> {
        let label: DropLabel = packet.prefix.parse().ok()?;
        let head = PacketHead::read(packet.ethertype, &packet.payload);
        let own = head.map(|head| if label.pod_sent() { head.source } else { head.destination });
        let key = (label.reason, own.filter(|_| label.reason.of_policy().is_some()));
        if !is_watched {
            return Some((key, None));
        }
        let at_address = |pod: &&LocalPod| own.is_some_and(|own| pod.addresses.contains(&own));
        let device = device_name(packet.device);
        let at_port = |pod: &&LocalPod| device.as_deref() == Some(pod.link.as_str());
        // A source that was made up says nothing of the pod: the port does.
        let mut pods = facts.pods.values();
        let pod =
            if label.reason == DropReason::Spoofed { pods.find(at_port) } else { pods.find(at_address) };
        let mut told = v1::DroppedPacket {
            time_us: now_us(),
            reason: label.reason.to_string(),
            pod: pod.map(|pod| pod.name.to_string()).unwrap_or_default(),
            direction: label.direction.map(|direction| direction.to_string()).unwrap_or_default(),
            reply: label.reply,
            ..v1::DroppedPacket::default()
        };
        let Some(head) = head else {
            return Some((key, Some((told, [pod.map(|pod| pod.name.clone()), None]))));
        };
        let known = self.known(label, &head, view, facts);
        let (source_port, destination_port) = head.ports.unwrap_or_default();
        told.source = address_to_wire(head.source);
        told.destination = address_to_wire(head.destination);
        told.protocol = head.protocol_name();
        told.source_port = source_port.into();
        told.destination_port = destination_port.into();
        told.flags = head.flags_text();
        told.peer = known.peer;
        told.policies = known.policies;
        told.why = known.why;
        told.hint = known.hint;
        Some((key, Some((told, [pod.map(|pod| pod.name.clone()), known.peer_pod]))))
    }

    /// What the View says; the same until there is another.
    fn known(&mut self, label: DropLabel, head: &PacketHead, view: &View, facts: &Facts) -> Known {
        if self.revision != view.revision() || self.known.len() >= limits::DROPS_EXPLAINED {
            self.known.clear();
            self.revision = view.revision();
        }
        let flow = flow(label, head);
        let direction = label.direction.unwrap_or(Direction::Egress);
        let new = || ask(label, direction, &flow, view, facts);
        self.known.entry((label.reason, direction, flow)).or_insert_with(new).clone()
    }
}

/// The flow as it began.
fn flow(label: DropLabel, head: &PacketHead) -> Flow {
    let ((began, asked), port) = if label.reply {
        ((head.destination, head.source), head.ports.map(|(source, _)| source))
    } else {
        ((head.source, head.destination), head.ports.map(|(_, destination)| destination))
    };
    let known = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    let protocol = known.into_iter().find(|one| weft_kernel::number_of(*one) == head.protocol);
    let transport = match (protocol, port) {
        (Some(protocol), Some(port)) => Transport::Port(protocol, port),
        _ => Transport::Other(head.protocol),
    };
    Flow::new(began, asked, transport)
}

fn ask(label: DropLabel, direction: Direction, flow: &Flow, view: &View, facts: &Facts) -> Known {
    let explanation = explain(view, facts, flow);
    let (other, peer_pod) = match direction {
        Direction::Egress => (flow.destination, explanation.destination),
        Direction::Ingress => (flow.source, explanation.source),
    };
    let peer = peer_pod.as_ref().map_or_else(|| peer(other, view), |pod| format!("pod/{pod}"));
    let mut known = Known { peer_pod, peer, ..Known::default() };
    if label.reason.of_policy().is_some() {
        let Decision { egress, ingress, .. } = &explanation.decision;
        let reason = if direction == Direction::Egress { egress } else { ingress };
        if let Reason::Denied(Isolation::Policies(policies)) = reason {
            known.policies = policies.iter().map(ToString::to_string).collect();
        }
        // What this node knows by now may be newer than what the kernel had.
        known.why = reason.to_string();
        let is_nearest = explanation.decision.denied().is_some_and(|(denied, _)| denied == direction);
        let closest = explanation.closest.filter(|_| is_nearest);
        known.hint = closest.map(|closest| closest.to_string()).unwrap_or_default();
    }
    known
}

/// Whose address it is, if it is no pod's.
fn peer(address: IpAddr, view: &View) -> String {
    let is_resolver =
        view.fabric().is_some_and(|fabric| resolver_addresses(fabric).any(|own| own == address));
    if is_resolver {
        return "resolver".to_owned();
    }
    let is_of = |peer: &&weft_model::PeerItem| {
        peer.underlay.contains(&address) || peer.mesh.iter().any(|(_, own)| *own == address)
    };
    if let Some(peer) = view.peers().values().find(is_of) {
        return format!("node/{}", peer.node);
    }
    let has = |service: &&Arc<ServiceItem>| {
        let balancers = service.load_balancer.iter().map(|one| one.address);
        let mut all = service.addresses.iter().chain(&service.external_ips).copied().chain(balancers);
        all.any(|own| own == address)
    };
    view.services().values().find(has).map(|service| format!("service/{}", service.name)).unwrap_or_default()
}

/// Any socket can be asked.
fn device_name(index: u32) -> Option<String> {
    index_to_name(UnixDatagram::unbound().ok()?, index).ok()
}

fn now_us() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
