//! A blocking NETLINK_ROUTE socket: many requests in one system call, their answers read once.
//!
//! In: [`Request`]s. Out: one answer each, with the kernel's extended acknowledgement in refusals (RFC 3549,
//! `Documentation/userspace-api/netlink/intro.rst`). A socket belongs to the namespace it was opened in and works from any
//! thread. Not here: what the requests mean (request/), which to send (attach.rs and the executors).

use std::{collections::BTreeMap, time::Instant};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE,
    NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;

use crate::{
    error::{Area, Error, Refusal},
    raw::{ANSWER_LIMIT, RawSocket},
    request::Request,
};

/// Requests in one system call: their acknowledgements fit into the smallest receive buffer.
const CHUNK: usize = 64;
/// How often a dump that was overtaken by changes is repeated.
const DUMP_TRIES: u32 = 30;
const HEADER: usize = 16;

/// Answer to one request: the object that was asked for, if any.
pub(crate) type Answer = Result<Option<RouteNetlinkMessage>, Refusal>;

/// A socket to the routing subsystem of one network namespace.
#[derive(Debug)]
pub struct Netlink {
    raw: RawSocket,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { raw: RawSocket::open(NETLINK_ROUTE).map_err(Error::of(Area::Link))? })
    }

    /// Sends all requests and returns an answer for each; a refused one does not stop the others.
    pub(crate) fn batch(&mut self, requests: &[Request]) -> Result<Vec<Answer>, Error> {
        let mut answers = Vec::with_capacity(requests.len());
        for chunk in requests.chunks(CHUNK) {
            answers.extend(self.chunk(chunk)?);
        }
        Ok(answers)
    }

    /// Sends all requests; the first refusal is the error, though later ones were tried too.
    pub(crate) fn all(&mut self, requests: &[Request]) -> Result<(), Error> {
        for answer in self.batch(requests)? {
            answer?;
        }
        Ok(())
    }

    /// Sends one request and returns the object it asked for.
    pub(crate) fn one(&mut self, request: Request) -> Result<Option<RouteNetlinkMessage>, Error> {
        match self.chunk(std::slice::from_ref(&request))?.pop() {
            Some(answer) => Ok(answer?),
            None => Ok(None),
        }
    }

    /// Everything that matches, as one consistent picture.
    pub(crate) fn dump(&mut self, request: &Request) -> Result<Vec<RouteNetlinkMessage>, Error> {
        for _ in 0..DUMP_TRIES {
            if let Some(found) = self.dump_once(request)? {
                return Ok(found);
            }
        }
        Err(Error::Unsteady { what: request.what.clone(), tries: DUMP_TRIES })
    }

    /// Hears of a group of notifications from now on (`linux/rtnetlink.h`, RTNLGRP_*). Such a socket asks nothing itself.
    pub(crate) fn join(&mut self, group: u32) -> Result<(), Error> {
        self.raw.join(group).map_err(Error::of(Area::Link))
    }

    /// Reads notifications until `wanted` has seen all it waits for. Fails with `Deadline` after the limit of one answer.
    pub(crate) fn notices(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(RouteNetlinkMessage) -> bool,
    ) -> Result<(), Error> {
        let end = Instant::now() + ANSWER_LIMIT;
        while Instant::now() < end {
            let Some(datagram) = self.raw.read(0).map_err(Error::of(Area::Link))? else { break };
            if Messages::new(datagram).any(|message| message.decode().is_some_and(&mut wanted)) {
                return Ok(());
            }
        }
        Err(Error::Deadline { what: what.to_owned(), seconds: ANSWER_LIMIT.as_secs() })
    }

    fn chunk(&mut self, requests: &[Request]) -> Result<Vec<Answer>, Error> {
        let mut bytes = Vec::new();
        let first = self.raw.next_sequence(count(requests));
        for (request, place) in requests.iter().zip(0..) {
            let sequence = first.wrapping_add(place);
            append(&mut bytes, request, NLM_F_REQUEST | NLM_F_ACK | request.flags, sequence);
        }
        self.send(&bytes, requests)?;
        let mut objects: BTreeMap<usize, RouteNetlinkMessage> = BTreeMap::new();
        let mut answers: Vec<Option<Answer>> = requests.iter().map(|_| None).collect();
        let mut open = requests.len();
        while open > 0 {
            for message in self.receive(&requests[0])? {
                let place = message.sequence.wrapping_sub(first) as usize;
                let Some(request) = requests.get(place) else { continue };
                match message.kind {
                    NLMSG_ERROR => {
                        let answer = message.acknowledgement(request).map(|()| objects.remove(&place));
                        open -= usize::from(answers[place].is_none());
                        answers[place] = Some(answer);
                    }
                    NLMSG_NOOP | NLMSG_OVERRUN | NLMSG_DONE => {}
                    _ => {
                        if let Some(object) = message.decode() {
                            objects.insert(place, object);
                        }
                    }
                }
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// `None`: what was read changed meanwhile.
    fn dump_once(&mut self, request: &Request) -> Result<Option<Vec<RouteNetlinkMessage>>, Error> {
        let sequence = self.raw.next_sequence(1);
        let mut bytes = Vec::new();
        append(&mut bytes, request, NLM_F_REQUEST | NLM_F_DUMP, sequence);
        self.send(&bytes, std::slice::from_ref(request))?;
        let mut found = Vec::new();
        let mut steady = true;
        loop {
            for message in self.receive(request)?.filter(|m| m.sequence == sequence) {
                steady &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    NLMSG_ERROR => message.acknowledgement(request)?,
                    NLMSG_DONE => {
                        message.end_of_dump(request)?;
                        return Ok(steady.then_some(found));
                    }
                    NLMSG_NOOP | NLMSG_OVERRUN => {}
                    _ => found.extend(message.decode()),
                }
            }
        }
    }

    fn send(&self, bytes: &[u8], requests: &[Request]) -> Result<(), Error> {
        let area = requests.first().map_or(Area::Link, Request::area);
        self.raw.send(bytes).map_err(Error::of(area))
    }

    fn receive(&mut self, request: &Request) -> Result<Messages<'_>, Error> {
        match self.raw.read(0).map_err(Error::of(request.area()))? {
            Some(datagram) => Ok(Messages::new(datagram)),
            None => Err(Error::Deadline { what: request.what.clone(), seconds: ANSWER_LIMIT.as_secs() }),
        }
    }
}

/// A chunk is far smaller than the numbers that there are.
fn count(requests: &[Request]) -> u32 {
    u32::try_from(requests.len()).unwrap_or(u32::MAX)
}

fn append(bytes: &mut Vec<u8>, request: &Request, flags: u16, sequence: u32) {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request.message.clone()));
    message.finalize();
    let start = bytes.len();
    bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
    message.serialize(&mut bytes[start..]);
}

/// One message within a datagram, not decoded yet.
pub(crate) struct RawMessage<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    whole: &'a [u8],
}

impl<'a> RawMessage<'a> {
    /// What follows the header.
    pub(crate) fn payload(&self) -> &'a [u8] {
        self.whole.get(HEADER..).unwrap_or_default()
    }

    /// The object; `None` when the decoder doesn't know the form. Such objects aren't ours, which are plain.
    pub(crate) fn decode(&self) -> Option<RouteNetlinkMessage> {
        match NetlinkMessage::<RouteNetlinkMessage>::deserialize(self.whole) {
            Ok(NetlinkMessage { payload: NetlinkPayload::InnerMessage(object), .. }) => Some(object),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(kind = self.kind, %error, "netlink message not understood");
                None
            }
        }
    }

    /// `struct nlmsgerr`: error number, header of the request (or all of it), attributes.
    fn acknowledgement(&self, request: &Request) -> Result<(), Refusal> {
        let payload = self.payload();
        let number = number_at(payload, 0).unwrap_or_default();
        if number == 0 {
            return Ok(());
        }
        let echoed = number_at(payload, 4).and_then(|n| usize::try_from(n).ok()).unwrap_or(HEADER);
        let capped = self.flags & NLM_F_CAPPED != 0;
        let skip = 4 + if capped { HEADER } else { echoed.next_multiple_of(4) };
        let attributes =
            if self.flags & NLM_F_ACK_TLVS != 0 { payload.get(skip..).unwrap_or_default() } else { &[] };
        Err(refusal(request, number, attributes))
    }

    /// The payload of NLMSG_DONE: a negative error number if the dump ended early, then attributes.
    fn end_of_dump(&self, request: &Request) -> Result<(), Refusal> {
        let payload = self.payload();
        match number_at(payload, 0) {
            Some(number) if number < 0 => Err(refusal(request, number, payload.get(4..).unwrap_or_default())),
            Some(_) | None => Ok(()),
        }
    }
}

fn refusal(request: &Request, number: i32, attributes: &[u8]) -> Refusal {
    Refusal {
        what: request.what.clone(),
        area: request.area(),
        errno: Errno::from_raw(number.saturating_abs()),
        message: extended_text(attributes),
    }
}

/// NLMSGERR_ATTR_MSG of a list of attributes.
fn extended_text(attributes: &[u8]) -> Option<String> {
    const MESSAGE: u16 = 1;
    let (_, text) = Attributes::new(attributes).find(|(kind, _)| *kind == MESSAGE)?;
    Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned())
}

/// The attributes of a message, as (kind, value); ends at the first that doesn't fit.
pub(crate) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let &[l0, l1, k0, k1] = self.0.get(..4)? else { return None };
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]), value))
    }
}

fn number_at(bytes: &[u8], offset: usize) -> Option<i32> {
    bytes.get(offset..offset + 4)?.try_into().ok().map(i32::from_ne_bytes)
}

/// The messages of one datagram; ends at the first that doesn't fit.
pub(crate) struct Messages<'a>(&'a [u8]);

impl<'a> Messages<'a> {
    pub(crate) const fn new(datagram: &'a [u8]) -> Self {
        Self(datagram)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = RawMessage<'a>;

    fn next(&mut self) -> Option<RawMessage<'a>> {
        let header = self.0.get(..HEADER)?;
        let length = usize::try_from(number_at(header, 0)?).ok()?;
        if length < HEADER {
            return None;
        }
        let whole = self.0.get(..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(RawMessage {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            flags: u16::from_ne_bytes([header[6], header[7]]),
            sequence: u32::from_ne_bytes([header[8], header[9], header[10], header[11]]),
            whole,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + payload.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(7_u32.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn a_refusal_carries_the_kernels_words() {
        let mut payload = (-22_i32).to_ne_bytes().to_vec();
        payload.extend(message(16, 0, &[]));
        payload.extend([12, 0, 1, 0]);
        payload.extend(b"no way\0\0");
        let bytes = message(NLMSG_ERROR, NLM_F_CAPPED | NLM_F_ACK_TLVS, &payload);
        let request = Request::links();
        let found: Vec<_> = Messages::new(&bytes).collect();
        let refusal = found[0].acknowledgement(&request).unwrap_err();
        assert_eq!((refusal.errno, refusal.message.as_deref()), (Errno::EINVAL, Some("no way")));
        assert_eq!(refusal.to_string(), "list links: Invalid argument (no way)");
    }

    #[test]
    fn cut_and_lying_messages_end_the_datagram() {
        let good = message(NLMSG_ERROR, 0, &[0; 20]);
        for (bytes, count) in [
            (good.clone(), 1),
            ([good.clone(), good.clone()].concat(), 2),
            ([good.clone(), good[..10].to_vec()].concat(), 1),
            ([good.clone(), vec![255; 16]].concat(), 1),
            ([good.clone(), vec![0; 16]].concat(), 1),
            (Vec::new(), 0),
        ] {
            assert_eq!(Messages::new(&bytes).count(), count, "{bytes:?}");
        }
        assert_eq!(extended_text(&[200, 0, 1, 0, 65]), None);
        assert_eq!(extended_text(&[0, 0, 0, 0, 65]), None, "an attribute of length 0 must not loop");
    }
}
