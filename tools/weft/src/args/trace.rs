//! Arguments of `weft trace`: a destination as people type it.

use clap::Args;
use weft_model::Protocol;

/// `weft trace`.
#[derive(Debug, Args)]
pub(crate) struct Trace {
    /// Who sends: a pod, NAMESPACE/NAME, or a node's own processes, node/NAME
    pub(crate) from: String,
    /// Service NAME.NAMESPACE:PORT, pod or address; with /udp or /sctp behind the port; [ADDRESS]:PORT for IPv6
    #[arg(value_parser = destination)]
    pub(crate) to: Destination,
    /// Send a real packet from there: exit 70 when it shows something else than was told
    #[arg(long)]
    pub(crate) probe: bool,
}

/// Where a packet is sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// Name or address.
    pub(crate) to: String,
    /// Port; `None`: the way alone.
    pub(crate) port: Option<u16>,
    /// Transport protocol.
    pub(crate) protocol: Protocol,
}

pub(super) fn destination(text: &str) -> Result<Destination, String> {
    let (to, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']').ok_or_else(|| format!("{text:?} lacks a ]"))?;
            let port = rest.strip_prefix(':');
            if port.is_none() && !rest.is_empty() {
                return Err(format!("{text:?}: after ] comes :PORT"));
            }
            (address, port)
        }
        // More than one colon: an IPv6 address without a port.
        None => match text.split_once(':') {
            Some((to, port)) if !port.contains(':') => (to, Some(port)),
            Some(_) | None => (text, None),
        },
    };
    let wrong = |port: &str| format!("{port:?} isn't a port: 1 to 65535, with /udp or /sctp behind it");
    let Some(port) = port else {
        return if to.is_empty() { Err("a name or an address is needed".to_owned()) } else { Ok(plain(to)) };
    };
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let protocol = match protocol.to_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return Err(format!("{protocol:?} isn't tcp, udp or sctp")),
    };
    let number = number.parse().ok().filter(|port| *port != 0).ok_or_else(|| wrong(port))?;
    Ok(Destination { to: to.to_owned(), port: Some(number), protocol })
}

fn plain(to: &str) -> Destination {
    Destination { to: to.to_owned(), port: None, protocol: Protocol::Tcp }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_as_they_are_typed() {
        let check = |text: &str, to: &str, port: Option<u16>, protocol: Protocol| {
            assert_eq!(destination(text), Ok(Destination { to: to.to_owned(), port, protocol }), "{text}");
        };
        check("cart.shop:80", "cart.shop", Some(80), Protocol::Tcp);
        check("stats.shop:8125/udp", "stats.shop", Some(8125), Protocol::Udp);
        check("shop/web-0", "shop/web-0", None, Protocol::Tcp);
        check("10.128.7.4:443/TCP", "10.128.7.4", Some(443), Protocol::Tcp);
        check("fd00::7", "fd00::7", None, Protocol::Tcp);
        check("[fd00::7]:53/udp", "fd00::7", Some(53), Protocol::Udp);
        check("[fd00::7]", "fd00::7", None, Protocol::Tcp);
        for text in
            ["", "cart.shop:", "cart.shop:0", "cart.shop:70000", "a:80/icmp", "[fd00::7", "[fd00::7]80"]
        {
            assert!(destination(text).is_err(), "{text}");
        }
    }
}
