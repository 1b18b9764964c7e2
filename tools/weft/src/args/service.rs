//! Arguments of what concerns services: create, service.

use clap::{Args, Subcommand};
use weft_model::{Protocol, ServicePort, ServiceType, TargetPort};

/// `weft create`.
#[derive(Debug, Subcommand)]
pub(crate) enum Create {
    /// A place for objects
    #[command(visible_alias = "ns")]
    Namespace {
        /// Its name
        name: String,
    },
    /// A stable address in front of pods
    #[command(visible_alias = "svc")]
    Service(NewService),
}

/// `weft create service`.
#[derive(Debug, Args)]
pub(crate) struct NewService {
    /// Its name, or NAMESPACE/NAME
    pub(crate) name: String,
    /// ClusterIP, NodePort, LoadBalancer or ExternalName
    #[arg(long = "type", default_value = "ClusterIP", value_name = "TYPE")]
    pub(crate) kind: ServiceType,
    /// Port, with the pods' port or its name and the protocol: 80, 80:8080, 80:http, 53:53/udp
    #[arg(long, value_name = "PORT[:TARGET][/PROTOCOL]", value_delimiter = ',', value_parser = port)]
    pub(crate) port: Vec<ServicePort>,
    /// Labels of its pods: app=web,tier=fe; without them its endpoints are written
    #[arg(short = 'l', long, value_name = "K=V", value_delimiter = ',')]
    pub(crate) selector: Vec<String>,
    /// Address of its own choice, or None for a headless service
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) cluster_ip: Option<String>,
    /// Name it is an alias of, for type ExternalName
    #[arg(long, value_name = "NAME")]
    pub(crate) external_name: Option<String>,
}

/// `weft service`.
#[derive(Debug, Subcommand)]
pub(crate) enum Service {
    /// Services
    List {
        /// Label selector
        #[arg(short = 'l', long, default_value = "", value_name = "SELECTOR", hide_default_value = true)]
        selector: String,
        /// All namespaces
        #[arg(short = 'A', long)]
        all_namespaces: bool,
    },
    /// Its addresses, what happens to a packet, and its backends
    Show {
        /// Its name, or NAMESPACE/NAME
        name: String,
        /// Every backend with its state, and why one is out
        #[arg(long)]
        backends: bool,
        /// Which backends this node uses
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
    },
}

/// `80`, `80:8080`, `80:http`, `53:53/udp`. Its name is made later, when there are several.
fn port(text: &str) -> Result<ServicePort, String> {
    let (ports, protocol) = match text.split_once('/') {
        Some((ports, protocol)) => (ports, protocol),
        None => (text, "tcp"),
    };
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        other => return Err(format!("unknown protocol {other:?}: use tcp, udp, sctp")),
    };
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0);
    let (own, target) = ports.split_once(':').unwrap_or((ports, ports));
    let own = number(own).ok_or_else(|| format!("{own:?} is not a port from 1 to 65535"))?;
    let target = match number(target) {
        Some(target) => TargetPort::Number(target),
        None if target.chars().any(|c| c.is_ascii_alphabetic()) => TargetPort::Name(target.to_owned()),
        None => return Err(format!("{target:?} is neither a port from 1 to 65535 nor the name of one")),
    };
    Ok(ServicePort {
        name: String::new(),
        protocol,
        port: own,
        target,
        node_port: 0,
        app_protocol: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read() {
        for (text, number, target, protocol) in [
            ("80", 80, TargetPort::Number(80), Protocol::Tcp),
            ("80:8080", 80, TargetPort::Number(8080), Protocol::Tcp),
            ("80:http", 80, TargetPort::Name("http".to_owned()), Protocol::Tcp),
            ("53:5353/UDP", 53, TargetPort::Number(5353), Protocol::Udp),
        ] {
            let read = port(text).unwrap();
            assert_eq!((read.port, read.target, read.protocol), (number, target, protocol), "{text}");
        }
        for text in ["", "0", "80:", "80:0", "80/icmp", "http"] {
            assert!(port(text).is_err(), "{text}");
        }
    }
}
