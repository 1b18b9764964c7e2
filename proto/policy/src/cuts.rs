//! What a change closes, by addresses: enough for a node to tell which of its live connections the change ends, without its
//! policies.
//!
//! In: a [`Difference`]. Out: [`Cuts`], which travel; a [`Cutter`] made of them, which is asked. Not here: processes of a pod's
//! own node, which always come in; who asks knows its own addresses.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use weft_model::Family;

use crate::{
    compile::number,
    difference::Difference,
    flow::Flow,
    groups::{Members, family_index},
    ports::PortSet,
    world::World,
};

/// Ends that the change treats alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Addresses of pods.
    pub addresses: Vec<IpAddr>,
    /// Ranges, first and last, of addresses that no pod has.
    pub ranges: Vec<(IpAddr, IpAddr)>,
}

/// What closes from each of some ends to each of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// Sources, as places in [`Cuts::ends`], in order.
    pub from: Vec<u32>,
    /// Destinations, in order.
    pub to: Vec<u32>,
    /// One family alone.
    pub family: Option<Family>,
    /// What closes.
    pub ports: PortSet,
}

/// All that a change closes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    /// Ends; some take part in nothing: pods whose addresses lie in ranges of others.
    pub ends: Vec<Ends>,
    /// What closes between them.
    pub closings: Vec<Closing>,
}

impl Cuts {
    /// Whether nothing closes.
    pub fn is_empty(&self) -> bool {
        self.closings.is_empty()
    }

    /// How many addresses and ranges there are.
    pub fn size(&self) -> usize {
        self.ends.iter().map(|ends| ends.addresses.len() + ends.ranges.len()).sum()
    }
}

impl Difference {
    /// What of it closes, with the addresses that pods have in a world.
    pub fn cuts(&self, world: &World) -> Cuts {
        let folds = self.folds().into_iter().filter(|fold| !fold.closes.is_empty()).collect::<Vec<_>>();
        let parts: BTreeSet<usize> =
            folds.iter().flat_map(|fold| fold.from.iter().chain(&fold.to)).copied().collect();
        let places: BTreeMap<usize, u32> = parts.iter().copied().zip(0..).collect();
        let mut ends: Vec<Ends> = parts.iter().map(|group| self.ends(*group, world)).collect();
        if ends.iter().any(|ends| !ends.ranges.is_empty()) {
            // Whoever has an address of his own is nobody of a range.
            let named: BTreeSet<IpAddr> =
                ends.iter().flat_map(|ends| ends.addresses.iter().copied()).collect();
            let held = world.addresses.keys().chain(world.resolver.iter().flat_map(|one| &one.addresses));
            let addresses = held.copied().filter(|address| !named.contains(address)).collect();
            ends.push(Ends { addresses, ranges: Vec::new() });
        }
        let place =
            |groups: Vec<usize>| groups.iter().filter_map(|group| places.get(group).copied()).collect();
        let closings = folds.into_iter().map(|fold| Closing {
            from: place(fold.from),
            to: place(fold.to),
            family: fold.family,
            ports: fold.closes,
        });
        Cuts { ends, closings: closings.collect() }
    }

    fn ends(&self, group: usize, world: &World) -> Ends {
        match &self.groups[group].members {
            Members::Pods(pods) => {
                let addresses = pods.iter().filter_map(|name| world.pod(name)).flat_map(|pod| &pod.addresses);
                Ends { addresses: addresses.copied().collect(), ranges: Vec::new() }
            }
            Members::Resolver => {
                let addresses = world.resolver.as_ref().map(|one| one.addresses.clone()).unwrap_or_default();
                Ends { addresses, ranges: Vec::new() }
            }
            Members::Outside(ranges) => Ends { addresses: Vec::new(), ranges: ranges.clone() },
        }
    }
}

/// Cuts, ready to be asked flow by flow.
#[derive(Clone, Debug, Default)]
pub struct Cutter {
    addresses: BTreeMap<IpAddr, u32>,
    /// Per family, in order: first, last, end.
    ranges: [Vec<(u128, u128, u32)>; 2],
    closings: Vec<Closing>,
    /// Closings of each source.
    from: BTreeMap<u32, Vec<usize>>,
}

impl From<Cuts> for Cutter {
    fn from(cuts: Cuts) -> Self {
        let mut cutter = Self { closings: cuts.closings, ..Self::default() };
        for (ends, place) in cuts.ends.into_iter().zip(0..) {
            cutter.addresses.extend(ends.addresses.into_iter().map(|address| (address, place)));
            for (first, last) in ends.ranges {
                let family = family_index(Family::of(first));
                cutter.ranges[family].push((number(first), number(last), place));
            }
        }
        cutter.ranges.iter_mut().for_each(|ranges| ranges.sort_unstable());
        for (index, closing) in cutter.closings.iter_mut().enumerate() {
            closing.from.sort_unstable();
            closing.to.sort_unstable();
            for source in &closing.from {
                cutter.from.entry(*source).or_default().push(index);
            }
        }
        cutter
    }
}

impl Cutter {
    /// Whether the change ends a flow, if it passes now.
    pub fn cuts(&self, flow: &Flow) -> bool {
        if flow.source == flow.destination {
            return false;
        }
        let (Some(from), Some(to)) = (self.end(flow.source), self.end(flow.destination)) else {
            return false;
        };
        let family = Family::of(flow.source);
        self.from.get(&from).into_iter().flatten().any(|index| {
            let closing = &self.closings[*index];
            closing.family.is_none_or(|only| only == family)
                && closing.to.binary_search(&to).is_ok()
                && closing.ports.has(flow.transport)
        })
    }

    /// Whether an address is a pod's, as far as the change needs to know.
    pub fn is_pod(&self, address: IpAddr) -> bool {
        self.addresses.contains_key(&address)
    }

    fn end(&self, address: IpAddr) -> Option<u32> {
        if let Some(end) = self.addresses.get(&address) {
            return Some(*end);
        }
        let ranges = &self.ranges[family_index(Family::of(address))];
        let at = number(address);
        let place = ranges.partition_point(|(_, last, _)| *last < at);
        ranges.get(place).filter(|(first, ..)| *first <= at).map(|(_, _, end)| *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        difference::cut_by,
        fixture::{Chance, random},
    };

    #[test]
    fn a_node_cuts_what_the_evaluator_cuts() {
        let (mut cut, mut left) = (0, 0);
        for seed in 0..60 {
            let mut chance = Chance::new(seed);
            let before = random::world(&mut chance);
            let mut after = before.clone();
            for _ in 0..3 {
                random::step_of_policies(&mut after, &mut chance);
            }
            let difference = Difference::between(&before, &after);
            let cutter = Cutter::from(difference.cuts(&after));
            for flow in random::flows(&before, &mut chance) {
                let is_own = |address| before.nodes.values().any(|addresses| addresses.contains(&address));
                if flow.process || is_own(flow.source) || is_own(flow.destination) {
                    continue;
                }
                let expected = cut_by(&before, &after, &flow).is_some();
                assert_eq!(cutter.cuts(&flow), expected, "seed {seed}: {flow}");
                if expected { cut += 1 } else { left += 1 }
            }
        }
        assert!(cut > 50 && left > 50, "both happen: {cut} and {left}");
    }
}
