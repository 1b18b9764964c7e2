//! What the kernel has, and where it differs from what is wanted.

use std::{collections::BTreeMap, fmt};

use crate::{
    Chain, Counted, Data, DataType, Element, Elements, MapData, ObservedChain, ObservedElement, ObservedRule,
    ObservedSet, Reply, Set, SetRef, Table, TableRef, Value,
    batch::{element::successor, joined_type, set_flags},
    lower,
    packed::Packed,
};

/// Everything dumped of some tables.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Those seen, and whether they sleep.
    tables: BTreeMap<TableRef, bool>,
    chains: BTreeMap<(TableRef, String), ObservedChain>,
    rules: BTreeMap<(TableRef, String), Vec<ObservedRule>>,
    sets: BTreeMap<SetRef, ObservedSet>,
    elements: BTreeMap<SetRef, Packed>,
}

/// One way in which the kernel differs from what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The table isn't there.
    NoTable(TableRef),
    /// The table sleeps: no packet comes by its chains.
    Asleep(TableRef),
    /// The chain isn't there, or stands elsewhere.
    Chain(TableRef, String),
    /// The chain has other rules: the first position from 1 where it differs.
    Rule(TableRef, String, usize),
    /// The set isn't there, or is of another type.
    Set(SetRef),
    /// A chain of our table that we never made.
    ForeignChain(TableRef, String),
    /// A set of our table that we never made.
    ForeignSet(SetRef),
    /// An element isn't there.
    NoElement(SetRef, Element),
    /// An element that isn't wanted.
    ForeignElement(SetRef, Element),
}

impl Difference {
    /// Whether changing elements mends it; everything else needs the rules again ([`crate::Mend`]).
    pub const fn is_of_elements(&self) -> bool {
        matches!(self, Self::NoElement(..) | Self::ForeignElement(..))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTable(table) => write!(f, "table {table} is missing"),
            Self::Asleep(table) => write!(f, "table {table} is dormant"),
            Self::Chain(table, chain) => write!(f, "chain {table} {chain} is missing or changed"),
            Self::Rule(table, chain, at) => {
                write!(f, "rule {at} of chain {table} {chain} is missing or changed")
            }
            Self::Set(set) => write!(f, "set {set} is missing or changed"),
            Self::ForeignChain(table, chain) => write!(f, "chain {table} {chain} isn't ours"),
            Self::ForeignSet(set) => write!(f, "set {set} isn't ours"),
            Self::NoElement(set, element) => write!(f, "element {{ {element} }} of set {set} is missing"),
            Self::ForeignElement(set, element) => {
                write!(f, "element {{ {element} }} of set {set} isn't wanted")
            }
        }
    }
}

impl Observed {
    /// Takes in one reply of a dump; what isn't about objects is ignored.
    pub fn add(&mut self, reply: Reply) {
        match reply {
            Reply::Table(table, sleeps) => {
                self.tables.insert(table, sleeps);
            }
            Reply::Chain(chain) => {
                self.chains.insert((chain.table.clone(), chain.name.clone()), chain);
            }
            Reply::Rule(rule) => {
                self.rules.entry((rule.table.clone(), rule.chain.clone())).or_default().push(rule);
            }
            Reply::Set(set) => {
                self.sets.insert(set.id.clone(), set);
            }
            Reply::Elements(set, elements) => {
                let kept = self.elements.entry(set).or_default();
                elements.into_iter().for_each(|element| kept.push(element));
            }
            Reply::Acknowledged | Reply::Failed(_) | Reply::Done | Reply::Generation(_) | Reply::Other => {}
        }
    }

    /// The sets seen of a table.
    pub fn sets(&self, table: &TableRef) -> Vec<SetRef> {
        self.sets.keys().filter(|s| s.table == *table).cloned().collect()
    }

    /// The tables seen with chains that drop at their end.
    pub fn dropping_tables(&self) -> Vec<TableRef> {
        let mut tables: Vec<_> = self.drop_policies(&[]).into_iter().map(|policy| policy.table).collect();
        tables.dedup();
        tables
    }

    pub(crate) fn sets_of<'a>(&'a self, table: &'a TableRef) -> impl Iterator<Item = &'a ObservedSet> {
        self.sets.values().filter(move |set| set.id.table == *table)
    }

    pub(crate) fn all_chains(&self) -> impl Iterator<Item = &ObservedChain> {
        self.chains.values()
    }

    pub(crate) fn rules_of<'a>(&'a self, table: &'a TableRef) -> impl Iterator<Item = &'a ObservedRule> {
        self.rules.iter().filter(move |((of, _), _)| of == table).flat_map(|(_, rules)| rules)
    }

    /// The elements seen, read by the types that the sets of these tables have.
    pub fn elements(&self, tables: &[Table]) -> Elements {
        let mut all = Elements::default();
        for table in tables {
            for set in table.sets.iter().filter(|s| !s.dynamic) {
                let id = SetRef { table: table.id.clone(), name: set.name.clone() };
                for element in read_elements(set, self.elements.get(&id)) {
                    all.insert(id.clone(), element);
                }
            }
        }
        all
    }

    /// Names of the chains seen of a table.
    pub fn chains_of<'a>(&'a self, table: &'a TableRef) -> impl Iterator<Item = &'a str> {
        self.chains.keys().filter(move |(of, _)| of == table).map(|(_, name)| name.as_str())
    }

    /// Whether the table was seen.
    pub fn has_table(&self, table: &TableRef) -> bool {
        self.tables.contains_key(table)
    }

    /// The elements seen of one set, read by its type.
    pub fn elements_of<'a>(&'a self, id: &SetRef, set: &'a Set) -> impl Iterator<Item = Element> + 'a {
        read_elements(set, self.elements.get(id))
    }

    /// What elements of a set counted, with their keys.
    pub fn counted_elements<'a>(
        &'a self,
        id: &SetRef,
        set: &'a Set,
    ) -> impl Iterator<Item = (Vec<Value>, Counted)> + 'a {
        let there = self.elements.get(id).into_iter().flat_map(Packed::iter);
        there.filter_map(|element| Some((read_key(set, &element.key)?, element.counted?)))
    }

    /// The rules seen that count.
    pub fn counting_rules(&self) -> impl Iterator<Item = (&ObservedRule, Counted)> {
        self.rules.values().flatten().filter_map(|rule| Some((rule, rule.counted?)))
    }

    /// Everything in which these tables differ but elements.
    pub fn rule_differences(&self, tables: &[Table]) -> Vec<Difference> {
        let mut found = Vec::new();
        for table in tables {
            match self.tables.get(&table.id) {
                None => found.push(Difference::NoTable(table.id.clone())),
                Some(sleeps) => {
                    found.extend(sleeps.then(|| Difference::Asleep(table.id.clone())));
                    self.table_differences(table, &mut found);
                }
            }
        }
        found
    }

    /// Everything in which these tables differ, tables first. Rules and sets are compared exactly; counters never.
    pub fn differences(&self, tables: &[Table], wanted: &Elements) -> Vec<Difference> {
        let mut found = self.rule_differences(tables);
        for change in wanted.changes_from(&self.elements(tables)) {
            found.extend(change.add.into_iter().map(|e| Difference::NoElement(change.set.clone(), e)));
            found
                .extend(change.remove.into_iter().map(|e| Difference::ForeignElement(change.set.clone(), e)));
        }
        found
    }

    fn table_differences(&self, table: &Table, found: &mut Vec<Difference>) {
        for chain in &table.chains {
            let key = (table.id.clone(), chain.name.clone());
            if !self.chains.get(&key).is_some_and(|there| same_chain(table, chain, there)) {
                found.push(Difference::Chain(key.0, key.1));
            } else if let Some(at) = self.first_other_rule(table, chain) {
                found.push(Difference::Rule(key.0, key.1, at));
            }
        }
        for set in &table.sets {
            let id = SetRef { table: table.id.clone(), name: set.name.clone() };
            if !self.sets.get(&id).is_some_and(|there| self.stands(set, there)) {
                found.push(Difference::Set(id));
            }
        }
        let foreign =
            |(t, name): &&(TableRef, String)| *t == table.id && !table.chains.iter().any(|c| c.name == *name);
        let foreign = self.chains.keys().filter(foreign);
        found.extend(foreign.map(|(t, name)| Difference::ForeignChain(t.clone(), name.clone())));
        let foreign = self.sets.keys().filter(|s| s.table == table.id && table.set(&s.name).is_none());
        found.extend(foreign.map(|s| Difference::ForeignSet(s.clone())));
    }

    /// Whether a set is declared as wanted, and has no element for all keys that have none: ours never have, and it can't be read as one.
    pub(crate) fn stands(&self, wanted: &Set, there: &ObservedSet) -> bool {
        same_set(wanted, there) && !self.elements.get(&there.id).is_some_and(Packed::has_one_for_all)
    }

    /// Position from 1 of the first rule that isn't the wanted one.
    fn first_other_rule(&self, table: &Table, chain: &Chain) -> Option<usize> {
        let there = self.rules.get(&(table.id.clone(), chain.name.clone())).map_or(&[][..], Vec::as_slice);
        let same = |(wanted, there): &(&crate::Rule, &ObservedRule)| {
            lower::rule(wanted, table.id.family) == there.exprs
        };
        let equal = chain.rules.iter().zip(there).take_while(same).count();
        (equal != chain.rules.len() || equal != there.len()).then_some(equal + 1)
    }
}

pub(crate) fn same_chain(table: &Table, wanted: &Chain, there: &ObservedChain) -> bool {
    match (&wanted.base, &there.base) {
        (None, None) => true,
        (Some(base), Some((kind, hook, priority, policy))) => {
            base.kind.name() == kind
                && base.hook.number(table.id.family) == *hook
                && base.priority == *priority
                && base.policy.number() == *policy
        }
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn same_set(wanted: &Set, there: &ObservedSet) -> bool {
    let data_type = wanted.data.map(|data| match data {
        MapData::Verdict => crate::wire::set::DATA_VERDICT,
        MapData::Value(of) => of.number(),
        MapData::Values(parts) => joined_type(parts),
    });
    there.flags == set_flags(wanted)
        && there.key_type == joined_type(&wanted.key)
        && usize::try_from(there.key_len).is_ok_and(|len| len == wanted.key_bytes())
        && there.data_type == data_type
        && there.size == wanted.size
        && there.each == lower::each(wanted)
}

/// Elements of a set; what its type can't explain is left out and so shows up as missing.
fn read_elements<'a>(set: &'a Set, there: Option<&'a Packed>) -> Box<dyn Iterator<Item = Element> + 'a> {
    let there = there.into_iter().flat_map(Packed::iter);
    if set.interval && !set.is_concatenation() {
        return Box::new(read_ranges(set, there.collect()).into_iter());
    }
    let read = |e: ObservedElement| {
        let first = read_key(set, &e.key)?;
        let last = e.key_end.as_ref().map_or_else(|| Some(first.clone()), |end| read_key(set, end))?;
        let key = first.into_iter().zip(last).map(|(a, b)| Value::between(a, b)).collect::<Option<_>>()?;
        Some(element(set, &e, key))
    };
    Box::new(there.filter_map(read))
}

/// Pairs the ends of ranges: each begins with a key and reaches to the next end, or to the last key of all.
fn read_ranges(set: &Set, mut ends: Vec<ObservedElement>) -> Vec<Element> {
    // An end sorts before a beginning at the same key: ranges that touch.
    ends.sort_by(|a, b| (&a.key, !a.is_end).cmp(&(&b.key, !b.is_end)));
    let mut ranges = Vec::new();
    let mut open: Option<&ObservedElement> = None;
    for end in &ends {
        if let Some(begin) = open.take() {
            ranges.push((begin, Some(&end.key)));
        }
        if !end.is_end {
            open = Some(end);
        }
    }
    ranges.extend(open.map(|begin| (begin, None)));
    let read = |(begin, end): (&ObservedElement, Option<&Vec<u8>>)| {
        let first = read_key(set, &begin.key)?.pop()?;
        let last = end.map_or_else(|| vec![0xff; begin.key.len()], |end| predecessor(end));
        let key = Value::between(first, read_key(set, &last)?.pop()?)?;
        Some(element(set, begin, vec![key]))
    };
    ranges.into_iter().filter_map(read).collect()
}

/// The key before this one in big-endian order.
fn predecessor(key: &[u8]) -> Vec<u8> {
    let inverted = successor(key.iter().map(|b| !b).collect());
    inverted.map_or_else(|| vec![0xff; key.len()], |k| k.iter().map(|b| !b).collect())
}

fn read_key(set: &Set, key: &[u8]) -> Option<Vec<Value>> {
    read_joined(&set.key, key)
}

fn read_joined(parts: &[DataType], bytes: &[u8]) -> Option<Vec<Value>> {
    let mut rest = bytes;
    let mut values = Vec::with_capacity(parts.len());
    for field in parts {
        values.push(field.value(rest)?);
        rest = rest.get(field.bytes().next_multiple_of(4)..).unwrap_or(&[]);
    }
    Some(values)
}

fn element(set: &Set, there: &ObservedElement, key: Vec<Value>) -> Element {
    let data = match set.data {
        None => None,
        Some(MapData::Verdict) => there.verdict.clone().map(Data::Verdict),
        Some(MapData::Value(of)) => there.value.as_deref().and_then(|v| of.value(v)).map(Data::Value),
        Some(MapData::Values(parts)) => {
            there.value.as_deref().and_then(|v| read_joined(parts, v)).map(Data::Values)
        }
    };
    Element { key, data, timeout_ms: there.timeout_ms }
}
