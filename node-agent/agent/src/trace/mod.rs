//! The ways of packets of a pod, or of the node itself, for `weft trace`: told by the plan that made the kernel's maps and by what the
//! kernel holds of policies, and tried on request.
//!
//! In: a question about a sender of this node. Out: what its packets meet, where they may go, what a real one met. Not here:
//! the decision (weft-plan, `forecast` and `way`), and words for a terminal (`weft`).

mod attempt;
mod ends;

use std::{
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

pub(crate) use ends::judge;
use weft_errors::{Coded, Error, INTERNAL, NOT_FOUND, USAGE};
use weft_ipam::Holding;
use weft_kernel::NftSocket;
use weft_model::{Family, PeerItem, Protocol, ServiceName};
use weft_plan::{
    Backend, Facts, Fate, Forecast, Met, Packet, Way, forecast, lets_out, own_addresses, port_security, way,
};
use weft_policy::Flow;
use weft_proto::{
    convert::{address_from_wire, address_to_wire, addresses_from_wire},
    v1,
};
use weft_view::View;

use self::{attempt::Closed, ends::transport};
use crate::{
    inbox::Wish,
    limits,
    node::{Node, local_pod},
    ping::attached,
};

/// Answers the question; what the deadline cuts off isn't tried.
pub(crate) fn trace(node: &Node, asked: &v1::Trace, deadline: Instant) -> Result<v1::TraceResult, Error> {
    let sender = match asked.from_pod.as_str() {
        "" => Sender::Node,
        pod => Sender::Pod(Box::new(attached(node, pod)?)),
    };
    let (view, facts) = (node.view(), node.facts());
    let (protocol, port) = (protocol(asked.protocol)?, port(asked.port)?);
    if asked.probe && protocol == Protocol::Sctp {
        return Err(Error::new(&USAGE, "probes speak TCP and UDP").field("protocol"));
    }
    let mut answer = v1::TraceResult { revision: view.revision().0, ..v1::TraceResult::default() };
    let targets = match destinations(&view, asked)? {
        To::Alias(alias) => {
            answer.alias = alias;
            return Ok(answer);
        }
        To::Addresses(addresses) => addresses,
    };
    let teller = Teller { node, view: &view, facts: &facts, sender: &sender };
    let packets: Vec<Packet> = targets
        .into_iter()
        .filter_map(|to| teller.source(to).map(|source| Packet { source, to, protocol, port }))
        .take(limits::PING_TARGETS)
        .collect();
    if packets.is_empty() {
        let message = format!("{} has no address of a family of the destination", teller.name());
        return Err(Error::new(&NOT_FOUND, message));
    }
    answer.paths = packets.iter().map(|packet| teller.path(*packet)).collect();
    teller.check_sender(&packets, &mut answer.paths);
    teller.judge(&packets, &mut answer.paths, &asked.said, deadline)?;
    if asked.probe {
        probe(&teller, &packets, &mut answer.paths, deadline)?;
    }
    teller.look_again(&mut answer.paths, deadline);
    Ok(answer)
}

/// Tries all paths at once: silence takes time.
fn probe(
    teller: &Teller<'_>,
    packets: &[Packet],
    paths: &mut [v1::TracePath],
    deadline: Instant,
) -> Result<(), Error> {
    let broke_off = || Err(Error::new(&INTERNAL, "tracing a path broke off"));
    thread::scope(|scope| {
        let all = packets.iter().zip(paths.iter_mut()).map(|(packet, path)| {
            scope.spawn(move || -> Result<(), Error> {
                path.probe = Some(teller.tried(*packet, path, deadline)?);
                Ok(())
            })
        });
        // Each is begun before the first is waited for.
        let threads: Vec<_> = all.collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| broke_off()))
    })
}

fn protocol(asked: i32) -> Result<Protocol, Error> {
    match v1::Protocol::try_from(asked) {
        Ok(v1::Protocol::Tcp | v1::Protocol::Unspecified) => Ok(Protocol::Tcp),
        Ok(v1::Protocol::Udp) => Ok(Protocol::Udp),
        Ok(v1::Protocol::Sctp) => Ok(Protocol::Sctp),
        Err(_) => Err(Error::new(&USAGE, "the protocol is TCP, UDP or SCTP").field("protocol")),
    }
}

fn port(asked: u32) -> Result<u16, Error> {
    u16::try_from(asked)
        .map_err(|_| Error::new(&USAGE, format!("{asked} isn't a port: 0 to 65535")).field("port"))
}

/// Who sends.
enum Sender {
    /// A pod of this node.
    Pod(Box<Holding>),
    /// Processes of this node.
    Node,
}

/// Where to.
enum To {
    Addresses(Vec<IpAddr>),
    /// By name alone.
    Alias(String),
}

/// The addresses that the name of a service leads to, or those that were asked for.
fn destinations(view: &View, asked: &v1::Trace) -> Result<To, Error> {
    if asked.service.is_empty() {
        let addresses = addresses_from_wire("to", asked.to.clone()).map_err(|e| e.envelope())?;
        return Ok(To::Addresses(addresses));
    }
    let wrong = |e: weft_model::NameError| Error::new(&USAGE, e.to_string()).field("service");
    let name: ServiceName = asked.service.parse().map_err(wrong)?;
    let Some(service) = view.service(&name) else {
        let error = Error::new(&NOT_FOUND, format!("this node knows no service {name}"));
        return Err(error.object("service", name.namespace.as_str(), &name.name));
    };
    if !service.external_name.is_empty() {
        return Ok(To::Alias(service.external_name.clone()));
    }
    if !service.addresses.is_empty() {
        return Ok(To::Addresses(service.addresses.clone()));
    }
    // Headless: the name leads to those who take connections.
    let ready = service.endpoints.iter().filter(|endpoint| endpoint.conditions.is_ready());
    let found: Vec<IpAddr> = ready.map(|endpoint| endpoint.address).collect();
    if found.is_empty() {
        let error = Error::new(&NOT_FOUND, format!("service {name} is headless, and no backend is ready"));
        return Err(error.object("service", name.namespace.as_str(), &name.name));
    }
    Ok(To::Addresses(found))
}

struct Teller<'a> {
    node: &'a Node,
    view: &'a View,
    facts: &'a Facts,
    sender: &'a Sender,
}

impl Teller<'_> {
    fn name(&self) -> String {
        match self.sender {
            Sender::Pod(holding) => format!("pod {}", holding.pod),
            Sender::Node => format!("node {}", self.facts.node),
        }
    }

    /// The sender's address for a destination: of the node, its address in the mesh, and of its underlay to all outside of the fabric.
    fn source(&self, to: IpAddr) -> Option<IpAddr> {
        let same = |address: &IpAddr| Family::of(*address) == Family::of(to);
        match self.sender {
            Sender::Pod(holding) => holding.addresses.iter().copied().find(same),
            Sender::Node => {
                let all = own_addresses(self.view, self.facts);
                let mut of_family = all.into_iter().filter(same);
                let ranges = &self.view.fabric()?.ranges;
                let mut inside = ranges.pods.iter().chain(&ranges.nodes).chain(&ranges.services);
                if inside.any(|range| range.contains(to)) { of_family.next() } else { of_family.next_back() }
            }
        }
    }

    /// Whether port security lets the sender's packets out, by what the kernel holds.
    fn check_sender(&self, packets: &[Packet], paths: &mut [v1::TracePath]) {
        let Sender::Pod(holding) = self.sender else { return };
        let pod = local_pod(holding);
        let read = NftSocket::open().and_then(|mut socket| socket.observe(&[port_security()]));
        let Ok(observed) = read.inspect_err(|error| tracing::warn!(%error, "port security can't be read"))
        else {
            return;
        };
        for (packet, path) in packets.iter().zip(paths) {
            let allows = lets_out(&observed, &pod, packet.source);
            path.sender = Some(v1::TraceSender { device: pod.link.clone(), allows });
        }
    }

    /// Puts in what policies do at both ends. What another node said of its pods counts more than what this one knows of them.
    fn judge(
        &self,
        packets: &[Packet],
        paths: &mut [v1::TracePath],
        said: &[v1::TraceSaid],
        deadline: Instant,
    ) -> Result<(), Error> {
        let mut flows = Vec::new();
        let mut places = Vec::new();
        for (index, (packet, path)) in packets.iter().zip(paths.iter()).enumerate() {
            let served = path.backends.iter().enumerate().filter(|(_, backend)| backend.out.is_empty());
            for (place, backend) in served.take(limits::TRACE_JUDGED) {
                let to = address_from_wire(&backend.address).map_err(|e| e.envelope())?;
                let flow = Flow::new(packet.source, to, transport(to, packet.protocol, port(backend.port)?));
                let is_node = matches!(self.sender, Sender::Node);
                flows.push(if is_node { flow.by_process() } else { flow });
                places.push((index, place));
            }
        }
        for ((index, place), told) in places.into_iter().zip(ends::judged(self.node, &flows, deadline)) {
            let Some(backend) = paths.get_mut(index).and_then(|path| path.backends.get_mut(place)) else {
                continue;
            };
            let here = told.ingress.as_ref().is_some_and(|end| !end.node.is_empty());
            let of_other = said
                .iter()
                .find(|said| said.address == backend.address && said.port == backend.port)
                .filter(|_| !here);
            backend.egress = told.egress;
            backend.ingress = of_other.and_then(|said| said.end.clone()).or(told.ingress);
        }
        Ok(())
    }

    /// A tunnel that came up a moment ago is known once the device is looked at again.
    fn look_again(&self, paths: &mut [v1::TracePath], deadline: Instant) {
        let ways = || paths.iter().flat_map(|path| &path.backends).filter_map(|backend| backend.way.as_ref());
        if !ways().any(is_without_handshake) {
            return;
        }
        let ticket = self.node.inboxes.mesh.poke(Wish::default());
        self.node.inboxes.mesh.wait(ticket, deadline.min(Instant::now() + limits::TRACE_SETTLES));
        let ways = paths.iter_mut().flat_map(|path| &mut path.backends);
        for way in ways.filter_map(|backend| backend.way.as_mut()).filter(|way| is_without_handshake(way)) {
            let peer = self.view.peers().values().find(|peer| peer.node.as_str() == way.peer);
            way.handshake_age_s = peer.and_then(|peer| self.handshake(peer)).map(|age| age.as_secs());
        }
    }

    fn path(&self, packet: Packet) -> v1::TracePath {
        let Forecast { met, fate, backends } =
            forecast(self.view, self.facts, &self.node.service_findings.limits(), packet);
        let (fate, reason) = match fate {
            Fate::Straight => (v1::TraceFate::Straight, String::new()),
            Fate::Served => (v1::TraceFate::Served, String::new()),
            Fate::Refused(why) => (v1::TraceFate::Refused, why),
            Fate::Dropped(why) => (v1::TraceFate::Dropped, why),
        };
        let backends = if fate == v1::TraceFate::Straight {
            vec![self.straight(packet)]
        } else {
            backends.iter().map(|backend| self.backend(packet, backend)).collect()
        };
        v1::TracePath {
            from: address_to_wire(packet.source),
            to: address_to_wire(packet.to),
            service: met.map(met_to_wire),
            fate: fate.into(),
            reason,
            backends,
            probe: None,
            sender: None,
        }
    }

    /// The destination itself.
    fn straight(&self, packet: Packet) -> v1::TraceBackend {
        let socket = SocketAddr::new(packet.to, packet.port);
        let node = match way(self.view, self.facts, packet.to) {
            Way::Node { node, .. } => Some(node),
            Way::Pod { .. } | Way::Here => Some(self.facts.node.clone()),
            Way::Outside { .. } | Way::Nowhere => None,
        };
        let has = |addresses: &[IpAddr]| addresses.contains(&packet.to);
        let local = self.facts.pods.values().find(|pod| has(&pod.addresses)).map(|pod| pod.name.clone());
        let of_view = || self.view.pods().iter().find(|pod| has(&pod.addresses)).map(|pod| pod.name.clone());
        let pod = local.or_else(of_view).map(|pod| pod.name);
        let backend = Backend { socket, pod, node, slots: 0, out: String::new(), is_sender: false };
        self.backend(packet, &backend)
    }

    fn backend(&self, packet: Packet, backend: &Backend) -> v1::TraceBackend {
        let to = backend.socket.ip();
        let way = way(self.view, self.facts, to);
        let own = self.view.peer(&self.facts.node).and_then(|peer| peer.mesh.of(Family::of(to)).copied());
        let (source, translation) = match (&way, own) {
            (_, Some(own)) if backend.is_sender => {
                (own, "a pod that reaches itself sees its node's mesh address")
            }
            (Way::Outside { source: Some(source), .. }, _) if *source != packet.source => {
                (*source, "it lies outside of the fabric and sees the node's own address")
            }
            _ => (packet.source, ""),
        };
        v1::TraceBackend {
            address: address_to_wire(to),
            port: backend.socket.port().into(),
            pod: backend.pod.as_ref().map(ToString::to_string).unwrap_or_default(),
            node: backend.node.as_ref().map(ToString::to_string).unwrap_or_default(),
            slots: u32::try_from(backend.slots).unwrap_or(u32::MAX),
            out: backend.out.clone(),
            source: address_to_wire(source),
            translation: translation.to_owned(),
            way: Some(self.way(&way)),
            egress: None,
            ingress: None,
        }
    }

    fn way(&self, way: &Way) -> v1::TraceWay {
        let none = v1::TraceWay::default();
        match way {
            Way::Pod { link } => v1::TraceWay { kind: "pod".to_owned(), device: link.clone(), ..none },
            Way::Node { node, device, gateway, route, mtu } => v1::TraceWay {
                kind: "node".to_owned(),
                device: device.clone(),
                peer: node.to_string(),
                gateway: gateway.map(address_to_wire).unwrap_or_default(),
                route: route.to_string(),
                mtu: *mtu,
                handshake_age_s: self
                    .view
                    .peer(node)
                    .and_then(|peer| self.handshake(peer))
                    .map(|a| a.as_secs()),
            },
            Way::Outside { device, .. } => v1::TraceWay {
                kind: "outside".to_owned(),
                device: device.clone().unwrap_or_default(),
                ..none
            },
            Way::Here => v1::TraceWay { kind: "here".to_owned(), ..none },
            Way::Nowhere => v1::TraceWay { kind: "nowhere".to_owned(), ..none },
        }
    }

    /// Age of the last handshake with a peer.
    fn handshake(&self, peer: &PeerItem) -> Option<Duration> {
        let seen = self.node.mesh_seen()?;
        let age = seen.state.peers.get(&peer.wireguard_key?)?.handshake_age?;
        Some(age + Instant::now().saturating_duration_since(seen.at))
    }

    fn tried(
        &self,
        packet: Packet,
        path: &v1::TracePath,
        deadline: Instant,
    ) -> Result<v1::TraceProbe, Error> {
        let picked = path.backends.iter().filter(|backend| backend.out.is_empty());
        let lets_out = path.sender.as_ref().is_none_or(|sender| sender.allows);
        let may = picked.filter_map(|backend| {
            let (ip, source) =
                (address_from_wire(&backend.address).ok()?, address_from_wire(&backend.source).ok()?);
            let socket = SocketAddr::new(ip, u16::try_from(backend.port).ok()?);
            let passes = |end: &Option<v1::TraceEnd>| end.as_ref().is_none_or(|end| end.allows);
            let closed = match (lets_out && passes(&backend.egress), passes(&backend.ingress)) {
                (true, true) => Closed::No,
                (true, false) if backend.node != self.facts.node.as_str() => Closed::There,
                (true | false, false) | (false, true) => Closed::Here,
            };
            Some(attempt::Candidate { socket, source, name: name_of(backend), closed })
        });
        let told = attempt::Told { fate: path.fate(), may: may.collect() };
        let netns = match self.sender {
            Sender::Pod(holding) => Some(holding.netns.as_str()),
            Sender::Node => None,
        };
        attempt::attempt(netns, packet, &told, deadline)
    }
}

fn is_without_handshake(way: &v1::TraceWay) -> bool {
    way.kind == "node" && way.gateway.is_empty() && way.handshake_age_s.is_none()
}

/// `pod web-0 on n1`, or the address.
fn name_of(backend: &v1::TraceBackend) -> String {
    match (backend.pod.is_empty(), backend.node.is_empty()) {
        (true, true) => "the destination".to_owned(),
        (true, false) => format!("the destination on {}", backend.node),
        (false, true) => format!("pod {}", backend.pod),
        (false, false) => format!("pod {} on {}", backend.pod, backend.node),
    }
}

fn met_to_wire(met: Met) -> v1::TraceService {
    v1::TraceService {
        name: met.service.to_string(),
        front: met.kind.as_str().to_owned(),
        map: met.map.to_owned(),
        chain: met.chain,
        slots: u32::try_from(met.slots).unwrap_or(u32::MAX),
        affinity_s: met.affinity,
        policy: met.policy.to_string(),
    }
}

#[cfg(test)]
#[path = "again_tests.rs"]
mod tests;
