//! The connection-tracking table of a real kernel: listed by every filter, and exactly the chosen entries removed.

use std::{
    io::Write as _,
    net::{IpAddr, UdpSocket},
    process::{Command, Stdio},
    time::Duration,
};

use weft_kernel::{ConnFilter, Connection, Conntrack};
use weft_model::{Family, Protocol};

use crate::world::{in_namespace, ip};

/// Translates two service addresses to loopback addresses, which also makes the kernel track connections.
const RULES: &str = "table inet wt {
  chain output {
    type nat hook output priority -100; policy accept;
    ct mark set 0x5
    ip daddr 10.112.0.10 udp dport 53 dnat ip to 127.0.0.2:5300
    ip6 daddr fd12::10 udp dport 53 dnat ip6 to [fd11::2]:5300
  }
}";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn nft(rules: &str) {
    let mut child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft runs");
    child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Sends from a fresh port to a destination; the socket, so that its port stays its own.
fn sender(from: &str, to: &str) -> UdpSocket {
    let socket = UdpSocket::bind((address(from), 0)).unwrap();
    socket.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    socket.send_to(b"x", to).unwrap();
    socket
}

/// The port of a socket that has sent once and is gone.
fn send(from: &str, to: &str) -> u16 {
    sender(from, to).local_addr().unwrap().port()
}

fn prepare() -> Conntrack {
    ip("link set lo up");
    ip("-6 addr add fd11::1/128 dev lo nodad");
    ip("addr add fd11::2/128 dev lo");
    ip("route add 10.112.0.0/16 dev lo src 127.0.0.1");
    ip("-6 route add fd12::/64 dev lo src fd11::1");
    nft(RULES);
    Conntrack::open().unwrap()
}

/// Ports that began, sorted.
fn ports(found: &[Connection]) -> Vec<u16> {
    let mut ports: Vec<_> = found.iter().map(|c| c.original.source_port).collect();
    ports.sort_unstable();
    ports
}

fn sorted<const N: usize>(mut ports: [u16; N]) -> Vec<u16> {
    ports.sort_unstable();
    ports.to_vec()
}

#[test]
fn entries_are_listed_by_every_filter_and_only_the_chosen_ones_go() {
    in_namespace(|| {
        let mut table = prepare();
        let a = send("127.0.0.1", "10.112.0.10:53");
        let b = send("127.0.0.1", "10.112.0.10:53");
        let plain = send("127.0.0.1", "127.0.0.3:53");
        let six = send("fd11::1", "[fd12::10]:53");
        let udp = ConnFilter::of_protocol(Family::V4, Protocol::Udp);

        let check = |table: &mut Conntrack, filter: ConnFilter, expected: Vec<u16>| {
            assert_eq!(ports(&table.list(&filter).unwrap()), expected, "{filter:?}");
        };
        check(&mut table, udp, sorted([a, b, plain]));
        check(&mut table, ConnFilter::of_protocol(Family::V6, Protocol::Udp), vec![six]);
        check(&mut table, ConnFilter::of_protocol(Family::V4, Protocol::Tcp), vec![]);
        check(
            &mut table,
            ConnFilter { original_destination: Some(address("10.112.0.10")), ..udp },
            sorted([a, b]),
        );
        check(&mut table, ConnFilter { original_port: Some(53), ..udp }, sorted([a, b, plain]));
        check(&mut table, ConnFilter { original_port: Some(54), ..udp }, vec![]);
        check(&mut table, ConnFilter { reply_source: Some(address("127.0.0.2")), ..udp }, sorted([a, b]));
        check(&mut table, ConnFilter { mark: Some((5, 0xf)), ..udp }, sorted([a, b, plain]));
        check(&mut table, ConnFilter { mark: Some((4, 0xf)), ..udp }, vec![]);
        check(&mut table, ConnFilter { status: Some((0x20, 0x20)), ..udp }, sorted([a, b]));
        check(&mut table, ConnFilter { status: Some((0, 0x20)), ..udp }, vec![plain]);
        check(&mut table, ConnFilter { zone: Some(3), ..udp }, vec![]);
        check(
            &mut table,
            ConnFilter { reply_source: Some(address("fd11::2")), ..ConnFilter::all(Family::V6) },
            vec![six],
        );

        let found =
            table.list(&ConnFilter { original_destination: Some(address("10.112.0.10")), ..udp }).unwrap();
        let first = found.iter().find(|c| c.original.source_port == a).unwrap();
        assert_eq!((first.reply.source, first.reply.source_port), (address("127.0.0.2"), 5300));
        assert!(first.is_translated());
        assert_eq!(table.remove(std::slice::from_ref(first)).unwrap(), 1);
        assert_eq!(table.remove(std::slice::from_ref(first)).unwrap(), 0, "one that is gone is no error");
        check(&mut table, udp, sorted([b, plain]));
        assert_eq!(table.remove_where(&udp, |c| c.is_translated()).unwrap(), 1);
        check(&mut table, udp, vec![plain]);
        check(&mut table, ConnFilter::of_protocol(Family::V6, Protocol::Udp), vec![six]);
    });
}

#[test]
fn a_younger_connection_of_the_same_addresses_stays() {
    in_namespace(|| {
        let mut table = prepare();
        let udp = ConnFilter::of_protocol(Family::V4, Protocol::Udp);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(b"x", "10.112.0.10:53").unwrap();
        let old = table.list(&udp).unwrap();
        assert_eq!(table.remove(&old).unwrap(), 1);
        socket.send_to(b"x", "10.112.0.10:53").unwrap();
        let young = table.list(&udp).unwrap();
        assert_eq!(young.len(), 1);
        assert_eq!(young[0].original, old[0].original);
        // The id is what tells them apart; ids are pointers in the kernel, so memory that is used again may repeat one.
        if young[0] != old[0] {
            assert_eq!(table.remove(&old).unwrap(), 0);
            assert_eq!(table.list(&udp).unwrap(), young);
        }
        assert_eq!(table.remove(&young).unwrap(), 1);
    });
}

#[test]
fn nothing_of_an_address_is_left_and_everything_else_is() {
    in_namespace(|| {
        let mut table = prepare();
        let _senders: Vec<_> = (0..200).map(|_| sender("127.0.0.1", "10.112.0.10:53")).collect();
        let from = send("127.0.0.2", "127.0.0.4:53");
        let to = send("127.0.0.4", "127.0.0.2:53");
        let other = send("127.0.0.1", "127.0.0.3:53");
        let udp = ConnFilter::of_protocol(Family::V4, Protocol::Udp);
        assert_eq!(table.list(&udp).unwrap().len(), 203);
        assert_eq!(
            table.forget_addresses(&[address("127.0.0.2")].into()).unwrap(),
            202,
            "{from} {to}: as endpoint, source, destination"
        );
        assert_eq!(ports(&table.list(&udp).unwrap()), [other]);
        // Many at once, of both families.
        let six = send("fd11::1", "[fd12::10]:53");
        let gone = ["127.0.0.9", "127.0.0.3", "fd11::2"].map(address);
        assert_eq!(table.forget_addresses(&gone.into()).unwrap(), 2, "{six}");
        assert_eq!(table.list(&udp).unwrap(), []);
    });
}
