//! What pods may spend of a node's resolver, before anybody has read a byte of it.

use std::{
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    time::Duration,
};

use socket2::{Domain, Socket, Type};
use weft_kernel::Namespace;
use weft_model::Overlay;

use crate::{
    datapath::{Node, two_nodes},
    world::in_namespace,
};

/// Longest question that is taken, bytes.
const LONGEST: usize = 1232;
/// More connections than a pod may make at once.
const MANY: usize = 1500;
const PATIENCE: Duration = Duration::from_secs(2);

/// Whom a pod asks, by both families: the tenth address of each service range, which the plan puts onto the bridge.
fn resolvers() -> [SocketAddr; 2] {
    ["10.112.0.10:53", "[fd12::a]:53"].map(|at| at.parse().unwrap())
}

#[test]
fn a_datagram_that_is_longer_than_any_question_ends_before_it_is_taken_up() {
    in_namespace(|| {
        let [node, _] = two_nodes(Overlay::Wireguard, 1);
        for at in resolvers() {
            let server = node.space.run(|| UdpSocket::bind(at).unwrap()).unwrap();
            server.set_read_timeout(Some(PATIENCE)).unwrap();
            let pod = &node.pods[0].1;
            let any: SocketAddr = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
            let client = pod.run(|| UdpSocket::bind(any).unwrap()).unwrap();
            // The last one in fragments; what is told of the first is that the long ones were gone before it.
            for length in [LONGEST + 1, 4096, 60_000, LONGEST] {
                client.send_to(&vec![0; length], at).unwrap();
            }
            let mut bytes = vec![0; 65_536];
            let (length, _) = server.recv_from(&mut bytes).unwrap();
            assert_eq!(length, LONGEST, "{at}");
            server.set_nonblocking(true).unwrap();
            assert!(server.recv_from(&mut bytes).is_err(), "{at}: nothing else came");
        }
        // 60,000 bytes are more than forty parts.
        assert_eq!(dropped(&node, "\"longer than any question"), 2, "those that came whole are counted");
        assert!(dropped(&node, "a part of what is longer than any question") > 80, "and so are parts");
    });
}

#[test]
fn a_pod_that_connects_in_thousands_is_cut_off_and_others_are_not() {
    in_namespace(|| {
        let [node, _] = two_nodes(Overlay::Wireguard, 1);
        for at in resolvers() {
            let _server = node.space.run(|| listen(at)).unwrap();
            let [hostile, other] = [0, 1].map(|place| &node.pods[place].1);
            let sockets = hostile.run(|| (0..MANY).map(|_| begin(at)).collect::<Vec<_>>()).unwrap();
            assert!(dropped(&node, "more connections than one pod may make") > 0, "{at}");
            connects(other, at);
            drop(sockets);
        }
    });
}

/// A listener whose queue has room for all of them, so that only rules can refuse.
fn listen(at: SocketAddr) -> TcpListener {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&at.into()).unwrap();
    socket.listen(4096).unwrap();
    socket.into()
}

/// Begins a connection and doesn't wait for it.
fn begin(at: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    let error = socket.connect(&at.into()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINPROGRESS), "{error}");
    socket
}

fn connects(space: &Namespace, at: SocketAddr) {
    space.run(|| drop(TcpStream::connect_timeout(&at, PATIENCE).unwrap())).unwrap();
}

/// What rules with a comment have dropped.
fn dropped(node: &Node, comment: &str) -> u64 {
    let list = || Command::new("nft").args(["list", "table", "inet", "weft"]).output().unwrap();
    let text = String::from_utf8(node.space.run(list).unwrap().stdout).unwrap();
    let counted = text.lines().filter(|line| line.contains(comment)).map(|line| {
        let packets = line.split("counter packets ").nth(1).and_then(|rest| rest.split(' ').next());
        packets.unwrap_or_else(|| panic!("{line}")).parse::<u64>().unwrap()
    });
    counted.sum()
}
