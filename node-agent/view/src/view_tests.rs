//! Laws of folding, and the order of the stream.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use weft_model::{
    AddressRange, Dual, EndpointItem, Epoch, Identity, Labels, ObjectUid, PolicySpec, Probe, ProbeHandler,
    ServiceType, TrafficPolicy,
};

use super::*;

fn node(index: u8) -> NodeName {
    NodeName::new(format!("n{index}")).unwrap()
}

fn peer(index: u8, port: u16) -> Item {
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, index));
    Item::Peer(PeerItem {
        node: node(index),
        wireguard_key: None,
        endpoint: Some((address, port).into()),
        mesh: Dual::new(Some(IpAddr::V4(Ipv4Addr::new(10, 200, 0, index))), None).unwrap(),
        underlay: vec![address],
        uplink_mac: None,
        allowed: Vec::new(),
        zone: String::new(),
        silent: false,
    })
}

fn block(index: u8) -> AddressRange {
    format!("10.1.{index}.0/24").parse().unwrap()
}

fn route(index: u8, holder: u8) -> Item {
    Item::Route(RouteItem { block: block(index), node: node(holder), epoch: Epoch(u64::from(holder)) })
}

fn pod_name(index: u8) -> PodName {
    format!("shop/web-{index}").parse().unwrap()
}

fn service(index: u8, port: u16) -> Item {
    let endpoint = EndpointItem {
        address: IpAddr::V4(Ipv4Addr::new(10, 1, 1, index)),
        ports: vec![port].into(),
        conditions: weft_model::Conditions::default(),
        node: Some(node(1)),
        zone: Default::default(),
        hints: Default::default(),
        hostname: Default::default(),
        pod: None,
    };
    Item::Service(ServiceItem {
        name: pod_name(index),
        uid: ObjectUid([index; 16]),
        kind: ServiceType::ClusterIp,
        addresses: Vec::new(),
        external_ips: Vec::new(),
        load_balancer: Vec::new(),
        external_name: String::new(),
        ports: Vec::new(),
        affinity: None,
        external_policy: TrafficPolicy::Cluster,
        internal_policy: TrafficPolicy::Cluster,
        health_check_node_port: 0,
        source_ranges: Vec::new(),
        endpoints: vec![endpoint],
    })
}

fn probe(index: u8, port: u16) -> Item {
    let handler = ProbeHandler::Tcp { port };
    let probe = Probe {
        handler,
        initial_delay_ms: 0,
        period_ms: 1000,
        timeout_ms: 1000,
        success_threshold: 1,
        failure_threshold: 3,
    };
    Item::Probe(ProbeItem { pod: pod_name(index), readiness: Some(probe), startup: None })
}

fn owner(index: u8, epoch: u64) -> Item {
    Item::Owner(AddressOwner {
        address: IpAddr::V4(Ipv4Addr::new(10, 99, 0, index)),
        node: node(1),
        successor: None,
        epoch,
        revision: Revision(epoch),
    })
}

fn pod(index: u8, address: u8) -> Item {
    let addresses = vec![IpAddr::V4(Ipv4Addr::new(10, 1, 1, address))];
    Item::Pod(PodItem {
        name: pod_name(index),
        addresses,
        hostname: String::new(),
        subdomain: String::new(),
        identity: IdentityId(address.into()),
    })
}

fn setup(index: u8, links: bool) -> Item {
    let dns = weft_model::PodDns::default();
    Item::Setup(SetupItem { pod: pod_name(index), dns, service_links: links })
}

fn policy(index: u8, isolates_egress: bool) -> Item {
    let spec = PolicySpec { isolates_ingress: true, isolates_egress, ..PolicySpec::default() };
    Item::Policy(PolicyItem { name: pod_name(index), spec })
}

fn namespace_name(index: u8) -> NamespaceName {
    format!("ns-{index}").parse().unwrap()
}

fn namespace(index: u8, label: u8) -> Item {
    let labels = [("team".to_owned(), label.to_string())].into();
    Item::Namespace(NamespaceItem { name: namespace_name(index), labels })
}

fn identity(index: u8) -> Item {
    let identity = Identity { namespace: namespace_name(index), labels: Labels::new(), ports: Vec::new() };
    Item::Identity(IdentityItem { id: IdentityId(index.into()), identity })
}

fn snapshot(revision: u64, items: Vec<Item>) -> Update {
    Update::SnapshotPart { revision: Revision(revision), first: true, last: true, items }
}

fn delta(revision: u64, upserts: Vec<Item>, deletes: Vec<ItemKey>) -> Update {
    Update::Delta { revision: Revision(revision), upserts, deletes }
}

fn in_sync(revision: u64) -> Update {
    Update::InSync { revision: Revision(revision) }
}

#[test]
fn a_snapshot_replaces_the_view_only_when_it_is_complete() {
    let mut view = View::restored(Revision(5), [peer(1, 1), route(1, 1)]);
    let part = |first, last, items| Update::SnapshotPart { revision: Revision(9), first, last, items };
    assert!(view.fold(part(true, false, vec![peer(1, 1)])).unwrap().is_empty());
    assert_eq!((view.revision(), view.routes().len()), (Revision(5), 1), "still the old one");
    let touched = view.fold(part(false, true, vec![peer(2, 1)])).unwrap();
    assert_eq!(
        touched.keys,
        [ItemKey::Peer(node(2)), ItemKey::Route(block(1))].into(),
        "peer/n1 is unchanged"
    );
    assert_eq!((view.revision(), view.peers().len(), view.routes().len()), (Revision(9), 2, 0));
}

#[test]
fn what_endpoints_have_alike_is_kept_once() {
    let Item::Service(mut item) = service(1, 80) else { panic!("a service") };
    let first = item.endpoints[0].clone();
    let mut second = first.clone();
    second.ports = [80].into();
    second.node = Some(node(1));
    item.endpoints.push(second);
    let mut other = first;
    other.ports = [81].into();
    item.endpoints.push(other);
    let view = View::restored(Revision(5), [peer(1, 1), Item::Service(item.clone())]);
    let kept = view.service(&item.name).unwrap();
    assert_eq!(*kept, item, "the same service");
    let [a, b, c] = kept.endpoints.as_slice() else { panic!("three endpoints") };
    assert!(Arc::ptr_eq(&a.ports, &b.ports) && Arc::ptr_eq(&a.hints, &c.hints) && a.ports != c.ports);
    let of = |e: &EndpointItem| e.node.as_ref().map(|node| node.as_str().as_ptr());
    assert_eq!(of(b), view.peers().keys().next().map(|node| node.as_str().as_ptr()), "the peer's name");
}

#[test]
fn in_sync_is_said_by_a_replica_and_outlives_the_stream() {
    let mut view = View::restored(Revision(5), [peer(1, 1)]);
    assert!(!view.is_in_sync(), "what comes from disk isn't in sync");
    assert!(view.fold(in_sync(7)).unwrap().became_in_sync);
    assert_eq!((view.revision(), view.is_in_sync()), (Revision(7), true));
    assert!(view.fold(in_sync(7)).unwrap().is_empty());
    view.fold(snapshot(8, vec![peer(2, 1)])).unwrap();
    assert!(view.is_in_sync());
}

#[test]
fn a_known_delta_touches_nothing_and_an_unchanged_item_isnt_touched() {
    let mut view = View::restored(Revision(5), [peer(1, 1)]);
    assert!(view.fold(delta(5, vec![peer(1, 99)], vec![])).unwrap().is_empty());
    assert_eq!(view, View::restored(Revision(5), [peer(1, 1)]));
    let touched = view.fold(delta(6, vec![peer(1, 1), peer(2, 1)], vec![ItemKey::Route(block(9))])).unwrap();
    assert_eq!(touched.keys, [ItemKey::Peer(node(2))].into());
}

#[test]
fn a_stream_out_of_order_is_refused_and_changes_nothing() {
    let part = |revision, first, last| Update::SnapshotPart {
        revision: Revision(revision),
        first,
        last,
        items: vec![peer(3, 3)],
    };
    let seen = Revision(5);
    for (before, update, error) in [
        (None, part(6, false, true), Error::PartOutOfOrder { offered: Revision(6) }),
        (Some(part(6, true, false)), part(7, false, true), Error::PartOutOfOrder { offered: Revision(7) }),
        (None, part(4, true, true), Error::WentBack { seen, offered: Revision(4) }),
        (None, in_sync(4), Error::WentBack { seen, offered: Revision(4) }),
        (
            Some(part(6, true, false)),
            delta(7, vec![], vec![]),
            Error::SnapshotIncomplete { building: Revision(6), offered: Revision(7) },
        ),
        (
            Some(part(6, true, false)),
            in_sync(6),
            Error::SnapshotIncomplete { building: Revision(6), offered: Revision(6) },
        ),
    ] {
        let mut view = View::restored(seen, [peer(1, 1)]);
        if let Some(before) = before {
            view.fold(before).unwrap();
        }
        assert_eq!(view.fold(update), Err(error));
        view.abandon_snapshot();
        assert_eq!(view, View::restored(seen, [peer(1, 1)]));
    }
}

#[test]
fn a_node_finds_its_own_blocks() {
    let view = View::restored(Revision(1), [route(1, 1), route(2, 2), route(3, 1)]);
    let own: Vec<_> = view.blocks_of(&node(1)).map(|r| r.block).collect();
    assert_eq!(own, [block(1), block(3)]);
}

fn change() -> impl Strategy<Value = (Vec<Item>, Vec<ItemKey>)> {
    let item = prop_oneof![
        (0_u8..6, 1_u16..4).prop_map(|(n, port)| peer(n, port)),
        (0_u8..6, 0_u8..4).prop_map(|(b, holder)| route(b, holder)),
        (0_u8..6, 1_u16..4).prop_map(|(n, port)| service(n, port)),
        (0_u8..6, 1_u16..4).prop_map(|(n, port)| probe(n, port)),
        (0_u8..6, 1_u64..4).prop_map(|(n, epoch)| owner(n, epoch)),
        (0_u8..6, 1_u8..4).prop_map(|(n, address)| pod(n, address)),
        (0_u8..6, any::<bool>()).prop_map(|(n, links)| setup(n, links)),
        (0_u8..6, any::<bool>()).prop_map(|(n, egress)| policy(n, egress)),
        (0_u8..6, 1_u8..4).prop_map(|(n, label)| namespace(n, label)),
        (0_u8..6).prop_map(identity),
    ];
    let gone = prop_oneof![
        (6_u8..9).prop_map(|n| ItemKey::Peer(node(n))),
        (0_u8..6).prop_map(|b| ItemKey::Route(block(b))),
        (0_u8..6).prop_map(|n| ItemKey::Peer(node(n))),
        (0_u8..9).prop_map(|n| ItemKey::Service(pod_name(n))),
        (0_u8..9).prop_map(|n| ItemKey::Probe(pod_name(n))),
        (0_u8..9).prop_map(|n| owner(n, 1).key()),
        (0_u8..9).prop_map(|n| ItemKey::Pod(pod_name(n))),
        (0_u8..9).prop_map(|n| ItemKey::Setup(pod_name(n))),
        (0_u8..9).prop_map(|n| ItemKey::Policy(pod_name(n))),
        (0_u8..9).prop_map(|n| ItemKey::Namespace(namespace_name(n))),
        (0_u8..9).prop_map(|n| ItemKey::Identity(IdentityId(n.into()))),
    ];
    (prop::collection::vec(item, 0..4), prop::collection::vec(gone, 0..3))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn folding_deltas_equals_the_snapshot_at_the_same_revision(
        changes in prop::collection::vec(change(), 0..20),
        parts in 1_usize..4,
    ) {
        let mut folded = View::default();
        let mut touched = Touched::default();
        for (index, (upserts, deletes)) in changes.into_iter().enumerate() {
            let update = delta(index as u64 + 1, upserts, deletes);
            let before = folded.clone();
            let now = folded.fold(update.clone()).unwrap();
            prop_assert!(before.difference(&folded).keys.is_subset(&now.keys), "nothing changed unseen");
            touched.merge(now);
            let again = folded.clone();
            prop_assert!(folded.fold(update).unwrap().is_empty(), "twice is once");
            prop_assert_eq!(&again, &folded);
        }
        let items: Vec<_> = folded.items().collect();
        let mut whole = View::default();
        let size = items.len() / parts + 1;
        let chunks: Vec<_> = if items.is_empty() { vec![Vec::new()] } else { items.chunks(size).map(<[_]>::to_vec).collect() };
        let count = chunks.len();
        for (index, items) in chunks.into_iter().enumerate() {
            let (first, last) = (index == 0, index + 1 == count);
            whole.fold(Update::SnapshotPart { revision: folded.revision(), first, last, items }).unwrap();
        }
        prop_assert_eq!(&whole, &folded);
        prop_assert!(whole.difference(&View::default()).keys.is_subset(&touched.keys), "nothing changed unseen");
    }
}

#[test]
fn changes_that_another_view_merges_may_be_of_the_revision_that_is_there() {
    let mut view = View::restored(Revision(7), [peer(1, 1)]);
    let delta = Update::Delta { revision: Revision(7), upserts: vec![peer(2, 1)], deletes: Vec::new() };
    assert_eq!(view.fold(delta).unwrap(), Touched::default(), "a stream has said all of a revision at once");
    let amend = |view: &mut View, revision, upserts| view.amend(Revision(revision), upserts, Vec::new());
    let touched = amend(&mut view, 7, vec![peer(2, 1), peer(1, 1)]).unwrap();
    assert_eq!(touched.keys, [ItemKey::Peer(node(2))].into(), "only what differs is touched");
    assert!(amend(&mut view, 6, vec![peer(3, 1)]).is_err(), "never back in time");
    assert_eq!((view.revision(), view.peers().len()), (Revision(7), 2));
}
