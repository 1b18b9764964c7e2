//! The WireGuard device of a node: what it should be, and the smallest steps from what it is.
//!
//! In: the fabric's peers, this node's name and public key, the observed device. Out: [`PeerStep`]s for weft-mesh.
//! Not here: private keys (the steps name public ones; weft-mesh holds the secret), sockets, clocks.
//! Invariants: allowed ranges of two peers never overlap; an equal state gives no steps; after the steps nothing is
//! pending; an address moves by being added to its new peer, which takes it over, so no packet finds no peer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    time::Duration,
};

use weft_errors::{Code, Coded};
use weft_model::{AddressRange, NodeName, PeerItem, WireguardKey};

use crate::Sweep;

/// A peer's endpoint is left alone while its last handshake is younger: WireGuard rejects sessions from this age on
/// (`REJECT_AFTER_TIME`), so an endpoint without a younger handshake carries nothing.
pub const HANDSHAKE_STALE: Duration = Duration::from_secs(180);

/// Persistent keepalive of every peer, in seconds; 0 is off.
///
/// Both ends know each other's endpoint from the control plane and may start a handshake, so nothing has to be kept
/// open; a mesh at rest is silent, also with a thousand peers.
pub const KEEPALIVE_SECS: u16 = 0;

/// What a node knows of its own device before it talks to anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalDevice {
    /// Name of the device: `weft0`, or `weft1` during a key rotation.
    pub name: String,
    /// Public key that belongs to the device's private key.
    pub key: WireguardKey,
    /// UDP port that it listens on.
    pub listen_port: u16,
}

/// The device as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceConfig {
    /// Name of the device.
    pub name: String,
    /// Its public key.
    pub key: WireguardKey,
    /// UDP port that it listens on.
    pub listen_port: u16,
    /// Its peers by public key.
    pub peers: BTreeMap<WireguardKey, PeerConfig>,
}

/// One peer as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// Which node it is.
    pub node: NodeName,
    /// Where it listens, as far as the control plane knows.
    pub endpoint: Option<SocketAddr>,
    /// What may come from it and goes to it.
    pub allowed: BTreeSet<AddressRange>,
    /// Persistent keepalive in seconds, 0 off.
    pub keepalive_secs: u16,
}

/// The device as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceState {
    /// Its public key; without one it has no private key yet.
    pub key: Option<WireguardKey>,
    /// UDP port that it listens on; 0 when it listens on none.
    pub listen_port: u16,
    /// Its peers by public key.
    pub peers: BTreeMap<WireguardKey, PeerState>,
}

/// One peer as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerState {
    /// Where its last authenticated packet came from, or what was set.
    pub endpoint: Option<SocketAddr>,
    /// Its allowed ranges.
    pub allowed: BTreeSet<AddressRange>,
    /// Persistent keepalive in seconds, 0 off.
    pub keepalive_secs: u16,
    /// Whether it has a pre-shared key.
    pub preshared: bool,
    /// Time since the last handshake; `None` before the first. Userspace devices know whole seconds only.
    pub handshake_age: Option<Duration>,
    /// Bytes received from it, with WireGuard's own.
    pub rx_bytes: u64,
    /// Bytes sent to it, with WireGuard's own.
    pub tx_bytes: u64,
}

impl PeerState {
    /// Whether its session may still carry packets, so that its endpoint works.
    pub fn is_alive(&self) -> bool {
        self.handshake_age.is_some_and(|age| age < HANDSHAKE_STALE)
    }
}

/// What one step changes on a peer; absent parts stay as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerChange {
    /// Its public key.
    pub key: WireguardKey,
    /// Which node it is, for people.
    pub node: NodeName,
    /// New endpoint.
    pub endpoint: Option<SocketAddr>,
    /// New persistent keepalive in seconds.
    pub keepalive_secs: Option<u16>,
    /// Whether a pre-shared key that nobody wants is taken off.
    pub clear_preshared: bool,
    /// Whether `allowed` replaces the list (packets drop for that moment) instead of adding to it.
    pub replace_allowed: bool,
    /// Ranges to add, taken over from whichever peer has them; or the whole list.
    pub allowed: BTreeSet<AddressRange>,
}

impl PeerChange {
    fn is_nothing(&self) -> bool {
        self.endpoint.is_none()
            && self.keepalive_secs.is_none()
            && !self.clear_preshared
            && !self.replace_allowed
            && self.allowed.is_empty()
    }
}

/// One change of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerStep {
    /// Set the private key that belongs to this public one.
    SetKey(WireguardKey),
    /// Listen on this UDP port.
    SetListenPort(u16),
    /// A peer that isn't there yet.
    AddPeer(PeerChange),
    /// A peer that is there.
    UpdatePeer(PeerChange),
    /// A peer that nobody wants.
    RemovePeer(WireguardKey),
}

impl fmt::Display for PeerStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetKey(key) => write!(f, "set the key to {key:?}"),
            Self::SetListenPort(port) => write!(f, "listen on UDP {port}"),
            Self::AddPeer(change) => write!(f, "add {change}"),
            Self::UpdatePeer(change) => write!(f, "change {change}"),
            Self::RemovePeer(key) => write!(f, "remove peer {key:?}"),
        }
    }
}

impl fmt::Display for PeerChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer {} ({:?})", self.node, self.key)?;
        if let Some(endpoint) = self.endpoint {
            write!(f, ", endpoint {endpoint}")?;
        }
        if let Some(keepalive) = self.keepalive_secs {
            write!(f, ", keepalive {keepalive} s")?;
        }
        if self.clear_preshared {
            f.write_str(", no pre-shared key")?;
        }
        match (self.replace_allowed, self.allowed.len()) {
            (true, count) => write!(f, ", {count} ranges instead of all"),
            (false, 0) => Ok(()),
            (false, count) => write!(f, ", {count} ranges more"),
        }
    }
}

/// Why no device can be made of the fabric's peers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// Two nodes claim the same addresses: WireGuard would silently give them to whoever is set last.
    #[error("allowed range {first_range} of node {first} overlaps {second_range} of node {second}")]
    Overlap {
        /// One node.
        first: NodeName,
        /// Its range.
        first_range: AddressRange,
        /// The other node; the same one when its own list is at fault.
        second: NodeName,
        /// Its range.
        second_range: AddressRange,
    },
    /// Two nodes have the same public key.
    #[error("nodes {first} and {second} have the same WireGuard key")]
    SameKey {
        /// One node.
        first: NodeName,
        /// The other.
        second: NodeName,
    },
}

impl Coded for PeerError {
    fn code(&self) -> &'static Code {
        &weft_errors::MESH_FAILED
    }

    fn envelope(&self) -> weft_errors::Error {
        let (Self::Overlap { second, .. } | Self::SameKey { second, .. }) = self;
        weft_errors::Error::new(self.code(), self.to_string()).object("node", "", second).try_this(
            "the mesh stays as it is; remove one of the two nodes and let it join again",
            format!("weft node remove {second}"),
        )
    }
}

/// The device that this node should have. Peers without a key are left out: there is no tunnel to them yet.
pub fn desired_device(
    own: &NodeName,
    local: &LocalDevice,
    peers: &BTreeMap<NodeName, PeerItem>,
) -> Result<DeviceConfig, PeerError> {
    disjoint(peers.values())?;
    let mut config = DeviceConfig {
        name: local.name.clone(),
        key: local.key,
        listen_port: local.listen_port,
        peers: BTreeMap::new(),
    };
    for peer in peers.values().filter(|peer| peer.node != *own) {
        let Some(key) = peer.wireguard_key else { continue };
        if key == local.key {
            return Err(PeerError::SameKey { first: own.clone(), second: peer.node.clone() });
        }
        let wanted = PeerConfig {
            node: peer.node.clone(),
            endpoint: peer.endpoint,
            allowed: peer.allowed.iter().copied().collect(),
            keepalive_secs: KEEPALIVE_SECS,
        };
        if let Some(other) = config.peers.insert(key, wanted) {
            return Err(PeerError::SameKey { first: other.node, second: peer.node.clone() });
        }
    }
    Ok(config)
}

/// Checks that no two allowed ranges share an address: sorted, an overlap is always one of neighbours.
fn disjoint<'a>(peers: impl Iterator<Item = &'a PeerItem>) -> Result<(), PeerError> {
    let mut ranges: Vec<(AddressRange, &NodeName)> =
        peers.flat_map(|peer| peer.allowed.iter().map(move |range| (*range, &peer.node))).collect();
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        let [(first_range, first), (second_range, second)] = pair else { continue };
        if first_range.overlaps(*second_range) {
            return Err(PeerError::Overlap {
                first: (*first).clone(),
                first_range: *first_range,
                second: (*second).clone(),
                second_range: *second_range,
            });
        }
    }
    Ok(())
}

/// The smallest steps from `observed` to `desired`, in an order in which new things come before old ones go.
pub fn peer_steps(observed: &DeviceState, desired: &DeviceConfig, sweep: Sweep) -> Vec<PeerStep> {
    let mut steps = Vec::new();
    if observed.key != Some(desired.key) {
        steps.push(PeerStep::SetKey(desired.key));
    }
    if observed.listen_port != desired.listen_port {
        steps.push(PeerStep::SetListenPort(desired.listen_port));
    }
    let wanted_ranges: BTreeSet<AddressRange> =
        desired.peers.values().flat_map(|peer| peer.allowed.iter().copied()).collect();
    let mut replacements = Vec::new();
    for (key, wanted) in &desired.peers {
        match observed.peers.get(key) {
            None => steps.push(PeerStep::AddPeer(new_peer(*key, wanted))),
            Some(actual) => {
                let change = change_of(*key, wanted, actual);
                // A range that another peer wants is taken over by that peer's own step.
                let leaves = actual.allowed.iter().any(|range| !wanted_ranges.contains(range));
                if leaves && sweep == Sweep::Allowed {
                    replacements.push(PeerStep::UpdatePeer(replacement(*key, wanted)));
                }
                if !change.is_nothing() {
                    steps.push(PeerStep::UpdatePeer(change));
                }
            }
        }
    }
    // Lists are replaced once every range that moves has been taken over by its new peer.
    steps.append(&mut replacements);
    if sweep == Sweep::Allowed {
        let gone = observed.peers.keys().filter(|key| !desired.peers.contains_key(key));
        steps.extend(gone.map(|key| PeerStep::RemovePeer(*key)));
    }
    steps
}

fn new_peer(key: WireguardKey, wanted: &PeerConfig) -> PeerChange {
    PeerChange {
        key,
        node: wanted.node.clone(),
        endpoint: wanted.endpoint,
        keepalive_secs: (wanted.keepalive_secs != 0).then_some(wanted.keepalive_secs),
        clear_preshared: false,
        replace_allowed: false,
        allowed: wanted.allowed.clone(),
    }
}

fn change_of(key: WireguardKey, wanted: &PeerConfig, actual: &PeerState) -> PeerChange {
    PeerChange {
        key,
        node: wanted.node.clone(),
        endpoint: wanted.endpoint.filter(|_| endpoint_is_pending(wanted, actual)),
        keepalive_secs: (wanted.keepalive_secs != actual.keepalive_secs).then_some(wanted.keepalive_secs),
        clear_preshared: actual.preshared,
        replace_allowed: false,
        allowed: wanted.allowed.difference(&actual.allowed).copied().collect(),
    }
}

fn replacement(key: WireguardKey, wanted: &PeerConfig) -> PeerChange {
    PeerChange { endpoint: None, keepalive_secs: None, replace_allowed: true, ..new_peer(key, wanted) }
}

/// Endpoints are observed state: set when unknown, corrected only when the one there carries nothing.
fn endpoint_is_pending(wanted: &PeerConfig, actual: &PeerState) -> bool {
    match (wanted.endpoint, actual.endpoint) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(wanted), Some(actual_endpoint)) => wanted != actual_endpoint && !actual.is_alive(),
    }
}

impl DeviceState {
    /// What a device does with a step; WireGuard's own rules, for fakes and tests.
    pub fn apply(&mut self, step: &PeerStep) {
        match step {
            PeerStep::SetKey(key) => {
                self.key = Some(*key);
                self.peers.remove(key);
            }
            PeerStep::SetListenPort(port) => self.listen_port = *port,
            PeerStep::AddPeer(change) | PeerStep::UpdatePeer(change) => self.change(change),
            PeerStep::RemovePeer(key) => {
                self.peers.remove(key);
            }
        }
    }

    fn change(&mut self, change: &PeerChange) {
        for (_, other) in self.peers.iter_mut().filter(|(key, _)| **key != change.key) {
            other.allowed.retain(|range| !change.allowed.contains(range));
        }
        let peer = self.peers.entry(change.key).or_default();
        if change.replace_allowed {
            peer.allowed.clear();
        }
        peer.allowed.extend(change.allowed.iter().copied());
        peer.endpoint = change.endpoint.or(peer.endpoint);
        peer.keepalive_secs = change.keepalive_secs.unwrap_or(peer.keepalive_secs);
        peer.preshared &= !change.clear_preshared;
    }

    /// The first of `steps` whose effect this device doesn't show; `None` when all hold.
    ///
    /// Endpoints count as set when there is one: an authenticated packet may have moved it meanwhile.
    pub fn first_unmet<'a>(&self, steps: &'a [PeerStep]) -> Option<&'a PeerStep> {
        steps.iter().find(|step| match step {
            PeerStep::SetKey(key) => self.key != Some(*key),
            PeerStep::SetListenPort(port) => self.listen_port != *port,
            PeerStep::RemovePeer(key) => self.peers.contains_key(key),
            PeerStep::AddPeer(change) | PeerStep::UpdatePeer(change) => {
                self.peers.get(&change.key).is_none_or(|peer| !shows(peer, change))
            }
        })
    }
}

fn shows(peer: &PeerState, change: &PeerChange) -> bool {
    let allowed = if change.replace_allowed {
        peer.allowed == change.allowed
    } else {
        peer.allowed.is_superset(&change.allowed)
    };
    allowed
        && (change.endpoint.is_none() || peer.endpoint.is_some())
        && change.keepalive_secs.is_none_or(|secs| secs == peer.keepalive_secs)
        && !(change.clear_preshared && peer.preshared)
}

#[cfg(test)]
#[path = "peer_tests.rs"]
mod tests;
