//! Entries to elements of sets and maps, and back.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use weft_model::{AddressRange, Family, Protocol};
use weft_nft::{Data, Element, Value as Field, Verdict};

use super::{
    compile::{Key, Value},
    group::Group,
    rules::Front,
};

/// One element that changes: what is removed, what is added in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) family: Family,
    pub(super) set: &'static str,
    pub(super) remove: Option<Element>,
    pub(super) add: Option<Element>,
}

/// Number of a transport protocol (IANA).
pub(crate) const fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

const fn protocol(number: u8) -> Option<Protocol> {
    match number {
        6 => Some(Protocol::Tcp),
        17 => Some(Protocol::Udp),
        132 => Some(Protocol::Sctp),
        _ => None,
    }
}

/// An address as a field.
pub(super) const fn address(address: IpAddr) -> Field {
    match address {
        IpAddr::V4(a) => Field::V4(a),
        IpAddr::V6(a) => Field::V6(a),
    }
}

/// A range as a field.
pub(super) fn span(range: AddressRange) -> Field {
    let (first, last) = (address(range.first()), address(range.last()));
    Field::between(first.clone(), last).unwrap_or(first)
}

/// The element of an entry that is one; groups have many.
fn single(key: &Key, value: &Value) -> Option<(&'static str, Element)> {
    let front =
        |ip: IpAddr, protocol, port| vec![address(ip), Field::Protocol(number(protocol)), Field::U16(port)];
    let target = || match value {
        Value::Target(target) => Some(Data::Value(Field::U32(*target))),
        Value::Present | Value::Group(_) | Value::Seen(_) => None,
    };
    Some(match key {
        Key::Group(..) => return None,
        Key::Front(kind, ip, protocol, port) => {
            (kind.map(), Element::to(front(*ip, *protocol, *port), target()?))
        }
        Key::Port(kind, _, protocol, port) => {
            (kind.map(), Element::to(vec![Field::Protocol(number(*protocol)), Field::U16(*port)], target()?))
        }
        Key::Pingable(ip) => ("pingable", Element::of(vec![address(*ip)])),
        Key::Balanced(ip) => ("balanced", Element::of(vec![address(*ip)])),
        Key::Restricted(ip, protocol, port) => ("restricted", Element::of(front(*ip, *protocol, *port))),
        Key::Allowed(ip, protocol, port, range) => {
            let mut fields = front(*ip, *protocol, *port);
            fields.push(span(*range));
            ("allowed", Element::of(fields))
        }
    })
}

/// The change of an entry that is no group.
pub(super) fn unit(key: &Key, old: Option<&Value>, new: Option<&Value>) -> Option<Unit> {
    let one = |value: Option<&Value>| value.and_then(|value| single(key, value));
    let (old, new) = (one(old), one(new));
    let set = old.as_ref().or(new.as_ref())?.0;
    let element = |side: Option<(&'static str, Element)>| side.map(|(_, element)| element);
    Some(Unit { family: key.family(), set, remove: element(old), add: element(new) })
}

/// All elements of a group, by set.
pub(super) fn group(number: u32, group: &Group) -> BTreeSet<(&'static str, Element)> {
    let slot = |slot: usize| Field::U32(u32::try_from(slot).unwrap_or(u32::MAX));
    let backend = |to: SocketAddr| Data::Values(vec![address(to.ip()), Field::U16(to.port())]);
    let mut all = BTreeSet::new();
    let Some(stick) = group.stick else {
        let slots = (0..group.slots()).filter_map(|at| Some((at, group.at(at)?)));
        all.extend(
            slots.map(|(at, to)| ("backends", Element::to(vec![Field::U32(number), slot(at)], backend(to)))),
        );
        return all;
    };
    let handles = group.handles();
    let key = |second: Field| vec![Field::U32(number), second];
    for at in 0..group.slots() {
        let handle = group.place(at).and_then(|place| handles.get(place)).copied().unwrap_or_default();
        all.insert(("picks", Element::to(key(slot(at)), Data::Value(Field::U32(handle)))));
    }
    for (handle, to) in handles.iter().zip(group.backends()) {
        all.insert(("live", Element::to(key(Field::U32(*handle)), backend(to))));
    }
    all.insert((STICKY, Element::to(vec![Field::U32(number)], Data::Verdict(Verdict::Goto(stick.chain())))));
    all
}

/// The set that leads to chains of time-outs.
pub(super) const STICKY: &str = "sticky";

/// The changes of a group: those that must be there before a front leads to it, and what is left to remove afterwards.
pub(super) fn group_units(
    family: Family,
    old: &BTreeSet<(&'static str, Element)>,
    new: &BTreeSet<(&'static str, Element)>,
) -> (Vec<Unit>, Vec<Unit>) {
    let by_key =
        |side: &'_ BTreeSet<(&'static str, Element)>| -> BTreeMap<(&'static str, Vec<Field>), Element> {
            side.iter().map(|(set, element)| ((*set, element.key.clone()), element.clone())).collect()
        };
    let mut gone = by_key(&old.difference(new).cloned().collect());
    let mut before = Vec::new();
    for (set, element) in new.difference(old) {
        let remove = gone.remove(&(*set, element.key.clone()));
        before.push(Unit { family, set, remove, add: Some(element.clone()) });
    }
    let after =
        gone.into_iter().map(|((set, _), element)| Unit { family, set, remove: Some(element), add: None });
    (before, after.collect())
}

/// What a kernel's element says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// An entry.
    Entry(Key, Value),
    /// A part of a group of this number.
    Part(u32, &'static str),
}

/// Reads an element of one of the sets that grow with services; `None`: it can't be one of ours.
pub(super) fn read(family: Family, set: &str, element: &Element) -> Option<Seen> {
    let key = element.key.as_slice();
    let data = match &element.data {
        Some(Data::Value(value)) => std::slice::from_ref(value),
        Some(Data::Values(values)) => values.as_slice(),
        Some(Data::Verdict(_)) | None => &[],
    };
    let kind = Front::ALL.into_iter().find(|front| front.map() == set);
    Some(match (set, key, data) {
        ("backends", [Field::U32(group), Field::U32(_)], _) => Seen::Part(*group, "backends"),
        ("picks", [Field::U32(group), Field::U32(_)], _) => Seen::Part(*group, "picks"),
        ("live", [Field::U32(group), Field::U32(_)], _) => Seen::Part(*group, "live"),
        ("sticky", [Field::U32(group)], _) => Seen::Part(*group, STICKY),
        ("pingable", [address], []) => Seen::Entry(Key::Pingable(address.address()?), Value::Present),
        ("balanced", [address], []) => Seen::Entry(Key::Balanced(address.address()?), Value::Present),
        ("restricted", [address, Field::Protocol(number), Field::U16(port)], []) => {
            Seen::Entry(Key::Restricted(address.address()?, protocol(*number)?, *port), Value::Present)
        }
        ("allowed", [address, Field::Protocol(number), Field::U16(port), sender], []) => Seen::Entry(
            Key::Allowed(address.address()?, protocol(*number)?, *port, range(sender)?),
            Value::Present,
        ),
        (_, [address, Field::Protocol(number), Field::U16(port)], [Field::U32(target)]) => Seen::Entry(
            Key::Front(kind?, address.address()?, protocol(*number)?, *port),
            Value::Target(*target),
        ),
        (_, [Field::Protocol(number), Field::U16(port)], [Field::U32(target)]) => {
            Seen::Entry(Key::Port(kind?, family, protocol(*number)?, *port), Value::Target(*target))
        }
        _ => return None,
    })
}

/// Only ranges that are prefixes are ever ours.
fn range(field: &Field) -> Option<AddressRange> {
    let (first, last) = field.addresses()?;
    let of = |prefix| format!("{first}/{prefix}").parse::<AddressRange>().ok();
    (0..=Family::of(first).bits()).filter_map(of).find(|range| range.first() == first && range.last() == last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::rules::Stick;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let udp = Protocol::Udp;
        for (key, value) in [
            (Key::Front(Front::Outside, ip("10.9.0.1"), udp, 53), Value::Target(0x1234_5603)),
            (Key::Front(Front::Services, ip("fd00::1"), Protocol::Sctp, 9), Value::Target(7)),
            (Key::Port(Front::NodePorts, Family::V6, udp, 30_000), Value::Target(9)),
            (Key::Pingable(ip("10.9.0.1")), Value::Present),
            (Key::Balanced(ip("fd00::1")), Value::Present),
            (Key::Restricted(ip("10.9.0.1"), Protocol::Tcp, 80), Value::Present),
            (Key::Allowed(ip("10.9.0.1"), udp, 80, "10.0.0.0/9".parse().unwrap()), Value::Present),
            (Key::Allowed(ip("10.9.0.1"), udp, 80, "10.0.0.9/32".parse().unwrap()), Value::Present),
            (Key::Allowed(ip("fd00::1"), udp, 80, "::/0".parse().unwrap()), Value::Present),
        ] {
            let unit = unit(&key, None, Some(&value)).unwrap();
            let seen = read(key.family(), unit.set, &unit.add.unwrap());
            assert_eq!(seen, Some(Seen::Entry(key, value)));
        }
    }

    #[test]
    fn a_group_changes_only_where_it_differs() {
        let to = |n: u8| SocketAddr::new(ip(&format!("10.1.0.{n}")), 80);
        let of = |backends: &[u8], stick| {
            group(0x100, &Group::one_each(&backends.iter().map(|n| to(*n)).collect::<Vec<_>>(), stick))
        };
        let (before, after) = group_units(Family::V4, &of(&[1, 2, 3], None), &of(&[1, 3], None));
        let text = |units: &[Unit]| {
            let side = |e: &Option<Element>| e.as_ref().map(ToString::to_string).unwrap_or_default();
            units
                .iter()
                .map(|u| format!("{}: -{} +{}", u.set, side(&u.remove), side(&u.add)))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            text(&before),
            ["backends: -0x00000100 . 0x00000001 : 10.1.0.2 . 80 +0x00000100 . 0x00000001 : 10.1.0.3 . 80"]
        );
        assert_eq!(text(&after), ["backends: -0x00000100 . 0x00000002 : 10.1.0.3 . 80 +"]);
        let stick = Some(Stick { timeout: 60, size: 0 });
        let (before, after) = group_units(Family::V4, &of(&[1, 2], stick), &of(&[1], stick));
        assert_eq!((text(&before), text(&after).len()), (vec![], 2), "its slot and its life");
        assert_eq!(group_units(Family::V4, &of(&[1], None), &of(&[1], None)), (vec![], vec![]));
    }
}
