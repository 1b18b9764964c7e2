//! The configuration of the device as its driver sees it: the truth for `get`, for the file and for the engine.
//!
//! In: typed requests. Out: the table after them, its text. Not here: the engine (which keeps showing a range under the
//! peer it has left), sockets, files. Invariant: a range belongs to at most one peer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::SocketAddr,
    time::Duration,
};

use ipnet::IpNet;
use zeroize::Zeroizing;

use crate::{
    key::{Public, SecretKey, push_hex},
    uapi::{AllowedSet, PeerSet, Set},
};

/// One device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// Its private key.
    pub(crate) private_key: Option<SecretKey>,
    /// Its UDP port; 0: none yet.
    pub(crate) listen_port: u16,
    /// Mark of outgoing packets; 0: none.
    pub(crate) fwmark: u32,
    peers: BTreeMap<Public, Peer>,
    owners: BTreeMap<IpNet, Public>,
}

/// One peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its pre-shared key.
    pub(crate) preshared_key: Option<SecretKey>,
    /// Where it was last known.
    pub(crate) endpoint: Option<SocketAddr>,
    /// Persistent keepalive in seconds; 0: off.
    pub(crate) keepalive: u16,
    /// Its ranges.
    pub(crate) allowed: BTreeSet<IpNet>,
}

/// What the engine knows of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PeerStatus {
    /// Source of its last authenticated packet, or what was set.
    pub(crate) endpoint: Option<SocketAddr>,
    /// Wall time of the last handshake, since 1970.
    pub(crate) last_handshake: Option<Duration>,
    /// Bytes received from it.
    pub(crate) rx_bytes: u64,
    /// Bytes sent to it.
    pub(crate) tx_bytes: u64,
}

impl Table {
    /// The peers by key.
    pub(crate) const fn peers(&self) -> &BTreeMap<Public, Peer> {
        &self.peers
    }

    /// Applies a request. Peers that `replace_peers` names again keep their sessions, as nothing of them changes.
    pub(crate) fn apply(&mut self, set: &Set) {
        if let Some(key) = &set.private_key {
            self.private_key = (!key.is_zero()).then(|| key.clone());
        }
        self.listen_port = set.listen_port.unwrap_or(self.listen_port);
        self.fwmark = set.fwmark.unwrap_or(self.fwmark);
        if set.replace_peers {
            let named: BTreeSet<Public> = set.peers.iter().map(|peer| peer.key).collect();
            let unnamed: Vec<Public> =
                self.peers.keys().filter(|key| !named.contains(*key)).copied().collect();
            unnamed.iter().for_each(|key| self.remove(key));
            for peer in self.peers.values_mut() {
                let endpoint = peer.endpoint;
                *peer = Peer { endpoint, ..Peer::default() };
            }
            self.owners.clear();
        }
        for change in &set.peers {
            self.change(change);
        }
        // A device is never its own peer (`drivers/net/wireguard/netlink.c`, wg_set_device).
        if let Some(own) = self.private_key.as_ref().map(SecretKey::public) {
            self.remove(&own);
        }
    }

    /// Takes over where the peers really are, so that the file and the next request start from there.
    pub(crate) fn learn_endpoints(&mut self, status: &BTreeMap<Public, PeerStatus>) {
        for (key, peer) in &mut self.peers {
            peer.endpoint = status.get(key).and_then(|s| s.endpoint).or(peer.endpoint);
        }
    }

    fn change(&mut self, change: &PeerSet) {
        if change.remove {
            self.remove(&change.key);
            return;
        }
        if change.update_only && !self.peers.contains_key(&change.key) {
            return;
        }
        let peer = self.peers.entry(change.key).or_default();
        if let Some(key) = &change.preshared_key {
            peer.preshared_key = (!key.is_zero()).then(|| key.clone());
        }
        peer.endpoint = change.endpoint.or(peer.endpoint);
        peer.keepalive = change.keepalive.unwrap_or(peer.keepalive);
        if change.replace_allowed {
            for range in std::mem::take(&mut peer.allowed) {
                self.owners.remove(&range);
            }
        }
        for allowed in &change.allowed {
            match *allowed {
                AllowedSet::Add(range) => self.give(change.key, range),
                AllowedSet::Remove(range) => self.take(change.key, range),
            }
        }
    }

    fn give(&mut self, key: Public, range: IpNet) {
        if let Some(former) = self.owners.insert(range, key)
            && let Some(peer) = self.peers.get_mut(&former)
        {
            peer.allowed.remove(&range);
        }
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.allowed.insert(range);
        }
    }

    fn take(&mut self, key: Public, range: IpNet) {
        if self.owners.get(&range) == Some(&key) {
            self.owners.remove(&range);
        }
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.allowed.remove(&range);
        }
    }

    fn remove(&mut self, key: &Public) {
        for range in self.peers.remove(key).map(|peer| peer.allowed).unwrap_or_default() {
            self.owners.remove(&range);
        }
    }

    /// The lines of a set that makes this table out of an empty one.
    pub(crate) fn to_set_text(&self) -> Zeroizing<String> {
        let mut text = self.device_text();
        for (key, peer) in &self.peers {
            peer_text(&mut text, key, peer, peer.endpoint);
            allowed_text(&mut text, peer);
        }
        text
    }

    /// The answer to a get, with the status of each peer that the engine knows.
    pub(crate) fn to_get_text(&self, status: &BTreeMap<Public, PeerStatus>) -> Zeroizing<String> {
        let mut text = self.device_text();
        for (key, peer) in &self.peers {
            let status = status.get(key).copied().unwrap_or_default();
            peer_text(&mut text, key, peer, status.endpoint.or(peer.endpoint));
            let handshake = status.last_handshake.unwrap_or_default();
            line(&mut text, "protocol_version", 1);
            line(&mut text, "last_handshake_time_sec", handshake.as_secs());
            line(&mut text, "last_handshake_time_nsec", handshake.subsec_nanos());
            line(&mut text, "tx_bytes", status.tx_bytes);
            line(&mut text, "rx_bytes", status.rx_bytes);
            allowed_text(&mut text, peer);
        }
        text.push_str("errno=0\n\n");
        text
    }

    fn device_text(&self) -> Zeroizing<String> {
        // Large enough for most devices, so that growing leaves few copies of the key behind.
        let mut text = Zeroizing::new(String::with_capacity(256 + 512 * self.peers.len()));
        if let Some(key) = &self.private_key {
            hex_line(&mut text, "private_key", key.expose());
        }
        if self.listen_port != 0 {
            line(&mut text, "listen_port", self.listen_port);
        }
        if self.fwmark != 0 {
            line(&mut text, "fwmark", self.fwmark);
        }
        text
    }
}

fn peer_text(text: &mut String, key: &Public, peer: &Peer, endpoint: Option<SocketAddr>) {
    hex_line(text, "public_key", key);
    if let Some(preshared) = &peer.preshared_key {
        hex_line(text, "preshared_key", preshared.expose());
    }
    if let Some(endpoint) = endpoint {
        line(text, "endpoint", endpoint);
    }
    line(text, "persistent_keepalive_interval", peer.keepalive);
}

fn allowed_text(text: &mut String, peer: &Peer) {
    for range in &peer.allowed {
        line(text, "allowed_ip", range);
    }
}

fn hex_line(text: &mut String, name: &str, bytes: &[u8; 32]) {
    text.push_str(name);
    text.push('=');
    push_hex(text, bytes);
    text.push('\n');
}

fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{name}={value}");
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
