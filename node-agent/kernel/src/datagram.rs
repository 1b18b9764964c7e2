//! Datagrams in batches: many per system call, over buffers that are made once.
//!
//! In: a UDP socket. Out: what came, from whom, and room for an answer to each. Not here: what they say (weft-dns).
//! A socket that is bound to an address answers from it; no control messages are needed.
#![allow(unsafe_code, reason = "recvmmsg and sendmmsg have no safe wrapper over buffers that are kept")]

use std::{
    io, mem,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    ptr,
};

/// One batch of datagrams and their answers. It belongs to one thread.
#[derive(Debug)]
pub struct Datagrams {
    received: Vec<u8>,
    answers: Vec<u8>,
    sizes: Sizes,
    names: Vec<libc::sockaddr_storage>,
    heads: Vec<Head>,
    vectors: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
}

#[derive(Clone, Copy, Debug)]
struct Sizes {
    received: usize,
    answer: usize,
}

/// What is known of one datagram.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    name: libc::socklen_t,
    length: usize,
    cut: bool,
    answer: usize,
}

/// One datagram and the room for its answer.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub from: SocketAddr,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// It was longer than the room for it.
    pub cut: bool,
    /// Where its answer is written.
    pub room: &'a mut [u8],
}

/// What became of the answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Given to the kernel.
    pub sent: usize,
    /// Refused by it: no way to the sender, or a rule forbids it.
    pub refused: usize,
}

impl Datagrams {
    /// Room for `count` datagrams (at least 1) of at most `received` bytes, and for answers of at most `answer` bytes.
    pub fn new(count: usize, received: usize, answer: usize) -> Self {
        let count = count.max(1);
        // SAFETY: all three are plain C structures for which all zeroes is a valid value: no address, no buffer.
        // WHY: libc gives them no constructor.
        let (name, vector, message) = unsafe {
            (
                mem::zeroed::<libc::sockaddr_storage>(),
                mem::zeroed::<libc::iovec>(),
                mem::zeroed::<libc::mmsghdr>(),
            )
        };
        Self {
            received: vec![0; count * received],
            answers: vec![0; count * answer],
            sizes: Sizes { received, answer },
            names: vec![name; count],
            heads: vec![Head::default(); count],
            vectors: vec![vector; count],
            messages: vec![message; count],
        }
    }

    /// Takes all datagrams that are there, up to the size of the batch; how many.
    ///
    /// Never waits: fails with `WouldBlock` when there is none.
    pub fn receive(&mut self, socket: impl AsFd) -> io::Result<usize> {
        for (place, buffer) in self.received.chunks_exact_mut(self.sizes.received).enumerate() {
            let vector = &mut self.vectors[place];
            *vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
            let header = &mut self.messages[place].msg_hdr;
            header.msg_name = ptr::from_mut(&mut self.names[place]).cast();
            header.msg_namelen = NAME;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_flags = 0;
        }
        let room = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        let count = retried(|| {
            // SAFETY: each of the `room` messages points at a name and at one vector, which points at a buffer of its
            // own; all were written just now, belong to `self`, and are touched by nobody else during the call.
            // WHY: rustix has no recvmmsg, and nix's takes new slices for every call.
            unsafe {
                libc::recvmmsg(
                    raw(socket.as_fd()),
                    self.messages.as_mut_ptr(),
                    room,
                    libc::MSG_DONTWAIT as _,
                    ptr::null_mut(),
                )
            }
        })?;
        for (head, message) in self.heads.iter_mut().zip(&self.messages[..count]) {
            *head = Head {
                name: message.msg_hdr.msg_namelen,
                length: usize::try_from(message.msg_len).unwrap_or(0).min(self.sizes.received),
                cut: message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
                answer: 0,
            };
        }
        Ok(count)
    }

    /// One of those that came; `None` when its sender has no address of IP.
    pub fn get(&mut self, place: usize) -> Option<Datagram<'_>> {
        let head = self.heads.get(place)?;
        let from = address(&self.names[place], head.name)?;
        let bytes = &self.received[place * self.sizes.received..][..head.length];
        let room = &mut self.answers[place * self.sizes.answer..][..self.sizes.answer];
        Some(Datagram { from, bytes, cut: head.cut, room })
    }

    /// The first `length` bytes of its room are the answer of one; 0: it gets none.
    pub fn answer(&mut self, place: usize, length: usize) {
        if let Some(head) = self.heads.get_mut(place) {
            head.answer = length.min(self.sizes.answer);
        }
    }

    /// Sends the answers of the first `count`, and forgets them. An answer that is refused doesn't keep others back.
    pub fn send(&mut self, socket: impl AsFd, count: usize) -> Sent {
        let mut filled = 0;
        for place in 0..count.min(self.heads.len()) {
            let head = &mut self.heads[place];
            let length = mem::take(&mut head.answer);
            if length == 0 {
                continue;
            }
            let answer = &mut self.answers[place * self.sizes.answer..][..length];
            let vector = &mut self.vectors[filled];
            *vector = libc::iovec { iov_base: answer.as_mut_ptr().cast(), iov_len: length };
            let header = &mut self.messages[filled].msg_hdr;
            header.msg_name = ptr::from_mut(&mut self.names[place]).cast();
            header.msg_namelen = head.name;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_flags = 0;
            filled += 1;
        }
        let mut outcome = Sent::default();
        let mut next = 0;
        while next < filled {
            let rest = &mut self.messages[next..filled];
            let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
            let sent = retried(|| {
                // SAFETY: each of the `length` messages points at a name and at one vector with the bytes of an answer;
                // all were written above, belong to `self`, and are touched by nobody else during the call.
                // WHY: as for receiving.
                unsafe { libc::sendmmsg(raw(socket.as_fd()), rest.as_mut_ptr(), length, 0) }
            });
            match sent {
                Ok(sent) if sent > 0 => {
                    outcome.sent += sent;
                    next += sent;
                }
                // The first of the rest is refused.
                Ok(_) | Err(_) => {
                    outcome.refused += 1;
                    next += 1;
                }
            }
        }
        outcome
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the largest name of a socket has 128 bytes")]
const NAME: libc::socklen_t = size_of::<libc::sockaddr_storage>() as libc::socklen_t;

fn raw(socket: BorrowedFd<'_>) -> i32 {
    socket.as_raw_fd()
}

/// A call that a signal interrupted is made again.
fn retried(mut call: impl FnMut() -> i32) -> io::Result<usize> {
    loop {
        if let Ok(count) = usize::try_from(call()) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn address(name: &libc::sockaddr_storage, length: libc::socklen_t) -> Option<SocketAddr> {
    let length = usize::try_from(length).ok()?;
    match i32::from(name.ss_family) {
        libc::AF_INET if length >= size_of::<libc::sockaddr_in>() => {
            // SAFETY: the family says that the storage, which is large and aligned enough for any, holds an IPv4 name,
            // and the kernel wrote that many bytes.
            // WHY: libc has no safe way from the storage to a name.
            let v4 = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 if length >= size_of::<libc::sockaddr_in6>() => {
            // SAFETY: as above, for IPv6.
            // WHY: as above.
            let v6 = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, time::Duration};

    use super::*;

    fn pair(address: &str) -> (UdpSocket, UdpSocket) {
        let server = UdpSocket::bind(address).unwrap();
        let client = UdpSocket::bind(address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        (server, client)
    }

    /// Each datagram comes with its sender, and each answer goes to whom it is for.
    fn check(address: &str) {
        let (server, client) = pair(address);
        let mut batch = Datagrams::new(4, 16, 8);
        for n in 0..6_u8 {
            client.send(&[n; 5]).unwrap();
        }
        let mut seen = Vec::new();
        for expected in [4, 2] {
            let count = batch.receive(&server).unwrap();
            assert_eq!(count, expected, "all that are there, up to the size of the batch");
            for place in 0..count {
                let datagram = batch.get(place).unwrap();
                assert_eq!(datagram.from, client.local_addr().unwrap());
                assert_eq!((datagram.bytes.len(), datagram.cut), (5, false));
                let n = datagram.bytes[0];
                seen.push(n);
                datagram.room[..2].copy_from_slice(&[n, 7]);
                // Every other one gets an answer.
                batch.answer(place, if n.is_multiple_of(2) { 2 } else { 0 });
            }
            let outcome = batch.send(&server, count);
            assert_eq!(outcome, Sent { sent: expected / 2, refused: 0 });
        }
        assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
        for n in [0, 2, 4] {
            let mut answer = [0; 8];
            assert_eq!(client.recv(&mut answer).unwrap(), 2);
            assert_eq!(answer[..2], [n, 7]);
        }
        let none = batch.receive(&server).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock, "nothing is waited for");
    }

    #[test]
    fn datagrams_come_with_their_senders_and_answers_go_back() {
        check("127.0.0.1:0");
        check("[::1]:0");
    }

    #[test]
    fn a_datagram_that_is_too_long_is_cut_and_says_so() {
        let (server, client) = pair("127.0.0.1:0");
        let mut batch = Datagrams::new(2, 16, 8);
        client.send(&[1; 17]).unwrap();
        client.send(&[2; 16]).unwrap();
        assert_eq!(batch.receive(&server).unwrap(), 2);
        let mut cut = Vec::new();
        for place in 0..2 {
            let datagram = batch.get(place).unwrap();
            cut.push((datagram.bytes.len(), datagram.cut));
        }
        assert_eq!(cut, [(16, true), (16, false)]);
        assert!(batch.get(2).is_none());
    }

    #[test]
    fn an_answer_that_is_refused_keeps_no_other_back() {
        let (server, client) = pair("127.0.0.1:0");
        let mut batch = Datagrams::new(3, 16, 70_000);
        for _ in 0..3 {
            client.send(b"x").unwrap();
        }
        assert_eq!(batch.receive(&server).unwrap(), 3);
        batch.answer(0, 2);
        // More than a datagram can carry.
        batch.answer(1, 69_000);
        batch.answer(2, 2);
        assert_eq!(batch.send(&server, 3), Sent { sent: 2, refused: 1 });
    }
}
