//! Feeding services and what belongs to them.

use weft_model::{
    AddressOwner, AddressType, ClientAffinity, ClusterAddresses, Conditions, DnsConfig, DnsOption, DnsPolicy,
    DnsSettings, EndpointSlice, Family, FamilyPolicy, Hints, IpMode, LoadBalancerAddress, LoadBalancerPool,
    Namespace, PodDns, PodSpec, Probe, ProbeHandler, Service, ServicePort, ServiceSpec, ServiceType,
    SliceEndpoint, SlicePort, StubDomain, TargetPort, TrafficDistribution, TrafficPolicy,
};

use super::{Feed, Hasher, extra, numbered};

feed_fields! {
    Namespace { name labels created revision }
    Service { name uid labels annotations spec load_balancer generation created revision }
    ServiceSpec {
        kind selector addresses families family_policy ports external_ips external_name affinity external_policy
        internal_policy health_check_node_port publish_not_ready allocate_node_ports load_balancer_ips
        load_balancer_class source_ranges distribution
    }
    ServicePort { name protocol port target node_port app_protocol }
    ClientAffinity { timeout_seconds }
    LoadBalancerAddress { address mode }
    LoadBalancerPool { name ranges automatic announce mode nodes generation revision }
    AddressOwner { address node successor epoch revision }
    EndpointSlice { name uid labels address_type ports endpoints generation created revision }
    SlicePort { name protocol port app_protocol }
    SliceEndpoint { addresses fqdn conditions hostname node zone hints pod }
    Conditions { ready serving terminating }
    Hints { zones nodes }
    DnsSettings { enabled ttl upstreams stub_domains search_path rebind_protection pod_records }
    StubDomain { domain servers }
    PodDns { policy config }
    DnsConfig { nameservers searches options }
    DnsOption { name value }
    Probe { handler initial_delay_ms period_ms timeout_ms success_threshold failure_threshold }
}

impl Feed for PodSpec {
    /// What is at its default was unknown to older releases and isn't fed.
    fn feed(&self, hasher: &mut Hasher) {
        let Self { name, labels, ports, ready, terminating, readiness, startup, hostname, subdomain, .. } =
            self;
        let Self { annotations, generation, revision, dns, service_links, .. } = self;
        name.feed(hasher);
        labels.feed(hasher);
        ports.feed(hasher);
        ready.feed(hasher);
        terminating.feed(hasher);
        readiness.feed(hasher);
        startup.feed(hasher);
        hostname.feed(hasher);
        subdomain.feed(hasher);
        annotations.feed(hasher);
        generation.feed(hasher);
        revision.feed(hasher);
        extra(hasher, 1, dns, *dns == PodDns::default());
        extra(hasher, 2, service_links, *service_links);
    }
}

feed_variants! {
    DnsPolicy { ClusterFirst = 0 ClusterFirstWithHostNet = 1 Default = 2 None = 3 }
    Family { V4 = 4 V6 = 6 }
    ServiceType { ClusterIp = 0 NodePort = 1 LoadBalancer = 2 ExternalName = 3 }
    TrafficPolicy { Cluster = 0 Local = 1 }
    FamilyPolicy { SingleStack = 0 PreferDualStack = 1 RequireDualStack = 2 }
    TrafficDistribution { PreferSameZone = 0 PreferSameNode = 1 }
    IpMode { Vip = 0 Proxy = 1 }
    AddressType { V4 = 4 V6 = 6 Fqdn = 0 }
}

impl Feed for ClusterAddresses {
    fn feed(&self, hasher: &mut Hasher) {
        match self {
            Self::Wanted => 0_u8.feed(hasher),
            Self::None => 1_u8.feed(hasher),
            Self::Given(addresses) => numbered(hasher, 2, addresses),
        }
    }
}

impl Feed for TargetPort {
    fn feed(&self, hasher: &mut Hasher) {
        match self {
            Self::Number(port) => numbered(hasher, 0, port),
            Self::Name(name) => numbered(hasher, 1, name),
        }
    }
}

impl Feed for ProbeHandler {
    fn feed(&self, hasher: &mut Hasher) {
        match self {
            Self::Tcp { port } => numbered(hasher, 0, port),
            Self::Http { port, path, tls, host, headers } => {
                numbered(hasher, 1, port);
                path.feed(hasher);
                tls.feed(hasher);
                host.feed(hasher);
                headers.feed(hasher);
            }
            Self::Grpc { port, service } => {
                numbered(hasher, 2, port);
                service.feed(hasher);
            }
        }
    }
}
