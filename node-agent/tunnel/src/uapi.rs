//! Text of the cross-platform WireGuard interface (<https://www.wireguard.com/xplatform/>) → typed requests.
//!
//! In: the bytes of one request without its closing blank line. Out: [`Request`], or where and why it can't be read.
//! Not here: sockets, what a request does (table.rs). No text of a request reaches an error: it may hold keys.

use std::net::SocketAddr;

use ipnet::IpNet;

use crate::key::{Public, SecretKey, parse_hex};

/// One request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Tell the configuration and the counters.
    Get,
    /// Change the configuration.
    Set(Set),
}

/// Changes of a device; absent parts stay as they are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Set {
    /// New private key; all zeroes: none.
    pub(crate) private_key: Option<SecretKey>,
    /// New UDP port; 0: any free one.
    pub(crate) listen_port: Option<u16>,
    /// New mark of outgoing packets; 0: none.
    pub(crate) fwmark: Option<u32>,
    /// Peers that aren't named are removed.
    pub(crate) replace_peers: bool,
    /// Changes of peers, in order.
    pub(crate) peers: Vec<PeerSet>,
}

/// Changes of one peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PeerSet {
    /// Which one.
    pub(crate) key: Public,
    /// Remove it.
    pub(crate) remove: bool,
    /// Do nothing if it isn't there.
    pub(crate) update_only: bool,
    /// New pre-shared key; all zeroes: none.
    pub(crate) preshared_key: Option<SecretKey>,
    /// New endpoint.
    pub(crate) endpoint: Option<SocketAddr>,
    /// New persistent keepalive in seconds; 0: off.
    pub(crate) keepalive: Option<u16>,
    /// The ranges replace all it has.
    pub(crate) replace_allowed: bool,
    /// Ranges to add or to take off, in order.
    pub(crate) allowed: Vec<AllowedSet>,
}

/// One `allowed_ip` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AllowedSet {
    /// The peer gets the range, whoever had it.
    Add(IpNet),
    /// The peer loses the range, if it has it (`allowed_ip=-…`).
    Remove(IpNet),
}

/// Why a request can't be read; always answered with `EINVAL`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} {why}")]
pub(crate) struct Unreadable {
    /// Line of the request, from 1.
    pub(crate) line: usize,
    /// What is wrong with it, as the end of a sentence.
    pub(crate) why: &'static str,
}

/// Reads one request.
pub(crate) fn parse_request(bytes: &[u8]) -> Result<Request, Unreadable> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unreadable { line: 1, why: "is not text" })?;
    let mut lines = text.lines();
    match lines.next() {
        Some("get=1") => match lines.next() {
            None => Ok(Request::Get),
            Some(_) => Err(Unreadable { line: 2, why: "follows a get, which takes no more lines" }),
        },
        Some("set=1") => parse_lines(lines, 2).map(Request::Set),
        _ => Err(Unreadable { line: 1, why: "is neither get=1 nor set=1" }),
    }
}

/// Reads the lines of a set without its first one, as the stored configuration has them.
pub(crate) fn parse_set(text: &str) -> Result<Set, Unreadable> {
    parse_lines(text.lines(), 1)
}

fn parse_lines<'a>(lines: impl Iterator<Item = &'a str>, first: usize) -> Result<Set, Unreadable> {
    let mut set = Set::default();
    for (line, text) in (first..).zip(lines) {
        let unreadable = |why| Unreadable { line, why };
        let (name, value) = text.split_once('=').ok_or(unreadable("has no '='"))?;
        let known = match set.peers.last_mut() {
            _ if name == "public_key" => {
                let key = parse_hex(value).ok_or(unreadable("has a key that isn't 64 hexadecimal digits"))?;
                set.peers.push(PeerSet::of(key));
                continue;
            }
            Some(peer) => peer_line(peer, name, value),
            None => device_line(&mut set, name, value),
        };
        known.map_err(unreadable)?;
    }
    Ok(set)
}

fn device_line(set: &mut Set, name: &str, value: &str) -> Result<(), &'static str> {
    match name {
        "private_key" => set.private_key = Some(secret(value)?),
        "listen_port" => set.listen_port = Some(number(value)?),
        "fwmark" => set.fwmark = Some(number(value)?),
        "replace_peers" => set.replace_peers = flag(value)?,
        _ => return Err("has a name that no device setting has"),
    }
    Ok(())
}

fn peer_line(peer: &mut PeerSet, name: &str, value: &str) -> Result<(), &'static str> {
    match name {
        "remove" => peer.remove = flag(value)?,
        "update_only" => peer.update_only = flag(value)?,
        "preshared_key" => peer.preshared_key = Some(secret(value)?),
        "endpoint" => {
            peer.endpoint = Some(value.parse().map_err(|_| "has an endpoint that isn't ADDRESS:PORT")?);
        }
        "persistent_keepalive_interval" => peer.keepalive = Some(number(value)?),
        "replace_allowed_ips" => {
            peer.replace_allowed = flag(value)?;
            peer.allowed.clear();
        }
        "allowed_ip" => peer.allowed.push(allowed(value)?),
        "protocol_version" if value == "1" => {}
        "protocol_version" => return Err("asks for a protocol version other than 1"),
        _ => return Err("has a name that no peer setting has"),
    }
    Ok(())
}

fn secret(value: &str) -> Result<SecretKey, &'static str> {
    parse_hex(value).map(SecretKey::new).ok_or("has a key that isn't 64 hexadecimal digits")
}

fn flag(value: &str) -> Result<bool, &'static str> {
    if value == "true" { Ok(true) } else { Err("has a flag that isn't 'true'") }
}

/// Decimal digits only: `FromStr` of the integers would also take a sign.
fn number<T: std::str::FromStr>(value: &str) -> Result<T, &'static str> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    value.parse().ok().filter(|_| digits).ok_or("has a number that is malformed or too large")
}

fn allowed(value: &str) -> Result<AllowedSet, &'static str> {
    let (range, added) = value.strip_prefix('-').map_or((value, true), |rest| (rest, false));
    let net: IpNet = range.parse().map_err(|_| "has a range that isn't ADDRESS/LENGTH")?;
    Ok(if added { AllowedSet::Add(net.trunc()) } else { AllowedSet::Remove(net.trunc()) })
}

impl PeerSet {
    /// A change that changes nothing, but makes the peer if it isn't there.
    pub(crate) const fn of(key: Public) -> Self {
        Self {
            key,
            remove: false,
            update_only: false,
            preshared_key: None,
            endpoint: None,
            keepalive: None,
            replace_allowed: false,
            allowed: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "0101010101010101010101010101010101010101010101010101010101010101";

    fn check(text: &str, expected: Result<&str, (usize, &str)>) {
        let text = text.replace("KEY", KEY);
        match (parse_request(text.as_bytes()), expected) {
            (Ok(request), Ok(part)) => {
                let shown = format!("{request:?}");
                assert!(shown.contains(part), "{text:?} gave {shown}");
                assert!(!shown.contains(KEY), "a secret is shown: {shown}");
            }
            (Err(error), Err((line, why))) => {
                assert_eq!(error.line, line, "{text:?}: {error}");
                assert!(error.why.contains(why), "{text:?}: {error}");
                assert!(!error.to_string().contains(KEY));
            }
            (got, expected) => panic!("{text:?} gave {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn requests_are_read_as_the_interface_defines_them() {
        check("get=1", Ok("Get"));
        check("set=1", Ok("replace_peers: false, peers: []"));
        check("set=1\nprivate_key=KEY", Ok("private_key: Some([secret])"));
        check("set=1\nlisten_port=51820\nfwmark=0\nreplace_peers=true", Ok("listen_port: Some(51820)"));
        check("set=1\npublic_key=KEY\nremove=true", Ok("remove: true"));
        check("set=1\npublic_key=KEY\nupdate_only=true\nprotocol_version=1", Ok("update_only: true"));
        check("set=1\npublic_key=KEY\nendpoint=[fd00::1%3]:7", Ok("endpoint: Some([fd00::1%3]:7)"));
        check("set=1\npublic_key=KEY\nallowed_ip=10.1.2.3/8", Ok("Add(10.0.0.0/8)"));
        check("set=1\npublic_key=KEY\nallowed_ip=-fd00::/8", Ok("Remove(fd00::/8)"));
        check("set=1\npublic_key=KEY\nallowed_ip=10.0.0.0/8\nreplace_allowed_ips=true", Ok("allowed: []"));
        check("set=1\npublic_key=KEY\npublic_key=KEY", Ok("PeerSet"));
        check("", Err((1, "neither")));
        check("get=2", Err((1, "neither")));
        check("get=1\nset=1", Err((2, "no more")));
        check("set=1\nlisten_port=65536", Err((2, "number")));
        check("set=1\nlisten_port=+1", Err((2, "number")));
        check("set=1\nfwmark=0x1", Err((2, "number")));
        check("set=1\nprivate_key=KEY0", Err((2, "64")));
        check("set=1\nreplace_peers=false", Err((2, "flag")));
        check("set=1\nendpoint=1.2.3.4:5", Err((2, "device")));
        check("set=1\npublic_key=KEY\nlisten_port=1", Err((3, "peer")));
        check("set=1\npublic_key=KEY\nendpoint=localhost:1", Err((3, "endpoint")));
        check("set=1\npublic_key=KEY\nallowed_ip=10.0.0.1", Err((3, "range")));
        check("set=1\npublic_key=KEY\nallowed_ip=10.0.0.0/33", Err((3, "range")));
        check("set=1\npublic_key=KEY\nprotocol_version=2", Err((3, "version")));
        check("set=1\nnothing", Err((2, "'='")));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = parse_request(&bytes);
        }

        #[test]
        fn arbitrary_lines_of_known_names_never_panic(
            lines in proptest::collection::vec(("(public_key|private_key|endpoint|allowed_ip|listen_port|remove|x)", ".{0,70}"), 0..20),
        ) {
            let body: String = lines.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
            let _ = parse_request(format!("set=1\n{body}").as_bytes());
        }
    }
}
