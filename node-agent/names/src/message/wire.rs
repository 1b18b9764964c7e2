//! Octets of a message.

/// Length of the header.
pub(crate) const HEADER: usize = 12;
/// Class of the Internet, the only one served.
pub(crate) const CLASS_IN: u16 = 1;

/// How a query came: what fits into the answer follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A datagram: at most what the client says it takes, 512 unless it says so, never above 1232 (no fragments).
    Udp,
    /// A stream: up to 65,535 octets.
    Tcp,
}

/// Two octets as a number.
pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Four octets as a number.
pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
