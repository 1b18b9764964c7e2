//! The services of a namespace as environment variables (`pkg/kubelet/envvars/envvars.go` of Kubernetes, and the links of Docker
//! that it keeps).

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use weft_model::{NamespaceName, Protocol, ServiceItem};
use weft_view::View;

/// Namespace and name of the service that every pod hears of.
const ALWAYS: (&str, &str) = ("default", "kubernetes");

/// One variable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Variable {
    /// Name: upper case, digits and `_`.
    pub name: String,
    /// Value; without spaces or quotes.
    pub value: String,
}

/// The variables of a new pod of a namespace: of all its services that have a cluster address, in order of their names, and of
/// `default/kubernetes`. Without `links` only of that one.
///
/// Of two services whose variables have one name the later one wins; a service of the pod's own namespace wins over
/// `default/kubernetes`.
pub fn environment(view: &View, namespace: &NamespaceName, links: bool) -> Vec<Variable> {
    let mut services = BTreeMap::new();
    for (name, service) in view.services() {
        let is_own = links && name.namespace == *namespace;
        let is_always = (name.namespace.as_str(), name.name.as_str()) == ALWAYS;
        if is_own {
            services.insert(name.name.as_str(), service.as_ref());
        } else if is_always {
            services.entry(name.name.as_str()).or_insert(service.as_ref());
        }
    }
    let mut variables: Vec<Variable> = Vec::new();
    for variable in services.into_iter().flat_map(|(name, service)| of_service(name, service)) {
        match variables.iter_mut().find(|earlier| earlier.name == variable.name) {
            Some(earlier) => *earlier = variable,
            None => variables.push(variable),
        }
    }
    variables
}

/// Nothing for a headless service or an alias.
fn of_service(name: &str, service: &ServiceItem) -> Vec<Variable> {
    let mut variables = Vec::new();
    let (Some(address), Some(first)) = (service.addresses.first(), service.ports.first()) else {
        return variables;
    };
    let prefix = word(name);
    let mut add = |name: String, value: String| variables.push(Variable { name, value });
    add(format!("{prefix}_SERVICE_HOST"), address.to_string());
    add(format!("{prefix}_SERVICE_PORT"), first.port.to_string());
    for port in service.ports.iter().filter(|port| !port.name.is_empty()) {
        add(format!("{prefix}_SERVICE_PORT_{}", part(&port.name)), port.port.to_string());
    }
    add(format!("{prefix}_PORT"), url(first.protocol, *address, first.port));
    for port in &service.ports {
        let protocol = protocol(port.protocol);
        let link = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_ascii_uppercase());
        add(link.clone(), url(port.protocol, *address, port.port));
        add(format!("{link}_PROTO"), protocol.to_owned());
        add(format!("{link}_PORT"), port.port.to_string());
        add(format!("{link}_ADDR"), address.to_string());
    }
    variables
}

/// `tcp://10.112.0.5:80`; IPv6 addresses stand in brackets.
fn url(with: Protocol, address: IpAddr, port: u16) -> String {
    format!("{}://{}", protocol(with), SocketAddr::new(address, port))
}

const fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

/// A name as a shell takes it: it doesn't begin with a digit.
fn word(name: &str) -> String {
    let part = part(name);
    if part.starts_with(|c: char| c.is_ascii_digit()) { format!("_{part}") } else { part }
}

fn part(name: &str) -> String {
    name.to_ascii_uppercase().replace(['-', '.'], "_")
}

#[cfg(test)]
#[path = "environment_tests.rs"]
mod tests;
