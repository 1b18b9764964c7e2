//! Who is behind the port of a service: policies judge those, never the service itself.

use std::{collections::BTreeMap, net::SocketAddr};

use weft_errors::{Error, NOT_FOUND, USAGE};
use weft_model::{Protocol, Service, ServiceItem, ServiceName, TargetPort};
use weft_policy::{Transport, World, protocol_name};

/// Services with their ports.
#[derive(Default)]
pub(super) struct Services(BTreeMap<ServiceName, Behind>);

/// What is behind a service.
enum Behind {
    /// A name elsewhere.
    Alias(String),
    /// By protocol and port, those that take connections.
    Ports(BTreeMap<(Protocol, u16), Vec<SocketAddr>>),
}

impl Services {
    /// A service of a cluster.
    pub(super) fn put_item(&mut self, service: &ServiceItem) {
        let behind = if service.external_name.is_empty() {
            let ready = || service.endpoints.iter().filter(|endpoint| endpoint.conditions.is_ready());
            let of_port = |place: usize| {
                let socket = |port: &u16| (*port != 0).then_some(*port);
                let all = ready().filter_map(move |endpoint| {
                    Some(SocketAddr::new(endpoint.address, endpoint.ports.get(place).and_then(socket)?))
                });
                all.collect::<Vec<_>>()
            };
            let ports = service.ports.iter().enumerate();
            Behind::Ports(ports.map(|(place, port)| ((port.protocol, port.port), of_port(place))).collect())
        } else {
            Behind::Alias(service.external_name.clone())
        };
        self.0.insert(service.name.clone(), behind);
    }

    /// A service of a file: the pods of the world that its selector selects.
    pub(super) fn put_written(&mut self, service: &Service, world: &World) {
        let spec = &service.spec;
        let selects = |labels: &weft_model::Labels| {
            !spec.selector.is_empty()
                && spec.selector.iter().all(|(key, value)| labels.get(key) == Some(value))
        };
        let pods = || {
            let own = world.pods().filter(|(name, _)| name.namespace == service.name.namespace);
            own.map(|(_, pod)| pod).filter(|pod| selects(&pod.labels))
        };
        let behind = if spec.external_name.is_empty() {
            let ports = spec.ports.iter().map(|port| {
                let of_pod = |pod: &weft_policy::WorldPod| match &port.target {
                    TargetPort::Number(number) => Some(*number),
                    TargetPort::Name(name) => pod
                        .ports
                        .iter()
                        .find(|own| own.name == *name && own.protocol == port.protocol)
                        .map(|own| own.port),
                };
                let sockets = pods().filter_map(|pod| Some((pod, of_pod(pod)?))).flat_map(|(pod, number)| {
                    pod.addresses.iter().map(move |address| SocketAddr::new(*address, number))
                });
                ((port.protocol, port.port), sockets.collect())
            });
            Behind::Ports(ports.collect())
        } else {
            Behind::Alias(spec.external_name.clone())
        };
        self.0.insert(service.name.clone(), behind);
    }

    /// Whether there is such a service.
    pub(super) fn has(&self, name: &ServiceName) -> bool {
        self.0.contains_key(name)
    }

    /// Those who take connections at a port of a service.
    ///
    /// # Errors
    /// There is no such service or port, it is an alias, or nobody takes connections.
    pub(super) fn behind(&self, name: &ServiceName, transport: Transport) -> Result<&[SocketAddr], Error> {
        let about = |error: Error| error.object("service", name.namespace.as_str(), &name.name);
        let ports = match self.0.get(name) {
            None => {
                let error = about(Error::new(&NOT_FOUND, format!("there is no service {name}")));
                return Err(error.try_this("list what there is", "weft get svc -A"));
            }
            Some(Behind::Alias(alias)) => {
                let why = format!("service {name} is an alias of {alias}: no connection goes to it itself");
                return Err(about(Error::new(&USAGE, why)));
            }
            Some(Behind::Ports(ports)) => ports,
        };
        let found = match transport {
            Transport::Port(protocol, port) => ports.get(&(protocol, port)),
            Transport::Other(_) => None,
        };
        let list = || {
            let all = ports.keys().map(|(protocol, port)| format!("{port}/{}", protocol_name(*protocol)));
            all.collect::<Vec<_>>().join(", ")
        };
        match found.map(Vec::as_slice) {
            None => {
                let why = format!("service {name} has no port {transport}: it has {}", list());
                Err(about(Error::new(&USAGE, why)).field("port"))
            }
            Some([]) => {
                let error = about(Error::new(&USAGE, format!("no backend of service {name} is ready")));
                Err(error.try_this(
                    "look at them",
                    format!("weft describe svc -n {} {}", name.namespace, name.name),
                ))
            }
            Some(sockets) => Ok(sockets),
        }
    }
}
