//! Services for the tests of this module.

use weft_model::{
    Conditions, EndpointItem, ObjectUid, Protocol, ServiceItem, ServicePortItem, ServiceType, TrafficPolicy,
};

use crate::world::node;

/// Endpoint 10.1.1.N on node 1 + N % 2; ports 8080 and 5353.
pub(super) fn endpoint(n: u8) -> EndpointItem {
    EndpointItem {
        address: format!("10.1.1.{n}").parse().unwrap(),
        ports: vec![8080, 5353].into(),
        conditions: Conditions::default(),
        node: Some(node(1 + n % 2)),
        zone: Default::default(),
        hints: Default::default(),
        hostname: Default::default(),
        pod: Some(format!("pod-{n}").parse().unwrap()),
    }
}

/// Service `shop/sN` at 10.112.0.N, ports 80/tcp and 53/udp, with these endpoints.
pub(super) fn service(n: u8, endpoints: &[u8]) -> ServiceItem {
    let port = |protocol, port| ServicePortItem { name: format!("p{port}"), protocol, port, node_port: 0 };
    ServiceItem {
        name: format!("shop/s{n}").parse().unwrap(),
        uid: ObjectUid([n; 16]),
        kind: ServiceType::ClusterIp,
        addresses: vec![format!("10.112.0.{n}").parse().unwrap()],
        external_ips: Vec::new(),
        load_balancer: Vec::new(),
        external_name: String::new(),
        ports: vec![port(Protocol::Tcp, 80), port(Protocol::Udp, 53)],
        affinity: None,
        external_policy: TrafficPolicy::Cluster,
        internal_policy: TrafficPolicy::Cluster,
        health_check_node_port: 0,
        source_ranges: Vec::new(),
        endpoints: endpoints.iter().map(|n| endpoint(*n)).collect(),
    }
}
