//! Hand-made frames and what the judge says of them: each class, and each way in which something can leak.

use super::super::decode::tests::{build, tcp, udp};
use super::*;

const MARKER: &[u8] = b"WEFT-MARKER-0123456789abcdef";

fn judge(frames: &[Vec<u8>]) -> Verdict {
    let wanted = Wanted {
        addresses: vec!["10.128.1.2".parse().unwrap(), "fd5a::2".parse().unwrap()],
        marker: MARKER.to_vec(),
    };
    let mut judge = Judge::new(wanted);
    for frame in frames {
        judge.frame(frame);
    }
    judge.end()
}

fn check(frame: Vec<u8>, class: Class) {
    let verdict = judge(std::slice::from_ref(&frame));
    assert_eq!(verdict.count(class), 1, "{verdict:?}");
    assert_eq!(verdict.is_clean(), class != Class::Offender, "{verdict:?}");
}

#[test]
fn the_fabrics_own_protocols_are_recognised() {
    check(build("192.168.66.101", "192.168.66.102", UDP, &udp(51820, 51820, b"cipher")), Class::WireGuard);
    check(build("fd66::1", "fd66::2", UDP, &udp(40000, 51821, b"cipher")), Class::WireGuard);
    check(
        build("192.168.66.101", "192.168.66.11", TCP, &tcp(5000, 7443, 0x10, 1, b"anything")),
        Class::ControlPlane,
    );
    check(build("fe80::1", "ff02::1:ff00:2", ICMPV6, &[135, 0, 0, 0, 0, 0, 0, 0]), Class::Discovery);
    check(build("fe80::1", "ff02::2", ICMPV6, &[133, 0, 0, 0]), Class::Discovery);
    let report = [ICMPV6, 0, 5, 2, 0, 0, 1, 0, 143, 0, 0, 0];
    check(build("fe80::1", "ff02::16", 0, &report), Class::Listener);
    let mut arp = vec![0xff; 12];
    arp.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    check(arp, Class::Arp);
}

#[test]
fn everything_else_is_an_offender() {
    check(build("192.168.66.101", "192.168.66.102", UDP, &udp(1, 53, b"query")), Class::Offender);
    check(build("192.168.66.101", "192.168.66.102", ICMP, &[8, 0, 0, 0]), Class::Offender);
    check(build("fe80::1", "fe80::2", ICMPV6, &[137, 0, 0, 0]), Class::Offender);
    check(vec![0; 5], Class::Offender);
    let verdict = judge(&[vec![0; 5]]);
    assert_eq!(verdict.offenders, ["frame 1: a frame shorter than its header"]);
}

#[test]
fn an_icmp_error_is_judged_by_what_it_quotes() {
    let about = |quoted: &[u8]| {
        let mut error = vec![3, 4, 0, 0, 0, 0, 5, 0];
        error.extend(&quoted[14..]);
        build("192.168.101.1", "192.168.101.2", ICMP, &error)
    };
    let tunnel = build("192.168.101.2", "192.168.102.2", UDP, &udp(51820, 51820, b"cipher"));
    check(about(&tunnel), Class::ErrorAbout);
    let leak = build("10.128.1.2", "10.128.2.2", UDP, &udp(1, 2, b"x"));
    let verdict = judge(&[about(&leak)]);
    assert_eq!((verdict.count(Class::Offender), verdict.addresses.len()), (1, 1), "{verdict:?}");
}

#[test]
fn later_fragments_belong_to_their_first() {
    let fragment = |offset: u16, id: u8, payload: &[u8]| {
        let mut bytes = build("192.168.66.101", "192.168.66.102", UDP, payload);
        bytes[14 + 5] = id;
        bytes[14 + 6..14 + 8].copy_from_slice(&((offset / 8) | 0x2000).to_be_bytes());
        bytes
    };
    let verdict = judge(&[fragment(0, 1, &udp(51820, 51820, b"cipher")), fragment(16, 1, b"more")]);
    assert_eq!((verdict.count(Class::WireGuard), verdict.is_clean()), (2, true), "{verdict:?}");
    assert_eq!(judge(&[fragment(16, 9, b"stray")]).count(Class::Offender), 1);
}

#[test]
fn plain_text_on_the_control_port_is_an_offender() {
    let stream = |first: &[u8]| {
        let syn = build("192.168.66.101", "192.168.66.11", TCP, &tcp(5000, 7443, SYN, 100, b""));
        judge(&[syn, build("192.168.66.101", "192.168.66.11", TCP, &tcp(5000, 7443, 0x18, 101, first))])
    };
    assert!(stream(&[0x16, 3, 1, 0, 5]).is_clean());
    assert_eq!(stream(b"PRI * HTTP/2.0").count(Class::Offender), 1);
}

#[test]
fn addresses_and_marker_are_found_wherever_they_stand() {
    let mut payload = b"before ".to_vec();
    payload.extend(MARKER);
    let verdict = judge(&[
        build("10.128.1.2", "192.168.66.201", TCP, &tcp(1, 80, 0x10, 1, &payload)),
        build(
            "fd66::1",
            "fd66::2",
            UDP,
            &udp(51820, 51820, &"fd5a::2".parse::<std::net::Ipv6Addr>().unwrap().octets()),
        ),
    ]);
    assert_eq!(verdict.markers, 1);
    assert_eq!(verdict.addresses.len(), 2, "{verdict:?}");
    assert!(!verdict.is_clean());
}

#[test]
fn four_bytes_of_ciphertext_are_no_address() {
    assert!(
        judge(&[build("192.168.66.101", "192.168.66.102", UDP, &udp(51820, 51820, &[10, 128, 1, 2]))])
            .is_clean()
    );
}
