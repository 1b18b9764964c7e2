//! Which live connections of this node a change of policies ends: what the control plane says that closes, held against
//! connection tracking.
//!
//! A connection counts where it began, and one that no pod began where its pod is: so each counts once. Not here: what closes
//! (weft-policy).

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::IpAddr,
};

use weft_errors::{Coded, Error, OBJECT_INVALID};
use weft_kernel::{ConnFilter, Connection, Conntrack, number_of};
use weft_model::{Family, Protocol};
use weft_plan::own_addresses;
use weft_policy::{Closing, Cuts, Cutter, Ends, Flow, PortSet, Transport};
use weft_proto::{
    convert::{address_from_wire, address_to_wire, addresses_from_wire, family_from_wire},
    v1,
};

use crate::{limits, node::Node};

/// Answers the question of a replica.
pub(crate) fn cuts(node: &Node, request: v1::Cuts) -> Result<v1::CutsResult, Error> {
    let (view, facts) = (node.view(), node.facts());
    let most = usize::try_from(request.most).unwrap_or(usize::MAX).min(limits::CUT_ROWS);
    let node_open = request.node_open;
    let cutter = Cutter::from(cuts_from_wire(request)?);
    let mut own: BTreeSet<IpAddr> = own_addresses(&view, &facts).into_iter().collect();
    own.extend(facts.host.addresses.iter().map(|address| address.address));
    let pods = facts.pods.values().flat_map(|pod| pod.addresses.iter().copied()).collect();
    let mut count = Count { cutter, own, pods, node_open, rows: BTreeMap::new(), total: 0 };
    let mut table = Conntrack::open().map_err(|e| e.envelope())?;
    for family in view.fabric().map_or(&[][..], |fabric| fabric.families.list()) {
        let all = ConnFilter::all(*family);
        table.each(&all, |connection| count.take(&connection)).map_err(|e| e.envelope())?;
    }
    Ok(count.result(most))
}

/// Source, destination, protocol number, port of the destination.
type Between = (IpAddr, IpAddr, u8, u16);

/// What was counted.
struct Count {
    cutter: Cutter,
    /// Addresses of the node itself.
    own: BTreeSet<IpAddr>,
    /// Addresses of its pods.
    pods: BTreeSet<IpAddr>,
    node_open: bool,
    /// How many there are of each, and the source's port of one.
    rows: BTreeMap<Between, (u64, u16)>,
    total: u64,
}

impl Count {
    fn take(&mut self, connection: &Connection) {
        let Some(flow) = self.judged(connection) else { return };
        if !self.cutter.cuts(&flow) {
            return;
        }
        self.total += 1;
        let port = match flow.transport {
            Transport::Port(_, port) => port,
            Transport::Other(_) => 0,
        };
        let rows = self.rows.len();
        match self.rows.entry((flow.source, flow.destination, flow.transport.number(), port)) {
            Entry::Occupied(mut known) => known.get_mut().0 += 1,
            Entry::Vacant(free) if rows < limits::CUT_ROWS_COUNTED => {
                free.insert((1, connection.original.source_port));
            }
            // Counted in the total all the same.
            Entry::Vacant(_) => {}
        }
    }

    /// A connection that lives, counts here and is judged by policies, as they see it: behind services.
    fn judged(&self, connection: &Connection) -> Option<Flow> {
        let (source, destination) = (connection.original.source, connection.reply.source);
        let is_here =
            self.pods.contains(&source) || (self.pods.contains(&destination) && !self.cutter.is_pod(source));
        // The node's own processes always reach their pods.
        let is_free = self.own.contains(&source) || (self.node_open && self.own.contains(&destination));
        if !is_here || is_free || !connection.is_live() {
            return None;
        }
        let known = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
        let protocol = known.into_iter().find(|protocol| number_of(*protocol) == connection.protocol);
        let transport = match (protocol, connection.protocol) {
            (Some(protocol), _) => Transport::Port(protocol, connection.reply.source_port),
            // An echo is over with its answer.
            (None, 1 | 58) => return None,
            (None, other) => Transport::Other(other),
        };
        Some(Flow::new(source, destination, transport))
    }

    fn result(self, most: usize) -> v1::CutsResult {
        let mut rows: Vec<_> = self.rows.into_iter().collect();
        rows.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        rows.truncate(most);
        let cut = |((source, destination, protocol, port), (count, from_port)): (Between, (u64, u16))| {
            v1::LiveCut {
                from_address: address_to_wire(source),
                from_port: if count == 1 { from_port.into() } else { 0 },
                to_address: address_to_wire(destination),
                to_port: port.into(),
                protocol: protocol.into(),
                count,
                ..v1::LiveCut::default()
            }
        };
        v1::CutsResult { total: self.total, cuts: rows.into_iter().map(cut).collect() }
    }
}

fn cuts_from_wire(wire: v1::Cuts) -> Result<Cuts, Error> {
    let bad = |error: &dyn std::fmt::Display| Error::new(&OBJECT_INVALID, error.to_string()).field("cuts");
    let mut cuts = Cuts::default();
    for ends in wire.ends {
        let addresses = addresses_from_wire("addresses", ends.addresses).map_err(|e| bad(&e))?;
        let range = |range: &v1::CutRange| {
            Ok::<_, Error>((
                address_from_wire(&range.first).map_err(|e| bad(&e))?,
                address_from_wire(&range.last).map_err(|e| bad(&e))?,
            ))
        };
        let ranges = ends.ranges.iter().map(range).collect::<Result<_, _>>()?;
        cuts.ends.push(Ends { addresses, ranges });
    }
    for closing in wire.closings {
        let family = match closing.family() {
            v1::Family::Unspecified => None,
            v1::Family::V4 | v1::Family::V6 => {
                Some(family_from_wire("family", closing.family).map_err(|e| bad(&e))?)
            }
        };
        let ports = ports_from_wire(&closing, bad)?;
        cuts.closings.push(Closing { from: closing.from, to: closing.to, family, ports });
    }
    Ok(cuts)
}

fn ports_from_wire(
    closing: &v1::CutClosing,
    bad: impl Fn(&dyn std::fmt::Display) -> Error,
) -> Result<PortSet, Error> {
    let mut ports = PortSet::default();
    if closing.others {
        ports.unite(&PortSet::one(Transport::echo(Family::V4)));
    }
    for range in &closing.ports {
        let protocol = match range.protocol() {
            v1::Protocol::Tcp => Protocol::Tcp,
            v1::Protocol::Udp => Protocol::Udp,
            v1::Protocol::Sctp => Protocol::Sctp,
            v1::Protocol::Unspecified => return Err(bad(&"a range of ports names no protocol")),
        };
        let port = |number: u32| u16::try_from(number).map_err(|e| bad(&e));
        ports.add(protocol, port(range.first)?, port(range.last)?);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use prost::bytes::Bytes;

    use super::*;

    fn wire(address: &str) -> Bytes {
        address_to_wire(address.parse().unwrap())
    }

    fn request(closing: v1::CutClosing) -> v1::Cuts {
        let pods = |addresses: &[&str]| v1::CutEnds {
            addresses: addresses.iter().map(|address| wire(address)).collect(),
            ranges: Vec::new(),
        };
        let range = v1::CutRange { first: wire("0.0.0.0"), last: wire("255.255.255.255") };
        let outside = v1::CutEnds { addresses: Vec::new(), ranges: vec![range] };
        let ends = vec![pods(&["10.0.0.1"]), pods(&["10.0.0.4"]), outside, pods(&["10.0.0.9"])];
        v1::Cuts { ends, closings: vec![closing], most: 10, node_open: false }
    }

    fn cutter(from: &[u32], ports: Vec<v1::CutPorts>, others: bool) -> Cutter {
        let closing = v1::CutClosing { from: from.to_vec(), to: vec![1], family: 0, ports, others };
        Cutter::from(cuts_from_wire(request(closing)).unwrap())
    }

    #[test]
    fn what_closes_is_read_as_it_was_said() {
        let tcp = v1::CutPorts { protocol: v1::Protocol::Tcp.into(), first: 80, last: 90 };
        let check = |cutter: &Cutter, from: &str, transport: &str, expected: bool| {
            let flow =
                Flow::new(from.parse().unwrap(), "10.0.0.4".parse().unwrap(), transport.parse().unwrap());
            assert_eq!(cutter.cuts(&flow), expected, "{flow}");
        };
        let some = cutter(&[0, 2], vec![tcp], false);
        check(&some, "10.0.0.1", "85/tcp", true);
        check(&some, "10.0.0.1", "91/tcp", false);
        check(&some, "10.0.0.1", "85/udp", false);
        check(&some, "10.0.0.1", "protocol 47", false);
        check(&some, "192.0.2.1", "80/tcp", true);
        check(&some, "10.0.0.9", "80/tcp", false);
        check(&cutter(&[0], Vec::new(), true), "10.0.0.1", "protocol 47", true);
        for (protocol, last) in [(0, 90), (v1::Protocol::Tcp.into(), 65_536)] {
            let ports = vec![v1::CutPorts { protocol, last, ..tcp }];
            let closing = v1::CutClosing { ports, ..v1::CutClosing::default() };
            assert!(cuts_from_wire(request(closing)).is_err(), "{protocol} {last}");
        }
        let torn = v1::CutEnds { addresses: vec![Bytes::from_static(b"abc")], ranges: Vec::new() };
        assert!(cuts_from_wire(v1::Cuts { ends: vec![torn], ..v1::Cuts::default() }).is_err());
    }
}
