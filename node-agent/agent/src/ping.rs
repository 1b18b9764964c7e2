//! Echo requests from a pod or from the node, for `weft ping`.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use weft_errors::{Coded, Error, NOT_FOUND, USAGE};
use weft_ipam::Holding;
use weft_kernel::{Echo, Namespace, Pinger};
use weft_model::{Family, PodName};
use weft_plan::mtu::ip_header;
use weft_proto::v1;

use crate::{limits, node::Node};

/// Longest wait for one echo.
const WAIT: Duration = Duration::from_secs(1);
/// Header of an echo request (RFC 792, RFC 4443).
const ECHO_HEADER: u32 = 8;

/// Sends the echoes, one destination after the other; what the deadline cuts off wasn't sent.
pub(crate) fn ping(node: &Node, ping: &v1::Ping, deadline: Instant) -> Result<v1::PingResult, Error> {
    if !(1..=100).contains(&ping.count) || ping.size > 65_000 || ping.to.len() > limits::PING_TARGETS {
        let message = format!(
            "count must be 1 to 100, size at most 65000, destinations at most {}",
            limits::PING_TARGETS
        );
        return Err(Error::new(&USAGE, message));
    }
    let targets =
        weft_proto::convert::addresses_from_wire("to", ping.to.clone()).map_err(|e| e.envelope())?;
    if ping.from_pod.is_empty() {
        let view = node.view();
        let own = view.peer(&node.name);
        let from = |to: IpAddr| own.and_then(|peer| peer.mesh.of(Family::of(to)).copied());
        // The node's route chooses the source; the mesh address is what it chooses inside the fabric.
        return Ok(rows(ping, &targets, deadline, |_| None, from));
    }
    let holding = attached(node, &ping.from_pod)?;
    let namespace = Namespace::open_foreign(&holding.netns).map_err(|e| e.envelope())?;
    let own = |to: IpAddr| holding.addresses.iter().copied().find(|a| Family::of(*a) == Family::of(to));
    namespace.run(|| rows(ping, &targets, deadline, own, own)).map_err(|e| e.envelope())
}

/// A pod of this node, by its name `namespace/name`.
pub(crate) fn attached(node: &Node, name: &str) -> Result<Holding, Error> {
    let name: PodName = name.parse().map_err(|e: weft_model::NameError| Error::new(&USAGE, e.to_string()))?;
    let holding = node
        .addresses
        .read(|l| l.holdings().filter(|h| h.attached && h.pod == name).max_by_key(|h| h.created).cloned());
    holding.ok_or_else(|| {
        Error::new(&NOT_FOUND, format!("there is no pod {name} on node {}", node.name)).object(
            "pod",
            name.namespace.as_str(),
            &name.name,
        )
    })
}

/// One row per destination. `bind` is the source that is asked for, `from` the one that is told.
fn rows(
    ping: &v1::Ping,
    targets: &[IpAddr],
    deadline: Instant,
    bind: impl Fn(IpAddr) -> Option<IpAddr>,
    from: impl Fn(IpAddr) -> Option<IpAddr>,
) -> v1::PingResult {
    let row = |to: &IpAddr| {
        let mut row = v1::PingRow {
            to: weft_proto::convert::address_to_wire(*to),
            from: from(*to).map(weft_proto::convert::address_to_wire).unwrap_or_default(),
            ..v1::PingRow::default()
        };
        if let Err(problem) = echoes(ping, *to, bind(*to), deadline, &mut row) {
            row.problem = problem;
        }
        row
    };
    v1::PingResult { rows: targets.iter().map(row).collect() }
}

fn echoes(
    ping: &v1::Ping,
    to: IpAddr,
    source: Option<IpAddr>,
    deadline: Instant,
    row: &mut v1::PingRow,
) -> Result<(), String> {
    let told = |e: weft_kernel::Error| e.envelope().to_string();
    let mut pinger = Pinger::open(to, source).map_err(told)?;
    if !ping.dont_fragment {
        pinger = pinger.allow_fragments().map_err(told)?;
    }
    let size = ping.size + ECHO_HEADER + ip_header(Family::of(to));
    for _ in 0..ping.count {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("the time limit passed".to_owned());
        }
        row.sent += 1;
        match pinger.echo(size, left.min(WAIT)) {
            Ok(Echo::Replied { after }) => {
                row.received += 1;
                row.rtt_us.push(u32::try_from(after.as_micros()).unwrap_or(u32::MAX));
            }
            Ok(Echo::Silent) => {}
            Ok(Echo::TooLarge { mtu: Some(mtu) }) => {
                row.problem = format!("too large: the path takes {mtu} bytes")
            }
            Ok(Echo::TooLarge { mtu: None }) => row.problem = "too large for the path".to_owned(),
            Ok(Echo::Unreachable) => row.problem = "unreachable".to_owned(),
            Err(error) => return Err(error.envelope().to_string()),
        }
    }
    Ok(())
}
