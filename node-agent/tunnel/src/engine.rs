//! The WireGuard engine (gotatun) kept equal to the table.
//!
//! In: two tables, the one that holds and the one that shall. Out: the engine changed by the difference alone, so that
//! peers keep their sessions. Not here: what a request means (table.rs).
//!
//! Peculiarities of gotatun 0.10.2 that are hidden here: a device without private key panics when it gets a peer or a
//! socket, so there is no device until there is a key; a device built with peers binds at once, one built without never,
//! so it is built empty and then changed; a rebind may end the old tasks with an error that stays for ever and looks like
//! the device's own, so another key or port means another device; clearing all peers rebinds the socket, so they are removed one by one; a range
//! that moves stays in its former peer's own list and comes back with that peer's next change, so both are changed.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use futures_util::future::join_all;
use gotatun::{
    device::{Device, DeviceBuilder, Error as DeviceError, Peer as EnginePeer, configure::PeerMut},
    x25519::{PublicKey, StaticSecret},
};
use tokio::time::timeout;

use crate::{
    key::{Public, SecretKey},
    limits,
    link::TunLink,
    socket::MeshSockets,
    table::{Peer, PeerStatus, Table},
};

type Transports = (MeshSockets, TunLink, TunLink);

/// Why the engine refuses a change.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The UDP port is taken.
    #[error("UDP port {port} is in use")]
    PortInUse {
        /// The port.
        port: u16,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// The engine: running while there is a private key.
pub(crate) struct Engine {
    link: TunLink,
    device: Option<Device<Transports>>,
}

impl Engine {
    /// An engine that does nothing yet.
    pub(crate) const fn new(link: TunLink) -> Self {
        Self { link, device: None }
    }

    /// Changes the engine from `before` to `after`; answers the UDP port it listens on.
    ///
    /// After an error it is as `before` again, without sessions, or stopped if even that is refused.
    pub(crate) async fn change(&mut self, before: &Table, after: &Table) -> Result<u16, EngineError> {
        let changed = self.try_change(before, after).await;
        if changed.is_err() {
            self.stop().await;
            if let Some(key) = &before.private_key
                && let Err(error) = self.start(key, before).await
            {
                tracing::error!(%error, "the former configuration can't be restored either");
            }
        }
        changed
    }

    async fn try_change(&mut self, before: &Table, after: &Table) -> Result<u16, EngineError> {
        match (&self.device, &after.private_key) {
            (_, None) => {
                self.stop().await;
                Ok(after.listen_port)
            }
            (Some(device), Some(_)) if keeps_socket(before, after) => {
                modify(device, None, before, after).await
            }
            (_, Some(key)) => {
                self.stop().await;
                self.start(key, after).await
            }
        }
    }

    /// Builds the device and greets the peers: sessions of a former device or process are of no use to this one.
    async fn start(&mut self, key: &SecretKey, table: &Table) -> Result<u16, EngineError> {
        let mut builder = DeviceBuilder::new()
            .with_udp(MeshSockets)
            .with_ip(self.link.clone())
            .with_listen_port(table.listen_port);
        if table.fwmark != 0 {
            builder = builder.with_fwmark(table.fwmark);
        }
        let device = builder.build().await.map_err(|e| refusal(e, table.listen_port))?;
        // What the builder has already been told.
        let mut built = Table::default();
        built.listen_port = table.listen_port;
        built.fwmark = table.fwmark;
        let port = modify(&device, Some(key), &built, table).await?;
        greet(&device, table).await;
        self.device = Some(device);
        Ok(port)
    }

    /// What the engine knows of its peers.
    pub(crate) async fn status(&self) -> BTreeMap<Public, PeerStatus> {
        let Some(device) = &self.device else { return BTreeMap::new() };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let status = device.peers().await.into_iter().map(|known| {
            let status = PeerStatus {
                endpoint: known.peer.endpoint,
                last_handshake: known.stats.last_handshake.map(|age| now.saturating_sub(age)),
                rx_bytes: u64::try_from(known.stats.rx_bytes).unwrap_or(u64::MAX),
                tx_bytes: u64::try_from(known.stats.tx_bytes).unwrap_or(u64::MAX),
            };
            (known.peer.public_key.to_bytes(), status)
        });
        status.collect()
    }

    /// Waits until the engine can't go on; for ever while it isn't running.
    pub(crate) async fn failed(&mut self) {
        match &mut self.device {
            Some(device) => device.wait().await,
            None => std::future::pending().await,
        }
    }

    /// Stops it; peers and sessions are forgotten.
    pub(crate) async fn stop(&mut self) {
        if let Some(device) = self.device.take() {
            device.stop().await;
        }
    }
}

/// Starts a handshake with every peer whose endpoint is known: the peers still send under sessions that died with the
/// former process, and would notice it only after 15 s.
async fn greet(device: &Device<Transports>, table: &Table) {
    let keys: Vec<PublicKey> = table
        .peers()
        .iter()
        .filter(|(_, peer)| peer.endpoint.is_some())
        .map(|(key, _)| PublicKey::from(*key))
        .collect();
    for group in keys.chunks(limits::HANDSHAKES) {
        // The initiation leaves at the first poll; giving up the wait afterwards takes nothing back.
        join_all(group.iter().map(|key| timeout(limits::HANDSHAKE_PATIENCE, device.force_handshake(key))))
            .await;
    }
}

/// Whether the socket and the sessions may stay.
fn keeps_socket(before: &Table, after: &Table) -> bool {
    before.private_key == after.private_key && before.listen_port == after.listen_port
}

/// All of one change happens under the engine's write lock: no packet sees half of it.
async fn modify(
    device: &Device<Transports>,
    new_key: Option<&SecretKey>,
    before: &Table,
    after: &Table,
) -> Result<u16, EngineError> {
    let gone: Vec<PublicKey> = before
        .peers()
        .keys()
        .filter(|key| !after.peers().contains_key(*key))
        .map(|k| PublicKey::from(*k))
        .collect();
    let mut known = Vec::new();
    let mut fresh = Vec::new();
    for (key, wanted) in after.peers() {
        match before.peers().get(key) {
            None => fresh.push(engine_peer(key, wanted)?),
            Some(former) if former != wanted => {
                known.push((engine_peer(key, wanted)?, former.clone(), wanted.clone()))
            }
            Some(_) => {}
        }
    }
    let new_key = new_key.map(|key| StaticSecret::from(*key.expose()));
    let new_mark = (before.fwmark != after.fwmark).then_some(after.fwmark);
    let marked = device
        .write(async move |device| {
            if let Some(key) = new_key {
                device.set_private_key(key).await;
            }
            for key in &gone {
                device.remove_peer(key).await;
            }
            for (peer, former, wanted) in known {
                device
                    .modify_peer(&peer.public_key, |change| differences(change, &peer, &former, &wanted))
                    .await;
            }
            for peer in fresh {
                device.add_peer(peer);
            }
            new_mark.map_or(Ok(()), |mark| device.set_fwmark(mark))
        })
        .await
        .map_err(|e| refusal(e, after.listen_port))?;
    marked.map_err(|e| refusal(e, after.listen_port))?;
    Ok(device.read(async |device| device.listen_port()).await)
}

fn differences(change: &mut PeerMut, peer: &EnginePeer, former: &Peer, wanted: &Peer) {
    if former.preshared_key != wanted.preshared_key {
        change.set_preshared_key(peer.preshared_key);
    }
    if former.endpoint != wanted.endpoint {
        change.set_endpoint(peer.endpoint);
    }
    if former.keepalive != wanted.keepalive {
        change.set_keepalive(peer.keepalive);
    }
    if former.allowed != wanted.allowed {
        change.clear_allowed_ips();
        change.add_allowed_ips(peer.allowed_ips.iter().copied());
    }
}

fn engine_peer(key: &Public, peer: &Peer) -> Result<EnginePeer, EngineError> {
    let mut built = EnginePeer::new(PublicKey::from(*key));
    built.endpoint = peer.endpoint;
    built.preshared_key = peer.preshared_key.as_ref().map(|key| *key.expose());
    built.keepalive = (peer.keepalive != 0).then_some(peer.keepalive);
    for range in &peer.allowed {
        // By way of text: the engine's own type of ranges is not one of our dependencies.
        let range =
            range.to_string().parse().map_err(|_| EngineError::Other(format!("it refuses range {range}")))?;
        built.allowed_ips.push(range);
    }
    Ok(built)
}

fn refusal(error: DeviceError, port: u16) -> EngineError {
    if let DeviceError::Bind(source, _) = &error
        && source.kind() == std::io::ErrorKind::AddrInUse
    {
        return EngineError::PortInUse { port };
    }
    EngineError::Other(error.to_string())
}
