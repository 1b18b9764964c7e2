//! What the kernel's tables say of one end of a flow: the questions of the rules, asked of what a dump shows.
//!
//! In: a dump of the tables. Out: [`Judgement`]. Not here: what policies say (weft-policy), reading the kernel (weft-kernel).
//! Which sets are asked, and in which order, is what `rules.rs` says.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use weft_model::{Direction, Family, NodeEgress};
use weft_nft::{Data, Element, Observed, Table, Value};
use weft_policy::Transport;

use super::{
    element,
    rules::{self, EVERYTHING},
    tables::{self, Place},
};
use crate::service::protocol_number;

/// What the rules do with a flow at one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// No policy isolates the pod.
    Open,
    /// The pod sends to itself.
    Itself,
    /// Something isolates the pod, and a rule lets the flow pass.
    Allowed,
    /// Something isolates the pod, and no rule lets the flow pass.
    Closed,
    /// The tables don't have the pod.
    Unknown,
    /// The table of the family isn't there, or not with our rules: no packet of a pod passes.
    NoTable,
}

impl Judgement {
    /// Whether the flow passes.
    pub const fn allows(self) -> bool {
        matches!(self, Self::Open | Self::Itself | Self::Allowed)
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "nothing isolates the pod",
            Self::Itself => "a pod to itself",
            Self::Allowed => "a rule allows it",
            Self::Closed => "no rule allows it",
            Self::Unknown => "the pod isn't known yet, so it is closed",
            Self::NoTable => "the table is missing or was changed, so every pod is closed",
        })
    }
}

/// What a kernel holds of policies.
#[derive(Clone, Debug, Default)]
pub struct HeldPolicies {
    tables: BTreeMap<Family, Held>,
}

/// Elements of one table, per set and key.
type Held = BTreeMap<(&'static str, Vec<Value>), Option<Data>>;

impl HeldPolicies {
    /// The tables to be dumped.
    pub fn tables(node: NodeEgress) -> Vec<Table> {
        [Family::V4, Family::V6].map(|family| rules::table(family, node)).to_vec()
    }

    /// What a dump of them shows.
    pub fn of(observed: &Observed, node: NodeEgress) -> Self {
        let mut held = Self::default();
        for family in [Family::V4, Family::V6] {
            let table = rules::table(family, node);
            let ours = observed.has_table(&table.id)
                && observed.rule_differences(std::slice::from_ref(&table)).is_empty();
            if ours {
                held.put(family, tables::elements(family, &table, observed));
            }
        }
        held
    }

    /// The table of a family is there, with these elements.
    pub(super) fn put(&mut self, family: Family, elements: impl IntoIterator<Item = (Place, Element)>) {
        let all = elements.into_iter().filter(|((of, ..), _)| *of == family);
        self.tables.insert(family, all.map(|((_, set, key), element)| ((set, key), element.data)).collect());
    }

    /// What becomes of a flow at the end of one of this node's pods.
    pub fn judge(&self, direction: Direction, own: IpAddr, other: IpAddr, transport: Transport) -> Judgement {
        let Some(held) = self.tables.get(&Family::of(own)) else { return Judgement::NoTable };
        let (own, other) = (element::address(own), element::address(other));
        if has(held, rules::open(direction), vec![own.clone()]) {
            return Judgement::Open;
        }
        if has(held, "itself", vec![own.clone(), other.clone()]) {
            return Judgement::Itself;
        }
        let Some(profile) = number(held, rules::profiles(direction), vec![own]) else {
            return Judgement::Unknown;
        };
        let profile = || Value::ClassId(profile);
        let of_pod = number(held, "identities", vec![other.clone()]).into_iter().flat_map(|identity| {
            let listed = number(held, "peers", vec![profile(), Value::U32(identity)]);
            [listed, number(held, "pod_defaults", vec![profile()])]
        });
        let of_block =
            block(held, &other).map(|block| number(held, "block_peers", vec![profile(), Value::U32(block)]));
        let of_anybody = number(held, "defaults", vec![profile()]);
        let mut sets = of_pod.chain(of_block).chain([of_anybody]).flatten();
        if sets.any(|set| fits(held, set, transport)) { Judgement::Allowed } else { Judgement::Closed }
    }
}

fn has(held: &Held, set: &'static str, key: Vec<Value>) -> bool {
    held.contains_key(&(set, key))
}

fn number(held: &Held, map: &'static str, key: Vec<Value>) -> Option<u32> {
    value_of(held.get(&(map, key))?.as_ref())
}

const fn value_of(data: Option<&Data>) -> Option<u32> {
    if let Some(Data::Value(Value::U32(number) | Value::ClassId(number))) = data {
        Some(*number)
    } else {
        None
    }
}

/// The class of the block that an address lies in.
fn block(held: &Held, address: &Value) -> Option<u32> {
    let lies_in = |range: &Value| match (range, address) {
        (Value::V4Range(first, last), Value::V4(one)) => (first..=last).contains(&one),
        (Value::V6Range(first, last), Value::V6(one)) => (first..=last).contains(&one),
        (single, one) => single == one,
    };
    let of_set = held.range(("blocks", Vec::new())..).take_while(|((set, _), _)| *set == "blocks");
    let mut found = of_set.filter(|((_, key), _)| key.first().is_some_and(lies_in));
    value_of(found.next()?.1.as_ref())
}

/// Whether a set of ports has a packet.
fn fits(held: &Held, set: u32, transport: Transport) -> bool {
    if set == EVERYTHING {
        return true;
    }
    let Transport::Port(protocol, port) = transport else { return false };
    let protocol = || Value::Protocol(protocol_number(protocol));
    let wide = || {
        let of_set =
            held.range(("port_classes", Vec::new())..).take_while(|((name, _), _)| *name == "port_classes");
        let mut lies_in = of_set.filter(|((_, key), _)| match key.as_slice() {
            [of, Value::U16Range(first, last)] => *of == protocol() && (*first..=*last).contains(&port),
            [of, Value::U16(one)] => *of == protocol() && *one == port,
            _ => false,
        });
        let class = lies_in.next().and_then(|(_, data)| value_of(data.as_ref()));
        class.is_some_and(|class| has(held, "range_ports", vec![Value::U32(set), Value::ClassId(class)]))
    };
    has(held, "ports", vec![Value::U32(set), protocol(), Value::U16(port)])
        || has(held, "protocols", vec![Value::U32(set), protocol()])
        || wide()
}
