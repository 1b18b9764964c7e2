//! Sockets in other network namespaces: made there, used from here.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Protocol, Socket, Type};

use super::Ask;
use super::counters::Counters;
use crate::checks::policy::PORTS;

/// What datagrams may wait for in a socket, in bytes.
const BUFFER: usize = 4 << 20;
/// Connections that wait to be taken.
const BACKLOG: i32 = 256;

/// All ends, with what they serve.
pub(super) struct Ends {
    all: Vec<End>,
    /// Servers of datagrams.
    pub(super) datagrams: Vec<UdpSocket>,
    /// Servers of connections.
    pub(super) listeners: Vec<TcpListener>,
    home: File,
    /// Number of the next round.
    pub(super) round: u32,
}

struct End {
    name: String,
    netns: File,
    /// Asks by datagrams: IPv4, IPv6.
    asking: [Option<UdpSocket>; 2],
}

impl Ends {
    /// Makes all sockets; beside them the counters of the nodes.
    pub(super) fn open(who: &[super::End], nodes: &[PathBuf]) -> Result<(Self, Counters)> {
        let open =
            |path: &std::path::Path| File::open(path).with_context(|| format!("open {}", path.display()));
        let home = open(std::path::Path::new("/proc/thread-self/ns/net"))?;
        let nodes = nodes.iter().map(|node| open(node)).collect::<Result<Vec<_>>>()?;
        let counters = Counters::open(&nodes)?;
        let mut ends = Self { all: Vec::new(), datagrams: Vec::new(), listeners: Vec::new(), home, round: 0 };
        for end in who {
            let netns = open(&end.netns)?;
            enter(&netns)?;
            for address in &end.addresses {
                for (port, tcp) in PORTS {
                    let at = SocketAddr::new(*address, port);
                    ends.serve(at, tcp).with_context(|| format!("serve {at} in {}", end.name))?;
                }
            }
            // A machine without a family has no socket of it.
            let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
            let asking = any.map(|any| datagrams(SocketAddr::new(any, 0)).ok());
            ends.all.push(End { name: end.name.clone(), netns, asking });
        }
        enter(&ends.home)?;
        Ok((ends, counters))
    }

    fn serve(&mut self, at: SocketAddr, tcp: bool) -> Result<()> {
        if tcp {
            let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            socket.bind(&at.into())?;
            socket.listen(BACKLOG)?;
            socket.set_nonblocking(true)?;
            self.listeners.push(socket.into());
        } else {
            self.datagrams.push(datagrams(at)?);
        }
        Ok(())
    }

    /// Enters an end's namespace with the calling thread.
    pub(super) fn enter(&self, place: usize) -> Result<()> {
        enter(&self.all[place].netns)
    }

    /// Leaves for the process's own.
    pub(super) fn leave(&self) -> Result<()> {
        enter(&self.home)
    }

    /// The socket that asks.
    pub(super) fn asking(&self, ask: &Ask) -> Result<&UdpSocket> {
        let end = &self.all[ask.from];
        let socket = end.asking[usize::from(ask.to.is_ipv6())].as_ref();
        socket.with_context(|| format!("{} has no socket for {}", end.name, ask.to))
    }

    /// All sockets that ask by datagrams.
    pub(super) fn askers(&self) -> impl Iterator<Item = &UdpSocket> {
        self.all.iter().flat_map(|end| end.asking.iter().flatten())
    }

    /// For messages.
    pub(super) fn name(&self, place: usize) -> &str {
        &self.all[place].name
    }
}

/// A connection that begins in the calling thread's namespace. Its end is a reset, so that no port waits for anything.
pub(super) fn connect(to: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_linger(Some(std::time::Duration::ZERO))?;
    match socket.connect(&to.into()) {
        Ok(()) => Ok(socket),
        Err(e) if e.raw_os_error() == Some(nix::libc::EINPROGRESS) => Ok(socket),
        Err(e) => Err(e),
    }
}

fn datagrams(at: SocketAddr) -> Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&at.into())?;
    socket.set_nonblocking(true)?;
    // As much as the machine lets one have.
    let _ = socket.set_recv_buffer_size(BUFFER);
    Ok(socket.into())
}

fn enter(netns: &File) -> Result<()> {
    setns(netns, CloneFlags::CLONE_NEWNET).context("enter a network namespace")
}
