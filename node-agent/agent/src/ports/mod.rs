//! Ports that this node itself serves: health checks of load balancers, one port per service, and the proxy's own health.
//!
//! In: services of the View, the node's addresses. Out: HTTP on `healthCheckNodePort` of every node-port address, and
//! `:10256/healthz`, as kube-proxy has them. Besides, programs of the machine that listen on node ports are found, since a
//! node port takes their traffic. Not here: the answers themselves (answer.rs).

mod answer;
mod collide;
mod connection;

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::net::sockopt::set_ipv6_v6only;
use tokio::{
    net::{TcpListener, TcpSocket},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use weft_errors::{Error, HOST_PORT_TAKEN};
use weft_model::{ServiceName, ownership::NODE_HEALTH_PORT};
use weft_plan::{Facts, Finding};
use weft_rpc::Places;
use weft_view::View;

use crate::{limits, node::Node};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 128;

/// What a port answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The agent itself.
    Proxy,
    /// A service: its ready endpoints on this node.
    Service(ServiceName),
}

/// What `weft check` says of ports.
#[derive(Debug, Default)]
pub(crate) struct PortFindings(Mutex<Vec<Finding>>);

impl PortFindings {
    /// The findings now.
    pub(crate) fn all(&self) -> Vec<Finding> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, findings: Vec<Finding>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = findings;
    }
}

/// Ports that are open.
#[derive(Default)]
struct Open {
    listeners: BTreeMap<SocketAddr, (Purpose, CancellationToken)>,
    /// Those that somebody else has, and why.
    refused: BTreeMap<SocketAddr, (Purpose, String)>,
}

/// Serves until the process stops.
pub(crate) async fn serve(node: Arc<Node>, stop: CancellationToken) {
    let places = Places::new(limits::HEALTH_CONNECTIONS);
    let mut open = Open::default();
    let mut look_at = Instant::now();
    let mut looked = look_at;
    loop {
        let (view, facts) = (node.view(), node.facts());
        open.follow(&wanted(&view, &facts), &node, &places, &stop);
        if Instant::now() >= look_at {
            looked = Instant::now();
            look_at = looked + limits::OBSERVE_EVERY;
            let mut findings = open.findings();
            findings.extend(collide::look(Arc::clone(&view), Arc::clone(&facts)).await);
            node.ports.set(findings);
        }
        // Ports that come together are opened together; one that is taken is tried again.
        let again = if open.refused.is_empty() { look_at } else { Instant::now() + limits::PORT_AGAIN };
        let rest = tokio::time::sleep(limits::PORTS_REST);
        tokio::select! {
            () = stop.cancelled() => return,
            () = rest => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            // Node ports that came may be taken, those that went free their listeners of blame.
            () = node.wakes.ports.notified() => look_at = look_at.min(looked + limits::SURVEY_REST),
            () = tokio::time::sleep_until(again.min(look_at)) => {}
        }
    }
}

/// Where this node answers, and for what.
fn wanted(view: &View, facts: &Facts) -> BTreeMap<SocketAddr, Purpose> {
    let everywhere = [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()];
    let proxy = everywhere.map(|address| (SocketAddr::new(address, NODE_HEALTH_PORT), Purpose::Proxy));
    let addresses = weft_plan::node_port_addresses(view, facts);
    let checked = view.services().values().filter(|service| service.health_check_node_port != 0);
    let of_service = checked.flat_map(|service| {
        let at = |address: &IpAddr| SocketAddr::new(*address, service.health_check_node_port);
        let purpose = || Purpose::Service(service.name.clone());
        addresses.iter().map(move |address| (at(address), purpose()))
    });
    of_service.chain(proxy).collect()
}

impl Open {
    /// Closes what isn't wanted any more, then opens what is.
    fn follow(
        &mut self,
        wanted: &BTreeMap<SocketAddr, Purpose>,
        node: &Arc<Node>,
        places: &Arc<Places>,
        stop: &CancellationToken,
    ) {
        self.listeners.retain(|at, (purpose, close)| {
            let stays = wanted.get(at) == Some(purpose);
            if !stays {
                close.cancel();
            }
            stays
        });
        let before = std::mem::take(&mut self.refused);
        for (at, purpose) in wanted {
            if self.listeners.contains_key(at) {
                continue;
            }
            match listen(*at) {
                Ok(listener) => {
                    tracing::debug!(%at, ?purpose, "a health port is open");
                    let close = stop.child_token();
                    let (node, places) = (Arc::clone(node), Arc::clone(places));
                    tokio::spawn(connection::accept(listener, purpose.clone(), node, places, close.clone()));
                    self.listeners.insert(*at, (purpose.clone(), close));
                }
                Err(error) => {
                    if !before.contains_key(at) {
                        tracing::warn!(%at, ?purpose, %error, "a health port can't be opened; it is tried again");
                    }
                    self.refused.insert(*at, (purpose.clone(), error.to_string()));
                }
            }
        }
    }

    fn findings(&self) -> Vec<Finding> {
        let Some((at, (purpose, why))) = self.refused.first_key_value() else { return Vec::new() };
        let what = match purpose {
            Purpose::Proxy => "this node's own health".to_owned(),
            Purpose::Service(name) => format!("the health check of service {name}"),
        };
        let error = Error::new(&HOST_PORT_TAKEN, format!("{what} can't be served at {at}")).because(why);
        let name = "health ports".to_owned();
        let detail = format!("{} open, {} refused", self.listeners.len(), self.refused.len());
        vec![Finding { name, detail, ok: false, error: Some(error) }]
    }
}

fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = match at {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => {
            let socket = TcpSocket::new_v6()?;
            set_ipv6_v6only(&socket, true)?;
            socket
        }
    };
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

/// A subsystem may have failed for this long before the proxy counts as ill: shorter than a balancer's patience, longer than
/// a transaction that is tried anew.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
#[path = "ports_tests.rs"]
mod tests;
