//! Sets of what a rule lets pass: ports of each protocol, and protocols without ports.

use std::fmt;

use weft_model::Protocol;

use crate::{
    flow::{Transport, protocol_name},
    hash::Content,
    identity::protocol_number,
};

/// Protocols with ports, in the order of [`PortSet`].
pub const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

/// Ranges that a line names; of more there is only a number.
const WORDS: usize = 8;

/// All ports of a protocol: more than 1 to 65535, for packets with port 0 are of it too.
const EVERY: (u16, u16) = (0, u16::MAX);

/// Number of a set of ports in the tables: its content's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortsId(pub u64);

impl PortsId {
    /// Everything, protocols without ports too.
    pub const ALL: Self = Self(u64::MAX);
}

/// A set; equal sets are equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortSet {
    /// Protocols without ports.
    others: bool,
    /// Per protocol: ranges in order, apart from each other, both ends included.
    ranges: [Vec<(u16, u16)>; 3],
}

const fn index(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Tcp => 0,
        Protocol::Udp => 1,
        Protocol::Sctp => 2,
    }
}

impl PortSet {
    /// Everything.
    pub fn all() -> Self {
        Self { others: true, ranges: [vec![EVERY], vec![EVERY], vec![EVERY]] }
    }

    /// Exactly one thing; of protocols without ports they are all one.
    pub fn one(transport: Transport) -> Self {
        let mut set = Self::default();
        match transport {
            Transport::Port(protocol, port) => set.add(protocol, port, port),
            Transport::Other(_) => set.others = true,
        }
        set
    }

    /// Adds every port of a protocol.
    pub fn add_every(&mut self, protocol: Protocol) {
        self.ranges[index(protocol)] = vec![EVERY];
    }

    /// Adds a range of ports, both ends included.
    pub fn add(&mut self, protocol: Protocol, first: u16, last: u16) {
        if first > last {
            return;
        }
        let ranges = &mut self.ranges[index(protocol)];
        // Those that touch it melt into it.
        let from = ranges.partition_point(|(_, end)| u32::from(*end) + 1 < u32::from(first));
        let to = ranges.partition_point(|(start, _)| u32::from(*start) <= u32::from(last) + 1);
        let melted = ranges[from..to]
            .iter()
            .fold((first, last), |(first, last), (start, end)| (first.min(*start), last.max(*end)));
        ranges.splice(from..to, [melted]);
    }

    /// Adds all of another set.
    pub fn unite(&mut self, other: &Self) {
        self.others |= other.others;
        for protocol in PROTOCOLS {
            for (first, last) in other.of(protocol) {
                self.add(protocol, *first, *last);
            }
        }
    }

    /// What is in both.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        let mut set = Self { others: self.others && other.others, ..Self::default() };
        for protocol in PROTOCOLS {
            for (a, b) in self.of(protocol) {
                for (c, d) in other.of(protocol) {
                    set.add(protocol, *a.max(c), *b.min(d));
                }
            }
        }
        set
    }

    /// What is in this one and not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut set = Self { others: self.others && !other.others, ..Self::default() };
        for protocol in PROTOCOLS {
            for (first, last) in self.of(protocol) {
                let mut from = u32::from(*first);
                for (start, end) in other.of(protocol).iter().filter(|(s, e)| s <= last && e >= first) {
                    if let (Ok(a), Some(b)) = (u16::try_from(from), start.checked_sub(1)) {
                        set.add(protocol, a, b);
                    }
                    from = u32::from(*end) + 1;
                }
                if let Ok(from) = u16::try_from(from) {
                    set.add(protocol, from, *last);
                }
            }
        }
        set
    }

    /// Whether it has all of another set.
    pub fn covers(&self, other: &Self) -> bool {
        (self.others || !other.others)
            && PROTOCOLS.iter().all(|protocol| {
                let mine = self.of(*protocol);
                other.of(*protocol).iter().all(|(a, b)| mine.iter().any(|(c, d)| c <= a && b <= d))
            })
    }

    /// Whether something is in it.
    pub fn has(&self, transport: Transport) -> bool {
        match transport {
            Transport::Port(protocol, port) => {
                self.of(protocol).iter().any(|(first, last)| (*first..=*last).contains(&port))
            }
            Transport::Other(_) => self.others,
        }
    }

    /// Ranges of a protocol; all its ports are the range 0 to 65535.
    pub fn of(&self, protocol: Protocol) -> &[(u16, u16)] {
        &self.ranges[index(protocol)]
    }

    /// Whether a range is all ports of a protocol.
    pub fn is_every(range: (u16, u16)) -> bool {
        range == EVERY
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        !self.others && self.ranges.iter().all(Vec::is_empty)
    }

    /// Whether everything is in it.
    pub fn is_all(&self) -> bool {
        self.others && self.ranges.iter().all(|ranges| ranges[..] == [EVERY])
    }

    /// Its number.
    pub fn id(&self) -> PortsId {
        if self.is_all() {
            return PortsId::ALL;
        }
        let mut content = Content::of("weft ports 1");
        self.feed(&mut content);
        PortsId(content.finish())
    }

    /// The same for people, in a few words: what is left out, where that is shorter to say.
    pub fn words(&self) -> String {
        let rest = Self::all().without(self);
        let parts = |set: &Self| {
            let ranges = PROTOCOLS.iter().map(|protocol| set.of(*protocol).len());
            ranges.sum::<usize>() + usize::from(set.others)
        };
        match !rest.is_empty() && parts(&rest) < parts(self) {
            true => format!("all but {}", rest.shown(WORDS)),
            false => self.shown(WORDS),
        }
    }

    /// At most so many ranges, and how many more there are.
    fn shown(&self, limit: usize) -> String {
        if self.is_all() {
            return "all".to_owned();
        }
        let mut words = Vec::new();
        for protocol in PROTOCOLS {
            let name = protocol_name(protocol);
            words.extend(self.of(protocol).iter().map(|(first, last)| match (first, last) {
                _ if Self::is_every((*first, *last)) => format!("every {name}"),
                _ if first == last => format!("{first}/{name}"),
                _ => format!("{first}-{last}/{name}"),
            }));
        }
        words.extend(self.others.then(|| "other protocols".to_owned()));
        if words.len() > limit {
            let more = words.len() - limit;
            words.truncate(limit);
            words.push(format!("{more} more"));
        }
        if words.is_empty() { "none".to_owned() } else { words.join(", ") }
    }

    pub(crate) fn feed(&self, content: &mut Content) {
        content.number(self.others.into());
        for protocol in PROTOCOLS {
            content.number(protocol_number(protocol).into());
            content.length(self.of(protocol).len());
            for (first, last) in self.of(protocol) {
                content.number(u64::from(*first) << 16 | u64::from(*last));
            }
        }
    }
}

impl fmt::Display for PortSet {
    /// `all`, `none`, or `80/tcp, 8000-8999/tcp, every udp, other protocols`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown(usize::MAX))
    }
}

#[cfg(test)]
#[path = "ports_tests.rs"]
mod tests;
