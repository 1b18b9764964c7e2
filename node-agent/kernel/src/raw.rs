//! One netlink socket: opened, sized and timed in one way; datagrams in and out. What they say is the business of those who
//! hold it (`netlink`, `monitor`, `nft`, `conntrack`).
//!
//! A socket belongs to the namespace it was opened in and works from any thread.

use std::{io, time::Duration};

use netlink_sys::{Socket, SocketAddr};
use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt},
};
use rustix::net::sockopt::{
    Timeout, set_socket_recv_buffer_size, set_socket_send_buffer_size, set_socket_timeout,
};

/// How long one answer may take. The kernel answers while it is asked; more than this means that it hangs. A dump comes in
/// parts, each with the whole time.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Bytes of answers that may wait.
const RECEIVE_BUFFER: usize = 1 << 20;
/// The kernel sends dumps in parts of at most 32 KiB (`net/netlink/af_netlink.c`, `netlink_dump`).
const READ_SIZE: usize = 64 << 10;

/// A socket call that failed: which, in words, and why.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) what: &'static str,
    pub(crate) source: io::Error,
}

impl Failed {
    fn new(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { what, source }
    }

    /// More notices came than fit into the buffer: some are lost.
    pub(crate) fn is_overrun(&self) -> bool {
        self.source.raw_os_error() == Some(Errno::ENOBUFS as i32)
    }
}

/// The socket, connected to the kernel.
#[derive(Debug)]
pub(crate) struct RawSocket {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl RawSocket {
    /// Opens a socket of a protocol (`NETLINK_*`) in the calling thread's network namespace.
    pub(crate) fn open(protocol: isize) -> Result<Self, Failed> {
        let mut socket = Socket::new(protocol).map_err(Failed::new("opening a netlink socket"))?;
        socket.bind_auto().map_err(Failed::new("binding a netlink socket"))?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(Failed::new("connecting a netlink socket"))?;
        socket.set_ext_ack(true).map_err(Failed::new("asking for extended acknowledgements"))?;
        socket.set_cap_ack(true).map_err(Failed::new("asking for short acknowledgements"))?;
        // Older kernels, and other protocols than routing, lack it; then dumps are filtered here only.
        let _ = socket.set_netlink_get_strict_chk(true);
        let limit = |kind| set_socket_timeout(&socket, kind, Some(ANSWER_LIMIT));
        limit(Timeout::Recv)
            .and_then(|()| limit(Timeout::Send))
            .map_err(|e| Failed::new("setting a time limit")(e.into()))?;
        // Beyond the system's limit where we may, else as much as it gives.
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)
                .map_err(|e| Failed::new("sizing a receive buffer")(e.into()))?;
        }
        Ok(Self { socket, sequence: 0, buffer: vec![0; READ_SIZE] })
    }

    /// Makes room for messages of so many bytes on their way.
    pub(crate) fn size_send_buffer(&self, bytes: usize) -> Result<(), Failed> {
        if setsockopt(&self.socket, sockopt::SndBufForce, &bytes).is_err() {
            set_socket_send_buffer_size(&self.socket, bytes)
                .map_err(|e| Failed::new("sizing a send buffer")(e.into()))?;
        }
        Ok(())
    }

    /// Hears the notices of a group from now on.
    pub(crate) fn join(&mut self, group: u32) -> Result<(), Failed> {
        self.socket.add_membership(group).map_err(Failed::new("joining a group of notices"))
    }

    /// How long `read` waits from now on; at least a millisecond, 0 would mean for ever.
    pub(crate) fn set_wait(&self, wait: Duration) -> Result<(), Failed> {
        let wait = wait.max(Duration::from_millis(1));
        set_socket_timeout(&self.socket, Timeout::Recv, Some(wait))
            .map_err(|e| Failed::new("setting a time limit")(e.into()))
    }

    /// The first of `count` sequence numbers that nobody used.
    pub(crate) const fn next_sequence(&mut self, count: u32) -> u32 {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(count);
        first
    }

    /// Sends a datagram, all of it.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<(), Failed> {
        let failed = Failed::new("sending to the kernel");
        let sent = loop {
            match self.socket.send(bytes, 0) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(failed(e)),
                Ok(sent) => break sent,
            }
        };
        if sent == bytes.len() { Ok(()) } else { Err(failed(io::ErrorKind::WriteZero.into())) }
    }

    /// The next datagram; `None` when none comes in time. `flags` as of `recv(2)`.
    pub(crate) fn read(&mut self, flags: i32) -> Result<Option<&[u8]>, Failed> {
        let length = loop {
            match self.socket.recv(&mut &mut self.buffer[..], flags) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) => return Err(Failed::new("reading from the kernel")(e)),
                Ok(length) => break length,
            }
        };
        Ok(Some(&self.buffer[..length.min(READ_SIZE)]))
    }
}
