//! Events and the account of services, by a replica that saw the changes.

use weft_proto::v1;
use weft_rpc::{Channel, with_deadline};

use crate::world::{CALL, World, mutation};

const CART: &str = "\
apiVersion: v1
kind: Service
metadata: {name: cart}
spec: {type: LoadBalancer, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: cart-1, labels: {kubernetes.io/service-name: cart}}
addressType: IPv4
ports: [{port: 80}]
endpoints: [{addresses: [192.0.2.7], conditions: {ready: READY}}]
";

async fn apply(channel: &Channel, sequence: u64, text: String) {
    let request = v1::ApplyRequest { mutation: mutation(1, sequence), text, ..v1::ApplyRequest::default() };
    channel.admin().apply(with_deadline(request, CALL)).await.unwrap();
}

/// Reasons and messages, in order of time.
async fn told(channel: &Channel, name: &str) -> Vec<String> {
    let request = v1::EventsRequest { name: name.to_owned(), ..v1::EventsRequest::default() };
    let answer = channel.admin().events(with_deadline(request, CALL)).await.unwrap().into_inner();
    answer.events.into_iter().map(|event| format!("{}: {}", event.reason, event.message)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_to_a_service_is_told_and_shown_in_the_status() {
    let world = World::new().await;
    let admin = world.admin(&[1]);
    apply(&admin, 1, CART.replace("READY", "true")).await;
    let waits = "AddressPending: no load-balancer address: there is no LoadBalancerPool with IPv4 addresses";
    assert_eq!(told(&admin, "cart").await, [waits]);
    apply(&admin, 2, CART.replace("READY", "false")).await;
    let nobody = "NobodyReady: 0 of 1 backend ready: connections are refused";
    assert_eq!(told(&admin, "cart").await, [waits, nobody]);
    let status = admin.admin().status(with_deadline(v1::StatusRequest {}, CALL)).await.unwrap().into_inner();
    assert_eq!((status.services, status.services_serving), (1, 0));
    let troubles: Vec<_> = status.service_troubles.iter().map(|t| (t.name.as_str(), t.backends)).collect();
    assert_eq!(troubles, [("cart", 1)]);

    let pool = "{apiVersion: weft.io/v1, kind: LoadBalancerPool, metadata: {name: lan}, spec: {ranges: [192.168.9.0/28]}}";
    apply(&admin, 3, pool.to_owned()).await;
    apply(&admin, 4, CART.replace("READY", "true")).await;
    let since = told(&admin, "cart").await.split_off(2);
    assert_eq!(
        since,
        ["AddressGiven: it has 192.168.9.0 as a load balancer", "BackendsReady: 1 of 1 backend ready"]
    );
    assert!(told(&admin, "other").await.is_empty());
    let status = admin.admin().status(with_deadline(v1::StatusRequest {}, CALL)).await.unwrap().into_inner();
    assert!(status.service_troubles.is_empty() && status.services_serving == 1, "{status:?}");
}
