//! A client's port that comes again: the same connection by its four numbers, and the same backend.

use std::{
    collections::BTreeSet,
    io::{self, Read},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream},
    os::fd::AsRawFd,
};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, connect, setsockopt,
    sockopt::ReuseAddr,
};
use weft_model::Overlay;

use crate::{
    service_paths::{PATIENCE, World, of_pods},
    world::in_namespace,
};

/// A connection from this port; the server's name.
fn ask_from(port: u16, to: SocketAddr) -> io::Result<String> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket =
        nix::sys::socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp)?;
    setsockopt(&socket, ReuseAddr, &true)?;
    let any: IpAddr = if to.is_ipv4() { [0, 0, 0, 0].into() } else { Ipv6Addr::UNSPECIFIED.into() };
    bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(any, port)))?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(to))?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    // To the end: the server ends first, and it is the server that remembers the connection.
    stream.read_to_string(&mut answer)?;
    Ok(answer.split(' ').next().unwrap_or_default().to_owned())
}

#[test]
fn a_port_that_comes_again_meets_the_same_backend_and_ports_and_services_differ() {
    in_namespace(|| {
        let services = vec![of_pods("one", 1, &[1, 2, 3]), of_pods("two", 2, &[1, 2, 3])];
        let world = World::new(Overlay::Wireguard, services);
        for fronts in [["10.112.0.1:80", "10.112.0.2:80"], ["[fd12::1]:80", "[fd12::2]:80"]] {
            let seen = |port| fronts.map(|to| ask_from(port, to.parse().unwrap()).unwrap());
            let run = || {
                let first: Vec<_> = (42_000..42_024).map(seen).collect();
                for _ in 0..3 {
                    assert_eq!((42_000..42_024).map(seen).collect::<Vec<_>>(), first);
                }
                first
            };
            let first = world.nodes[0].space.run(run).unwrap();
            let of = |front: usize| first.iter().map(move |pair| pair[front].as_str());
            assert_eq!(
                of(0).collect::<BTreeSet<_>>().len(),
                3,
                "one port meets this backend, another that: {first:?}"
            );
            assert!(of(0).ne(of(1)), "services are picked for each by itself: {first:?}");
        }
    });
}
