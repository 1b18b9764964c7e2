//! What the compiler says, as elements of the kernel's sets.

use std::net::IpAddr;

use weft_model::{Direction, Family, Protocol};
use weft_nft::{Data, Element, Value};
use weft_policy::{Key, ProfileId};

use super::{numbers::Of, rules};
use crate::service::protocol_number;

/// An element of a set of one family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Placed {
    pub(super) family: Family,
    pub(super) set: &'static str,
    pub(super) element: Element,
}

/// Gives a number: [`Numbers::take`] for elements that come, [`Numbers::leave`] for those that go.
pub(super) type Number<'a> = &'a mut dyn FnMut((Of, u64)) -> u32;

/// The elements that one of the compiler's is.
pub(super) fn placed(key: &Key, number: u64, families: &[Family], of: Number<'_>) -> Vec<Placed> {
    let one = |family, set, element| vec![Placed { family, set, element }];
    let each = |set, element: Element| {
        families.iter().map(|family| Placed { family: *family, set, element: element.clone() }).collect()
    };
    match *key {
        Key::Identity(of_pod) => {
            let data = mark(of((Of::Identity, number)));
            one(family(of_pod), "identities", Element::to(vec![address(of_pod)], data))
        }
        Key::Profile(direction, pod) => profile(direction, pod, number, of),
        Key::DefaultAny(profile) => {
            let key = vec![class(of((Of::Profile, profile.0)))];
            each("defaults", Element::to(key, mark(of((Of::Ports, number)))))
        }
        Key::DefaultPod(profile) => {
            let key = vec![class(of((Of::Profile, profile.0)))];
            each("pod_defaults", Element::to(key, mark(of((Of::Ports, number)))))
        }
        Key::Peer(profile, identity) => {
            let key = vec![class(of((Of::Profile, profile.0))), Value::U32(of((Of::Identity, identity.0)))];
            each("peers", Element::to(key, mark(of((Of::Ports, number)))))
        }
        Key::Block(first, last) => {
            let range = Value::between(address(first), address(last));
            let data = mark(of((Of::Block, number)));
            range.map_or_else(Vec::new, |range| one(family(first), "blocks", Element::to(vec![range], data)))
        }
        Key::BlockPeer(profile, block) => {
            let key = vec![class(of((Of::Profile, profile.0))), Value::U32(of((Of::Block, block.0)))];
            each("block_peers", Element::to(key, mark(of((Of::Ports, number)))))
        }
        Key::Port(ports, protocol, 0) => {
            let key = vec![Value::U32(of((Of::Ports, ports.0))), protocol_value(protocol)];
            each("protocols", Element::of(key))
        }
        Key::Port(ports, protocol, port) => {
            let ports = Value::U32(of((Of::Ports, ports.0)));
            each("ports", Element::of(vec![ports, protocol_value(protocol), Value::U16(port)]))
        }
        Key::PortClass(protocol, first, last) => {
            let data = Data::Value(class(of((Of::PortClass, number))));
            let range = Value::between(Value::U16(first), Value::U16(last));
            range.map_or_else(Vec::new, |range| {
                each("port_classes", Element::to(vec![protocol_value(protocol), range], data))
            })
        }
        Key::RangePort(ports, of_ports) => {
            let ports = Value::U32(of((Of::Ports, ports.0)));
            each("range_ports", Element::of(vec![ports, class(of((Of::PortClass, of_ports.0)))]))
        }
    }
}

/// A local pod's address: also what is said of it once, with its ingress.
fn profile(direction: Direction, pod: IpAddr, number: u64, of: Number<'_>) -> Vec<Placed> {
    let family = family(pod);
    let place = |set, element| Placed { family, set, element };
    let key = vec![address(pod)];
    let mut all = vec![if number == ProfileId::OPEN.0 {
        place(rules::open(direction), Element::of(key))
    } else {
        let data = Data::Value(class(of((Of::Profile, number))));
        place(rules::profiles(direction), Element::to(key, data))
    }];
    all.push(place(rules::denied(direction), Element::of(vec![address(pod)])));
    if direction == Direction::Ingress {
        all.push(place("itself", Element::of(vec![address(pod), address(pod)])));
    }
    all
}

const fn family(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

pub(super) const fn address(address: IpAddr) -> Value {
    match address {
        IpAddr::V4(address) => Value::V4(address),
        IpAddr::V6(address) => Value::V6(address),
    }
}

const fn mark(number: u32) -> Data {
    Data::Value(Value::U32(number))
}

const fn class(number: u32) -> Value {
    Value::ClassId(number)
}

const fn protocol_value(protocol: Protocol) -> Value {
    Value::Protocol(protocol_number(protocol))
}
