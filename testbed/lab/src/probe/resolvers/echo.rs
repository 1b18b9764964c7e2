//! The limit row, and whom resolvers ask: a server with the same system calls as ours and nothing else.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use anyhow::{Context, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use weft_kernel::Datagrams;

use super::data::FOREIGN;
use crate::Result;

/// As our server's.
const BATCH: usize = 64;
const QUERY: usize = 1500;
const ANSWER: usize = 1232;
const RECEIVE_BUFFER: usize = 8 << 20;

/// What goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Echo {
    /// The question.
    Question,
    /// An answer: every name has the same address.
    Answer,
}

/// Serves until it is killed.
pub(in super::super) fn run(at: SocketAddr, what: Echo) -> Result<serde_json::Value> {
    let socket = UdpSocket::bind(at).with_context(|| format!("bind {at}"))?;
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
    }
    let mut batch = Datagrams::new(BATCH, QUERY, ANSWER);
    loop {
        match batch.receive(&socket) {
            Ok(count) => {
                for place in 0..count {
                    let Some(datagram) = batch.get(place) else { continue };
                    let length = match what {
                        Echo::Question => copy(datagram.bytes, datagram.room),
                        Echo::Answer => answer(datagram.bytes, datagram.room),
                    };
                    batch.answer(place, length);
                }
                batch.send(&socket, count);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
                poll(&mut ready, PollTimeout::NONE)?;
            }
            Err(error) => bail!("{at}: {error}"),
        }
    }
}

fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let length = from.len().min(to.len());
    to[..length].copy_from_slice(&from[..length]);
    length
}

/// One address for the question, whatever its name; OPT and all else behind the question is left out.
fn answer(query: &[u8], room: &mut [u8]) -> usize {
    let mut end = 12;
    while let Some(length @ 1..) = query.get(end).copied() {
        end += 1 + usize::from(length);
    }
    end += 5;
    if query.len() < end {
        return 0;
    }
    let length = copy(&query[..end], room);
    room[2] = 0x84 | (query[2] & 1);
    room[3] = 0x80;
    // One question, one answer; only for A.
    let is_a = query[end - 4..end - 2] == [0, 1];
    room[4..12].copy_from_slice(&[0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
    if !is_a {
        return length;
    }
    let record = [&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4][..], &FOREIGN.octets()].concat();
    length + copy(&record, &mut room[length..])
}
