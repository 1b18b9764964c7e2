//! Programs of the machine that listen on node ports: services take the traffic before they see it.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use weft_errors::{Error, HOST_PORT_TAKEN};
use weft_kernel::Listener;
use weft_model::{Protocol, ServiceName};
use weft_plan::{Facts, Finding};
use weft_view::View;

/// At most so many collisions are told, the rest is counted.
const TOLD: usize = 3;

/// Looks at the machine's listeners. Nothing is said where there are no node ports.
pub(super) async fn look(view: Arc<View>, facts: Arc<Facts>) -> Option<Finding> {
    let work = move || {
        let ports = node_ports(&view);
        if ports.is_empty() {
            return None;
        }
        let addresses = weft_plan::node_port_addresses(&view, &facts);
        Some(finding(&ports, &addresses, &weft_kernel::listeners()))
    };
    // A panic in it is told by the next look, which panics too, in a test.
    tokio::task::spawn_blocking(work).await.ok().flatten()
}

type NodePorts = BTreeMap<(Protocol, u16), ServiceName>;

fn node_ports(view: &View) -> NodePorts {
    let mut found = NodePorts::new();
    for service in view.services().values() {
        for port in service.ports.iter().filter(|port| port.node_port != 0) {
            found.insert((port.protocol, port.node_port), service.name.clone());
        }
    }
    found
}

fn finding(ports: &NodePorts, addresses: &[IpAddr], listeners: &[Listener]) -> Finding {
    let name = "node ports".to_owned();
    let taken: Vec<_> = listeners
        .iter()
        .filter_map(|listener| {
            let service = ports.get(&(listener.protocol, listener.port))?;
            addresses.iter().any(|address| listener.takes(*address)).then_some((listener, service))
        })
        .collect();
    let Some((first, service)) = taken.first() else {
        return Finding {
            name,
            detail: format!("{} in use by services", ports.len()),
            ok: true,
            error: None,
        };
    };
    let message = format!("a program of this machine listens on port {} of service {service}", first.port);
    let mut error = Error::new(&HOST_PORT_TAKEN, message.clone()).object(
        "service",
        service.namespace.as_str(),
        &service.name,
    );
    for (listener, service) in taken.iter().take(TOLD) {
        let Listener { protocol, address, port } = listener;
        error = error.because(format!("{protocol:?} {address} port {port}: service {service}"));
    }
    if taken.len() > TOLD {
        error = error.because(format!("and {} more", taken.len() - TOLD));
    }
    Finding { name, detail: message, ok: false, error: Some(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_on_a_node_port_is_told_and_others_are_not() {
        let service: ServiceName = "shop/web".parse().unwrap();
        let ports =
            NodePorts::from([((Protocol::Tcp, 30080), service.clone()), ((Protocol::Udp, 30053), service)]);
        let own: IpAddr = "192.0.2.1".parse().unwrap();
        let check = |protocol, address: &str, port, ok| {
            let listener = Listener { protocol, address: address.parse().unwrap(), port };
            let found = finding(&ports, &[own], &[listener]);
            assert_eq!(found.ok, ok, "{listener:?}: {found:?}");
        };
        check(Protocol::Tcp, "0.0.0.0", 30080, false);
        check(Protocol::Tcp, "::", 30080, false);
        check(Protocol::Tcp, "192.0.2.1", 30080, false);
        check(Protocol::Tcp, "127.0.0.1", 30080, true);
        check(Protocol::Udp, "0.0.0.0", 30080, true);
        check(Protocol::Udp, "0.0.0.0", 30053, false);
        check(Protocol::Tcp, "0.0.0.0", 30081, true);
    }

    #[test]
    fn many_collisions_are_counted() {
        let service: ServiceName = "shop/web".parse().unwrap();
        let ports: NodePorts = (1..=5).map(|port| ((Protocol::Tcp, port), service.clone())).collect();
        let address: IpAddr = "0.0.0.0".parse().unwrap();
        let all: Vec<_> = (1..=5).map(|port| Listener { protocol: Protocol::Tcp, address, port }).collect();
        let error = finding(&ports, &["192.0.2.1".parse().unwrap()], &all).error.unwrap();
        assert_eq!(error.cause.last().map(String::as_str), Some("and 2 more"));
    }
}
