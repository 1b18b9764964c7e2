//! The two nf_tables requests of the lab: rules that lose frames at a port of the switch, and a clumsy admin's flush.
//!
//! Hand-made, so that the lab doesn't test the product's encoder with itself. Message layout: `linux/netfilter/nf_tables.h`.

use std::net::IpAddr;
use std::os::fd::AsRawFd;

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, setsockopt,
    socket, sockopt::ReceiveTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::Result;

/// Frames at a port of the switch that get lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Interface in the switch's namespace.
    pub port: String,
    /// Towards the machine behind the port, or away from it.
    pub direction: Direction,
    /// Only frames from this sender.
    pub from: Option<Sender>,
    /// Share in percent, 1 to 100.
    pub percent: u8,
}

/// Direction at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the machine into the switch.
    FromMachine = 0,
    /// Out of the switch to the machine.
    ToMachine = 1,
}

/// How a sender is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// By MAC, on a shared link.
    Mac([u8; 6]),
    /// By IP address, behind a router.
    Address(IpAddr),
}

/// Replaces every loss in the calling thread's network namespace by `losses`.
pub fn set_losses(losses: &[Loss]) -> Result {
    let mut batch = Batch::default();
    batch.table(NEW_TABLE, NETDEV);
    batch.table(DELETE_TABLE, NETDEV);
    if !losses.is_empty() {
        batch.table(NEW_TABLE, NETDEV);
        let mut chains: Vec<(&str, Direction)> =
            losses.iter().map(|l| (l.port.as_str(), l.direction)).collect();
        chains.sort_by_key(|(port, direction)| (*port, *direction as u32));
        chains.dedup();
        for (port, direction) in chains {
            batch.chain(port, direction);
        }
        for loss in losses {
            batch.loss(loss);
        }
    }
    batch.commit().context("set the losses of the switch")
}

/// Deletes every nf_tables table of the calling thread's network namespace, whoever made it.
pub fn flush_ruleset() -> Result {
    let mut batch = Batch::default();
    batch.message(DELETE_TABLE, 0, 0, &[]);
    batch.commit().context("flush the ruleset")
}

/// Whether nf_tables answers in the calling thread's network namespace.
pub fn usable() -> Result {
    set_losses(&[])
}

const NETDEV: u8 = 5;
const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DELETE_TABLE: u16 = (SUBSYSTEM << 8) | 2;
const NEW_CHAIN: u16 = (SUBSYSTEM << 8) | 3;
const NEW_RULE: u16 = (SUBSYSTEM << 8) | 6;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const REQUEST_ACK: u16 = 1 | 4;
const CREATE_APPEND: u16 = 0x400 | 0x800;
const NESTED: u16 = 0x8000;
const TABLE: &str = "lab";

#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    messages: u32,
}

impl Batch {
    fn table(&mut self, kind: u16, family: u8) {
        let flags = if kind == NEW_TABLE { CREATE_APPEND } else { 0 };
        self.message(kind, flags, family, &text(1, TABLE));
    }

    fn chain(&mut self, port: &str, direction: Direction) {
        let hook = [number(1, direction as u32), number(2, 0), text(3, port)].concat();
        let name = chain_name(port, direction);
        let body = [text(1, TABLE), text(3, &name), nest(4, &hook), text(7, "filter")].concat();
        self.message(NEW_CHAIN, CREATE_APPEND, NETDEV, &body);
    }

    fn loss(&mut self, loss: &Loss) {
        let mut expressions = Vec::new();
        match &loss.from {
            Some(Sender::Mac(mac)) => expressions.extend(equal_payload(0, 6, mac)),
            Some(Sender::Address(IpAddr::V4(ip))) => {
                expressions.extend(protocol_is(0x0800));
                expressions.extend(equal_payload(1, 12, &ip.octets()));
            }
            Some(Sender::Address(IpAddr::V6(ip))) => {
                expressions.extend(protocol_is(0x86dd));
                expressions.extend(equal_payload(1, 8, &ip.octets()));
            }
            None => {}
        }
        if loss.percent < 100 {
            expressions.extend(chance(loss.percent));
        }
        let verdict = nest(2, &nest(2, &number(1, 0)));
        expressions.extend(expression("immediate", &[number(1, 0), verdict].concat()));
        let chain = chain_name(&loss.port, loss.direction);
        let body = [text(1, TABLE), text(2, &chain), nest(4, &expressions)].concat();
        self.message(NEW_RULE, CREATE_APPEND, NETDEV, &body);
    }

    fn message(&mut self, kind: u16, flags: u16, family: u8, body: &[u8]) {
        if self.bytes.is_empty() {
            self.bytes.extend(frame(BATCH_BEGIN, 1, 0, SUBSYSTEM, &[]));
        }
        self.bytes.extend(frame(kind, REQUEST_ACK | flags, family, 0, body));
        self.messages += 1;
    }

    /// Sends the batch and reads an answer to each message.
    fn commit(mut self) -> Result {
        self.bytes.extend(frame(BATCH_END, 1, 0, SUBSYSTEM, &[]));
        let kind =
            (AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter);
        let socket = socket(kind.0, kind.1, kind.2, kind.3).context("open a netfilter socket")?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(5))?;
        sendto(socket.as_raw_fd(), &self.bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut buffer = vec![0; 32 * 1024];
        let mut answered = 0;
        while answered < self.messages {
            let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())
                .context("no answer from nf_tables")?;
            for code in answers(&buffer[..length]) {
                answered += 1;
                if code != 0 {
                    bail!("nf_tables refused: {}", Errno::from_raw(-code).desc());
                }
            }
        }
        Ok(())
    }
}

fn chain_name(port: &str, direction: Direction) -> String {
    match direction {
        Direction::FromMachine => format!("from-{port}"),
        Direction::ToMachine => format!("to-{port}"),
    }
}

fn protocol_is(ethertype: u16) -> Vec<u8> {
    let load = expression("meta", &[number(1, 1), number(2, 1)].concat());
    [load, equal(&ethertype.to_be_bytes())].concat()
}

fn equal_payload(base: u32, offset: u32, value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    let load = [number(1, 1), number(2, base), number(3, offset), number(4, length)].concat();
    [expression("payload", &load), equal(value)].concat()
}

fn equal(value: &[u8]) -> Vec<u8> {
    compare(0, value)
}

fn compare(operator: u32, value: &[u8]) -> Vec<u8> {
    expression("cmp", &[number(1, 1), number(2, operator), nest(3, &attribute(1, value))].concat())
}

/// True for `percent` of a hundred draws: `numgen random mod 100 < percent`, compared in network order.
fn chance(percent: u8) -> Vec<u8> {
    let draw = expression("numgen", &[number(1, 1), number(2, 100), number(3, 1), number(4, 0)].concat());
    let order = [number(1, 1), number(2, 1), number(3, 1), number(4, 4), number(5, 4)].concat();
    [draw, expression("byteorder", &order), compare(2, &u32::from(percent).to_be_bytes())].concat()
}

fn expression(name: &str, data: &[u8]) -> Vec<u8> {
    nest(1, &[text(1, name), nest(2, data)].concat())
}

fn text(kind: u16, value: &str) -> Vec<u8> {
    attribute(kind, &[value.as_bytes(), &[0]].concat())
}

fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

fn nest(kind: u16, body: &[u8]) -> Vec<u8> {
    attribute(kind | NESTED, body)
}

fn attribute(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn frame(kind: u16, flags: u16, family: u8, resource: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 20).unwrap_or(u32::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, 0]);
    bytes.extend(resource.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// Error codes (0: accepted) of the answers in one datagram.
fn answers(mut bytes: &[u8]) -> Vec<i32> {
    let mut codes = Vec::new();
    while let Some(header) = bytes.first_chunk::<20>() {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        if u16::from_ne_bytes([header[4], header[5]]) == 2 {
            codes.push(i32::from_ne_bytes([header[16], header[17], header[18], header[19]]));
        }
        match bytes.get(length.max(16).next_multiple_of(4)..) {
            Some(rest) => bytes = rest,
            None => break,
        }
    }
    codes
}
