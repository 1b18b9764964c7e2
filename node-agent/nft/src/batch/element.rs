//! Elements to messages: keys padded, ranges in the form their set wants, lists cut below 64 KiB.

use super::message::Message;
use crate::{
    Data, Element, Set, SetRef, TableRef, Value,
    attr::{self, Writer},
    expr::encode,
    limits,
    wire::{GENERIC_HEADER, MESSAGE_HEADER},
};

/// Attributes of elements and their lists.
pub(crate) mod attrs {
    pub(crate) const LIST_TABLE: u16 = 1;
    pub(crate) const LIST_SET: u16 = 2;
    pub(crate) const LIST_ELEMENTS: u16 = 3;
    pub(crate) const KEY: u16 = 1;
    pub(crate) const DATA: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const TIMEOUT: u16 = 4;
    /// `NFTA_SET_ELEM_EXPR`: the only one of an element.
    pub(crate) const EXPRESSION: u16 = 7;
    pub(crate) const KEY_END: u16 = 10;
    pub(crate) const EXPRESSIONS: u16 = 11;
    /// `NFT_SET_ELEM_INTERVAL_END`.
    pub(crate) const INTERVAL_END: u32 = 1;
}

/// The messages that add or remove elements, in order, none for no elements.
pub(super) fn messages<'a>(
    kind: u8,
    table: &TableRef,
    set: &Set,
    elements: impl IntoIterator<Item = &'a Element>,
) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut chunk = Vec::new();
    let mut bytes = 0;
    for element in elements {
        let size = size(set, element);
        if bytes + size > limits::ELEMENT_LIST_BYTES && !chunk.is_empty() {
            messages.push(message(kind, table, set, std::mem::take(&mut chunk)));
            bytes = 0;
        }
        bytes += size;
        chunk.push(element);
    }
    if !chunk.is_empty() {
        messages.push(message(kind, table, set, chunk));
    }
    messages
}

/// The message that removes all elements of a set, however many there are: a list that isn't there names all.
pub(super) fn flush(kind: u8, table: &TableRef, set: &Set) -> Message {
    let mut w = Writer::default();
    w.string(attrs::LIST_TABLE, &table.name).string(attrs::LIST_SET, &set.name);
    Message::whole_set(kind, SetRef { table: table.clone(), name: set.name.clone() }, w)
}

fn message(kind: u8, table: &TableRef, set: &Set, elements: Vec<&Element>) -> Message {
    let mut w = Writer::default();
    w.string(attrs::LIST_TABLE, &table.name).string(attrs::LIST_SET, &set.name);
    let mut offsets = Vec::with_capacity(elements.len());
    w.nested(attrs::LIST_ELEMENTS, |w| {
        for element in elements {
            let at = MESSAGE_HEADER + GENERIC_HEADER + w.len();
            offsets.push((u32::try_from(at).expect("a message is bounded"), element.clone()));
            encode(w, set, element);
        }
    });
    let name = SetRef { table: table.clone(), name: set.name.clone() };
    Message::elements(kind, name, w, offsets)
}

/// An upper bound of an element's bytes.
fn size(set: &Set, element: &Element) -> usize {
    let key = attr::padded(attr::padded(attr::padded(set.key_bytes())));
    let keys = if set.interval { 2 * key + attr::padded(4) + attr::padded(0) } else { key };
    let data = match &element.data {
        None => 0,
        Some(Data::Verdict(v)) => attr::padded(4) * 4 + attr::padded(v.chain().map_or(0, str::len) + 1),
        Some(Data::Value(_)) => 2 * attr::padded(16),
        Some(Data::Values(values)) => attr::padded(attr::padded(joined(values).len())),
    };
    keys + data + attr::padded(8)
}

fn encode(w: &mut Writer, set: &Set, element: &Element) {
    if !set.interval {
        w.nested(1, |w| {
            key(w, attrs::KEY, set, element, Value::first_bytes);
            rest(w, element);
        });
    } else if set.is_concatenation() {
        w.nested(1, |w| {
            key(w, attrs::KEY, set, element, Value::first_bytes);
            key(w, attrs::KEY_END, set, element, Value::last_bytes);
            rest(w, element);
        });
    } else {
        w.nested(1, |w| {
            key(w, attrs::KEY, set, element, Value::first_bytes);
            rest(w, element);
        });
        // The end is the first key behind the range; a range up to the last key of all has none.
        if let Some(end) = element.key.first().and_then(|v| successor(v.last_bytes())) {
            w.nested(1, |w| {
                w.u32(attrs::FLAGS, attrs::INTERVAL_END);
                encode::value(w, attrs::KEY, &end);
            });
        }
    }
}

fn key(w: &mut Writer, kind: u16, set: &Set, element: &Element, bytes: fn(&Value) -> Vec<u8>) {
    let mut all = Vec::with_capacity(set.key_bytes());
    for value in &element.key {
        all.extend_from_slice(&bytes(value));
        if set.is_concatenation() {
            all.resize(all.len().next_multiple_of(4), 0);
        }
    }
    encode::value(w, kind, &all);
}

fn rest(w: &mut Writer, element: &Element) {
    match &element.data {
        None => {}
        Some(Data::Verdict(verdict)) => encode::verdict(w, attrs::DATA, verdict),
        Some(Data::Value(value)) => encode::value(w, attrs::DATA, &value.first_bytes()),
        Some(Data::Values(values)) => encode::value(w, attrs::DATA, &joined(values)),
    }
    if let Some(ms) = element.timeout_ms {
        w.u64(attrs::TIMEOUT, ms);
    }
}

/// Values side by side, each padded to whole words.
fn joined(values: &[Value]) -> Vec<u8> {
    let mut all = Vec::new();
    for value in values {
        all.extend_from_slice(&value.first_bytes());
        all.resize(all.len().next_multiple_of(4), 0);
    }
    all
}

/// The key that follows in big-endian order; `None` behind the last.
pub(crate) fn successor(mut key: Vec<u8>) -> Option<Vec<u8>> {
    for byte in key.iter_mut().rev() {
        let (next, overflowed) = byte.overflowing_add(1);
        *byte = next;
        if !overflowed {
            return Some(key);
        }
    }
    None
}
