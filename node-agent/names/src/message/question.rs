//! Messages to upstreams.

use super::{
    code::RecordType,
    query::{CD, RD},
    reply::UDP_MAX,
    wire::{CLASS_IN, HEADER},
};

/// What an upstream is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// Wire form, in the case in which it is sent.
    pub(crate) name: &'a [u8],
    pub(crate) kind: RecordType,
    /// With EDNS(0), and whether signatures are wanted.
    pub(crate) edns: Option<bool>,
    pub(crate) unchecked: bool,
}

/// A query with recursion.
pub(crate) fn write_query(id: u16, question: Question<'_>) -> Vec<u8> {
    let flags = RD | if question.unchecked { CD } else { 0 };
    let mut message = Vec::with_capacity(HEADER + question.name.len() + 4 + 11);
    for number in [id, flags, 1, 0, 0, u16::from(question.edns.is_some())] {
        message.extend(number.to_be_bytes());
    }
    message.extend_from_slice(question.name);
    message.extend(question.kind.0.to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    if let Some(dnssec_ok) = question.edns {
        let [high, low] = UDP_MAX.to_be_bytes();
        message.extend([0, 0, 41, high, low, 0, 0, if dnssec_ok { 0x80 } else { 0 }, 0, 0, 0]);
    }
    message
}
