//! Records as they stand in messages.

use std::net::IpAddr;

use crate::message::{Fixed, RecordType};

/// Length of a rendered A record.
pub(crate) const V4_RECORD: usize = 16;
/// Length of a rendered AAAA record.
pub(crate) const V6_RECORD: usize = 28;
/// Owner that points at the question's name.
pub(crate) const QUESTION: [u8; 2] = [0xc0, 12];

/// Appends an address record whose owner is the question's name.
pub(crate) fn address_record(out: &mut Vec<u8>, address: IpAddr, ttl: u32) {
    out.extend(QUESTION);
    match address {
        IpAddr::V4(address) => {
            out.extend(Fixed { kind: RecordType::A, ttl }.octets(4));
            out.extend(address.octets());
        }
        IpAddr::V6(address) => {
            out.extend(Fixed { kind: RecordType::AAAA, ttl }.octets(16));
            out.extend(address.octets());
        }
    }
}

/// The addresses in rendered records.
pub(crate) fn addresses<'a>(v4: &'a [u8], v6: &'a [u8]) -> impl Iterator<Item = IpAddr> + 'a {
    let (v4, _) = v4.as_chunks::<V4_RECORD>();
    let (v6, _) = v6.as_chunks::<V6_RECORD>();
    let v4 = v4.iter().filter_map(|record| Some(IpAddr::from(*record.last_chunk::<4>()?)));
    v4.chain(v6.iter().filter_map(|record| Some(IpAddr::from(*record.last_chunk::<16>()?))))
}

/// An owner that points to an earlier place of the message; `None` beyond what a pointer can say (RFC 1035 section 4.1.4).
pub(crate) fn pointer(at: usize) -> Option<[u8; 2]> {
    let at = u16::try_from(at).ok().filter(|at| *at < 0x4000)?;
    Some((at | 0xc000).to_be_bytes())
}
