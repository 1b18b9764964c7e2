//! Echo requests at a fixed rate with every answer accounted for: lost, doubled, late.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};

use super::talk::micros;
use super::{Event, MARKER, Stop};
use crate::Result;

/// The second request waits this long for the answer to the first. Until a flow's first packet has passed, connection tracking
/// drops further ICMP packets of it that a slow machine receives in the same batch (insert_failed in /proc/net/stat/nf_conntrack).
const FIRST: Duration = Duration::from_secs(1);

/// How to ping.
pub(super) struct Plan {
    pub(super) count: Option<u32>,
    pub(super) rate: u32,
    pub(super) size: usize,
    pub(super) within: Duration,
}

/// What became of one request.
struct Request {
    at: Instant,
    answered: Option<Duration>,
}

pub(super) fn run(address: IpAddr, plan: &Plan, stop: &Stop) -> Result<Value> {
    let (domain, protocol) = match address {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let mut socket = Socket::new(domain, Type::RAW, Some(protocol)).context("open a raw ICMP socket")?;
    // Connected: only this address's answers are heard, and ICMP errors come back from send.
    socket.connect(&SocketAddr::new(address, 0).into())?;
    socket.set_nonblocking(true)?;
    let id = u16::try_from(std::process::id() & 0xffff).unwrap_or(0);
    let step = Duration::from_secs(1) / plan.rate.max(1);
    let (mut requests, mut doubled, mut refused) = (Vec::<Request>::new(), 0u32, 0u32);
    let mut buffer = vec![0; 65_536];
    let mut next = Instant::now();
    let mut end: Option<Instant> = None;
    loop {
        let now = Instant::now();
        let all_sent = plan.count.is_some_and(|count| requests.len() >= count as usize);
        if end.is_none() && all_sent {
            end = Some(now + plan.within);
        }
        let all_back = requests.iter().rev().take(plan.rate as usize * 2).all(|r| r.answered.is_some());
        if end.is_some_and(|at| now >= at || all_back) {
            break;
        }
        if end.is_none() && now >= next {
            let sequence = u16::try_from(requests.len() & 0xffff).unwrap_or(0);
            refused += u32::from(socket.send(&echo_request(address, id, sequence, plan.size)).is_err());
            requests.push(Request { at: now, answered: None });
            next = if requests.len() == 1 { now + FIRST.max(step) } else { next + step };
        }
        match stop.or_readable(&socket, end.unwrap_or(next).saturating_duration_since(Instant::now()))? {
            Event::Readable => {
                let Ok(length) = socket.read(&mut buffer) else { continue };
                let Some(sequence) = answer(address, id, &buffer[..length]) else { continue };
                match latest(&mut requests, sequence) {
                    Some(request) if request.answered.is_none() => {
                        request.answered = Some(request.at.elapsed());
                        if let [first] = requests.as_slice() {
                            next = (first.at + step).max(Instant::now());
                        }
                    }
                    _ => doubled += 1,
                }
            }
            Event::Stop => end = Some(Instant::now() + plan.within),
            Event::Time => {}
        }
    }
    Ok(document(&requests, step, doubled, refused))
}

fn document(requests: &[Request], step: Duration, doubled: u32, refused: u32) -> Value {
    let sent = requests.len();
    let mut times: Vec<Duration> = requests.iter().filter_map(|r| r.answered).collect();
    times.sort();
    let (mut run, mut longest) = (0u32, 0u32);
    for request in requests {
        run = if request.answered.is_some() { 0 } else { run + 1 };
        longest = longest.max(run);
    }
    let at = |share: usize| {
        times.get((times.len() * share / 100).min(times.len().saturating_sub(1))).copied().map(micros)
    };
    json!({
        "ok": sent > 0 && times.len() == sent && doubled == 0,
        "sent": sent, "received": times.len(), "lost": sent - times.len(), "doubled": doubled, "refused": refused,
        "longest_gap_ms": u64::try_from((step * longest).as_millis()).unwrap_or(u64::MAX),
        "p50_us": at(50), "p99_us": at(99), "max_us": times.last().copied().map(micros),
    })
}

/// The newest request with this 16-bit sequence number.
fn latest(requests: &mut [Request], sequence: u16) -> Option<&mut Request> {
    let newest = requests.len().checked_sub(1)?;
    let behind = (newest & 0xffff).wrapping_sub(usize::from(sequence)) & 0xffff;
    requests.get_mut(newest.checked_sub(behind)?)
}

fn echo_request(address: IpAddr, id: u16, sequence: u16, size: usize) -> Vec<u8> {
    let kind = if address.is_ipv4() { 8 } else { 128 };
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend(id.to_be_bytes());
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(MARKER.iter().cycle().take(size));
    if address.is_ipv4() {
        let sum = checksum(&bytes);
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    bytes
}

/// Sequence number of an echo reply to us. Raw IPv4 sockets deliver the IP header too.
fn answer(address: IpAddr, id: u16, bytes: &[u8]) -> Option<u16> {
    let (kind, message) = match address {
        IpAddr::V4(_) => (0, bytes.get(usize::from(bytes.first()? & 0x0f) * 4..)?),
        IpAddr::V6(_) => (129, bytes),
    };
    let head: &[u8; 8] = message.first_chunk()?;
    let ours = head[0] == kind && u16::from_be_bytes([head[4], head[5]]) == id;
    ours.then(|| u16::from_be_bytes([head[6], head[7]]))
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_a_checksum_that_sums_to_zero() {
        for size in [0, 1, 56, 1400] {
            assert_eq!(checksum(&echo_request(IpAddr::from([127, 0, 0, 1]), 7, 9, size)), 0);
        }
    }

    #[test]
    fn a_sequence_number_means_the_newest_request_that_bears_it() {
        let mut requests: Vec<Request> =
            (0..65_540).map(|_| Request { at: Instant::now(), answered: None }).collect();
        latest(&mut requests, 3).unwrap().answered = Some(Duration::ZERO);
        assert!(requests[65_539].answered.is_some() && requests[3].answered.is_none());
        latest(&mut requests, 10).unwrap().answered = Some(Duration::ZERO);
        assert!(requests[10].answered.is_some());
        assert!(latest(&mut requests[..2], 5).is_none());
    }
}
