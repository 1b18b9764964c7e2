//! The last good tables on disk: a process that starts without an agent answers as it did.
//!
//! Format: SHA-256 of the rest, then frames each with its length (varint): pods of this node, and the View's items as the
//! stream of the control plane carries them.

use std::path::Path;

use prost::Message;
use sha2::{Digest, Sha256};
use weft_errors::{Coded, Error, FILE_UNREADABLE};
use weft_model::Item;
use weft_proto::{
    convert::{Frame, ShapeError, snapshot_part},
    v1,
};
use weft_view::{Touched, Update, View};

use crate::{askers::Pods, limits};

const HASH: usize = 32;

/// What is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    /// The items that names come from.
    pub(crate) view: View,
    /// Pods of this node.
    pub(crate) pods: Pods,
}

/// Writes the tables so that after a crash the old or the new ones are there.
pub(crate) fn save(path: &Path, tables: &Tables) -> Result<(), Error> {
    weft_process::durable_replace(path, &encode(tables), weft_process::MODE_PRIVATE).map_err(|e| e.envelope())
}

/// The tables on disk with what they touch; `None` when there are none.
///
/// Fails when the file is there and can't be used: the caller begins without and says so.
pub(crate) fn load(path: &Path) -> Result<Option<(Tables, Touched)>, Error> {
    match weft_process::read_limited(path, limits::TABLES) {
        Ok(bytes) => decode(&bytes).map(Some).map_err(|why| {
            Error::new(&FILE_UNREADABLE, "the stored tables of names can't be used")
                .object("file", "", path.display())
                .because(why)
                .try_this("nothing must be done; the agent sends new ones", "")
        }),
        Err(error) if error.is_missing_file() => Ok(None),
        Err(error) => Err(error.envelope()),
    }
}

/// Part by part: a copy of everything would need several times the memory of the file.
fn encode(tables: &Tables) -> Vec<u8> {
    let mut bytes = vec![0; HASH];
    bytes.extend(tables.pods.to_wire().encode_length_delimited_to_vec());
    let mut items = tables.view.items().peekable();
    let mut first = true;
    loop {
        let part: Vec<Item> = items.by_ref().take(limits::ITEMS_PER_FRAME).collect();
        let last = items.peek().is_none();
        let frame = snapshot_part(tables.view.revision(), first, last, &part);
        bytes.extend(frame.encode_length_delimited_to_vec());
        if last {
            break;
        }
        first = false;
    }
    let hash = Sha256::digest(&bytes[HASH..]);
    bytes[..HASH].copy_from_slice(&hash);
    bytes
}

/// Leaves out what names don't come from: of 100,000 services most of what they take.
pub(crate) fn slim(item: Item) -> Item {
    match item {
        Item::Service(mut service) => {
            service.external_ips = Vec::new();
            service.load_balancer = Vec::new();
            service.source_ranges = Vec::new();
            // Names below a service are those of its endpoints only where it has no address of its own.
            if !service.addresses.is_empty() {
                service.endpoints = Vec::new();
            }
            Item::Service(service)
        }
        Item::Pod(mut pod) => {
            (pod.hostname, pod.subdomain) = (String::new(), String::new());
            Item::Pod(pod)
        }
        other @ (Item::Fabric(_)
        | Item::Peer(_)
        | Item::Route(_)
        | Item::Probe(_)
        | Item::Owner(_)
        | Item::Setup(_)
        | Item::Policy(_)
        | Item::Namespace(_)
        | Item::Identity(_)) => other,
    }
}

fn decode(bytes: &[u8]) -> Result<(Tables, Touched), String> {
    let (hash, mut body) = bytes.split_at_checked(HASH).ok_or("the file is cut")?;
    if Sha256::digest(body).as_slice() != hash {
        return Err("its checksum is wrong".to_owned());
    }
    let wire = v1::NamesPods::decode_length_delimited(&mut body).map_err(|e| e.to_string())?;
    let mut tables = Tables::default();
    tables.pods.change(wire).map_err(|e: ShapeError| e.to_string())?;
    let mut touched = Touched::default();
    while !body.is_empty() {
        let wire = v1::WatchResponse::decode_length_delimited(&mut body).map_err(|e| e.to_string())?;
        let Frame::Snapshot { revision, first, last, items } =
            wire.try_into().map_err(|e: ShapeError| e.to_string())?
        else {
            return Err("a frame isn't part of a snapshot".to_owned());
        };
        // Those of an earlier release are whole.
        let items = items.into_iter().map(slim).collect();
        let part = Update::SnapshotPart { revision, first, last, items };
        touched = tables.view.fold(part).map_err(|e| e.to_string())?;
    }
    Ok((tables, touched))
}

/// Whether an item is one that names come from; what the agent sends.
pub fn is_of_names(item: &Item) -> bool {
    match item {
        Item::Fabric(_) | Item::Peer(_) | Item::Service(_) | Item::Pod(_) => true,
        Item::Route(_)
        | Item::Probe(_)
        | Item::Owner(_)
        | Item::Setup(_)
        | Item::Policy(_)
        | Item::Namespace(_)
        | Item::Identity(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use weft_model::{EndpointItem, ObjectUid, PodItem, Revision, ServiceItem, ServiceType, TrafficPolicy};
    use weft_proto::convert::address_to_wire;

    use super::*;

    #[test]
    fn tables_survive_their_file_and_a_damaged_file_is_told() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("tables");
        assert!(load(&path).unwrap().is_none());
        let pod = |n: u8| PodItem {
            name: format!("shop/web-{n}").parse().unwrap(),
            addresses: vec![[10, 128, 0, n].into()],
            hostname: String::new(),
            subdomain: String::new(),
            identity: weft_model::IdentityId::default(),
        };
        let mut tables = Tables {
            view: View::restored(Revision(77), (1..=200).map(|n| Item::Pod(pod(n)))),
            pods: Pods::default(),
        };
        let own = v1::NamesPod {
            address: address_to_wire([10, 128, 0, 1].into()),
            pod: Some((&pod(1).name).into()),
            search: vec!["shop.svc.cluster.local".to_owned()],
        };
        tables.pods.change(v1::NamesPods { whole: true, came: vec![own], went: Vec::new() }).unwrap();
        save(&path, &tables).unwrap();
        let (loaded, touched) = load(&path).unwrap().unwrap();
        assert_eq!((&loaded.view, &loaded.pods), (&tables.view, &tables.pods));
        assert_eq!(touched.keys.len(), 200, "everything is new to who folds it");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(load(&path).unwrap_err().cause, ["its checksum is wrong"]);
    }

    #[test]
    fn endpoints_are_kept_only_where_names_come_from_them() {
        let endpoint = EndpointItem {
            address: [10, 128, 0, 1].into(),
            ports: [8080].into(),
            conditions: Default::default(),
            node: None,
            zone: "".into(),
            hints: Default::default(),
            hostname: "".into(),
            pod: None,
        };
        let service = |addresses: Vec<std::net::IpAddr>| ServiceItem {
            name: "shop/web".parse().unwrap(),
            uid: ObjectUid([1; 16]),
            kind: ServiceType::ClusterIp,
            addresses,
            external_ips: Vec::new(),
            load_balancer: Vec::new(),
            external_name: String::new(),
            ports: Vec::new(),
            affinity: None,
            external_policy: TrafficPolicy::Cluster,
            internal_policy: TrafficPolicy::Cluster,
            health_check_node_port: 0,
            source_ranges: Vec::new(),
            endpoints: vec![endpoint.clone()],
        };
        let kept = |addresses| {
            let Item::Service(kept) = slim(Item::Service(service(addresses))) else { panic!("a service") };
            kept.endpoints.len()
        };
        assert_eq!((kept(Vec::new()), kept(vec![[10, 96, 0, 20].into()])), (1, 0));
    }
}
