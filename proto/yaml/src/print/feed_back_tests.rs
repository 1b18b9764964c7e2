//! What is printed feeds back: any object of the kinds people write comes out of its own text as it was.

use std::{collections::BTreeMap, net::IpAddr};

use proptest::{collection::vec, option, prelude::*};
use weft_model::*;

use crate::{Options, object_value, parse, to_yaml};

fn word() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9]{0,6}"
}

fn v4() -> impl Strategy<Value = IpAddr> {
    any::<[u8; 4]>().prop_map(IpAddr::from)
}

fn name() -> impl Strategy<Value = ObjectName> {
    (word(), word()).prop_map(|(namespace, name)| format!("{namespace}/{name}").parse().unwrap())
}

/// Texts that YAML could take for something else come first.
fn texts() -> impl Strategy<Value = BTreeMap<String, String>> {
    let value =
        prop_oneof![Just("yes".to_owned()), Just("1".to_owned()), Just("null".to_owned()), "[ -~]{0,6}"];
    proptest::collection::btree_map(word(), value, 0..3)
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)]
}

fn ranges() -> impl Strategy<Value = Vec<AddressRange>> {
    vec((v4(), 0..=32u8), 0..3).prop_map(|list| {
        list.into_iter()
            .map(|(address, prefix)| {
                AddressRange::new(ipnet::IpNet::new(address, prefix).unwrap().trunc()).unwrap()
            })
            .collect()
    })
}

fn port() -> impl Strategy<Value = ServicePort> {
    let target = prop_oneof![(1..=u16::MAX).prop_map(TargetPort::Number), word().prop_map(TargetPort::Name)];
    let app = prop_oneof![Just(String::new()), word()];
    (word(), protocol(), 1..=u16::MAX, target, any::<u16>(), app).prop_map(
        |(name, protocol, port, target, node_port, app_protocol)| ServicePort {
            name,
            protocol,
            port,
            target,
            node_port,
            app_protocol,
        },
    )
}

fn spec() -> impl Strategy<Value = ServiceSpec> {
    let kind = proptest::sample::select(ServiceType::ALL.to_vec());
    let addresses = prop_oneof![
        Just(ClusterAddresses::Wanted),
        Just(ClusterAddresses::None),
        vec(v4(), 1..3).prop_map(ClusterAddresses::Given),
    ];
    let policy =
        option::of(prop_oneof![Just(FamilyPolicy::SingleStack), Just(FamilyPolicy::RequireDualStack)]);
    let distribution = option::of(prop_oneof![
        Just(TrafficDistribution::PreferSameZone),
        Just(TrafficDistribution::PreferSameNode)
    ]);
    let traffic = || prop_oneof![Just(TrafficPolicy::Cluster), Just(TrafficPolicy::Local)];
    (
        (kind, texts(), addresses, policy, vec(port(), 0..3), vec(v4(), 0..2)),
        (option::of(1..=86_400u32), traffic(), traffic(), any::<(u16, bool, bool)>(), option::of(v4())),
        (option::of(word()), ranges(), distribution, prop_oneof![Just(String::new()), word()]),
    )
        .prop_map(|(a, b, c)| {
            let (kind, selector, addresses, family_policy, ports, external_ips) = a;
            let (timeout, external, internal, (health, publish_not_ready, allocate), ip) = b;
            let (load_balancer_class, source_ranges, distribution, external_name) = c;
            let outside = kind.has_node_ports() || !external_ips.is_empty();
            let inside = kind != ServiceType::ExternalName;
            ServiceSpec {
                kind,
                selector,
                addresses,
                families: vec![Family::V6, Family::V4],
                family_policy,
                ports,
                external_ips,
                external_name,
                affinity: timeout.map(|timeout_seconds| ClientAffinity { timeout_seconds }),
                external_policy: if outside { external } else { TrafficPolicy::Cluster },
                internal_policy: if inside { internal } else { TrafficPolicy::Cluster },
                health_check_node_port: health,
                publish_not_ready,
                allocate_node_ports: allocate,
                load_balancer_ips: ip.into_iter().collect(),
                load_balancer_class,
                source_ranges,
                distribution,
            }
        })
}

fn service() -> impl Strategy<Value = Object> {
    (name(), texts(), texts(), spec()).prop_map(|(name, labels, annotations, spec)| {
        Object::Service(Service {
            name,
            uid: ObjectUid([0; 16]),
            labels,
            annotations,
            spec,
            load_balancer: Vec::new(),
            generation: 0,
            created: WallTime(0),
            revision: Revision(0),
        })
    })
}

fn endpoint() -> impl Strategy<Value = SliceEndpoint> {
    let node = option::of(word().prop_map(|text| NodeName::new(text).unwrap()));
    let pod = option::of(word().prop_map(|text| Name::new(text).unwrap()));
    let maybe = || prop_oneof![Just(String::new()), word()];
    (vec(v4(), 1..3), any::<[Option<bool>; 3]>(), maybe(), node, maybe(), vec(word(), 0..2), pod).prop_map(
        |(addresses, [ready, serving, terminating], hostname, node, zone, zones, pod)| SliceEndpoint {
            addresses,
            fqdn: Vec::new(),
            conditions: Conditions { ready, serving, terminating },
            hostname,
            hints: Hints { zones, nodes: node.iter().cloned().collect() },
            node,
            zone,
            pod,
        },
    )
}

fn slice() -> impl Strategy<Value = Object> {
    let port = (word(), protocol(), option::of(1..=u16::MAX)).prop_map(|(name, protocol, port)| SlicePort {
        name,
        protocol,
        port,
        app_protocol: String::new(),
    });
    (name(), texts(), vec(port, 0..3), vec(endpoint(), 0..3)).prop_map(|(name, labels, ports, endpoints)| {
        Object::Slice(EndpointSlice {
            name,
            uid: ObjectUid([0; 16]),
            labels,
            address_type: AddressType::V4,
            ports,
            endpoints,
            generation: 0,
            created: WallTime(0),
            revision: Revision(0),
        })
    })
}

fn probe() -> impl Strategy<Value = Probe> {
    let handler = prop_oneof![
        (1..=u16::MAX).prop_map(|port| ProbeHandler::Tcp { port }),
        (1..=u16::MAX, any::<bool>(), prop_oneof![Just(String::new()), word()], vec((word(), word()), 0..2))
            .prop_map(|(port, tls, host, headers)| ProbeHandler::Http {
                port,
                path: "/healthz?full".to_owned(),
                tls,
                host,
                headers: headers.into_iter().filter(|(name, _)| name != "host").collect(),
            }),
        (1..=u16::MAX, word()).prop_map(|(port, service)| ProbeHandler::Grpc { port, service }),
    ];
    (handler, 0..100u32, 1..100u32, 1..9u32).prop_map(|(handler, delay, period, threshold)| Probe {
        handler,
        initial_delay_ms: delay * 1_000,
        period_ms: period * 1_000,
        timeout_ms: 1_000,
        success_threshold: threshold,
        failure_threshold: threshold,
    })
}

fn pod_dns() -> impl Strategy<Value = PodDns> {
    let option = (word(), option::of(word())).prop_map(|(name, value)| DnsOption { name, value });
    let nameserver = any::<[u8; 4]>().prop_map(IpAddr::from);
    (
        proptest::sample::select(DnsPolicy::ALL.to_vec()),
        vec(nameserver, 0..3),
        vec(word(), 0..3),
        vec(option, 0..3),
    )
        .prop_map(|(policy, nameservers, searches, options)| PodDns {
            policy,
            config: DnsConfig { nameservers, searches, options },
        })
}

fn pod() -> impl Strategy<Value = Object> {
    let port = (word(), protocol(), 1..=u16::MAX).prop_map(|(name, protocol, port)| NamedPort {
        name,
        protocol,
        port,
    });
    (
        (name(), texts(), texts(), vec(port, 0..3)),
        any::<(Option<bool>, bool)>(),
        (option::of(probe()), option::of(probe())),
        (pod_dns(), any::<bool>()),
    )
        .prop_map(
            |(
                (name, labels, annotations, ports),
                (ready, terminating),
                (readiness, startup),
                (dns, service_links),
            )| {
                Object::PodSpec(PodSpec {
                    name,
                    labels,
                    ports,
                    ready,
                    terminating,
                    readiness,
                    startup,
                    hostname: "h".to_owned(),
                    subdomain: String::new(),
                    dns,
                    service_links,
                    annotations,
                    generation: 0,
                    revision: Revision(0),
                })
            },
        )
}

fn pool() -> impl Strategy<Value = Object> {
    (word(), ranges(), any::<(bool, bool, bool)>(), texts()).prop_map(|(name, ranges, flags, nodes)| {
        Object::Pool(LoadBalancerPool {
            name: Name::new(name).unwrap(),
            ranges,
            automatic: flags.0,
            announce: flags.1,
            mode: if flags.2 { IpMode::Vip } else { IpMode::Proxy },
            nodes,
            generation: 0,
            revision: Revision(0),
        })
    })
}

fn selector() -> impl Strategy<Value = LabelSelector> {
    use LabelOperator::{DoesNotExist, Exists, In, NotIn};
    let valued = (
        word(),
        prop_oneof![Just(In), Just(NotIn)],
        proptest::collection::btree_set(
            prop_oneof![Just("yes".to_owned()), Just("1".to_owned()), word()],
            1..3,
        ),
    );
    let bare =
        (word(), prop_oneof![Just(Exists), Just(DoesNotExist)], Just(std::collections::BTreeSet::new()));
    let requirement = prop_oneof![valued.boxed(), bare.boxed()]
        .prop_map(|(key, operator, values)| LabelRequirement { key, operator, values });
    let value = prop_oneof![Just("yes".to_owned()), Just("null".to_owned()), Just(String::new()), word()];
    (proptest::collection::btree_map(word(), value, 0..3), vec(requirement, 0..3))
        .prop_map(|(labels, expressions)| LabelSelector { labels, expressions })
}

fn rule() -> impl Strategy<Value = PolicyRule> {
    let pods = (option::of(selector()), option::of(selector()))
        .prop_filter("somebody", |(namespaces, pods)| namespaces.is_some() || pods.is_some())
        .prop_map(|(namespaces, pods)| PolicyPeer::Pods { namespaces, pods });
    let block = (v4(), 0..=30u8, any::<bool>()).prop_map(|(address, prefix, except)| {
        let range = |prefix| AddressRange::new(ipnet::IpNet::new(address, prefix).unwrap().trunc()).unwrap();
        PolicyPeer::Block {
            range: range(prefix),
            except: except.then(|| range(prefix + 1)).into_iter().collect(),
        }
    });
    let ports = prop_oneof![
        Just(PortMatch::Any),
        (1..=u16::MAX, 1..=u16::MAX).prop_map(|(a, b)| PortMatch::Numbers(a.min(b), a.max(b))),
        word().prop_map(PortMatch::Name),
    ];
    let port = (protocol(), ports).prop_map(|(protocol, port)| PolicyPort { protocol, port });
    (vec(prop_oneof![pods, block], 0..3), vec(port, 0..3))
        .prop_map(|(peers, ports)| PolicyRule { peers, ports })
}

fn policy() -> impl Strategy<Value = Object> {
    let rules = (vec(rule(), 0..3), vec(rule(), 0..3));
    (name(), texts(), texts(), selector(), any::<(bool, bool)>(), rules).prop_map(
        |(name, labels, annotations, pods, (isolates_ingress, egress), rules)| {
            let (ingress, rules_out) = rules;
            Object::NetworkPolicy(NetworkPolicy {
                name,
                uid: ObjectUid([0; 16]),
                labels,
                annotations,
                spec: PolicySpec {
                    pods,
                    isolates_ingress,
                    isolates_egress: egress || !isolates_ingress,
                    ingress,
                    egress: rules_out,
                },
                generation: 0,
                created: WallTime(0),
                revision: Revision(0),
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_people_wrote_comes_out_of_its_own_text(
        object in prop_oneof![3 => service(), 1 => slice(), 1 => pod(), 1 => pool(), 3 => policy()],
    ) {
        let value = object_value(&object);
        for text in [to_yaml(&value), value.to_string()] {
            let parsed = parse(&text, "f", &Options::default()).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
            prop_assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
            let Some(Draft::Whole(whole)) = parsed.objects.into_iter().next().map(|d| d.draft) else { panic!("{text}") };
            prop_assert_eq!(&whole, &object, "{}", text);
        }
    }
}

#[test]
fn a_living_pod_feeds_back_without_freezing_what_its_node_sees() {
    let pod = Pod {
        uid: PodUid([1; 16]),
        name: "shop/web-0".parse().unwrap(),
        labels: Labels::from([("app".to_owned(), "web".to_owned())]),
        node: NodeName::new("n1").unwrap(),
        attachment: AttachmentId { container: "c".to_owned(), interface: "eth0".to_owned() },
        addresses: vec!["10.128.0.2".parse().unwrap()],
        ports: vec![NamedPort { name: "http".to_owned(), protocol: Protocol::Tcp, port: 8080 }],
        phase: PodPhase::Active,
        ready: false,
        terminating: false,
        created: WallTime(0),
        revision: Revision(9),
    };
    let text = to_yaml(&object_value(&Object::Pod(pod.clone())));
    let parsed = parse(&text, "f", &Options::default()).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let Some(Draft::Whole(whole)) = parsed.objects.into_iter().next().map(|d| d.draft) else {
        panic!("{text}")
    };
    let Object::PodSpec(spec) = whole else { panic!("{text}") };
    assert_eq!((&spec.name, &spec.labels, &spec.ports), (&pod.name, &pod.labels, &pod.ports));
    assert_eq!((spec.ready, spec.terminating), (None, false));
}
