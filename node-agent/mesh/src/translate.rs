//! wireguard-control's types ↔ ours.

use std::{collections::BTreeMap, time::SystemTime};

use ipnet::IpNet;
use weft_model::{AddressRange, Secret, WireguardKey};
use weft_plan::{DeviceState, PeerChange, PeerState, PeerStep};
use wireguard_control as wg;

use crate::Error;

/// Ranges of one peer in one entry of a request: the kernel's messages end at 8 KiB and one entry must fit, with
/// IPv6 addresses ~200; the rest follows in further entries of the same key.
const RANGES_PER_ENTRY: usize = 128;

/// The public key that belongs to a private key.
pub fn public_key(private: &Secret<[u8; 32]>) -> WireguardKey {
    WireguardKey(wg::Key(*private.expose()).get_public().0)
}

/// The steps as one request.
pub(crate) fn update_of(
    device: &str,
    steps: &[PeerStep],
    private: &Secret<[u8; 32]>,
) -> Result<wg::DeviceUpdate, Error> {
    let mut update = wg::DeviceUpdate::new();
    for step in steps {
        update = match step {
            PeerStep::SetKey(key) if *key == public_key(private) => {
                update.set_private_key(wg::Key(*private.expose()))
            }
            PeerStep::SetKey(_) => return Err(Error::ForeignKey { device: device.to_owned() }),
            PeerStep::SetListenPort(port) => update.set_listen_port(*port),
            PeerStep::AddPeer(change) | PeerStep::UpdatePeer(change) => {
                entries(change).into_iter().fold(update, wg::DeviceUpdate::add_peer)
            }
            PeerStep::RemovePeer(key) => update.remove_peer_by_key(&wg::Key(key.0)),
        };
    }
    Ok(update)
}

fn entries(change: &PeerChange) -> Vec<wg::PeerConfigBuilder> {
    let key = wg::Key(change.key.0);
    let mut first = wg::PeerConfigBuilder::new(&key);
    if let Some(endpoint) = change.endpoint {
        first = first.set_endpoint(endpoint);
    }
    if let Some(secs) = change.keepalive_secs {
        first = first.set_persistent_keepalive_interval(secs);
    }
    if change.clear_preshared {
        first = first.unset_preshared_key();
    }
    if change.replace_allowed {
        first = first.replace_allowed_ips();
    }
    let ranges: Vec<AddressRange> = change.allowed.iter().copied().collect();
    let mut chunks = ranges.chunks(RANGES_PER_ENTRY);
    let with = |entry: wg::PeerConfigBuilder, ranges: &[AddressRange]| {
        ranges.iter().fold(entry, |entry, range| entry.add_allowed_ip(range.first(), range.prefix()))
    };
    let mut entries = vec![with(first, chunks.next().unwrap_or_default())];
    entries.extend(chunks.map(|ranges| with(wg::PeerConfigBuilder::new(&key), ranges)));
    entries
}

/// What a device shows. A peer that came in two parts is one, an all-zero pre-shared key is none.
pub(crate) fn state_of(name: &str, device: wg::Device, now: SystemTime) -> Result<DeviceState, Error> {
    let key = device.private_key.filter(|key| key.0 != [0; 32]).map(|key| WireguardKey(key.get_public().0));
    let peers = peers_of(name, device.peers, now)?;
    Ok(DeviceState { key, listen_port: device.listen_port.unwrap_or(0), peers })
}

fn peers_of(
    name: &str,
    shown: Vec<wg::PeerInfo>,
    now: SystemTime,
) -> Result<BTreeMap<WireguardKey, PeerState>, Error> {
    let mut peers: BTreeMap<WireguardKey, PeerState> = BTreeMap::new();
    for info in shown {
        let peer = peers.entry(WireguardKey(info.config.public_key.0)).or_default();
        peer.endpoint = info.config.endpoint.or(peer.endpoint);
        peer.keepalive_secs = info.config.persistent_keepalive_interval.unwrap_or(peer.keepalive_secs);
        peer.preshared |= info.config.preshared_key.is_some_and(|key| key.0 != [0; 32]);
        // A clock that went back makes a handshake of the future: it counts as just done.
        let age = info.stats.last_handshake_time.map(|at| now.duration_since(at).unwrap_or_default());
        peer.handshake_age = age.or(peer.handshake_age);
        peer.rx_bytes = peer.rx_bytes.max(info.stats.rx_bytes);
        peer.tx_bytes = peer.tx_bytes.max(info.stats.tx_bytes);
        for allowed in info.config.allowed_ips {
            peer.allowed.insert(range_of(name, &allowed)?);
        }
    }
    Ok(peers)
}

fn range_of(device: &str, allowed: &wg::AllowedIp) -> Result<AddressRange, Error> {
    IpNet::new(allowed.address, allowed.cidr)
        .ok()
        .and_then(|net| AddressRange::new(net.trunc()).ok())
        .ok_or_else(|| Error::Unreadable {
            device: device.to_owned(),
            what: format!("allowed range {allowed:?}"),
        })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use weft_model::NodeName;

    use super::*;

    fn change(ranges: usize, replace_allowed: bool) -> PeerChange {
        let allowed: BTreeSet<AddressRange> =
            (0..ranges).map(|i| format!("10.{}.{}.0/24", i / 256, i % 256).parse().unwrap()).collect();
        PeerChange {
            key: WireguardKey([2; 32]),
            node: NodeName::new("n2").unwrap(),
            endpoint: Some("10.0.0.2:51820".parse().unwrap()),
            keepalive_secs: None,
            clear_preshared: false,
            replace_allowed,
            allowed,
        }
    }

    #[test]
    fn long_lists_are_cut_and_replaced_once() {
        for (ranges, expected) in [(0, 1), (1, 1), (128, 1), (129, 2), (1000, 8)] {
            let entries = entries(&change(ranges, true));
            assert_eq!(entries.len(), expected, "{ranges}");
            let texts: Vec<String> = entries.iter().map(|e| format!("{e:?}")).collect();
            assert_eq!(texts.iter().filter(|t| t.contains("replace_allowed_ips: true")).count(), 1);
            assert_eq!(texts.iter().filter(|t| t.contains("endpoint: Some")).count(), 1);
            assert_eq!(texts.iter().map(|t| t.matches("/24").count()).sum::<usize>(), ranges);
        }
    }

    #[test]
    fn a_key_that_is_not_held_is_refused() {
        let private = Secret::new([7; 32]);
        let own = public_key(&private);
        assert!(update_of("weft0", &[PeerStep::SetKey(own)], &private).is_ok());
        let error = update_of("weft0", &[PeerStep::SetKey(WireguardKey([1; 32]))], &private).unwrap_err();
        assert!(matches!(error, Error::ForeignKey { .. }));
        assert!(!format!("{error:?} {error}").contains("7, 7"));
    }

    #[test]
    fn parts_of_a_peer_become_one_and_a_zero_key_is_none() {
        let mut peer = wg::PeerInfo::from_public_key(wg::Key([2; 32]));
        peer.config.preshared_key = Some(wg::Key::zero());
        peer.config.allowed_ips = vec!["10.1.0.0/24".parse().unwrap()];
        let now = SystemTime::now();
        peer.stats.last_handshake_time = Some(now - Duration::from_secs(9));
        let mut more = wg::PeerInfo::from_public_key(wg::Key([2; 32]));
        more.config.allowed_ips = vec!["10.2.0.0/24".parse().unwrap(), "fd00::1/128".parse().unwrap()];
        let peers = peers_of("weft0", vec![peer, more], now).unwrap();
        assert_eq!(peers.len(), 1);
        let peer = &peers[&WireguardKey([2; 32])];
        assert_eq!((peer.allowed.len(), peer.preshared), (3, false));
        assert_eq!(peer.handshake_age, Some(Duration::from_secs(9)));
    }
}
