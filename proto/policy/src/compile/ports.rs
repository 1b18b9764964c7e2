//! Sets of ports in use, and the classes of wide ranges among them.

use std::collections::BTreeMap;

use weft_model::Protocol;

use super::Compiler;
use crate::{
    hash::Content,
    identity::protocol_number,
    limits::{NODE_OVERLAPS, PORTS_ONE_BY_ONE},
    ports::{PROTOCOLS, PortSet, PortsId},
    split::{Range, split, weight},
    table::{Key, PortClass},
};

#[derive(Clone, Debug)]
struct Used {
    set: PortSet,
    /// Elements that point to it.
    users: usize,
}

/// All sets that elements point to.
#[derive(Clone, Debug, Default)]
pub(super) struct PortSets {
    ids: BTreeMap<PortSet, PortsId>,
    all: BTreeMap<PortsId, Used>,
    /// Wide ranges or the sets that have them have changed.
    dirty: bool,
    /// How much wide ranges overlap, where that is too much.
    pub(super) refused: Option<usize>,
}

/// Whether a range of ports has a class, and isn't written port by port.
const fn is_wide((first, last): (u16, u16)) -> bool {
    last - first >= PORTS_ONE_BY_ONE
}

/// Wide ranges of a set, but for every port.
pub(crate) fn wide(set: &PortSet, protocol: Protocol) -> impl Iterator<Item = (u16, u16)> {
    set.of(protocol).iter().copied().filter(|range| !PortSet::is_every(*range) && is_wide(*range))
}

impl Compiler {
    /// Makes an element point to a set of ports; `None` removes it.
    pub(super) fn point(&mut self, key: Key, set: Option<&PortSet>) {
        let new = set.map(|set| self.use_ports(set));
        let old = self.recorder.set(key, new.map(|id| id.0));
        if let Some(old) = old {
            self.drop_ports(PortsId(old));
        }
    }

    fn use_ports(&mut self, set: &PortSet) -> PortsId {
        if set.is_all() {
            return PortsId::ALL;
        }
        if let Some(id) = self.ports.ids.get(set).copied() {
            if let Some(used) = self.ports.all.get_mut(&id) {
                used.users += 1;
            }
            return id;
        }
        let id = set.id();
        self.ports.ids.insert(set.clone(), id);
        self.ports.all.insert(id, Used { set: set.clone(), users: 1 });
        for protocol in PROTOCOLS {
            for range in set.of(protocol) {
                if PortSet::is_every(*range) {
                    self.recorder.set(Key::Port(id, protocol, 0), Some(0));
                } else if is_wide(*range) {
                    self.ports.dirty = true;
                } else {
                    for port in range.0..=range.1 {
                        self.recorder.set(Key::Port(id, protocol, port), Some(0));
                    }
                }
            }
        }
        id
    }

    fn drop_ports(&mut self, id: PortsId) {
        let Some(used) = self.ports.all.get_mut(&id) else { return };
        used.users -= 1;
        if used.users > 0 {
            return;
        }
        if let Some(used) = self.ports.all.remove(&id) {
            self.ports.ids.remove(&used.set);
            self.ports.dirty |= PROTOCOLS.iter().any(|protocol| wide(&used.set, *protocol).next().is_some());
            self.recorder.replace(Key::ports(id), &BTreeMap::new());
        }
    }

    /// Cuts the wide ranges into classes, and says which sets have which.
    pub(super) fn settle_port_classes(&mut self) {
        if !std::mem::take(&mut self.ports.dirty) {
            return;
        }
        let wide = PROTOCOLS.map(|protocol| self.wide_ranges(protocol));
        let marked = wide.each_ref().map(|ranges| {
            let marked = ranges.iter().zip(0..);
            marked.map(|((range, _), mark)| (range.0.into(), range.1.into(), mark)).collect::<Vec<Range>>()
        });
        let total = marked.iter().map(|ranges| weight(ranges)).sum();
        // Beyond the bound no wide range lets anything pass.
        self.ports.refused = (total > NODE_OVERLAPS).then_some(total);
        let mut classes = BTreeMap::new();
        let mut members = BTreeMap::new();
        for ((protocol, ranges), marked) in PROTOCOLS.into_iter().zip(&wide).zip(&marked) {
            if self.ports.refused.is_some() {
                break;
            }
            for (first, last, marks) in split(marked) {
                let of = |mark: &u32| &ranges[*mark as usize];
                let mut content = Content::of("weft port class 1");
                content.number(protocol_number(protocol).into());
                content.length(marks.len());
                marks.iter().map(of).for_each(|((first, last), _)| {
                    content.number(u64::from(*first) << 16 | u64::from(*last));
                });
                let class = PortClass(content.finish());
                let narrow = |number: u128| u16::try_from(number).expect("pieces end where ranges end");
                classes.insert(Key::PortClass(protocol, narrow(first), narrow(last)), class.0);
                let sets = marks.iter().flat_map(|mark| &of(mark).1);
                members.extend(sets.map(|id| (Key::RangePort(*id, class), 0)));
            }
        }
        self.recorder.replace(Key::port_classes(), &classes);
        self.recorder.replace(Key::range_ports(), &members);
    }

    /// Each wide range once, with the sets that have it.
    fn wide_ranges(&self, protocol: Protocol) -> Vec<((u16, u16), Vec<PortsId>)> {
        let mut ranges: BTreeMap<(u16, u16), Vec<PortsId>> = BTreeMap::new();
        for (id, used) in &self.ports.all {
            for range in wide(&used.set, protocol) {
                ranges.entry(range).or_default().push(*id);
            }
        }
        ranges.into_iter().collect()
    }
}
