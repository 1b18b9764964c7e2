//! What is judged: one flow, seen where its packets are when policies look: addresses and port of the destination behind
//! services, in the direction in which it began.

use std::{fmt, net::IpAddr, str::FromStr};

use weft_model::{Family, Protocol};

use crate::identity::protocol_number;

/// The layer above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// A protocol with ports, and the destination's.
    Port(Protocol, u16),
    /// Any other by its number (IANA, "Protocol Numbers"): echo requests are 1 and 58. Only a rule without ports fits.
    Other(u8),
}

impl Transport {
    /// Echo requests of a family.
    pub const fn echo(family: Family) -> Self {
        Self::Other(match family {
            Family::V4 => 1,
            Family::V6 => 58,
        })
    }

    /// Number of the protocol in IP headers.
    pub const fn number(self) -> u8 {
        match self {
            Self::Port(protocol, _) => protocol_number(protocol),
            Self::Other(number) => number,
        }
    }
}

/// Name of a protocol as people write it in small letters.
pub const fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(protocol, port) => write!(f, "{port}/{}", protocol_name(*protocol)),
            Self::Other(1 | 58) => f.write_str("icmp"),
            Self::Other(number) => write!(f, "protocol {number}"),
        }
    }
}

impl FromStr for Transport {
    type Err = String;

    /// Reads `5432/tcp`, `5432` (TCP), `icmp`, `protocol N`.
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a port such as 5432/tcp, 53/udp, or icmp");
        if text == "icmp" {
            return Ok(Self::Other(1));
        }
        if let Some(number) = text.strip_prefix("protocol ") {
            return number.parse().map(Self::Other).map_err(|_| bad());
        }
        let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = match protocol {
            "tcp" | "TCP" => Protocol::Tcp,
            "udp" | "UDP" => Protocol::Udp,
            "sctp" | "SCTP" => Protocol::Sctp,
            _ => return Err(bad()),
        };
        match port.parse() {
            Ok(port) if port > 0 => Ok(Self::Port(protocol, port)),
            _ => Err(bad()),
        }
    }
}

/// One flow. Errors about it, its replies and neighbour discovery aren't judged: they pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Who began it: the packet's source address.
    pub source: IpAddr,
    /// Whether a process of the node whose address the source is sent it, and not somebody whose packets it forwards.
    pub process: bool,
    /// Whom it is for, behind services.
    pub destination: IpAddr,
    /// Protocol and port.
    pub transport: Transport,
}

impl Flow {
    /// A flow between two addresses.
    pub const fn new(source: IpAddr, destination: IpAddr, transport: Transport) -> Self {
        Self { source, process: false, destination, transport }
    }

    /// The same, sent by a process of the node that has the source address.
    #[must_use]
    pub const fn by_process(mut self) -> Self {
        self.process = true;
        self
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} {}", self.source, self.destination, self.transport)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_are_read_as_they_are_written() {
        for text in ["5432/tcp", "53/udp", "9/sctp", "icmp", "protocol 47"] {
            assert_eq!(text.parse::<Transport>().map(|transport| transport.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("80".parse(), Ok(Transport::Port(Protocol::Tcp, 80)));
        for text in ["", "0/tcp", "80/quic", "65536", "tcp", "protocol x"] {
            assert!(text.parse::<Transport>().is_err(), "{text:?}");
        }
    }
}
