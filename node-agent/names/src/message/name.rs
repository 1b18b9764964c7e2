//! Domain names in wire form (RFC 1035 section 3.1): labels of 1 to 63 octets, at most 255 octets with the root's zero.

use std::{fmt, str::FromStr};

/// Longest name with its final zero.
pub(crate) const MAX_NAME: usize = 255;
/// Most labels of a name, without the root.
pub(crate) const MAX_LABELS: usize = 127;
/// Longest label.
const MAX_LABEL: usize = 63;

/// Why a text is no domain name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no domain name: {why}")]
pub struct NameError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// A whole name, in lower case, in wire form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName(Box<[u8]>);

impl DomainName {
    /// The root.
    pub fn root() -> Self {
        Self(Box::new([0]))
    }

    /// A name from its wire form, which must be whole, uncompressed and fill `wire`; case is lowered.
    pub fn from_wire(wire: &[u8]) -> Option<Self> {
        (end_of(wire, 0)? == wire.len()).then(|| Self(wire.to_ascii_lowercase().into()))
    }

    /// Labels in front of a name; `None` when it grows beyond 255 octets. `labels` is wire form without the final zero.
    pub(crate) fn under(labels: &[u8], parent: &[u8]) -> Option<Self> {
        if labels.len() + parent.len() > MAX_NAME {
            return None;
        }
        Self::from_wire(&[labels, parent].concat())
    }

    /// The wire form, with the final zero.
    pub fn wire(&self) -> &[u8] {
        &self.0
    }

    /// Its labels, from the left.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        labels(&self.0)
    }

    /// Whether it is `parent` or below it.
    pub fn is_within(&self, parent: &Self) -> bool {
        within(&self.0, &parent.0).is_some()
    }
}

/// Labels of a wire name, or of the beginning of one.
pub(crate) fn labels(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let length = usize::from(*wire.get(at)?);
        let label = wire.get(at + 1..at + 1 + length).filter(|label| !label.is_empty())?;
        at += 1 + length;
        Some(label)
    })
}

/// Where a lower-case wire name goes over into `parent`: 0 when both are equal; `None` when it isn't below it.
pub(crate) fn within(name: &[u8], parent: &[u8]) -> Option<usize> {
    let start = name.len().checked_sub(parent.len())?;
    if name.get(start..)? != parent {
        return None;
    }
    let mut at = 0;
    while at < start {
        at += 1 + usize::from(*name.get(at)?);
    }
    (at == start).then_some(start)
}

/// End of an uncompressed name that begins at `at`; `None` when it breaks a limit, has a pointer or isn't whole.
pub(crate) fn end_of(bytes: &[u8], at: usize) -> Option<usize> {
    let mut end = at;
    loop {
        let length = usize::from(*bytes.get(end)?);
        end += 1 + length;
        if length > MAX_LABEL || end - at > MAX_NAME {
            return None;
        }
        if length == 0 {
            return Some(end);
        }
    }
}

/// Appends one label to a wire name under construction; false when it is none.
pub(crate) fn push_label(wire: &mut Vec<u8>, label: &[u8]) -> bool {
    let Ok(length) = u8::try_from(label.len()) else { return false };
    if !(1..=MAX_LABEL).contains(&label.len()) {
        return false;
    }
    wire.push(length);
    wire.extend(label.iter().map(u8::to_ascii_lowercase));
    true
}

impl FromStr for DomainName {
    type Err = NameError;

    /// Reads `a.b.c` or `a.b.c.`; `.` and nothing are the root. Labels are printable ASCII; `\.`, `\\` and `\DDD` as Display
    /// writes them.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = |why| NameError { text: text.to_owned(), why };
        let mut wire = Vec::with_capacity(text.len() + 2);
        let mut label = Vec::new();
        let mut bytes = text.bytes();
        if text == "." || text.is_empty() {
            return Ok(Self::root());
        }
        let mut whole = false;
        while let Some(byte) = bytes.next() {
            whole = byte == b'.';
            match byte {
                b'.' => {
                    if !push_label(&mut wire, &label) {
                        return Err(bad("each label has 1 to 63 characters"));
                    }
                    label.clear();
                }
                b'\\' => label.push(
                    escaped(&mut bytes)
                        .ok_or_else(|| bad("a \\ stands before a character or three digits"))?,
                ),
                0x21..=0x7e => label.push(byte),
                _ => {
                    return Err(bad("only printable ASCII is allowed; write others as \\DDD or in punycode"));
                }
            }
        }
        if !whole && !push_label(&mut wire, &label) {
            return Err(bad("each label has 1 to 63 characters"));
        }
        wire.push(0);
        Self::from_wire(&wire).ok_or_else(|| bad("it has more than 255 octets"))
    }
}

fn escaped(bytes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let first = bytes.next()?;
    if !first.is_ascii_digit() {
        return Some(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = bytes.next().filter(u8::is_ascii_digit)?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).ok()
}

impl fmt::Display for DomainName {
    /// With a dot at the end; octets that aren't printable as `\DDD` (RFC 4343).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() == 1 {
            return f.write_str(".");
        }
        for label in self.labels() {
            for byte in label {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(*byte))?,
                    0x21..=0x7e => write!(f, "{}", char::from(*byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A question's name in lower case with the places of its labels; one per thread, overwritten by each query.
#[derive(Clone, Debug)]
pub(crate) struct Lowered {
    bytes: [u8; MAX_NAME + 1],
    length: usize,
    starts: [u8; MAX_LABELS + 1],
    count: usize,
}

impl Default for Lowered {
    fn default() -> Self {
        Self { bytes: [0; MAX_NAME + 1], length: 1, starts: [0; MAX_LABELS + 1], count: 0 }
    }
}

impl Lowered {
    /// Takes over a name that the query parser found whole. Octets of lengths are below `A`, so that all can be lowered alike.
    pub(crate) fn take(&mut self, wire: &[u8]) {
        self.length = wire.len().min(MAX_NAME);
        let bytes = &mut self.bytes[..self.length];
        bytes.copy_from_slice(&wire[..self.length]);
        bytes.make_ascii_lowercase();
        self.count = 0;
        let mut at = 0_u8;
        while let Some(length @ 1..) = self.bytes.get(usize::from(at)).copied() {
            if let Some(start) = self.starts.get_mut(self.count) {
                *start = at;
            }
            self.count += 1;
            at = at.saturating_add(1).saturating_add(length);
        }
    }

    /// The name, with its final zero.
    pub(crate) fn wire(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// How many labels it has, without the root.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// Where label `index` from the left begins (at its length); the root's place beyond the last.
    pub(crate) fn start(&self, index: usize) -> usize {
        if index < self.count { usize::from(self.starts[index]) } else { self.length - 1 }
    }

    /// Label `index` from the left, without its length.
    pub(crate) fn label(&self, index: usize) -> &[u8] {
        &self.bytes[self.start(index) + 1..self.start(index + 1)]
    }

    /// How many labels stand in front of `parent`; `None` when the name isn't within it.
    pub(crate) fn above(&self, parent: &[u8], parent_labels: usize) -> Option<usize> {
        let above = self.count.checked_sub(parent_labels)?;
        (self.wire().get(self.start(above)..)? == parent).then_some(above)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let check = |text: &str, expected: Option<&str>| {
            let read = text.parse::<DomainName>().map(|name| name.to_string());
            assert_eq!(read.as_deref().ok(), expected, "{text:?}");
        };
        check("", Some("."));
        check(".", Some("."));
        check("Web.Shop.", Some("web.shop."));
        check("web.shop", Some("web.shop."));
        check("_http._tcp.a", Some("_http._tcp.a."));
        check("a\\.b.c", Some("a\\.b.c."));
        check("a\\007b.c", Some("a\\007b.c."));
        check("a..b", None);
        check(".a", None);
        check("a\\25", None);
        check("a\\256", None);
        check("a b", None);
        check("é", None);
        check(&"a".repeat(63), Some(&format!("{}.", "a".repeat(63))));
        check(&"a".repeat(64), None);
        check(&"a.".repeat(127), Some(&"a.".repeat(127)));
        check(&"a.".repeat(128), None);
    }

    #[test]
    fn a_name_is_within_its_parents_by_whole_labels() {
        let check = |name: &str, parent: &str, expected: bool| {
            let [name, parent] = [name, parent].map(|text| text.parse::<DomainName>().unwrap());
            assert_eq!(name.is_within(&parent), expected, "{name} {parent}");
            let mut lowered = Lowered::default();
            lowered.take(name.wire());
            let above = lowered.above(parent.wire(), parent.labels().count());
            assert_eq!(above.is_some(), expected);
            if let Some(above) = above {
                assert_eq!(above, name.labels().count() - parent.labels().count());
            }
        };
        check("a.b.c", "b.c", true);
        check("a.b.c", "a.b.c", true);
        check("a.b.c", ".", true);
        check("xb.c", "b.c", false);
        check("c", "b.c", false);
        // The octets of the parent stand there, but not where a label begins.
        check("a\\001b\\001c", "b.c", false);
    }
}
