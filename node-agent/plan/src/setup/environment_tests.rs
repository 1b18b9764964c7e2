//! Variables as kubelet makes them.

use weft_model::{Item, ObjectUid, Revision, ServicePortItem, ServiceType, TrafficPolicy};

use super::*;

/// `name address port[,port]`, a port being `name/number/protocol`; an address of `-` is none.
fn service(text: &str) -> Item {
    let words: Vec<_> = text.split_whitespace().collect();
    let [name, addresses, ports] = words.as_slice() else { panic!("{text}") };
    let port = |text: &str| {
        let parts: Vec<_> = text.split('/').collect();
        ServicePortItem {
            name: parts[0].to_owned(),
            port: parts[1].parse().unwrap(),
            protocol: match parts[2] {
                "udp" => Protocol::Udp,
                "sctp" => Protocol::Sctp,
                _ => Protocol::Tcp,
            },
            node_port: 0,
        }
    };
    Item::Service(ServiceItem {
        name: name.parse().unwrap(),
        uid: ObjectUid([1; 16]),
        kind: ServiceType::ClusterIp,
        addresses: addresses.split(',').filter_map(|address| address.parse().ok()).collect(),
        external_ips: Vec::new(),
        load_balancer: Vec::new(),
        external_name: String::new(),
        ports: ports.split(',').map(port).collect(),
        affinity: None,
        external_policy: TrafficPolicy::Cluster,
        internal_policy: TrafficPolicy::Cluster,
        health_check_node_port: 0,
        source_ranges: Vec::new(),
        endpoints: Vec::new(),
    })
}

fn check(services: &[&str], namespace: &str, links: bool, expected: &[&str]) {
    let view = View::restored(Revision(1), services.iter().map(|text| service(text)));
    let made = environment(&view, &NamespaceName::new(namespace).unwrap(), links);
    let shown: Vec<_> = made.iter().map(|v| format!("{}={}", v.name, v.value)).collect();
    assert_eq!(shown, expected);
}

#[test]
fn a_service_gives_its_own_form_and_that_of_docker() {
    check(
        &["shop/redis-primary 10.112.0.11,fd5a::b /6379/tcp"],
        "shop",
        true,
        &[
            "REDIS_PRIMARY_SERVICE_HOST=10.112.0.11",
            "REDIS_PRIMARY_SERVICE_PORT=6379",
            "REDIS_PRIMARY_PORT=tcp://10.112.0.11:6379",
            "REDIS_PRIMARY_PORT_6379_TCP=tcp://10.112.0.11:6379",
            "REDIS_PRIMARY_PORT_6379_TCP_PROTO=tcp",
            "REDIS_PRIMARY_PORT_6379_TCP_PORT=6379",
            "REDIS_PRIMARY_PORT_6379_TCP_ADDR=10.112.0.11",
        ],
    );
    check(
        &["shop/2web fd5a::c dns-udp/53/udp,w.b/80/sctp"],
        "shop",
        true,
        &[
            "_2WEB_SERVICE_HOST=fd5a::c",
            "_2WEB_SERVICE_PORT=53",
            "_2WEB_SERVICE_PORT_DNS_UDP=53",
            "_2WEB_SERVICE_PORT_W_B=80",
            "_2WEB_PORT=udp://[fd5a::c]:53",
            "_2WEB_PORT_53_UDP=udp://[fd5a::c]:53",
            "_2WEB_PORT_53_UDP_PROTO=udp",
            "_2WEB_PORT_53_UDP_PORT=53",
            "_2WEB_PORT_53_UDP_ADDR=fd5a::c",
            "_2WEB_PORT_80_SCTP=sctp://[fd5a::c]:80",
            "_2WEB_PORT_80_SCTP_PROTO=sctp",
            "_2WEB_PORT_80_SCTP_PORT=80",
            "_2WEB_PORT_80_SCTP_ADDR=fd5a::c",
        ],
    );
}

/// Hosts alone, since they name the services.
fn hosts(services: &[&str], namespace: &str, links: bool, expected: &[&str]) {
    let view = View::restored(Revision(1), services.iter().map(|text| service(text)));
    let made = environment(&view, &NamespaceName::new(namespace).unwrap(), links);
    let hosts = made.iter().filter(|v| v.name.ends_with("_SERVICE_HOST"));
    let shown: Vec<_> =
        hosts.map(|v| format!("{}={}", v.name.trim_end_matches("_SERVICE_HOST"), v.value)).collect();
    assert_eq!(shown, expected, "{services:?} {namespace} {links}");
}

#[test]
fn a_pod_hears_of_its_own_namespace_and_of_the_control_plane() {
    let all = [
        "default/kubernetes 10.112.0.1 https/443/tcp",
        "default/web 10.112.0.2 /80/tcp",
        "shop/web 10.112.0.3 /80/tcp",
        "shop/alpha 10.112.0.4 /80/tcp",
        "shop/headless - /80/tcp",
    ];
    hosts(&all, "shop", true, &["ALPHA=10.112.0.4", "KUBERNETES=10.112.0.1", "WEB=10.112.0.3"]);
    hosts(&all, "default", true, &["KUBERNETES=10.112.0.1", "WEB=10.112.0.2"]);
    hosts(&all, "shop", false, &["KUBERNETES=10.112.0.1"]);
    hosts(&all, "default", false, &["KUBERNETES=10.112.0.1"]);
    hosts(&all[1..], "other", true, &[]);
}

#[test]
fn of_two_with_one_name_the_own_one_wins_and_no_name_comes_twice() {
    let own = ["default/kubernetes 10.112.0.1 https/443/tcp", "shop/kubernetes 10.112.0.9 /80/tcp"];
    hosts(&own, "shop", true, &["KUBERNETES=10.112.0.9"]);
    hosts(&own, "shop", false, &["KUBERNETES=10.112.0.1"]);
    hosts(&["shop/a-b 10.112.0.1 /1/tcp", "shop/a.b 10.112.0.2 /1/tcp"], "shop", true, &["A_B=10.112.0.2"]);
}
