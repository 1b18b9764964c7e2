//! The record of a node's name, or of what stands between it and `node.Z` when nodes' names have dots.
//!
//! Layout behind the key: number of A records, number of AAAA records, both rendered. None at all: an empty non-terminal.

use std::net::IpAddr;

use weft_model::NodeName;

use super::{
    render::{V4_RECORD, address_record},
    table::{Kind, begin, body},
};
use crate::message::push_label;

/// Key of a node: the labels of its name.
pub(crate) fn node_key(node: &NodeName) -> Vec<u8> {
    let mut key = Vec::with_capacity(node.as_str().len() + 1);
    node.as_str().split('.').for_each(|label| {
        push_label(&mut key, label.as_bytes());
    });
    key
}

/// Keys of what is above a node's name, nearest first.
pub(crate) fn above(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = key;
    std::iter::from_fn(move || {
        rest = rest.get(1 + usize::from(*rest.first()?)..)?;
        (!rest.is_empty()).then_some(rest)
    })
}

/// The record of a key with these addresses.
pub(crate) fn encode(key: &[u8], addresses: &[IpAddr], ttl: u32) -> Vec<u8> {
    let mut record = begin(Kind::Node, key);
    let mut sorted = addresses.to_vec();
    sorted.sort();
    sorted.dedup();
    sorted.truncate(255);
    let v4 = sorted.iter().filter(|address| address.is_ipv4()).count();
    record.push(u8::try_from(v4).unwrap_or(u8::MAX));
    sorted.iter().for_each(|address| address_record(&mut record, *address, ttl));
    record
}

/// Rendered records of both families.
pub(crate) fn addresses(record: &[u8]) -> (&[u8], &[u8]) {
    match body(record) {
        [count, rest @ ..] => rest.split_at(usize::from(*count) * V4_RECORD),
        [] => (&[], &[]),
    }
}
