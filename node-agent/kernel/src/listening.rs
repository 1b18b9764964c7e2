//! Who listens on the machine's own ports, as `/proc/net` lists it (proc_net(5)). Sockets of the kernel aren't listed.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use weft_model::Protocol;

/// A socket that takes what comes to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Its address; unspecified: every one.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
}

impl Listener {
    /// Whether it would take what comes to an address. A socket of IPv6 on every address takes IPv4 too, unless it was told
    /// otherwise, which the list doesn't say.
    pub fn takes(&self, address: IpAddr) -> bool {
        let every = self.address.is_unspecified();
        (every && (self.address.is_ipv6() || address.is_ipv4())) || self.address.to_canonical() == address
    }
}

/// Sockets of the calling thread's network namespace that listen (TCP), or are bound and not connected (UDP).
pub fn listeners() -> Vec<Listener> {
    let files =
        [("tcp", Protocol::Tcp), ("tcp6", Protocol::Tcp), ("udp", Protocol::Udp), ("udp6", Protocol::Udp)];
    let mut all: Vec<_> = files
        .into_iter()
        .flat_map(|(file, protocol)| {
            // A family that is switched off has no file.
            let text = fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
            parse(&text, protocol)
        })
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Lines `sl local_address rem_address st …`, addresses and ports in hexadecimal digits.
fn parse(text: &str, protocol: Protocol) -> Vec<Listener> {
    // TCP_LISTEN; an unconnected UDP socket is TCP_CLOSE (include/net/tcp_states.h).
    let wanted = if protocol == Protocol::Tcp { "0A" } else { "07" };
    let listener = |line: &str| {
        let mut words = line.split_whitespace();
        let local = words.nth(1)?;
        if words.nth(1)? != wanted {
            return None;
        }
        let (address, port) = local.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok().filter(|port| *port != 0)?;
        Some(Listener { protocol, address: address_of(address)?, port })
    };
    text.lines().skip(1).filter_map(listener).collect()
}

/// Words of 32 bits, each printed as a number of this machine.
fn address_of(digits: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    for at in (0..digits.len()).step_by(8) {
        let word = u32::from_str_radix(digits.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    if let Ok(v4) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes.as_slice()).ok().map(|v6| Ipv6Addr::from(v6).into())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn sockets_of_this_machine_are_found() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp6 = TcpListener::bind("[::1]:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let found = listeners();
        let check = |protocol, local: std::net::SocketAddr| {
            let wanted = Listener { protocol, address: local.ip(), port: local.port() };
            assert!(found.contains(&wanted), "{wanted:?} in {found:?}");
        };
        check(Protocol::Tcp, tcp.local_addr().unwrap());
        check(Protocol::Tcp, tcp6.local_addr().unwrap());
        check(Protocol::Udp, udp.local_addr().unwrap());
    }

    #[test]
    fn only_listening_sockets_count() {
        let text = "  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A\n   1: 0100007F:1F91 0100007F:9999 01\n   2: bad\n";
        let [found] = <[Listener; 1]>::try_from(parse(text, Protocol::Tcp)).unwrap();
        assert_eq!((found.address.to_string(), found.port), ("127.0.0.1".to_owned(), 8080));
    }

    #[test]
    fn an_address_is_taken_by_its_own_listener_and_by_those_of_every_address() {
        let check = |listener: &str, address: &str, expected| {
            let listener = Listener { protocol: Protocol::Tcp, address: listener.parse().unwrap(), port: 1 };
            assert_eq!(listener.takes(address.parse().unwrap()), expected, "{listener:?} {address}");
        };
        check("0.0.0.0", "192.0.2.1", true);
        check("0.0.0.0", "2001:db8::1", false);
        check("::", "192.0.2.1", true);
        check("::", "2001:db8::1", true);
        check("192.0.2.1", "192.0.2.1", true);
        check("192.0.2.2", "192.0.2.1", false);
        check("::ffff:192.0.2.1", "192.0.2.1", true);
    }
}
