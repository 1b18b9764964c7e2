//! Servers for probes: http answers with what it saw as JSON, https the same over TLS, grpc says how it is, tcp and udp echo after
//! the client's address, bulk hashes what it gets, alternate answers readiness probes with yes and no in turn, usage says what the
//! process has cost.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, recvfrom, socket,
};
use serde_json::json;

use super::{Stop, bulk, health, liar, names, now_us, print, secure, usage};
use crate::{Refusal, Result};

/// A connection that says nothing for this long is closed.
const IDLE: Duration = Duration::from_secs(60);
/// Largest request head of the http server, in bytes.
const LARGEST_HEAD: u64 = 16 * 1024;

/// Serves until a signal comes; prints `ready` once everything listens.
pub(super) fn run(what: &[String], stop: &Stop) -> Result {
    for one in what {
        match one.split_once(':').map(|(kind, port)| (kind, port.parse::<u16>())) {
            Some(("http", Ok(port))) => listen(port, |mut stream, peer| http(&mut stream, peer))?,
            Some(("https", Ok(port))) => listen(port, secure::http)?,
            Some(("grpc", Ok(port))) => listen(port, health::serve)?,
            Some(("tcp", Ok(port))) => listen(port, echo)?,
            Some(("bulk", Ok(port))) => listen(port, bulk::serve)?,
            Some(("alternate", Ok(port))) => listen(port, alternate)?,
            Some(("usage", Ok(port))) => listen(port, tell_usage)?,
            Some(("udp", Ok(port))) => datagrams(port)?,
            Some(("names", Ok(port))) => names::serve(port)?,
            Some(("liar", Ok(port))) => liar::serve(port)?,
            None if one == "icmp" => hear_echo_requests()?,
            _ => bail!(Refusal::Usage(format!(
                "serve {one:?}: http:PORT, https:PORT, grpc:PORT, tcp:PORT, udp:PORT, bulk:PORT, alternate:PORT, usage:PORT, names:PORT, liar:PORT or icmp"
            ))),
        }
    }
    print(&json!("ready"))?;
    stop.wait()
}

fn listen(port: u16, serve: fn(TcpStream, SocketAddr) -> Result) -> Result {
    let listener = TcpListener::bind(("::", port)).or_else(|_| TcpListener::bind(("0.0.0.0", port)));
    let listener = listener.with_context(|| format!("listen on tcp port {port}"))?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || -> Result {
                stream.set_read_timeout(Some(IDLE))?;
                stream.set_nodelay(true)?;
                let peer = plain(stream.peer_addr()?);
                serve(stream, peer)
            });
        }
    });
    Ok(())
}

/// An IPv4 client of a socket of both families.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn echo(mut stream: TcpStream, peer: SocketAddr) -> Result {
    writeln!(stream, "{}", peer.ip())?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..length])?;
    }
}

/// Answers one request.
pub(super) fn http(stream: &mut (impl Read + Write), peer: SocketAddr) -> Result {
    let mut lines = BufReader::new((&mut *stream).take(LARGEST_HEAD)).lines();
    let request = lines.next().context("no request")??;
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let pod = std::env::var("WEFT_LAB_POD").unwrap_or_default();
    let body = json!({"pod": pod, "client": peer.ip(), "request": request, "headers": headers}).to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}

/// Reads a request to the end of its head.
fn hear_head(stream: &TcpStream) -> Result {
    for line in BufReader::new(stream.take(LARGEST_HEAD)).lines() {
        if line?.is_empty() {
            break;
        }
    }
    Ok(())
}

fn tell_usage(mut stream: TcpStream, _: SocketAddr) -> Result {
    hear_head(&stream)?;
    write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", usage()?)?;
    Ok(())
}

/// Well and ill in turn; the moment before each answer is printed.
fn alternate(mut stream: TcpStream, _: SocketAddr) -> Result {
    static TURN: AtomicU64 = AtomicU64::new(0);
    hear_head(&stream)?;
    let is_well = TURN.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
    let status = if is_well { "200 OK" } else { "503 Service Unavailable" };
    print(&json!({"at_us": now_us(), "well": is_well}))?;
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    Ok(())
}

fn datagrams(port: u16) -> Result {
    let socket = UdpSocket::bind(("::", port)).or_else(|_| UdpSocket::bind(("0.0.0.0", port)));
    let socket = socket.with_context(|| format!("listen on udp port {port}"))?;
    std::thread::spawn(move || -> Result {
        let mut buffer = vec![0; 65_536];
        loop {
            let (length, peer) = socket.recv_from(&mut buffer)?;
            let mut answer = format!("{}\n", plain(peer).ip()).into_bytes();
            answer.extend(&buffer[..length]);
            // An answer too large for the path is lost like any datagram.
            let _ = socket.send_to(&answer, peer);
        }
    });
    Ok(())
}

/// Prints a line with the sender of every echo request that arrives.
fn hear_echo_requests() -> Result {
    let v4 = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Icmp);
    let v4 = v4.context("open a raw ICMP socket")?;
    std::thread::spawn(move || -> Result {
        let mut buffer = [0; 2048];
        loop {
            let (length, from) = recvfrom::<SockaddrIn>(v4.as_raw_fd(), &mut buffer)?;
            let header = usize::from(buffer[0] & 0x0f) * 4;
            if let (Some(8), Some(from)) = (buffer[..length].get(header), from) {
                print(&json!({"heard": from.ip()}))?;
            }
        }
    });
    let v6 = socket(AddressFamily::Inet6, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::IcmpV6);
    let v6 = v6.context("open a raw ICMPv6 socket")?;
    std::thread::spawn(move || -> Result {
        let mut buffer = [0; 2048];
        loop {
            let (length, from) = recvfrom::<SockaddrIn6>(v6.as_raw_fd(), &mut buffer)?;
            if let (Some(128), Some(from)) = (buffer[..length].first(), from) {
                print(&json!({"heard": from.ip()}))?;
            }
        }
    });
    Ok(())
}
