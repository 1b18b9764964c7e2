//! A server of foreign names for labs, over UDP and TCP: every name below `example.test` is there, and what it is called says
//! what it answers.
//!
//! `big` doesn't fit into a datagram, `nx…` doesn't exist, `alias…` is another name of `target.example.test`, `silent…` gets no
//! answer, `fail…` gets SERVFAIL; anything else has an address of each family, and a text that counts the questions so far.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result as Anyhow};
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::Result;

/// What every foreign name is at.
pub(crate) const ADDRESS_4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
/// The same in IPv6.
pub(crate) const ADDRESS_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
/// The domain that is served.
const DOMAIN: &str = "example.test.";
/// Seconds for which answers count.
const TTL: u32 = 30;

/// Questions so far.
static ASKED: AtomicU64 = AtomicU64::new(0);

/// Begins to serve a port of every address.
pub(super) fn serve(port: u16) -> Result {
    let listener = TcpListener::bind(("::", port)).or_else(|_| TcpListener::bind(("0.0.0.0", port)));
    let listener = listener.with_context(|| format!("listen on tcp port {port}"))?;
    let socket = UdpSocket::bind(("::", port)).or_else(|_| UdpSocket::bind(("0.0.0.0", port)));
    let socket = socket.with_context(|| format!("listen on udp port {port}"))?;
    std::thread::spawn(move || {
        let mut buffer = vec![0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if let Ok(Some(answer)) = answer(&buffer[..length], true) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || talk(stream));
        }
    });
    Ok(())
}

fn talk(mut stream: TcpStream) -> Result {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut query)?;
        if let Some(answer) = answer(&query, false)? {
            stream.write_all(&u16::try_from(answer.len())?.to_be_bytes())?;
            stream.write_all(&answer)?;
        }
    }
}

/// The answer to a query, unless it is to get none.
pub(super) fn answer(bytes: &[u8], datagram: bool) -> Anyhow<Option<Vec<u8>>> {
    let query = Message::from_vec(bytes)?;
    let asked = query.queries.first().context("no question")?.clone();
    let number = ASKED.fetch_add(1, Ordering::Relaxed) + 1;
    let mut reply = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.add_query(asked.clone());
    let text = asked.name().to_lowercase().to_string();
    let first = text.split('.').next().unwrap_or_default();
    let domain: Name = DOMAIN.parse()?;
    let put = |reply: &mut Message, name: &Name, data: RData| {
        reply.add_answer(Record::from_rdata(name.clone(), TTL, data));
    };
    let deny = |reply: &mut Message| {
        let soa = SOA::new(domain.clone(), domain.clone(), 1, 3600, 600, 86_400, TTL);
        reply.add_authority(Record::from_rdata(domain.clone(), TTL, RData::SOA(soa)));
    };
    if !text.ends_with(DOMAIN) || first.starts_with("nx") {
        reply.metadata.response_code = ResponseCode::NXDomain;
        deny(&mut reply);
    } else if first.starts_with("silent") {
        return Ok(None);
    } else if first.starts_with("fail") {
        reply.metadata.response_code = ResponseCode::ServFail;
    } else {
        let mut name = asked.name().clone();
        if first.starts_with("alias") {
            let target: Name = format!("target.{DOMAIN}").parse()?;
            put(&mut reply, &name, RData::CNAME(CNAME(target.clone())));
            name = target;
        }
        let kind = asked.query_type();
        if kind == RecordType::A {
            put(&mut reply, &name, RData::A(A(ADDRESS_4)));
        } else if kind == RecordType::AAAA {
            put(&mut reply, &name, RData::AAAA(AAAA(ADDRESS_6)));
        } else if kind == RecordType::TXT && first == "big" {
            let texts = (0..30).map(|part| format!("{part:02}{}", "x".repeat(100)));
            texts.for_each(|text| put(&mut reply, &name, RData::TXT(TXT::new(vec![text]))));
        } else if kind == RecordType::TXT {
            put(&mut reply, &name, RData::TXT(TXT::new(vec![number.to_string()])));
        } else {
            deny(&mut reply);
        }
    }
    let room = query.edns.as_ref().map_or(512, |edns| usize::from(edns.max_payload().max(512)));
    let mut bytes = reply.to_vec()?;
    if datagram && bytes.len() > room {
        reply.answers.clear();
        reply.metadata.truncation = true;
        bytes = reply.to_vec()?;
    }
    Ok(Some(bytes))
}
