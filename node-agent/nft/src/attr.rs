//! Netlink attributes: a writer that can't get lengths wrong and a reader that believes none.
//!
//! Layout: `struct nlattr` (length, type), value, padding to 4 bytes (linux/netlink.h). Numbers of nf_tables are big endian.

use crate::Error;

/// Type flag of attributes that hold attributes.
const NESTED: u16 = 0x8000;
/// Bits of the type that are not flags.
const TYPE_MASK: u16 = 0x3fff;
/// Length of an attribute's header.
const HEADER: usize = 4;

/// Length of an attribute with a value of `len` bytes, padding included.
pub(crate) const fn padded(len: usize) -> usize {
    HEADER + len.next_multiple_of(4)
}

/// Appends attributes to a message.
///
/// A value longer than 65531 bytes can't be expressed; callers bound names and chunks far below (`limits.rs`).
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// The attributes written so far.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// How many bytes were written so far: the offset of the next attribute.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let at = self.open(kind);
        self.bytes.extend_from_slice(value);
        self.close(at);
        self
    }

    /// A string with its terminating zero.
    pub(crate) fn string(&mut self, kind: u16, value: &str) -> &mut Self {
        let at = self.open(kind);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.close(at);
        self
    }

    /// One byte.
    pub(crate) fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.bytes(kind, &[value])
    }

    /// A 32-bit number, big endian.
    pub(crate) fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// A 64-bit number, big endian.
    pub(crate) fn u64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// An attribute that holds what `fill` writes.
    pub(crate) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let at = self.open(kind | NESTED);
        fill(self);
        self.close(at);
        self
    }

    fn open(&mut self, kind: u16) -> usize {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        at
    }

    fn close(&mut self, at: usize) {
        let len = u16::try_from(self.bytes.len() - at).expect("values are bounded by limits.rs");
        self.bytes[at..at + 2].copy_from_slice(&len.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// One attribute as read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attr<'a> {
    /// Type without flags.
    pub(crate) kind: u16,
    /// The value, without padding.
    pub(crate) value: &'a [u8],
}

impl<'a> Attr<'a> {
    /// The value as a number of one byte.
    pub(crate) fn u8(&self) -> Result<u8, Error> {
        self.value.first().copied().ok_or(Error::Truncated { what: "attribute of one byte" })
    }

    /// The value as a big-endian number of 32 bits.
    pub(crate) fn u32(&self) -> Result<u32, Error> {
        let bytes = self.value.first_chunk().ok_or(Error::Truncated { what: "attribute of four bytes" })?;
        Ok(u32::from_be_bytes(*bytes))
    }

    /// The value as a big-endian number of 64 bits.
    pub(crate) fn u64(&self) -> Result<u64, Error> {
        let bytes = self.value.first_chunk().ok_or(Error::Truncated { what: "attribute of eight bytes" })?;
        Ok(u64::from_be_bytes(*bytes))
    }

    /// The value as text up to its first zero.
    pub(crate) fn string(&self) -> String {
        let end = self.value.iter().position(|b| *b == 0).unwrap_or(self.value.len());
        String::from_utf8_lossy(&self.value[..end]).into_owned()
    }

    /// The attributes inside.
    pub(crate) fn nested(&self) -> Reader<'a> {
        Reader::new(self.value)
    }
}

/// Walks attributes; stops after the first that is malformed, which it returns as an error.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Over the bytes that follow a message's header.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The first attribute of a type.
    pub(crate) fn find(&self, kind: u16) -> Result<Option<Attr<'a>>, Error> {
        for attr in self.clone() {
            let attr = attr?;
            if attr.kind == kind {
                return Ok(Some(attr));
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Attr<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.len() < HEADER {
            return None;
        }
        let len = usize::from(u16::from_ne_bytes([self.rest[0], self.rest[1]]));
        let kind = u16::from_ne_bytes([self.rest[2], self.rest[3]]) & TYPE_MASK;
        if len < HEADER || len > self.rest.len() {
            self.rest = &[];
            return Some(Err(Error::Truncated { what: "netlink attribute" }));
        }
        let value = &self.rest[HEADER..len];
        self.rest = self.rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Ok(Attr { kind, value }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let mut w = Writer::default();
        w.string(1, "weft").u32(2, 7).nested(3, |w| {
            w.u64(1, 1 << 40).u8(2, 9);
        });
        let bytes = w.into_bytes();
        assert_eq!(bytes.len(), 12 + 8 + 4 + 12 + 8);
        let r = Reader::new(&bytes);
        assert_eq!(r.find(1).unwrap().unwrap().string(), "weft");
        assert_eq!(r.find(2).unwrap().unwrap().u32().unwrap(), 7);
        let inner = r.find(3).unwrap().unwrap().nested();
        assert_eq!(inner.find(1).unwrap().unwrap().u64().unwrap(), 1 << 40);
        assert_eq!(inner.find(2).unwrap().unwrap().u8().unwrap(), 9);
        assert!(r.find(4).unwrap().is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let read: usize = Reader::new(&bytes).map(|a| a.map_or(0, |a| a.value.len())).sum();
            prop_assert!(read <= bytes.len());
        }
    }
}
