//! Reverse names (RFC 1035 section 3.5, RFC 3596 section 2.5).

use std::net::IpAddr;

use crate::message::Lowered;

const V4_SUFFIX: &[u8] = b"\x07in-addr\x04arpa\0";
const V6_SUFFIX: &[u8] = b"\x03ip6\x04arpa\0";

/// A name below `in-addr.arpa` or `ip6.arpa`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReverseName {
    address: IpAddr,
    known: usize,
    rest: usize,
}

impl ReverseName {
    /// `None` for other names.
    pub(crate) fn read(name: &Lowered) -> Option<Self> {
        match (name.above(V4_SUFFIX, 2), name.above(V6_SUFFIX, 2)) {
            (Some(above), _) => Some(v4(name, above)),
            (None, Some(above)) => Some(v6(name, above)),
            (None, None) => None,
        }
    }

    /// The address; what isn't said is zero.
    pub(crate) const fn address(&self) -> IpAddr {
        self.address
    }

    /// How many labels, from the right, say part of the address.
    pub(crate) const fn known(&self) -> usize {
        self.known
    }

    /// Whether the name is that of the whole address and nothing else.
    pub(crate) const fn is_whole(&self) -> bool {
        let all = if self.address.is_ipv4() { 4 } else { 32 };
        self.known == all && self.rest == 0
    }

    /// Labels further to the left that say nothing of an address: such a name can't exist.
    pub(crate) const fn rest(&self) -> usize {
        self.rest
    }
}

fn v4(name: &Lowered, above: usize) -> ReverseName {
    let mut octets = [0; 4];
    let mut known = 0;
    while known < above.min(4) {
        let Some(octet) = decimal(name.label(above - 1 - known)) else { break };
        octets[known] = octet;
        known += 1;
    }
    ReverseName { address: octets.into(), known, rest: above - known }
}

/// A number from 0 to 255 as it is written once: without leading zeros.
fn decimal(label: &[u8]) -> Option<u8> {
    let is_short = label.len() == 1 || (label.len() <= 3 && label.first() != Some(&b'0'));
    if !is_short {
        return None;
    }
    let digit = |value: u16, byte: &u8| byte.is_ascii_digit().then(|| value * 10 + u16::from(*byte - b'0'));
    label.iter().try_fold(0, digit).and_then(|value| u8::try_from(value).ok())
}

fn v6(name: &Lowered, above: usize) -> ReverseName {
    let mut octets = [0_u8; 16];
    let mut known = 0;
    while known < above.min(32) {
        let nibble = match *name.label(above - 1 - known) {
            [digit @ b'0'..=b'9'] => digit - b'0',
            [digit @ b'a'..=b'f'] => digit - b'a' + 10,
            _ => break,
        };
        octets[known / 2] |= if known % 2 == 0 { nibble << 4 } else { nibble };
        known += 1;
    }
    ReverseName { address: octets.into(), known, rest: above - known }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DomainName;

    #[test]
    fn reverse_names_say_an_address_from_the_right() {
        let check = |name: &str, expected: Option<(&str, usize, usize)>| {
            let mut lowered = Lowered::default();
            lowered.take(name.parse::<DomainName>().unwrap().wire());
            let expected = expected.map(|(address, known, rest)| ReverseName {
                address: address.parse().unwrap(),
                known,
                rest,
            });
            assert_eq!(ReverseName::read(&lowered), expected, "{name}");
        };
        check("4.3.2.1.in-addr.arpa", Some(("1.2.3.4", 4, 0)));
        check("3.2.1.in-addr.arpa", Some(("1.2.3.0", 3, 0)));
        check("in-addr.arpa", Some(("0.0.0.0", 0, 0)));
        check("x.4.3.2.1.in-addr.arpa", Some(("1.2.3.4", 4, 1)));
        check("4.03.2.1.in-addr.arpa", Some(("1.2.0.0", 2, 2)));
        check("4.256.2.1.in-addr.arpa", Some(("1.2.0.0", 2, 2)));
        check("4.0.2.1.in-addr.arpa", Some(("1.2.0.4", 4, 0)));
        check("8.b.d.0.1.0.0.2.ip6.arpa", Some(("2001:db8::", 8, 0)));
        check("8.B.D.0.1.0.0.2.IP6.arpa", Some(("2001:db8::", 8, 0)));
        check("g.b.d.0.1.0.0.2.ip6.arpa", Some(("2001:db0::", 7, 1)));
        check("arpa", None);
        check("x.example", None);
    }
}
