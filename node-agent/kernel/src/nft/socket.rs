//! One NETLINK_NETFILTER socket with its buffers and limits.

use std::{io, time::Duration};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::sys::socket::{setsockopt, sockopt};
use rustix::net::sockopt::{
    Timeout, set_socket_recv_buffer_size, set_socket_send_buffer_size, set_socket_timeout,
};
use weft_nft::{Message, limits, messages};

use super::NftError;

/// How long one answer may take. The kernel answers while it is asked; more than this means that it hangs.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// The kernel sends dumps in parts of at most 32 KiB (`net/netlink/af_netlink.c`, `netlink_dump`).
const READ_SIZE: usize = 64 << 10;
/// Bytes of answers that may wait.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Bytes of one transaction on its way: the kernel counts its own overhead too, so twice the largest.
const SEND_BUFFER: usize = 2 * limits::TRANSACTION_BYTES;

/// The socket.
#[derive(Debug)]
pub(super) struct RawSocket {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl RawSocket {
    pub(super) fn open() -> Result<Self, NftError> {
        let failed = |what| move |source: io::Error| NftError::Socket { what, source };
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(failed("opening an nf_tables socket"))?;
        socket.bind_auto().map_err(failed("binding an nf_tables socket"))?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed("connecting an nf_tables socket"))?;
        socket.set_ext_ack(true).map_err(failed("asking for extended acknowledgements"))?;
        socket.set_cap_ack(true).map_err(failed("asking for short acknowledgements"))?;
        let limit = |kind| set_socket_timeout(&socket, kind, Some(ANSWER_LIMIT));
        limit(Timeout::Recv)
            .and_then(|()| limit(Timeout::Send))
            .map_err(|e| failed("setting a time limit")(e.into()))?;
        set_buffers(&socket).map_err(failed("sizing buffers"))?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; READ_SIZE] })
    }

    /// Hears notices of a group from now on.
    pub(super) fn join(&self, group: u32) -> Result<(), NftError> {
        let failed = |source| NftError::Socket { what: "joining the nf_tables notices", source };
        self.socket.add_membership(group).map_err(failed)
    }

    /// How long `receive` waits from now on; at least a millisecond, 0 would mean for ever.
    pub(super) fn set_wait(&self, wait: Duration) -> Result<(), NftError> {
        let wait = wait.max(Duration::from_millis(1));
        set_socket_timeout(&self.socket, Timeout::Recv, Some(wait))
            .map_err(|e| NftError::Socket { what: "setting a time limit", source: e.into() })
    }

    /// The first of `count` sequence numbers that nobody used.
    pub(super) fn next_sequence(&mut self, count: u32) -> u32 {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(count);
        first
    }

    pub(super) fn send(&self, bytes: &[u8]) -> Result<(), NftError> {
        let failed = |source| NftError::Socket { what: "sending to nf_tables", source };
        let sent = loop {
            match self.socket.send(bytes, 0) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                sent => break sent.map_err(failed)?,
            }
        };
        if sent == bytes.len() { Ok(()) } else { Err(failed(io::ErrorKind::WriteZero.into())) }
    }

    /// The messages of the next datagram; `Deadline` when none comes in time.
    pub(super) fn receive(&mut self) -> Result<Vec<Message>, NftError> {
        match self.read(0)? {
            Some(found) => Ok(found),
            None => Err(NftError::Deadline { seconds: ANSWER_LIMIT.as_secs() }),
        }
    }

    /// All messages that wait already.
    pub(super) fn drain(&mut self) -> Result<Vec<Message>, NftError> {
        let mut all = Vec::new();
        while let Some(found) = self.read(libc::MSG_DONTWAIT)? {
            all.extend(found);
        }
        Ok(all)
    }

    /// One datagram; `None` when there is none within the limit.
    pub(super) fn read(&mut self, flags: i32) -> Result<Option<Vec<Message>>, NftError> {
        loop {
            match self.socket.recv(&mut &mut self.buffer[..], flags) {
                Ok(len) => {
                    let found: Result<Vec<_>, _> = messages(&self.buffer[..len.min(READ_SIZE)]).collect();
                    return Ok(Some(found?));
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(source) => return Err(NftError::Socket { what: "reading from nf_tables", source }),
            }
        }
    }
}

/// Beyond the system's limit where we may, else as much as it gives.
fn set_buffers(socket: &Socket) -> io::Result<()> {
    if setsockopt(socket, sockopt::SndBufForce, &SEND_BUFFER).is_err() {
        set_socket_send_buffer_size(socket, SEND_BUFFER)?;
    }
    if setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        set_socket_recv_buffer_size(socket, RECEIVE_BUFFER)?;
    }
    Ok(())
}
