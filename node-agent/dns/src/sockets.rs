//! The sockets at which a node answers: made by the agent, served by the DNS process, handed over between them.
//!
//! Each is bound to one address, so that answers leave from the address that was asked; several of UDP share an address, and
//! the kernel spreads clients over them. They may be bound before their address is there. Not here: who reads them (`serve/`).

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use nix::sys::socket::{setsockopt, sockopt};
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};
use socket2::{Domain, Protocol, Type};
use weft_model::ownership::{DNS_LOCAL_V4, DNS_LOCAL_V6, DNS_PORT};
use weft_proto::{
    convert::{ShapeError, address_from_wire, address_to_wire},
    v1,
};

use crate::limits;

/// One socket. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Socket {
    /// The address it is bound to, at port 53.
    pub address: IpAddr,
    /// A listener of TCP; otherwise a socket of UDP.
    pub stream: bool,
    descriptor: Arc<OwnedFd>,
}

/// Which socket it is, in all processes that hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(u64);

impl Socket {
    /// Which one it is.
    pub fn id(&self) -> io::Result<SocketId> {
        Ok(SocketId(rustix::fs::fstat(&*self.descriptor)?.st_ino))
    }

    /// Its descriptor.
    pub fn descriptor(&self) -> &Arc<OwnedFd> {
        &self.descriptor
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Makes the sockets of an address: one of TCP and some of UDP, more for an address that all pods use.
///
/// Needs `CAP_NET_BIND_SERVICE`. Fails when somebody else has the port there.
pub fn bind(address: IpAddr) -> io::Result<Vec<Socket>> {
    bind_at(SocketAddr::new(address, DNS_PORT))
}

pub(crate) fn bind_at(at: SocketAddr) -> io::Result<Vec<Socket>> {
    let mut sockets = vec![listener(at)?];
    for _ in 0..width(at.ip()) {
        sockets.push(datagrams(at)?);
    }
    Ok(sockets)
}

/// Sockets of UDP for an address.
fn width(address: IpAddr) -> usize {
    if [IpAddr::V4(DNS_LOCAL_V4), IpAddr::V6(DNS_LOCAL_V6)].contains(&address) {
        return 1;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.min(limits::SOCKETS_PER_ADDRESS)
}

/// Most addresses that sockets are made for.
pub const MOST_ADDRESSES: usize = limits::SOCKETS / (limits::SOCKETS_PER_ADDRESS + 1);

fn new(at: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(at), kind.cloexec(), Some(protocol))?;
    match at {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_freebind_v6(true)?;
        }
    }
    socket.set_reuse_port(true)?;
    Ok(socket)
}

fn datagrams(at: SocketAddr) -> io::Result<Socket> {
    let socket = new(at, Type::DGRAM, Protocol::UDP)?;
    // Never a fragment: what doesn't fit is said to be truncated.
    match at {
        SocketAddr::V4(_) => set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DO)?,
        SocketAddr::V6(_) => set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::DO)?,
    }
    // Beyond the system's limit where we may, else as much as it gives.
    if setsockopt(&socket, sockopt::RcvBufForce, &limits::RECEIVE_BUFFER).is_err() {
        socket.set_recv_buffer_size(limits::RECEIVE_BUFFER)?;
    }
    socket.bind(&at.into())?;
    Ok(Socket { address: at.ip(), stream: false, descriptor: Arc::new(socket.into()) })
}

fn listener(at: SocketAddr) -> io::Result<Socket> {
    let socket = new(at, Type::STREAM.nonblocking(), Protocol::TCP)?;
    // Connections of before may still be closing.
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())?;
    socket.listen(limits::BACKLOG)?;
    Ok(Socket { address: at.ip(), stream: true, descriptor: Arc::new(socket.into()) })
}

/// The message that names sockets; their descriptors go along in the same order.
pub fn to_wire(sockets: &[Socket]) -> v1::NamesSockets {
    let one =
        |socket: &Socket| v1::NamesSocket { address: address_to_wire(socket.address), stream: socket.stream };
    v1::NamesSockets { sockets: sockets.iter().map(one).collect() }
}

/// Sockets that came with a message.
pub fn from_wire(wire: v1::NamesSockets, descriptors: Vec<OwnedFd>) -> Result<Vec<Socket>, ShapeError> {
    if wire.sockets.len() != descriptors.len() {
        let why = format!("{} sockets came with {} descriptors", wire.sockets.len(), descriptors.len());
        return Err(ShapeError::new(why));
    }
    let one = |(named, descriptor): (v1::NamesSocket, OwnedFd)| {
        let address = address_from_wire(&named.address)?;
        Ok(Socket { address, stream: named.stream, descriptor: Arc::new(descriptor) })
    };
    wire.sockets.into_iter().zip(descriptors).map(one).collect()
}

/// The addresses of sockets.
pub fn addresses(sockets: &[Socket]) -> BTreeSet<IpAddr> {
    sockets.iter().map(|socket| socket.address).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::frame;

    #[test]
    fn sockets_stay_the_same_when_they_are_handed_over() {
        // Any port: 53 may be somebody's.
        let sockets = bind_at("127.0.0.1:0".parse().unwrap()).unwrap();
        assert!(sockets.len() >= 2 && sockets[0].stream && !sockets[1].stream);
        let (here, there) = UnixStream::pair().unwrap();
        let descriptors: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
        frame::send(&here, &to_wire(&sockets), &descriptors).unwrap();
        let mut frames = frame::Frames::new(there);
        let received = frames.receive::<v1::NamesSockets>(std::time::Duration::from_secs(5)).unwrap();
        let frame::Received::Frame(wire, descriptors) = received else { panic!("a frame is there") };
        let given = from_wire(wire.clone(), descriptors).unwrap();
        let ids = |sockets: &[Socket]| sockets.iter().map(|s| s.id().unwrap()).collect::<Vec<_>>();
        assert_eq!(ids(&given), ids(&sockets));
        assert_eq!(addresses(&given), ["127.0.0.1".parse().unwrap()].into());
        assert!(from_wire(wire, Vec::new()).is_err());
    }

    #[test]
    fn an_address_that_is_not_there_yet_can_be_bound() {
        assert!(bind_at("192.0.2.53:0".parse().unwrap()).is_ok());
        assert!(bind_at("[2001:db8::53]:0".parse().unwrap()).is_ok());
    }
}
