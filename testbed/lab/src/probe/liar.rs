//! A lying server of foreign names for labs, over UDP and TCP: what it is asked for below `lie.test` says how it lies.
//!
//! Every lie bears [`POISON`]; the truth, where it comes at all, is that of `names.rs`. Names elsewhere are answered truly.
//!
//! | first label | what comes |
//! |---|---|
//! | `wrong-id`, `wrong-question`, `wrong-case` | a forged answer of that kind, then the truth |
//! | `many-ids` | hundreds of forged answers, then the truth |
//! | `extra` | the truth, and poison for others in all sections |
//! | `into` | an alias into the cluster, with an address for it |
//! | `chain…` | an alias of the next one, without end |
//! | `loop` | an alias of itself |
//! | `long` | an answer of hundreds of aliases |
//! | `count` | an answer that says that it holds more than it does |
//! | `pointer` | an answer whose name points at itself |
//! | `cut` | "too long", and over TCP an answer that is never whole |
//! | `noise` | the right number and nothing else that makes sense |

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result as Anyhow};
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::{A, CNAME, NS};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::names::{self, ADDRESS_4};
use crate::Result;

/// Where nobody is led.
pub(crate) const POISON: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
/// The domain of lies.
const DOMAIN: &str = "lie.test.";
/// Forged answers to `many-ids`.
const MANY: u16 = 300;
/// Aliases in the answer to `long`.
const LONG: u32 = 100;
/// Seconds for which lies would count.
const TTL: u32 = 86_400;
/// Whom poison is for: a foreign name and one of the cluster.
pub(crate) const VICTIMS: [&str; 2] = ["victim.example.test.", "names-web.default.svc.cluster.local."];

/// Begins to serve a port of every address.
pub(super) fn serve(port: u16) -> Result {
    let listener = TcpListener::bind(("::", port)).or_else(|_| TcpListener::bind(("0.0.0.0", port)));
    let listener = listener.with_context(|| format!("listen on tcp port {port}"))?;
    let socket = UdpSocket::bind(("::", port)).or_else(|_| UdpSocket::bind(("0.0.0.0", port)));
    let socket = socket.with_context(|| format!("listen on udp port {port}"))?;
    std::thread::spawn(move || {
        let mut buffer = vec![0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            // Who asks something that can't be read gets nothing.
            let _ = datagrams(&socket, from, &buffer[..length]);
        }
    });
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || talk(stream));
        }
    });
    Ok(())
}

fn datagrams(socket: &UdpSocket, to: SocketAddr, query: &[u8]) -> Anyhow<()> {
    for answer in answers(query, true)? {
        socket.send_to(&answer, to)?;
    }
    Ok(())
}

fn talk(mut stream: TcpStream) -> Anyhow<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut query)?;
        for answer in answers(&query, false)? {
            let length = if first_label(&query)? == "cut" { u16::MAX } else { u16::try_from(answer.len())? };
            stream.write_all(&length.to_be_bytes())?;
            stream.write_all(&answer)?;
        }
    }
}

fn first_label(query: &[u8]) -> Anyhow<String> {
    let query = Message::from_vec(query)?;
    let name = query.queries.first().context("no question")?.name().to_lowercase().to_string();
    let lies = name.ends_with(&format!(".{DOMAIN}"));
    Ok(if lies { name.split('.').next().unwrap_or_default().to_owned() } else { String::new() })
}

/// What comes to a query, one message after the other.
fn answers(bytes: &[u8], datagram: bool) -> Anyhow<Vec<Vec<u8>>> {
    let query = Message::from_vec(bytes)?;
    let asked = query.queries.first().context("no question")?.clone();
    let (label, id) = (first_label(bytes)?, query.metadata.id);
    if label.is_empty() {
        return Ok(names::answer(bytes, datagram)?.into_iter().collect());
    }
    let truth = || reply(id, &asked, &[(asked.name(), RData::A(A(ADDRESS_4)))]);
    let lie = |id: u16, asked: &Query| reply(id, asked, &[(asked.name(), RData::A(A(POISON)))]);
    let alias = |target: &str| -> Anyhow<RData> { Ok(RData::CNAME(CNAME(target.parse()?))) };
    let raw = |message: Anyhow<Message>| -> Anyhow<Vec<u8>> { Ok(message?.to_vec()?) };
    let mut all = Vec::new();
    match label.as_str() {
        "wrong-id" => all.extend([raw(lie(id ^ 1, &asked))?, raw(truth())?]),
        // Nobody forges these over TCP; a server that doesn't keep the case is believed there.
        "many-ids" | "wrong-case" if !datagram => all.push(raw(truth())?),
        "many-ids" => {
            let forged = (1..=MANY).map(|step| raw(lie(id.wrapping_add(step), &asked)));
            all = forged.collect::<Anyhow<_>>()?;
            all.push(raw(truth())?);
        }
        "wrong-question" => {
            let other = Query::query(VICTIMS[0].parse()?, asked.query_type());
            all.extend([raw(lie(id, &other))?, raw(truth())?]);
        }
        "wrong-case" => {
            let flipped: String = asked.name().to_string().chars().map(flip).collect();
            let other = Query::query(flipped.parse()?, asked.query_type());
            all.extend([raw(lie(id, &other))?, raw(truth())?]);
        }
        "extra" => {
            let mut message = truth()?;
            for victim in VICTIMS {
                let name: Name = victim.parse()?;
                let poison = |data| Record::from_rdata(name.clone(), TTL, data);
                message.add_answer(poison(RData::A(A(POISON))));
                message.add_authority(poison(RData::NS(NS(asked.name().clone()))));
                message.add_additional(poison(RData::A(A(POISON))));
            }
            all.push(message.to_vec()?);
        }
        "into" => {
            let target: Name = VICTIMS[1].parse()?;
            let records = [(asked.name(), alias(VICTIMS[1])?), (&target, RData::A(A(POISON)))];
            all.push(raw(reply(id, &asked, &records))?);
        }
        "loop" => all.push(raw(reply(id, &asked, &[(asked.name(), alias(&asked.name().to_string())?)]))?),
        "long" => {
            let mut message = reply(id, &asked, &[])?;
            let mut name = asked.name().clone();
            for step in 0..LONG {
                let next: Name = format!("step{step}.{DOMAIN}").parse()?;
                message.add_answer(Record::from_rdata(name, TTL, RData::CNAME(CNAME(next.clone()))));
                name = next;
            }
            message.add_answer(Record::from_rdata(name, TTL, RData::A(A(POISON))));
            all.push(message.to_vec()?);
        }
        "count" => {
            let mut message = raw(lie(id, &asked))?;
            message[6..12].fill(0xff);
            all.push(message);
        }
        "pointer" => {
            let mut message = raw(reply(id, &asked, &[]))?;
            let [high, low] = u16::try_from(message.len())?.to_be_bytes();
            message[7] = 1;
            message.extend([0xc0 | high, low, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4]);
            message.extend(POISON.octets());
            all.push(message);
        }
        "cut" => {
            let mut message = lie(id, &asked)?;
            message.metadata.truncation = datagram;
            all.push(message.to_vec()?);
        }
        "noise" => {
            let mut message = id.to_be_bytes().to_vec();
            message.extend((0..400_u16).flat_map(|step| (step ^ id).to_be_bytes()));
            all.push(message);
        }
        _ if label.starts_with("chain") => {
            let next = label.trim_start_matches("chain").parse::<u64>().unwrap_or(0) + 1;
            all.push(raw(reply(id, &asked, &[(asked.name(), alias(&format!("chain{next}.{DOMAIN}"))?)]))?);
        }
        _ => all.push(raw(truth())?),
    }
    Ok(all)
}

/// An answer with these records; addresses are left out where they weren't asked for.
fn reply(id: u16, asked: &Query, records: &[(&Name, RData)]) -> Anyhow<Message> {
    let mut message = Message::new(id, MessageType::Response, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    message.add_query(asked.clone());
    for (name, data) in records {
        if data.record_type() != RecordType::A || asked.query_type() == RecordType::A {
            message.add_answer(Record::from_rdata((*name).clone(), TTL, data.clone()));
        }
    }
    Ok(message)
}

fn flip(c: char) -> char {
    if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
}
