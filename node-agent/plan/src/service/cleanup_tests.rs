//! Which flows go, after which change.

use std::collections::BTreeSet;

use weft_model::Conditions;

use super::*;
use crate::service::fixture;

fn flow(text: &str) -> Flow {
    let mut words = text.split(" <- ");
    let protocol = if text.starts_with("tcp") { Protocol::Tcp } else { Protocol::Udp };
    let destination = words.next().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    let reply_source = words.next().unwrap().split(' ').next().unwrap().parse().unwrap();
    Flow { protocol, destination, reply_source, is_ours: !text.ends_with(" foreign") }
}

fn nodes() -> BTreeSet<IpAddr> {
    ["192.168.1.11", "192.168.1.12"].iter().map(|a| a.parse().unwrap()).collect()
}

fn service(endpoints: &[u8]) -> ServiceItem {
    let mut service = fixture::service(1, endpoints);
    service.ports[1].node_port = 30053;
    service
}

/// The flows that go after a service was one thing and became another.
fn check(before: Option<ServiceItem>, after: Option<ServiceItem>, flows: &[&str], gone: &[usize]) {
    let mut targets = Targets::default();
    let name: ServiceName = "shop/s1".parse().unwrap();
    targets.take(&name, before.as_ref(), &Local::default());
    targets.begin();
    assert!(targets.changed(nodes()).is_empty(), "the first load is no change");
    targets.take(&name, after.as_ref(), &Local::default());
    let cleanup = targets.changed(nodes());
    let condemned: Vec<usize> = (0..flows.len()).filter(|i| cleanup.condemns(&flow(flows[*i]))).collect();
    assert_eq!(condemned, gone, "{cleanup:?}");
    assert!(targets.changed(nodes()).is_empty(), "once");
}

const FLOWS: [&str; 8] = [
    "udp 10.112.0.1:53 <- 10.1.1.1:5353",
    "udp 10.112.0.1:53 <- 10.1.1.2:5353",
    "udp 192.168.1.12:30053 <- 10.1.1.2:5353",
    "udp 10.112.0.1:53 <- 10.112.0.1:53",
    "tcp 10.112.0.1:80 <- 10.1.1.2:8080",
    "udp 10.112.0.2:53 <- 10.1.1.2:5353",
    "udp 192.168.1.99:30053 <- 10.1.1.2:5353",
    "udp 192.168.1.11:30053 <- 192.168.1.11:30053",
];

#[test]
fn flows_to_endpoints_that_went_go_and_no_others() {
    check(Some(service(&[1, 2])), Some(service(&[1])), &FLOWS, &[1, 2, 3, 7]);
    check(Some(service(&[1, 2])), Some(service(&[1, 2, 3])), &FLOWS, &[]);
    check(Some(service(&[1, 2])), Some(service(&[1, 2])), &FLOWS, &[]);
}

#[test]
fn flows_of_a_service_without_endpoints_or_gone_go() {
    check(Some(service(&[2])), Some(service(&[])), &FLOWS, &[0, 1, 2, 3, 7]);
    // Of a service that is gone only what was translated: its port may be somebody else's now.
    check(Some(service(&[2])), None, &FLOWS, &[0, 1, 2]);
}

#[test]
fn flows_from_before_there_was_an_endpoint_or_a_service_go() {
    check(Some(service(&[])), Some(service(&[1])), &FLOWS, &[1, 2, 3, 7]);
    check(None, Some(service(&[1])), &FLOWS, &[1, 2, 3, 7]);
}

#[test]
fn an_endpoint_that_ends_but_serves_keeps_its_flows() {
    let mut ending = service(&[1, 2]);
    let conditions = Conditions { ready: Some(false), serving: Some(true), terminating: Some(true) };
    ending.endpoints[1].conditions = conditions;
    check(Some(service(&[1, 2])), Some(ending.clone()), &FLOWS, &[]);
    ending.endpoints[1].conditions.serving = Some(false);
    check(Some(service(&[1, 2])), Some(ending), &FLOWS, &[1, 2, 3, 7]);
}

#[test]
fn after_a_start_only_what_is_wrong_goes() {
    let mut targets = Targets::default();
    targets.take(&"shop/s1".parse().unwrap(), Some(&service(&[1])), &Local::default());
    let places = Places { ranges: vec!["10.112.0.0/16".parse().unwrap()], node_ports: (30_000, 32_767) };
    let all = targets.all(nodes(), places);
    assert_eq!(all.targets().count(), 2);
    let condemned: Vec<usize> = (0..FLOWS.len()).filter(|i| all.condemns(&flow(FLOWS[*i]))).collect();
    assert_eq!(condemned, [1, 2, 3, 5, 7], "the sixth is to a service that nobody has");
    // Of services that went while nobody looked.
    for (text, goes) in [
        ("udp 10.112.0.7:53 <- 10.1.1.2:5353", true),
        ("udp 10.112.0.7:53 <- 10.112.0.7:53", false),
        ("udp 10.112.0.7:53 <- 10.1.1.2:5353 foreign", false),
        ("udp 10.113.0.7:53 <- 10.1.1.2:5353", false),
        ("tcp 10.112.0.7:80 <- 10.1.1.2:8080", false),
        ("udp 192.168.1.12:30054 <- 10.1.1.2:5353", true),
        ("udp 192.168.1.12:30054 <- 10.1.1.2:5353 foreign", false),
        ("udp 192.168.1.12:8053 <- 10.1.1.2:5353", false),
        ("udp 192.168.1.99:30054 <- 10.1.1.2:5353", false),
    ] {
        assert_eq!(all.condemns(&flow(text)), goes, "{text}");
    }
    let changed = targets.changed(nodes());
    assert!(!changed.condemns(&flow("udp 10.112.0.7:53 <- 10.1.1.2:5353")), "only of a whole one");
}
