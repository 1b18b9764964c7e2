//! The way to a zone doesn't matter: what was folded step by step equals what is built at once.

use std::collections::BTreeSet;

use proptest::prelude::*;
use weft_model::{FabricItem, Families, Item, ItemKey, NodeName, Revision};
use weft_view::{Update, View};

use super::*;
use crate::fixture::{endpoint, external, fabric, peer, pod, service};

/// One thing that may happen.
#[derive(Clone, Debug)]
enum Event {
    Service {
        index: u8,
        shape: u8,
        port: u8,
    },
    Pod {
        index: u8,
        address: Option<u8>,
    },
    Peer {
        index: u8,
        address: Option<u8>,
    },
    Gone {
        index: u8,
    },
    Fabric {
        ttl: u8,
        pod_records: bool,
        domain: bool,
    },
    /// Nothing is folded until the next event: a bigger change.
    Wait,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        8 => (0_u8..6, 0_u8..7, 0_u8..3).prop_map(|(index, shape, port)| Event::Service { index, shape, port }),
        4 => (0_u8..6, prop::option::of(0_u8..4)).prop_map(|(index, address)| Event::Pod { index, address }),
        3 => (0_u8..5, prop::option::of(1_u8..4)).prop_map(|(index, address)| Event::Peer { index, address }),
        2 => (0_u8..6).prop_map(|index| Event::Gone { index }),
        1 => (4_u8..6, any::<bool>(), any::<bool>())
            .prop_map(|(ttl, pod_records, domain)| Event::Fabric { ttl, pod_records, domain }),
        3 => Just(Event::Wait),
    ];
    prop::collection::vec(event, 0..60)
}

fn service_name(index: u8) -> String {
    format!("{}/s{}", ["shop", "dev"][usize::from(index % 2)], index / 2)
}

/// Services of all shapes that contend for few addresses.
fn service_of(index: u8, shape: u8, port: u8) -> weft_model::ServiceItem {
    let name = service_name(index);
    let mut item = match shape {
        0 => service(&name, "10.96.0.1", "a/tcp:1"),
        1 => service(&name, &format!("10.96.0.{port} fd12::{port}"), "a/tcp:1 b/udp:2"),
        2 => external(&name, "www.example.com"),
        3 => external(&name, "192.0.2.1"),
        _ => service(&name, "", "a/tcp:1 b/udp:2"),
    };
    if shape >= 4 {
        let host = |index: u8| if port == 0 { "-".to_owned() } else { format!("h{}", index % port) };
        item.endpoints = (0..shape - 3)
            .map(|at| endpoint(&format!("10.128.0.{at} {} p{at} 5 {port}", host(at)), Some(at != port)))
            .collect();
    }
    item
}

fn fabric_of(ttl: u8, pod_records: bool, domain: bool) -> FabricItem {
    let mut item = fabric(Families::Dual);
    item.dns.ttl = ttl.into();
    item.dns.pod_records = pod_records;
    item.domain = if domain { "cluster.local".to_owned() } else { "example.org".to_owned() };
    item
}

fn node_name(index: u8) -> NodeName {
    NodeName::new(["n0", "n1", "a.rack", "b.rack", "rack"][usize::from(index)]).unwrap()
}

fn apply(event: &Event) -> (Vec<Item>, Vec<ItemKey>) {
    let pod_name = |index: u8| format!("{}/p{}", ["shop", "dev"][usize::from(index % 2)], index / 2);
    match event {
        Event::Service { index, shape, port } => {
            (vec![Item::Service(service_of(*index, *shape, *port))], vec![])
        }
        Event::Pod { index, address: Some(address) } => {
            (vec![Item::Pod(pod(&pod_name(*index), &format!("10.128.0.{address} fd00::{address}")))], vec![])
        }
        Event::Pod { index, address: None } => {
            (vec![], vec![ItemKey::Pod(pod_name(*index).parse().unwrap())])
        }
        Event::Peer { index, address: Some(address) } => {
            let own = format!("10.200.0.{address}");
            (vec![Item::Peer(peer(node_name(*index).as_str(), Some(&own), None))], vec![])
        }
        Event::Peer { index, address: None } => (vec![], vec![ItemKey::Peer(node_name(*index))]),
        Event::Gone { index } => (vec![], vec![ItemKey::Service(service_name(*index).parse().unwrap())]),
        Event::Fabric { ttl, pod_records, domain } => {
            (vec![Item::Fabric(fabric_of(*ttl, *pod_records, *domain))], vec![])
        }
        Event::Wait => (vec![], vec![]),
    }
}

fn content(tables: &Tables) -> BTreeSet<Vec<u8>> {
    tables.table.records().iter().map(|record| record.to_vec()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn tables_that_followed_every_change_equal_those_built_at_once(events in events()) {
        let mut view = View::restored(Revision(1), [Item::Fabric(fabric_of(5, true, true))]);
        let (tables, mut zone) = (Tables::new(1), Zone::default());
        zone.fold(&tables, &view, &Touched::default());
        let mut touched = Touched::default();
        for event in &events {
            let (upserts, deletes) = apply(event);
            let revision = view.revision().next();
            touched.merge(view.fold(Update::Delta { revision, upserts, deletes }).unwrap());
            if !matches!(event, Event::Wait) {
                zone.fold(&tables, &view, &std::mem::take(&mut touched));
            }
        }
        zone.fold(&tables, &view, &touched);
        let (fresh, mut other) = (Tables::new(2), Zone::default());
        other.fold(&fresh, &view, &Touched::default());
        prop_assert_eq!(content(&tables), content(&fresh));
        prop_assert_eq!(tables.head.load_full(), fresh.head.load_full());
        prop_assert_eq!(tables.serial(), fresh.serial());
        prop_assert_eq!(&zone.namespaces, &other.namespaces);
        prop_assert_eq!(&zone.inner, &other.inner);
        prop_assert_eq!(&zone.pods, &other.pods);
    }
}

#[test]
fn only_what_is_touched_is_looked_at() {
    let mut view = View::restored(
        Revision(1),
        [Item::Fabric(fabric(Families::Dual)), Item::Service(service("shop/a", "10.96.0.1", ""))],
    );
    let (tables, mut zone) = (Tables::new(1), Zone::default());
    assert!(zone.fold(&tables, &view, &Touched::default()), "the first is built whole");
    let change = |view: &mut View, item: Item| {
        let revision = view.revision().next();
        view.fold(Update::Delta { revision, upserts: vec![item], deletes: vec![] }).unwrap()
    };
    let touched = change(&mut view, Item::Service(service("shop/b", "10.96.0.2", "")));
    change(&mut view, Item::Service(service("shop/c", "10.96.0.3", "")));
    assert!(!zone.fold(&tables, &view, &touched));
    let has =
        |name: &str| tables.table.has(Kind::Service, &service::service_key(&name.parse().unwrap()).unwrap());
    assert!(has("shop/a") && has("shop/b") && !has("shop/c"), "c came without being touched");
    let mut other = fabric(Families::Dual);
    other.dns.search_path = false;
    let touched = change(&mut view, Item::Fabric(other));
    assert!(!zone.fold(&tables, &view, &touched), "records don't depend on it");
    assert!(!tables.head.load().as_ref().unwrap().search_path);
}
