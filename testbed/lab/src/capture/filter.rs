//! The filter of `capture`: `host A`, `net CIDR`, `port N`, `proto P`, joined by `and`, `or`, `not` and parentheses. Pure.

use std::net::IpAddr;

use anyhow::bail;
use ipnet::IpNet;

use super::decode::{ARP, Frame, ICMP, ICMPV6, IPV4, IPV6, TCP, UDP};
use crate::{Refusal, Result};

/// A condition on a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Always true.
    All,
    /// Source or destination is in this prefix.
    Net(IpNet),
    /// Source or destination port.
    Port(u16),
    /// EtherType.
    Ether(u16),
    /// Protocol above IP.
    Protocol(u8),
    /// Not so.
    Not(Box<Self>),
    /// Both.
    And(Box<Self>, Box<Self>),
    /// One of the two.
    Or(Box<Self>, Box<Self>),
}

impl Filter {
    /// Reads the words of a filter; none means everything. `and` binds closer than `or`, `not` closest.
    pub fn parse(words: &[String]) -> Result<Self> {
        let text = words.join(" ").replace('(', " ( ").replace(')', " ) ");
        let tokens: Vec<&str> = text.split_whitespace().collect();
        if tokens.is_empty() {
            return Ok(Self::All);
        }
        let mut reader = Reader { tokens: &tokens };
        let filter = reader.alternatives()?;
        match reader.tokens.first() {
            None => Ok(filter),
            Some(extra) => bail!(Refusal::Usage(format!("filter: {extra:?} where 'and' or 'or' is due"))),
        }
    }

    /// Whether the frame meets it.
    pub fn matches(&self, frame: &Frame<'_>) -> bool {
        let packet = frame.packet.as_ref();
        match self {
            Self::All => true,
            Self::Net(net) => packet.is_some_and(|p| net.contains(&p.source) || net.contains(&p.destination)),
            Self::Port(port) => {
                packet.and_then(|p| p.ports()).is_some_and(|(from, to)| from == *port || to == *port)
            }
            Self::Ether(kind) => frame.ethertype == *kind,
            Self::Protocol(protocol) => packet.is_some_and(|p| p.protocol == *protocol),
            Self::Not(inner) => !inner.matches(frame),
            Self::And(a, b) => a.matches(frame) && b.matches(frame),
            Self::Or(a, b) => a.matches(frame) || b.matches(frame),
        }
    }
}

struct Reader<'a> {
    tokens: &'a [&'a str],
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn takes(&mut self, word: &str) -> bool {
        let found = self.tokens.first() == Some(&word);
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    fn alternatives(&mut self) -> Result<Filter> {
        let mut filter = self.conditions()?;
        while self.takes("or") {
            filter = Filter::Or(Box::new(filter), Box::new(self.conditions()?));
        }
        Ok(filter)
    }

    fn conditions(&mut self) -> Result<Filter> {
        let mut filter = self.condition()?;
        while self.takes("and") {
            filter = Filter::And(Box::new(filter), Box::new(self.condition()?));
        }
        Ok(filter)
    }

    fn condition(&mut self) -> Result<Filter> {
        let Some(word) = self.next() else {
            bail!(Refusal::Usage("filter: it ends where a condition is due".to_owned()))
        };
        let filter = match word {
            "not" => Some(Filter::Not(Box::new(self.condition()?))),
            "(" => {
                let inner = self.alternatives()?;
                self.takes(")").then_some(inner)
            }
            "host" => self.next().and_then(|a| a.parse::<IpAddr>().ok()).map(|ip| Filter::Net(ip.into())),
            "net" => self.next().and_then(|n| n.parse().ok()).map(Filter::Net),
            "port" => self.next().and_then(|p| p.parse().ok()).map(Filter::Port),
            "proto" => self.next().and_then(protocol),
            other => protocol(other),
        };
        filter.ok_or_else(|| {
            let known =
                "host ADDRESS, net CIDR, port N, proto tcp|udp|icmp|icmp6|arp|ip|ip6, and, or, not, ( )";
            Refusal::Usage(format!("filter: {word:?} isn't understood here; known: {known}")).into()
        })
    }
}

fn protocol(name: &str) -> Option<Filter> {
    Some(match name {
        "tcp" => Filter::Protocol(TCP),
        "udp" => Filter::Protocol(UDP),
        "icmp" => Filter::Protocol(ICMP),
        "icmp6" => Filter::Protocol(ICMPV6),
        "arp" => Filter::Ether(ARP),
        "ip" => Filter::Ether(IPV4),
        "ip6" => Filter::Ether(IPV6),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::decode::frame;
    use super::super::decode::tests::{build, tcp, udp};
    use super::*;

    fn check(filter: &str, frame_bytes: &[u8], wanted: bool) {
        let filter = Filter::parse(&[filter.to_owned()]).unwrap();
        assert_eq!(filter.matches(&frame(frame_bytes).unwrap()), wanted, "{filter:?}");
    }

    #[test]
    fn conditions_and_their_combinations() {
        let dns = build("10.0.0.1", "10.0.0.2", UDP, &udp(4000, 53, b"q"));
        let web = build("fd00::1", "fd00::2", TCP, &tcp(4000, 80, 2, 1, b""));
        for (filter, on_dns, on_web) in [
            ("", true, true),
            ("host 10.0.0.2", true, false),
            ("net fd00::/64", false, true),
            ("port 53 or port 80", true, true),
            ("udp and not port 53", false, false),
            ("not (udp and port 53)", false, true),
            ("proto tcp and ip6", false, true),
            ("arp", false, false),
        ] {
            check(filter, &dns, on_dns);
            check(filter, &web, on_web);
        }
    }

    #[test]
    fn a_filter_that_is_not_understood_says_what_is() {
        for bad in ["port", "port x", "(udp", "udp tcp", "and", "src 10.0.0.1"] {
            assert!(Filter::parse(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
