//! Ranges that can't carry pods, services or nodes, and what each is for.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use ipnet::IpNet;
use weft_model::{AddressRange, ownership::DNS_LOCAL_V6};

/// A reserved range and its name for people.
pub(crate) struct Reserved {
    pub(crate) range: AddressRange,
    pub(crate) name: &'static str,
    /// Whether a machine on the underlay may nevertheless have an address there.
    pub(crate) hosts: bool,
}

/// The reserved range that `range` touches.
pub(crate) fn touched(range: AddressRange) -> Option<&'static Reserved> {
    RESERVED.iter().find(|reserved| reserved.range.overlaps(range))
}

/// The reserved range because of which `address` can't be a machine's address on the underlay.
pub(crate) fn forbids_host(address: IpAddr) -> Option<&'static Reserved> {
    RESERVED.iter().find(|reserved| !reserved.hosts && reserved.range.contains(address))
}

static RESERVED: LazyLock<Vec<Reserved>> = LazyLock::new(|| {
    let v4 = |a, b, c, prefix| (IpAddr::from(Ipv4Addr::new(a, b, c, 0)), prefix);
    let v6 = |a, b, prefix| (IpAddr::from(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0)), prefix);
    let table = [
        (v4(0, 0, 0, 8), "this network, RFC 791 section 3.2", false),
        (v4(127, 0, 0, 8), "loopback, RFC 1122 section 3.2.1.3", false),
        (v4(169, 254, 0, 16), "link-local, RFC 3927, and the pods' gateway", false),
        (v4(192, 0, 2, 24), "documentation, RFC 5737", true),
        (v4(198, 51, 100, 24), "documentation, RFC 5737", true),
        (v4(203, 0, 113, 24), "documentation, RFC 5737", true),
        (v4(224, 0, 0, 4), "multicast, RFC 5771", false),
        (v4(240, 0, 0, 4), "reserved and broadcast, RFC 1112 section 4", false),
        ((IpAddr::from(Ipv6Addr::UNSPECIFIED), 128), "unspecified, RFC 4291 section 2.5.2", false),
        ((IpAddr::from(Ipv6Addr::LOCALHOST), 128), "loopback, RFC 4291 section 2.5.3", false),
        (v6(0x64, 0xff9b, 96), "IPv4 translation, RFC 6052", false),
        (v6(0x2001, 0xdb8, 32), "documentation, RFC 3849", true),
        (v6(0x3fff, 0, 20), "documentation, RFC 9637", true),
        (v6(0xfe80, 0, 10), "link-local, RFC 4291 section 2.5.6, and the pods' gateway", false),
        (v6(0xff00, 0, 8), "multicast, RFC 4291 section 2.7", false),
        ((IpAddr::from(DNS_LOCAL_V6), 128), "the DNS of every fabric", false),
    ];
    let whole = table.into_iter().filter_map(|((address, prefix), name, hosts)| {
        let range = AddressRange::new(IpNet::new(address, prefix).ok()?).ok()?;
        Some(Reserved { range, name, hosts })
    });
    // An AddressRange is never IPv4-mapped itself; ranges that hold all of ::ffff:0:0/96 hold ::1 too.
    whole.collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_is_a_range() {
        assert_eq!(RESERVED.len(), 16);
    }

    #[test]
    fn hosts_may_live_in_documentation_space_but_not_on_loopback() {
        for (address, forbidden) in [
            ("198.51.100.7", false),
            ("2001:db8::7", false),
            ("192.168.1.7", false),
            ("127.0.0.1", true),
            ("fe80::7", true),
            ("224.0.0.1", true),
            ("::", true),
            ("fd5a:7e53::53", true),
            ("fd5a:7e53::54", false),
        ] {
            assert_eq!(forbids_host(address.parse().unwrap()).is_some(), forbidden, "{address}");
        }
    }
}
