//! After damage of the journal: pods that only the kernel knows are taken over, so that their addresses aren't given out
//! a second time. Who they are is in their notes.
//!
//! Without a note the container's id is lost: a DEL finds nothing and succeeds, and the pod is forgotten when its namespace
//! is gone.

use std::{collections::BTreeMap, net::IpAddr};

use weft_errors::{Coded, Error};
use weft_ipam::{Holding, Origin, Serving};
use weft_model::{AttachmentId, Family, Labels, Name, NamespaceName, PodName};
use weft_plan::{Executor, Link, LinkKey, LinkValue, PortState};

use crate::{
    addresses::{Addresses, Durability},
    clock,
    notes::Notes,
};

/// Takes over every pod link of the kernel that the ledger doesn't know.
pub(crate) fn adopt_from_kernel(addresses: &Addresses, primary: Family, notes: &Notes) -> Result<(), Error> {
    let mut executor = weft_kernel::LinkExecutor::open().map_err(|e| e.envelope())?;
    let seen = Executor::<Link>::observe(&mut executor, &[]).map_err(|e| e.envelope())?;
    for holding in lost_pods(&seen, primary)? {
        let known = addresses.read(|ledger| ledger.holdings().any(|h| h.uid == holding.uid));
        if known {
            continue;
        }
        // What the kernel shows now counts more than what was noted once.
        let holding = match notes.read(holding.uid) {
            Some(noted) if noted.link == holding.link => {
                Holding { addresses: holding.addresses, mac: holding.mac, mtu: holding.mtu, ..noted }
            }
            Some(_) | None => holding,
        };
        let pod = holding.pod.clone();
        let (adopted, _) = addresses.change(Durability::Durable, |ledger| {
            let entries = ledger.adopt(&holding);
            (!entries.is_empty(), entries)
        });
        tracing::warn!(%pod, adopted, "a pod was found in the kernel that the journal had lost");
    }
    Ok(())
}

/// Pods as the kernel shows them: port, hardware address, neighbours.
fn lost_pods(seen: &[(LinkKey, LinkValue)], primary: Family) -> Result<Vec<Holding>, Error> {
    let mut macs: BTreeMap<&str, [u8; 6]> = BTreeMap::new();
    let mut addresses: BTreeMap<[u8; 6], Vec<IpAddr>> = BTreeMap::new();
    for (key, value) in seen {
        match (key, value) {
            (LinkKey::Forwarding(mac), LinkValue::Forwarding { port }) => drop(macs.insert(port, *mac)),
            (LinkKey::Neighbour(address), LinkValue::Neighbour { mac }) => {
                addresses.entry(*mac).or_default().push(*address)
            }
            _ => {}
        }
    }
    // Neighbours come in no order that means anything.
    addresses.values_mut().for_each(|list| list.sort_by_key(|a| (Family::of(*a) != primary, *a)));
    let ports = seen.iter().filter_map(|(key, value)| match (key, value) {
        (LinkKey::Port(name), LinkValue::Port(state)) => Some((name, state)),
        _ => None,
    });
    ports.map(|(name, state)| holding(name, state, &macs, &addresses)).collect()
}

fn holding(
    link: &str,
    port: &PortState,
    macs: &BTreeMap<&str, [u8; 6]>,
    addresses: &BTreeMap<[u8; 6], Vec<IpAddr>>,
) -> Result<Holding, Error> {
    let mac = macs.get(link).copied().unwrap_or_else(|| weft_plan::pod_mac(port.uid));
    let named = |e: weft_model::NameError| Error::new(&weft_errors::INTERNAL, e.to_string());
    let pod = PodName {
        namespace: NamespaceName::new("default").map_err(named)?,
        name: Name::new(format!("recovered-{}", port.uid)).map_err(named)?,
    };
    Ok(Holding {
        attachment: AttachmentId { container: format!("recovered-{}", port.uid), interface: link.to_owned() },
        uid: port.uid,
        pod,
        labels: Labels::new(),
        addresses: addresses.get(&mac).cloned().unwrap_or_default(),
        netns: String::new(),
        link: link.to_owned(),
        mac,
        mtu: port.mtu,
        origin: Origin::Cni { network: String::new() },
        created: clock::wall(),
        attached: true,
        serving: Serving::default(),
    })
}

#[cfg(test)]
mod tests {
    use weft_model::PodUid;

    use super::*;

    #[test]
    fn a_pod_is_put_together_from_what_the_kernel_shows() {
        let (uid, mac) = (PodUid([7; 16]), [2, 0, 0, 0, 0, 9]);
        let port = PortState { uid, mtu: 1400, up: true, guarded: true };
        let (v4, v6) = ("10.1.0.9".parse().unwrap(), "fd00::9".parse().unwrap());
        let seen = [
            (LinkKey::Port("wv01020304".to_owned()), LinkValue::Port(port)),
            (LinkKey::Forwarding(mac), LinkValue::Forwarding { port: "wv01020304".to_owned() }),
            (LinkKey::Neighbour(v4), LinkValue::Neighbour { mac }),
            (LinkKey::Neighbour(v6), LinkValue::Neighbour { mac }),
        ];
        for (primary, addresses) in [(Family::V4, [v4, v6]), (Family::V6, [v6, v4])] {
            let found = lost_pods(&seen, primary).unwrap();
            let [holding] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!((holding.uid, holding.mac, holding.mtu), (uid, mac, 1400));
            assert_eq!((holding.link.as_str(), holding.addresses.as_slice()), ("wv01020304", &addresses[..]));
        }
    }
}
