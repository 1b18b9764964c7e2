//! The ways of a pod's packets, for `weft trace`: told by the plan that made the kernel's maps, and tried on request.
//!
//! In: a question about a pod of this node. Out: what its packets meet, where they may go, what a real one met. Not here:
//! the decision (weft-plan, `forecast` and `way`), and words for a terminal (`weft`).

mod attempt;

use std::{
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use weft_errors::{Coded, Error, INTERNAL, NOT_FOUND, USAGE};
use weft_ipam::Holding;
use weft_model::{Family, PeerItem, Protocol, ServiceName};
use weft_plan::{Backend, Facts, Fate, Forecast, Met, Packet, Way, forecast, way};
use weft_proto::{
    convert::{address_from_wire, address_to_wire, addresses_from_wire},
    v1,
};
use weft_view::View;

use crate::{limits, node::Node, ping::attached};

/// Answers the question; what the deadline cuts off isn't tried.
pub(crate) fn trace(node: &Node, asked: &v1::Trace, deadline: Instant) -> Result<v1::TraceResult, Error> {
    let holding = attached(node, &asked.from_pod)?;
    let (view, facts) = (node.view(), node.facts());
    let protocol = protocol(asked)?;
    let port = u16::try_from(asked.port)
        .map_err(|_| Error::new(&USAGE, format!("{} isn't a port: 0 to 65535", asked.port)).field("port"))?;
    let mut answer = v1::TraceResult { revision: view.revision().0, ..v1::TraceResult::default() };
    let targets = match destinations(&view, asked)? {
        To::Alias(alias) => {
            answer.alias = alias;
            return Ok(answer);
        }
        To::Addresses(addresses) => addresses,
    };
    let teller = Teller { node, view: &view, facts: &facts };
    let source = |to: IpAddr| holding.addresses.iter().copied().find(|a| Family::of(*a) == Family::of(to));
    let packets: Vec<Packet> = targets
        .into_iter()
        .filter_map(|to| source(to).map(|source| Packet { source, to, protocol, port }))
        .take(limits::PING_TARGETS)
        .collect();
    if packets.is_empty() {
        let message = format!("pod {} has no address of a family of the destination", asked.from_pod);
        return Err(Error::new(&NOT_FOUND, message));
    }
    let told = |packet: Packet| -> Result<v1::TracePath, Error> {
        let mut path = teller.path(packet);
        if asked.probe {
            path.probe = Some(teller.tried(&holding, packet, &path, deadline)?);
        }
        Ok(path)
    };
    // All at once: silence takes time.
    answer.paths = thread::scope(|scope| {
        let threads: Vec<_> = packets.into_iter().map(|packet| scope.spawn(move || told(packet))).collect();
        let broke_off = || Err(Error::new(&INTERNAL, "tracing a path broke off"));
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| broke_off()))
            .collect::<Result<_, _>>()
    })?;
    Ok(answer)
}

fn protocol(asked: &v1::Trace) -> Result<Protocol, Error> {
    match v1::Protocol::try_from(asked.protocol) {
        Ok(v1::Protocol::Tcp | v1::Protocol::Unspecified) => Ok(Protocol::Tcp),
        Ok(v1::Protocol::Udp) => Ok(Protocol::Udp),
        Ok(v1::Protocol::Sctp) if asked.probe => {
            Err(Error::new(&USAGE, "probes speak TCP and UDP").field("protocol"))
        }
        Ok(v1::Protocol::Sctp) => Ok(Protocol::Sctp),
        Err(_) => Err(Error::new(&USAGE, "the protocol is TCP, UDP or SCTP").field("protocol")),
    }
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
}

impl Teller<'_> {
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
        let backend = Backend { socket, pod: None, node, slots: 0, out: String::new(), is_sender: false };
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
            (Way::Outside { source: Some(source), .. }, _) => {
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
        holding: &Holding,
        packet: Packet,
        path: &v1::TracePath,
        deadline: Instant,
    ) -> Result<v1::TraceProbe, Error> {
        let picked = path.backends.iter().filter(|backend| backend.out.is_empty());
        let may = picked.filter_map(|backend| {
            let (ip, source) =
                (address_from_wire(&backend.address).ok()?, address_from_wire(&backend.source).ok()?);
            let socket = SocketAddr::new(ip, u16::try_from(backend.port).ok()?);
            Some(attempt::Candidate { socket, source, name: name_of(backend) })
        });
        let told = attempt::Told { fate: path.fate(), may: may.collect() };
        attempt::attempt(&holding.netns, packet, &told, deadline)
    }
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
