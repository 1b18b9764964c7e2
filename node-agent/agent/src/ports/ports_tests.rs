//! Answers for every state of a service, and ports of this machine that open, answer and close.

use std::collections::BTreeMap;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use weft_model::{
    Conditions, EndpointItem, Family, Item, NodeName, ObjectUid, Revision, ServiceItem, TrafficPolicy,
};

use super::{
    answer::{World, answer},
    *,
};
use crate::{clock, fixture, states::Subsystem};

fn endpoint(address: &str, node: &str, ready: bool, terminating: bool) -> EndpointItem {
    EndpointItem {
        address: address.parse().unwrap(),
        ports: vec![80].into(),
        conditions: Conditions { ready: Some(ready), serving: Some(true), terminating: Some(terminating) },
        node: Some(NodeName::new(node).unwrap()),
        zone: Default::default(),
        hints: Default::default(),
        hostname: Default::default(),
        pod: None,
    }
}

fn service(endpoints: Vec<EndpointItem>) -> ServiceItem {
    ServiceItem {
        name: "shop/web".parse().unwrap(),
        uid: ObjectUid([1; 16]),
        kind: weft_model::ServiceType::LoadBalancer,
        addresses: vec!["10.112.0.9".parse().unwrap()],
        external_ips: Vec::new(),
        load_balancer: Vec::new(),
        external_name: String::new(),
        ports: Vec::new(),
        affinity: None,
        external_policy: TrafficPolicy::Local,
        internal_policy: TrafficPolicy::Cluster,
        health_check_node_port: 30000,
        source_ranges: Vec::new(),
        endpoints,
    }
}

fn ask(endpoints: Vec<EndpointItem>, healthy: bool, purpose: &Purpose, line: &str) -> String {
    let node = NodeName::new("n1").unwrap();
    let view = View::restored(Revision(1), [Item::Service(service(endpoints))]);
    answer(World { view: &view, node: &node, healthy, family: Family::V4 }, purpose, line)
}

fn of_service() -> Purpose {
    Purpose::Service("shop/web".parse().unwrap())
}

#[test]
fn a_balancer_stays_while_there_is_a_ready_endpoint_here_and_the_proxy_is_well() {
    let check = |endpoints: Vec<EndpointItem>, healthy, status: &str, count: usize| {
        let said = ask(endpoints, healthy, &of_service(), "GET / HTTP/1.1");
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        assert!(
            head.contains("Content-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"),
            "{head}"
        );
        assert!(head.ends_with(&format!("X-Load-Balancing-Endpoint-Weight: {count}")), "{head}");
        let expected = serde_json::json!({
            "service": {"namespace": "shop", "name": "web"}, "localEndpoints": count, "serviceProxyHealthy": healthy,
        });
        assert_eq!(body, expected);
    };
    let here = |ready, terminating| endpoint("10.1.1.2", "n1", ready, terminating);
    let there = || endpoint("10.1.2.2", "n2", true, false);
    check(vec![here(true, false), there()], true, "200", 1);
    check(vec![here(true, false), here(true, false)], true, "200", 2);
    check(vec![here(true, false)], false, "503", 1);
    check(vec![there()], true, "503", 0);
    check(vec![here(false, false)], true, "503", 0);
    check(vec![here(true, true)], true, "503", 0);
    check(vec![endpoint("fd00::2", "n1", true, false)], true, "503", 0);
    check(vec![], true, "503", 0);
}

#[test]
fn other_questions_get_other_answers() {
    let check = |purpose: &Purpose, line: &str, status: &str, has_body: bool| {
        let said = ask(vec![endpoint("10.1.1.2", "n1", true, false)], true, purpose, line);
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {said}");
        assert_eq!(!said.ends_with("\r\n\r\n"), has_body, "{line}: {said}");
    };
    check(&of_service(), "HEAD / HTTP/1.1", "200", false);
    check(&of_service(), "GET /any?x HTTP/1.0", "200", true);
    check(&of_service(), "POST / HTTP/1.1", "405", true);
    check(&of_service(), "GET /", "400", true);
    check(&of_service(), "", "400", true);
    // No item of this node: it was removed.
    check(&Purpose::Proxy, "GET /healthz HTTP/1.1", "503", true);
    check(&Purpose::Proxy, "GET /livez HTTP/1.1", "200", true);
    check(&Purpose::Proxy, "GET / HTTP/1.1", "404", true);
}

async fn get(at: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(at).await.ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.ok()?;
    let mut said = String::new();
    stream.read_to_string(&mut said).await.ok()?;
    Some(said)
}

#[tokio::test]
async fn ports_open_answer_and_close_as_services_change() {
    let directory = tempfile::tempdir().unwrap();
    let node = Arc::new(fixture::node(&directory));
    for subsystem in Subsystem::SERVICES {
        node.states.well(subsystem, Revision(1), clock::wall());
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (busy, at) = (taken.local_addr().unwrap(), free.local_addr().unwrap());
    drop(free);
    let (stop, places) = (CancellationToken::new(), Places::new(8));
    let mut open = Open::default();
    let wanted = BTreeMap::from([(at, of_service()), (busy, Purpose::Proxy)]);
    open.follow(&wanted, &node, &places, &stop);
    assert_eq!(open.refused.keys().collect::<Vec<_>>(), [&busy]);
    let finding = &open.findings()[0];
    assert!(
        !finding.ok && finding.error.as_ref().unwrap().code == HOST_PORT_TAKEN.to_string(),
        "{finding:?}"
    );
    assert!(get(at).await.unwrap().starts_with("HTTP/1.1 503 "), "no such service");
    // Who says nothing and never goes takes no place from others.
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(at).await.unwrap());
        assert!(get(at).await.unwrap().starts_with("HTTP/1.1 503 "), "after {} silent callers", silent.len());
    }
    drop((taken, silent));
    open.follow(&wanted, &node, &places, &stop);
    assert!(open.findings().is_empty());
    open.follow(&BTreeMap::new(), &node, &places, &stop);
    let closed = async || loop {
        if get(at).await.is_none() {
            break;
        }
        tokio::task::yield_now().await;
    };
    tokio::time::timeout(Duration::from_secs(5), closed()).await.expect("the port closes");
}
