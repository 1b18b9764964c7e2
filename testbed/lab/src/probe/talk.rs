//! One question, one answer: over TCP, UDP and HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::{MARKER, Target};
use crate::Result;

/// Between two tries of a datagram.
const RETRY: Duration = Duration::from_millis(200);

/// A connection with the deadline on every read and write.
pub(super) fn connect(target: &Target) -> Result<TcpStream> {
    let within = Duration::from_millis(target.within.max(1));
    let stream = TcpStream::connect_timeout(&SocketAddr::new(target.address, target.port), within)?;
    stream.set_read_timeout(Some(within))?;
    stream.set_write_timeout(Some(within))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub(super) fn tcp(target: &Target) -> Result<Value> {
    let began = Instant::now();
    let mut stream = connect(target)?;
    let connected = began.elapsed();
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut seen = String::new();
    reader.read_line(&mut seen)?;
    stream.write_all(MARKER)?;
    let mut back = vec![0; MARKER.len()];
    reader.read_exact(&mut back)?;
    if back != MARKER {
        bail!("the echo is not what was sent");
    }
    let local = stream.local_addr()?.ip();
    Ok(
        json!({"ok": true, "seen": seen.trim(), "local": local, "connect_us": micros(connected), "us": micros(began.elapsed())}),
    )
}

pub(super) fn udp(target: &Target) -> Result<Value> {
    let began = Instant::now();
    let any: IpAddr = match target.address {
        IpAddr::V4(_) => [0, 0, 0, 0].into(),
        IpAddr::V6(_) => [0u16; 8].into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect((target.address, target.port))?;
    socket.set_read_timeout(Some(RETRY))?;
    let mut buffer = vec![0; 65_536];
    let mut tries = 0;
    loop {
        tries += 1;
        socket.send(MARKER)?;
        match socket.recv(&mut buffer) {
            Ok(length) => {
                let answer = &buffer[..length];
                let end = answer.iter().position(|b| *b == b'\n').context("an answer of another form")?;
                if &answer[end + 1..] != MARKER {
                    bail!("the echo is not what was sent");
                }
                let seen = String::from_utf8_lossy(&answer[..end]).into_owned();
                let local = socket.local_addr()?.ip();
                return Ok(
                    json!({"ok": true, "seen": seen, "local": local, "tries": tries, "us": micros(began.elapsed())}),
                );
            }
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                if Instant::now() >= target.deadline_from(began) {
                    return Err(e.into());
                }
            }
            Err(e) => return Err(e.into()),
        }
    }
}

pub(super) fn http(target: &Target) -> Result<Value> {
    let mut stream = connect(target)?;
    let host = SocketAddr::new(target.address, target.port);
    write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(1 << 20).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split(' ').nth(1).and_then(|s| s.parse::<u16>().ok()).context("no HTTP status")?;
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| json!(body));
    Ok(json!({"ok": status == 200, "status": status, "body": body}))
}

pub(super) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

impl Target {
    fn deadline_from(&self, began: Instant) -> Instant {
        began + Duration::from_millis(self.within)
    }
}
