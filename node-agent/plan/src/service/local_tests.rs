//! Endpoints that this node knows to be gone: nobody is sent there, and the way there doesn't matter.

use std::net::SocketAddr;

use proptest::prelude::*;
use weft_model::{Families, Item, ItemKey, Overlay, PodUid, Protocol, ServiceItem};

use super::*;
use crate::{
    Limits, Scope, Services,
    service::{Fate, Flow, Packet, fixture::service, forecast, health_ports},
    world,
};

/// This node with pods of these numbers, all read.
fn facts(pods: &[u8]) -> Facts {
    let mut facts = world::facts();
    facts.pods_read = true;
    let pod = |n: &u8| world::pod(Families::V4, *n);
    facts.pods = pods.iter().map(pod).map(|pod| (pod.uid, pod)).collect();
    facts
}

/// Node 1 has 10.1.1.0/24, node 2 10.1.2.0/24: endpoint N is the pod N of node 1.
fn view(services: Vec<ServiceItem>) -> View {
    let mut view = world::view(Families::V4, Overlay::Wireguard);
    view.fold(world::delta(2, services.into_iter().map(Item::Service).collect(), Vec::new())).unwrap();
    view
}

fn uids(pods: &[u8]) -> BTreeSet<PodUid> {
    pods.iter().map(|n| PodUid([*n; 16])).collect()
}

fn picked(view: &View, facts: &Facts) -> (String, Fate) {
    let packet = Packet {
        source: "10.1.1.9".parse().unwrap(),
        to: "10.112.0.1".parse().unwrap(),
        protocol: Protocol::Tcp,
        port: 80,
    };
    let told = forecast(view, facts, &Limits::default(), packet);
    let picked = told.backends.iter().filter(|backend| backend.slots > 0);
    (picked.map(|b| b.socket.to_string()).collect::<Vec<_>>().join(" "), told.fate)
}

#[test]
fn an_address_of_this_node_that_no_pod_holds_is_no_endpoint() {
    let mut item = service(1, &[1, 2]);
    item.endpoints[1].address = "10.1.2.2".parse().unwrap();
    let check = |pods: &[u8], read, expected: &str| {
        let mut facts = facts(pods);
        facts.pods_read = read;
        assert_eq!(picked(&view(vec![item.clone()]), &facts).0, expected, "{pods:?} {read}");
    };
    check(&[1], true, "10.1.1.1:8080 10.1.2.2:8080");
    // Another node's pods aren't known here.
    check(&[7], true, "10.1.2.2:8080");
    // Nothing is known before the pods were read.
    check(&[], false, "10.1.1.1:8080 10.1.2.2:8080");
}

#[test]
fn when_all_are_gone_the_client_is_refused_and_told_why() {
    let view = view(vec![service(1, &[1])]);
    let (none, fate) = picked(&view, &facts(&[]));
    assert_eq!((none.as_str(), fate), ("", Fate::Refused("no backend is ready".to_owned())));
    let packet = Packet {
        source: "10.1.1.9".parse().unwrap(),
        to: "10.112.0.1".parse().unwrap(),
        protocol: Protocol::Tcp,
        port: 80,
    };
    let told = forecast(&view, &facts(&[]), &Limits::default(), packet);
    assert_eq!(told.backends[0].out, "its pod has left this node, which the control plane hasn't heard yet");
}

#[test]
fn a_balancer_is_told_that_nobody_is_here_any_more() {
    let mut item = service(1, &[1]);
    item.kind = weft_model::ServiceType::LoadBalancer;
    item.external_policy = weft_model::TrafficPolicy::Local;
    item.health_check_node_port = 30_100;
    item.endpoints[0].node = Some(world::node(1));
    let view = view(vec![item]);
    let ready = |pods: &[u8]| health_ports(&view, &facts(pods))[0].local_ready;
    assert_eq!((ready(&[1]), ready(&[])), (1, 0));
}

#[test]
fn flows_to_a_pod_that_went_go_at_once() {
    let view = view(vec![service(1, &[1, 2])]);
    let mut services = Services::new();
    services.want(&view, &facts(&[1, 2]), Scope::All);
    assert!(services.take_cleanup().is_empty());
    services.want(&view, &facts(&[2]), Scope::Pods(&uids(&[1])));
    let cleanup = services.take_cleanup();
    let socket = |text: &str| text.parse::<SocketAddr>().unwrap();
    let flow = |from: &str| Flow {
        protocol: Protocol::Udp,
        destination: socket("10.112.0.1:53"),
        reply_source: socket(from),
        is_ours: true,
    };
    assert!(cleanup.condemns(&flow("10.1.1.1:5353")) && !cleanup.condemns(&flow("10.1.1.2:5353")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Services change, pods come and go, blocks come and go: as if all were computed anew each time.
    #[test]
    fn the_way_to_what_is_known_here_doesnt_matter(
        events in prop::collection::vec(
            prop_oneof![
                3 => (1_u8..4, prop::collection::btree_set(1_u8..7, 0..4)).prop_map(|(n, e)| Event::Service(n, e)),
                1 => (1_u8..4).prop_map(Event::Gone),
                4 => (1_u8..7, any::<bool>()).prop_map(|(n, comes)| Event::Pod(n, comes)),
                1 => (1_u8..3).prop_map(Event::Block),
            ],
            1..24,
        ),
    ) {
        let mut view = view(Vec::new());
        let mut pods: BTreeSet<u8> = BTreeSet::new();
        let mut services = Services::new();
        services.want(&view, &facts(&[]), Scope::All);
        for (event, revision) in events.into_iter().zip(3..) {
            let (mut upserts, mut deletes, mut moved) = (Vec::new(), Vec::new(), BTreeSet::new());
            match event {
                Event::Service(n, endpoints) => {
                    let endpoints: Vec<u8> = endpoints.into_iter().collect();
                    upserts.push(Item::Service(service(n, &endpoints)));
                }
                Event::Gone(n) => deletes.push(ItemKey::Service(service(n, &[]).name)),
                Event::Pod(n, comes) => {
                    if comes { pods.insert(n); } else { pods.remove(&n); }
                    moved.insert(n);
                }
                Event::Block(holder) => upserts.push(Item::Route(world::block(weft_model::Family::V4, 1, holder))),
            }
            let list: Vec<u8> = pods.iter().copied().collect();
            let facts = facts(&list);
            if moved.is_empty() {
                let touched = view.fold(world::delta(revision, upserts, deletes)).unwrap();
                services.want(&view, &facts, Scope::Items(&touched.keys));
            } else {
                let moved: Vec<u8> = moved.into_iter().collect();
                services.want(&view, &facts, Scope::Pods(&uids(&moved)));
            }
            let mut anew = Services::new();
            anew.want(&view, &facts, Scope::All);
            prop_assert_eq!(services.wanted(), anew.wanted());
            let local = Local::new(&view, &facts);
            for endpoint in view.services().values().flat_map(|item| &item.endpoints) {
                let n = endpoint.address.to_string().rsplit('.').next().unwrap().parse().unwrap();
                let is_ours = view.blocks_of(&facts.node).any(|route| route.block.contains(endpoint.address));
                prop_assert_eq!(local.lacks(endpoint.address), is_ours && !pods.contains(&n));
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    /// A service has these endpoints.
    Service(u8, BTreeSet<u8>),
    /// A service goes.
    Gone(u8),
    /// A pod comes, or goes.
    Pod(u8, bool),
    /// The first block is this node's, or another's.
    Block(u8),
}
