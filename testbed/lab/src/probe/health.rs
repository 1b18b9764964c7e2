//! gRPC health (`grpc.health.v1`) for readiness probes: just enough of HTTP/2 (RFC 9113) for one unary call after another.
//!
//! Written by hand, so that what asks is tried against something that it doesn't share code with. The service `ill` isn't
//! serving, every other one is.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::ensure;

use crate::Result;

/// What a client says first (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Largest frame that is taken, bytes: nobody may send a larger one without being told so (section 4.2).
const LARGEST: usize = 16_384;

/// Types of frames (section 6).
mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
}

/// Flags: the same bit acknowledges settings and pings.
const END_STREAM: u8 = 1;
const ACKNOWLEDGED: u8 = 1;
const END_HEADERS: u8 = 4;

/// `:status: 200`, then `content-type: application/grpc` (RFC 7541 sections 6.1, 6.2.2 and appendix A).
const HEAD: &[u8] = b"\x88\x0f\x10\x10application/grpc";
/// `grpc-status: 0`.
const TRAILER: &[u8] = b"\x00\x0bgrpc-status\x010";
/// A `HealthCheckResponse` in its frame of five bytes: compressed or not, length.
const SERVING: &[u8] = b"\x00\x00\x00\x00\x02\x08\x01";
const NOT_SERVING: &[u8] = b"\x00\x00\x00\x00\x02\x08\x02";

/// Answers calls until the client goes.
pub(super) fn serve(mut stream: TcpStream, _: SocketAddr) -> Result {
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface)?;
    ensure!(&preface == PREFACE, "no HTTP/2");
    write(&mut stream, kind::SETTINGS, 0, 0, &[])?;
    let mut calls: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    loop {
        let frame = read(&mut stream)?;
        match frame.kind {
            kind::SETTINGS if frame.flags & ACKNOWLEDGED == 0 => {
                write(&mut stream, kind::SETTINGS, ACKNOWLEDGED, 0, &[])?;
            }
            kind::PING if frame.flags & ACKNOWLEDGED == 0 => {
                write(&mut stream, kind::PING, ACKNOWLEDGED, 0, &frame.payload)?;
            }
            kind::DATA => {
                let call = calls.entry(frame.stream).or_default();
                call.extend(&frame.payload);
                if frame.flags & END_STREAM != 0 {
                    let answer = if asked(call) == Some(b"ill") { NOT_SERVING } else { SERVING };
                    calls.remove(&frame.stream);
                    write(&mut stream, kind::HEADERS, END_HEADERS, frame.stream, HEAD)?;
                    write(&mut stream, kind::DATA, 0, frame.stream, answer)?;
                    write(&mut stream, kind::HEADERS, END_HEADERS | END_STREAM, frame.stream, TRAILER)?;
                }
            }
            kind::GOAWAY => return Ok(()),
            // What a call is headed with doesn't matter: there is one method.
            _ => {}
        }
    }
}

/// The service of a `HealthCheckRequest`; `None`: all of them.
fn asked(call: &[u8]) -> Option<&[u8]> {
    let (tag, rest) = call.get(5..)?.split_first()?;
    let (length, name) = rest.split_first()?;
    (*tag == 0x0a && usize::from(*length) == name.len()).then_some(name)
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

fn read(stream: &mut TcpStream) -> Result<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let [a, b, c, kind, flags, id @ ..] = head;
    let length = usize::try_from(u32::from_be_bytes([0, a, b, c]))?;
    ensure!(length <= LARGEST, "a frame of {length} bytes");
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload)?;
    Ok(Frame { kind, flags, stream: u32::from_be_bytes(id) & (u32::MAX >> 1), payload })
}

fn write(stream: &mut TcpStream, kind: u8, flags: u8, id: u32, payload: &[u8]) -> Result {
    let length = u32::try_from(payload.len())?.to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(id.to_be_bytes());
    frame.extend(payload);
    Ok(stream.write_all(&frame)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_read_out_of_the_call() {
        assert_eq!(asked(b"\x00\x00\x00\x00\x05\x0a\x03ill"), Some(b"ill".as_slice()));
        for none in [b"".as_slice(), b"\x00\x00\x00\x00\x00", b"\x00\x00\x00\x00\x05\x0a\x04ill"] {
            assert_eq!(asked(none), None);
        }
    }
}
