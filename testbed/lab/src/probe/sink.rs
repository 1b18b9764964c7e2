//! A server that does as little as one can: takes datagrams and says nothing, hangs up on connections at once. What a flood at it costs
//! others is the flood's own part, and the kernel's.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};
use weft_kernel::Datagrams;

use super::{Stop, print};
use crate::Result;

/// As the node's server of names.
const BATCH: usize = 64;
const QUERY: usize = 1500;
const RECEIVE_BUFFER: usize = 8 << 20;
const BACKLOG: i32 = 512;

/// Serves until a signal comes; as many threads take datagrams as there are cores.
pub(super) fn run(at: SocketAddr, stop: &Stop) -> Result<Value> {
    let listener = socket(at, Type::STREAM, Protocol::TCP)?;
    listener.listen(BACKLOG)?;
    let listener = TcpListener::from(listener);
    std::thread::Builder::new().spawn(move || while listener.accept().map(drop).is_ok() {})?;
    for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
        let socket = UdpSocket::from(socket(at, Type::DGRAM, Protocol::UDP)?);
        std::thread::Builder::new().spawn(move || take(&socket))?;
    }
    print(&json!("ready"))?;
    stop.wait()?;
    Ok(json!({"ok": true}))
}

fn socket(at: SocketAddr, kind: Type, protocol: Protocol) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), kind, Some(protocol))?;
    socket.set_reuse_port(true)?;
    socket.set_reuse_address(true)?;
    if kind == Type::DGRAM && setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    }
    socket.bind(&at.into()).with_context(|| format!("bind {at}"))?;
    Ok(socket)
}

/// With the system calls of our server.
fn take(socket: &UdpSocket) {
    let mut batch = Datagrams::new(BATCH, QUERY, 0);
    loop {
        match batch.receive(socket) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
                // Interrupted or failed: it looks again.
                let _ = poll(&mut ready, PollTimeout::NONE);
            }
            // An ICMP error about nothing that was sent: the next one counts.
            Err(_) => {}
        }
    }
}
