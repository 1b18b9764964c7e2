//! Numbers of the protocol: types, response codes, extended errors.

use std::{fmt, str::FromStr};

macro_rules! codes {
    ($($(#[$doc:meta])* $kind:ident($word:literal) { $($(#[$about:meta])* $name:ident = $value:literal $text:literal;)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $kind(pub u16);

        impl $kind {
            $($(#[$about])* pub const $name: Self = Self($value);)*

            /// The word for it, if it is one of those that have a name here.
            pub const fn word(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.word() {
                    Some(word) => f.pad(word),
                    None => write!(f, concat!($word, "{}"), self.0),
                }
            }
        }

        impl FromStr for $kind {
            type Err = String;

            /// Reads a word in any case, or the general form such as `TYPE65` (RFC 3597).
            fn from_str(text: &str) -> Result<Self, String> {
                $(if text.eq_ignore_ascii_case($text) {
                    return Ok(Self::$name);
                })*
                let number = text.get(..$word.len()).filter(|head| head.eq_ignore_ascii_case($word));
                let number = number.and_then(|head| text.get(head.len()..)?.parse().ok());
                number.map(Self).ok_or_else(|| format!(concat!("unknown ", $word, " {:?}"), text))
            }
        }
    )*};
}

codes! {
    /// Type of a record or a question (IANA, DNS parameters).
    RecordType("TYPE") {
        /// IPv4 address (RFC 1035).
        A = 1 "A";
        /// Name server (RFC 1035).
        NS = 2 "NS";
        /// Alias (RFC 1035).
        CNAME = 5 "CNAME";
        /// Start of a zone (RFC 1035, RFC 2308).
        SOA = 6 "SOA";
        /// Name of an address (RFC 1035).
        PTR = 12 "PTR";
        /// Machine; the minimal answer to `ANY` (RFC 8482).
        HINFO = 13 "HINFO";
        /// Mail exchange (RFC 1035).
        MX = 15 "MX";
        /// Text (RFC 1035).
        TXT = 16 "TXT";
        /// IPv6 address (RFC 3596).
        AAAA = 28 "AAAA";
        /// Place of a service (RFC 2782).
        SRV = 33 "SRV";
        /// Rewriting rule (RFC 3403).
        NAPTR = 35 "NAPTR";
        /// EDNS(0) (RFC 6891).
        OPT = 41 "OPT";
        /// Delegation signer (RFC 4034).
        DS = 43 "DS";
        /// Signature (RFC 4034).
        RRSIG = 46 "RRSIG";
        /// Denial (RFC 4034).
        NSEC = 47 "NSEC";
        /// Key (RFC 4034).
        DNSKEY = 48 "DNSKEY";
        /// Hashed denial (RFC 5155).
        NSEC3 = 50 "NSEC3";
        /// Binding of a service (RFC 9460).
        SVCB = 64 "SVCB";
        /// Binding of an HTTPS origin (RFC 9460).
        HTTPS = 65 "HTTPS";
        /// Everything (RFC 8482).
        ANY = 255 "ANY";
        /// Authorities that may issue certificates (RFC 8659).
        CAA = 257 "CAA";
    }
    /// Response code; above 15 it needs EDNS(0).
    Rcode("RCODE") {
        /// Fine.
        NOERROR = 0 "NOERROR";
        /// The query can't be read.
        FORMERR = 1 "FORMERR";
        /// Our trouble.
        SERVFAIL = 2 "SERVFAIL";
        /// No such name.
        NXDOMAIN = 3 "NXDOMAIN";
        /// Not a kind of query that is served.
        NOTIMP = 4 "NOTIMP";
        /// Not for you.
        REFUSED = 5 "REFUSED";
        /// Unknown version of EDNS (RFC 6891).
        BADVERS = 16 "BADVERS";
    }
    /// Why, in a number (RFC 8914).
    ExtendedError("EDE") {
        /// Nothing of the others.
        OTHER = 0 "other";
        /// An old answer, since nobody gives a new one.
        STALE = 3 "stale answer";
        /// The tables aren't loaded yet.
        NOT_READY = 14 "not ready";
        /// Addresses of the fabric in an answer of the outside.
        FILTERED = 17 "filtered";
        /// An old denial, since nobody gives a new one.
        STALE_NXDOMAIN = 19 "stale NXDOMAIN answer";
        /// Only our own zones without recursion.
        NOT_AUTHORITATIVE = 20 "not authoritative";
        /// Not a kind of question that is served.
        NOT_SUPPORTED = 21 "not supported";
        /// No upstream answers, or there is none.
        NO_REACHABLE_AUTHORITY = 22 "no reachable authority";
        /// An upstream can't be reached.
        NETWORK_ERROR = 23 "network error";
        /// What an upstream said can't be right.
        INVALID_DATA = 24 "invalid data";
    }
}

impl RecordType {
    /// Types that ask for something else than records: transfers, mailboxes of old, signatures of transactions (RFC 6895).
    pub const fn is_meta(self) -> bool {
        self.0 == 0 || self.0 == 41 || (self.0 >= 128 && self.0 < 255)
    }

    /// `A` or `AAAA`.
    pub const fn is_address(self) -> bool {
        matches!(self, Self::A | Self::AAAA)
    }
}

impl Rcode {
    /// The four bits that stand in the header.
    pub(crate) const fn low(self) -> u8 {
        (self.0 & 0x0f) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_and_unknown_numbers_have_the_general_form() {
        for number in 0..300 {
            let kind = RecordType(number);
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!("aaaa".parse(), Ok(RecordType::AAAA));
        assert_eq!(RecordType(700).to_string(), "TYPE700");
        for bad in ["", "B", "TYPE", "TYPE70000", "TYPE-1", "É"] {
            assert!(bad.parse::<RecordType>().is_err(), "{bad:?}");
        }
    }
}
