//! Random services and what belongs to them, valid in shape.

use proptest::{collection::vec, option, prelude::*};
use weft_model::*;

use super::strategies::{address, labels, name, node_name, port, ranges};

fn object_name() -> impl Strategy<Value = ObjectName> {
    ("[a-z]{1,5}", name()).prop_map(|(namespace, name)| ObjectName {
        namespace: NamespaceName::new(namespace).unwrap(),
        name: Name::new(name).unwrap(),
    })
}

fn uid() -> impl Strategy<Value = ObjectUid> {
    any::<[u8; 16]>().prop_map(ObjectUid)
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)]
}

fn policy() -> impl Strategy<Value = TrafficPolicy> {
    prop_oneof![Just(TrafficPolicy::Cluster), Just(TrafficPolicy::Local)]
}

fn service_type() -> impl Strategy<Value = ServiceType> {
    proptest::sample::select(ServiceType::ALL.to_vec())
}

fn mode() -> impl Strategy<Value = IpMode> {
    prop_oneof![Just(IpMode::Vip), Just(IpMode::Proxy)]
}

fn affinity() -> impl Strategy<Value = Option<ClientAffinity>> {
    option::of(any::<u32>().prop_map(|timeout_seconds| ClientAffinity { timeout_seconds }))
}

fn balancer() -> impl Strategy<Value = Vec<LoadBalancerAddress>> {
    vec((address(), mode()).prop_map(|(address, mode)| LoadBalancerAddress { address, mode }), 0..3)
}

fn service_port() -> impl Strategy<Value = ServicePort> {
    let target =
        prop_oneof![(1..=u16::MAX).prop_map(TargetPort::Number), ".{0,5}".prop_map(TargetPort::Name)];
    (".{0,5}", protocol(), 1..=u16::MAX, target, any::<u16>(), ".{0,5}").prop_map(
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

fn cluster_addresses() -> impl Strategy<Value = ClusterAddresses> {
    prop_oneof![
        Just(ClusterAddresses::Wanted),
        Just(ClusterAddresses::None),
        vec(address(), 1..3).prop_map(ClusterAddresses::Given)
    ]
}

fn spec() -> BoxedStrategy<ServiceSpec> {
    let family = prop_oneof![Just(Family::V4), Just(Family::V6)];
    let families = option::of(prop_oneof![
        Just(FamilyPolicy::SingleStack),
        Just(FamilyPolicy::PreferDualStack),
        Just(FamilyPolicy::RequireDualStack)
    ]);
    let distribution = option::of(prop_oneof![
        Just(TrafficDistribution::PreferSameZone),
        Just(TrafficDistribution::PreferSameNode)
    ]);
    (
        (
            service_type(),
            labels(),
            cluster_addresses(),
            vec(family, 0..3),
            families,
            vec(service_port(), 0..3),
        ),
        (vec(address(), 0..3), ".{0,5}", affinity(), policy(), policy(), any::<(u16, bool, bool)>()),
        (vec(address(), 0..3), option::of(".{0,5}"), ranges(), distribution),
    )
        .prop_map(|(a, b, c)| {
            let (kind, selector, addresses, families, family_policy, ports) = a;
            let (external_ips, external_name, affinity, external_policy, internal_policy, d) = b;
            let (health_check_node_port, publish_not_ready, allocate_node_ports) = d;
            let (load_balancer_ips, load_balancer_class, source_ranges, distribution) = c;
            ServiceSpec {
                kind,
                selector,
                addresses,
                families,
                family_policy,
                ports,
                external_ips,
                external_name,
                affinity,
                external_policy,
                internal_policy,
                health_check_node_port,
                publish_not_ready,
                allocate_node_ports,
                load_balancer_ips,
                load_balancer_class,
                source_ranges,
                distribution,
            }
        })
        .boxed()
}

fn service() -> BoxedStrategy<Service> {
    (object_name(), uid(), labels(), labels(), spec(), balancer(), any::<(u64, u64, u64)>())
        .prop_map(|(name, uid, labels, annotations, spec, load_balancer, (generation, created, revision))| {
            Service {
                name,
                uid,
                labels,
                annotations,
                spec,
                load_balancer,
                generation,
                created: WallTime(created),
                revision: Revision(revision),
            }
        })
        .boxed()
}

fn conditions() -> impl Strategy<Value = Conditions> {
    any::<[Option<bool>; 3]>().prop_map(|[ready, serving, terminating]| Conditions {
        ready,
        serving,
        terminating,
    })
}

fn hints() -> impl Strategy<Value = Hints> {
    (vec(".{0,5}", 0..3), vec(node_name(), 0..3)).prop_map(|(zones, nodes)| Hints { zones, nodes })
}

fn pod_name() -> impl Strategy<Value = Option<Name>> {
    option::of(name().prop_map(|text| Name::new(text).unwrap()))
}

fn slice() -> BoxedStrategy<EndpointSlice> {
    let kind = prop_oneof![Just(AddressType::V4), Just(AddressType::V6), Just(AddressType::Fqdn)];
    let port = (".{0,5}", protocol(), option::of(1..=u16::MAX), ".{0,5}")
        .prop_map(|(name, protocol, port, app_protocol)| SlicePort { name, protocol, port, app_protocol });
    let endpoint =
        (
            (vec(address(), 0..3), vec(".{0,5}", 0..2), conditions(), ".{0,5}"),
            (option::of(node_name()), ".{0,5}", hints(), pod_name()),
        )
            .prop_map(|((addresses, fqdn, conditions, hostname), (node, zone, hints, pod))| {
                SliceEndpoint { addresses, fqdn, conditions, hostname, node, zone, hints, pod }
            });
    (object_name(), uid(), labels(), kind, vec(port, 0..3), vec(endpoint, 0..3), any::<(u64, u64, u64)>())
        .prop_map(|(name, uid, labels, address_type, ports, endpoints, (generation, created, revision))| {
            EndpointSlice {
                name,
                uid,
                labels,
                address_type,
                ports,
                endpoints,
                generation,
                created: WallTime(created),
                revision: Revision(revision),
            }
        })
        .boxed()
}

fn probe() -> BoxedStrategy<Probe> {
    let handler = prop_oneof![
        (1..=u16::MAX).prop_map(|port| ProbeHandler::Tcp { port }),
        (1..=u16::MAX, ".{0,5}", any::<bool>(), ".{0,5}", vec((".{0,5}", ".{0,5}"), 0..2)).prop_map(
            |(port, path, tls, host, headers)| ProbeHandler::Http { port, path, tls, host, headers }
        ),
        (1..=u16::MAX, ".{0,5}").prop_map(|(port, service)| ProbeHandler::Grpc { port, service }),
    ];
    (handler, any::<[u32; 5]>())
        .prop_map(|(handler, [delay, period, timeout, success, failure])| Probe {
            handler,
            initial_delay_ms: delay,
            period_ms: period,
            timeout_ms: timeout,
            success_threshold: success,
            failure_threshold: failure,
        })
        .boxed()
}

fn pod_dns() -> impl Strategy<Value = PodDns> {
    let option = (".{0,5}", option::of(".{0,5}")).prop_map(|(name, value)| DnsOption { name, value });
    let policy = proptest::sample::select(DnsPolicy::ALL.to_vec());
    (policy, vec(address(), 0..3), vec(".{0,5}", 0..3), vec(option, 0..3)).prop_map(
        |(policy, nameservers, searches, options)| PodDns {
            policy,
            config: DnsConfig { nameservers, searches, options },
        },
    )
}

fn pod_spec() -> BoxedStrategy<PodSpec> {
    (
        (object_name(), labels(), vec(port(), 0..3), any::<(Option<bool>, bool, u64, u64)>()),
        (option::of(probe()), option::of(probe()), ".{0,5}", ".{0,5}", labels()),
        (pod_dns(), any::<bool>()),
    )
        .prop_map(
            |(
                (name, labels, ports, numbers),
                (readiness, startup, hostname, subdomain, annotations),
                (dns, service_links),
            )| {
                let (ready, terminating, generation, revision) = numbers;
                PodSpec {
                    name,
                    labels,
                    ports,
                    ready,
                    terminating,
                    readiness,
                    startup,
                    hostname,
                    subdomain,
                    dns,
                    service_links,
                    annotations,
                    generation,
                    revision: Revision(revision),
                }
            },
        )
        .boxed()
}

fn pool() -> impl Strategy<Value = LoadBalancerPool> {
    (name(), ranges(), any::<(bool, bool, u64, u64)>(), mode(), labels()).prop_map(
        |(name, ranges, (automatic, announce, generation, revision), mode, nodes)| LoadBalancerPool {
            name: Name::new(name).unwrap(),
            ranges,
            automatic,
            announce,
            mode,
            nodes,
            generation,
            revision: Revision(revision),
        },
    )
}

pub(super) fn owner() -> impl Strategy<Value = AddressOwner> {
    (address(), node_name(), option::of(node_name()), any::<(u64, u64)>()).prop_map(
        |(address, node, successor, (epoch, revision))| AddressOwner {
            address,
            node,
            successor,
            epoch,
            revision: Revision(revision),
        },
    )
}

/// An object of any kind that services brought.
pub(super) fn object() -> BoxedStrategy<Object> {
    let namespace =
        ("[a-z]{1,5}", labels(), any::<(u64, u64)>()).prop_map(|(name, labels, (created, revision))| {
            Object::Namespace(Namespace {
                name: NamespaceName::new(name).unwrap(),
                labels,
                created: WallTime(created),
                revision: Revision(revision),
            })
        });
    prop_oneof![
        namespace,
        service().prop_map(Object::Service),
        slice().prop_map(Object::Slice),
        pod_spec().prop_map(Object::PodSpec),
        pool().prop_map(Object::Pool),
        owner().prop_map(Object::Owner),
    ]
    .boxed()
}

fn endpoint_item() -> impl Strategy<Value = EndpointItem> {
    (
        (address(), vec(any::<u16>(), 0..3), conditions(), option::of(node_name())),
        (".{0,5}", hints(), ".{0,5}", pod_name()),
    )
        .prop_map(|((address, ports, conditions, node), (zone, hints, hostname, pod))| EndpointItem {
            address,
            ports: ports.into(),
            conditions,
            node,
            zone: zone.into(),
            hints: hints.into(),
            hostname: hostname.into(),
            pod,
        })
}

/// An item of any kind that services brought.
pub(super) fn item() -> BoxedStrategy<Item> {
    let service = (service(), vec(endpoint_item(), 0..4)).prop_map(|(service, endpoints)| {
        let ports = service.spec.ports.iter().map(|port| ServicePortItem {
            name: port.name.clone(),
            protocol: port.protocol,
            port: port.port,
            node_port: port.node_port,
        });
        Item::Service(ServiceItem {
            ports: ports.collect(),
            name: service.name,
            uid: service.uid,
            kind: service.spec.kind,
            addresses: service.spec.addresses.list().to_vec(),
            external_ips: service.spec.external_ips,
            load_balancer: service.load_balancer,
            external_name: service.spec.external_name,
            affinity: service.spec.affinity,
            external_policy: service.spec.external_policy,
            internal_policy: service.spec.internal_policy,
            health_check_node_port: service.spec.health_check_node_port,
            source_ranges: service.spec.source_ranges,
            endpoints,
        })
    });
    let probe = pod_spec().prop_map(|spec| {
        Item::Probe(ProbeItem { pod: spec.name, readiness: spec.readiness, startup: spec.startup })
    });
    let pod = (object_name(), vec(address(), 0..3), ".{0,5}", ".{0,5}", any::<u64>()).prop_map(
        |(name, addresses, hostname, subdomain, id)| {
            let identity = IdentityId(id);
            Item::Pod(PodItem { name, addresses, hostname, subdomain, identity })
        },
    );
    let setup = (object_name(), pod_dns(), any::<bool>())
        .prop_map(|(pod, dns, service_links)| Item::Setup(SetupItem { pod, dns, service_links }));
    prop_oneof![service, probe, owner().prop_map(Item::Owner), pod, setup].boxed()
}
