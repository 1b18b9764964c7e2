//! Services that the operator writes and deletes in idle hours, and what must be true of them.
//!
//! Nobody else writes services, so what was acknowledged here is what the replicas must have in the end, byte for byte.

use std::collections::BTreeMap;

use weft_core::{Outcome, State};
use weft_errors::{Code, Coded, NODE_PORT_TAKEN, OBJECT_INVALID, SERVICE_ADDRESS_TAKEN};
use weft_model::{
    Action, Answer, ClusterAddresses, Key, Name, NamespaceName, Object, ObjectUid, Protocol, Revision,
    Service, ServiceName, ServicePort, ServiceSpec, ServiceType, TargetPort, WallTime,
};

use crate::world::World;

/// Writes and deletes of one run.
const CHANGES: u64 = 20;
/// What a change may be refused for.
const REFUSALS: [&Code; 3] = [&SERVICE_ADDRESS_TAKEN, &NODE_PORT_TAKEN, &OBJECT_INVALID];
/// Names that are used.
const NAMES: u64 = 8;

/// What was acknowledged.
pub(crate) struct Shop {
    services: BTreeMap<ServiceName, Service>,
    left: u64,
}

impl Shop {
    pub(crate) const fn new() -> Self {
        Self { services: BTreeMap::new(), left: CHANGES }
    }

    /// Whether all changes have been asked for.
    pub(crate) const fn is_done(&self) -> bool {
        self.left == 0
    }

    /// The next change; `None` when there is none.
    pub(crate) fn next(&mut self, world: &mut World) -> Option<Action> {
        self.left = self.left.checked_sub(1)?;
        let known = self.services.keys().nth(usize::try_from(world.between(0, NAMES)).unwrap_or(0));
        if let Some(name) = known.filter(|_| world.one_in(2)) {
            return Some(Action::Delete { keys: vec![Key::Service(name.clone())] });
        }
        let service = draft(world)?;
        Some(Action::Write { objects: vec![Object::Service(service)] })
    }

    /// A change was answered.
    pub(crate) fn answered(&mut self, action: &Action, outcome: &Outcome) -> Result<(), String> {
        match (action, &outcome.answer) {
            (Action::Write { .. }, Ok(Answer::Written(written))) => {
                written.iter().try_for_each(|(object, _)| self.stored(object))
            }
            // The chosen address or node port is another service's, or not this one's: no other refusal may come.
            (Action::Write { .. }, Err(error)) if REFUSALS.contains(&error.code()) => Ok(()),
            (Action::Delete { keys }, Ok(Answer::Done)) => {
                let gone = |key: &Key| matches!(key, Key::Service(name) if self.services.contains_key(name));
                if !keys.iter().all(gone) {
                    return Err(format!("{keys:?} were deleted, which weren't there"));
                }
                self.services.retain(|name, _| !keys.contains(&Key::Service(name.clone())));
                Ok(())
            }
            (action, answer) => Err(format!("operator: {action:?} was answered {answer:?}")),
        }
    }

    fn stored(&mut self, object: &Object) -> Result<(), String> {
        let Object::Service(service) = object else { return Err(format!("{object:?} was stored")) };
        let ports = |service: &Service| -> Vec<u16> {
            service.spec.ports.iter().map(|port| port.node_port).filter(|port| *port != 0).collect()
        };
        let addresses = service.spec.addresses.list();
        let rival = self.services.values().filter(|other| other.name != service.name).find(|other| {
            other.spec.addresses.list().iter().any(|address| addresses.contains(address))
                || ports(other).iter().any(|port| ports(service).contains(port))
        });
        if let Some(rival) = rival {
            return Err(format!("services {} and {} hold the same", rival.name, service.name));
        }
        self.services.insert(service.name.clone(), service.clone());
        Ok(())
    }

    /// Whether a replica has just what was acknowledged.
    pub(crate) fn agrees(&self, state: &State) -> Result<(), String> {
        if state.services() == &self.services {
            return Ok(());
        }
        Err(format!("services {:?} are stored, {:?} were acknowledged", state.services(), self.services))
    }
}

/// A service of one port; one in four chooses its address, of few.
fn draft(world: &mut World) -> Option<Service> {
    let chosen = format!("10.96.0.{}", 20 + world.between(0, 3)).parse().ok();
    let addresses = match chosen {
        Some(address) if world.one_in(4) => ClusterAddresses::Given(vec![address]),
        Some(_) | None => ClusterAddresses::Wanted,
    };
    let kind = if world.one_in(2) { ServiceType::NodePort } else { ServiceType::ClusterIp };
    let port = ServicePort {
        name: String::new(),
        protocol: Protocol::Tcp,
        port: 80,
        target: TargetPort::Name("http".to_owned()),
        node_port: if kind == ServiceType::NodePort && world.one_in(4) { 30_001 } else { 0 },
        app_protocol: String::new(),
    };
    let name = Name::new(format!("s{}", world.between(1, NAMES))).ok()?;
    Some(Service {
        name: ServiceName { namespace: NamespaceName::new("default").ok()?, name },
        uid: ObjectUid([0; 16]),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        spec: ServiceSpec {
            kind,
            addresses,
            ports: vec![port],
            allocate_node_ports: true,
            ..ServiceSpec::default()
        },
        load_balancer: Vec::new(),
        generation: 0,
        created: WallTime(0),
        revision: Revision(0),
    })
}
