//! Messages as bytes, and a filter against entries of every kind.

use std::net::IpAddr;

use weft_model::{Family, Protocol};

use super::{ConnFilter, Connection, Way, message};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn way(source: &str, destination: &str, ports: (u16, u16)) -> Way {
    Way { source: ip(source), destination: ip(destination), source_port: ports.0, destination_port: ports.1 }
}

fn translated() -> Connection {
    Connection {
        protocol: 17,
        original: way("10.1.1.1", "10.112.0.10", (4000, 53)),
        reply: way("10.1.2.3", "10.1.1.1", (5353, 4000)),
        status: 0x2e,
        mark: 0x300,
        zone: 0,
        tcp_state: None,
        id: 7,
        key: vec![8, 0, 1, 128, 1, 2, 3, 4],
    }
}

#[test]
fn a_removal_names_key_and_id() {
    let bytes = message::remove(&translated(), 9, 5);
    assert_eq!(bytes.len(), 16 + 4 + 12 + 8);
    assert_eq!(bytes[..4], 40_u32.to_ne_bytes());
    assert_eq!(bytes[4..6], 0x0102_u16.to_ne_bytes());
    assert_eq!(bytes[20..24], [12, 0, 1, 128], "CTA_TUPLE_ORIG, nested");
    assert_eq!(bytes[24..32], translated().key);
    assert_eq!(bytes[32..], [8, 0, 12, 0, 0, 0, 0, 7], "CTA_ID");
}

#[test]
fn a_filter_without_conditions_is_only_a_family() {
    assert_eq!(message::list(&ConnFilter::all(Family::V6), 1, 0x301).len(), 20);
    let udp = message::list(&ConnFilter::of_protocol(Family::V4, Protocol::Udp), 1, 0x301);
    // Tuple: protocol number; then which parts count: the number alone.
    assert_eq!(udp[20..36], [16, 0, 1, 128, 12, 0, 2, 128, 5, 0, 1, 0, 17, 0, 0, 0]);
    assert_eq!(udp[40..48], [8, 0, 1, 0, 8, 0, 0, 0]);
}

#[test]
fn what_the_kernel_does_not_filter_is_filtered_here() {
    let all = ConnFilter::all(Family::V4);
    let check =
        |filter: ConnFilter, expected| assert_eq!(filter.matches(&translated()), expected, "{filter:?}");
    check(all, true);
    check(ConnFilter::all(Family::V6), false);
    check(ConnFilter { protocol: Some(Protocol::Udp), ..all }, true);
    check(ConnFilter { protocol: Some(Protocol::Tcp), ..all }, false);
    check(ConnFilter { original_destination: Some(ip("10.112.0.10")), original_port: Some(53), ..all }, true);
    check(ConnFilter { original_port: Some(54), ..all }, false);
    check(ConnFilter { reply_source: Some(ip("10.1.2.3")), ..all }, true);
    check(ConnFilter { reply_source: Some(ip("10.1.2.4")), ..all }, false);
    check(ConnFilter { reply_source: Some(ip("fd00::1")), ..all }, false);
    check(ConnFilter { mark: Some((0x100, 0x100)), ..all }, true);
    check(ConnFilter { mark: Some((0, 0x100)), ..all }, false);
    check(ConnFilter { status: Some((0x20, 0x20)), ..all }, true);
    check(ConnFilter { zone: Some(1), ..all }, false);
    let by = |address| ConnFilter::of_address(ip(address)).map(|filter| filter.matches(&translated()));
    assert_eq!(by("10.1.1.1"), [true, false, false, true]);
    assert_eq!(by("10.1.2.3"), [false, false, true, false]);
    assert!(translated().is_translated());
}

#[test]
fn a_connection_lives_from_its_answer_until_both_sides_have_closed() {
    let check = |tcp_state: Option<u8>, status: u32, expected: bool| {
        let connection = Connection { tcp_state, status, ..translated() };
        assert_eq!(connection.is_live(), expected, "{tcp_state:?} {status:x}");
    };
    check(None, 0x02, true);
    check(None, 0x08, false);
    for (state, expected) in [(1, false), (2, true), (3, true), (4, true), (5, true), (6, false), (7, false)]
    {
        check(Some(state), 0x0e, expected);
    }
}

#[test]
fn torn_entries_are_no_entries() {
    for bytes in
        [&[][..], &[2, 0, 0, 0], &[2, 0, 0, 0, 8, 0, 12, 0, 0, 0, 0, 1], &[2, 0, 0, 0, 200, 0, 1, 128]]
    {
        assert_eq!(message::connection(bytes), None);
    }
    assert_eq!(message::error_number(&(-2_i32).to_ne_bytes()), 2);
    assert_eq!(message::error_number(&[]), 0);
}
