//! Names: how the fabric's DNS works, and how a pod asks (Kubernetes, core/v1 `dnsPolicy` and `dnsConfig`).

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use crate::{
    AddressRange, FabricItem, FabricRanges, Family,
    ownership::{DNS_LOCAL_V4, DNS_LOCAL_V6},
};

/// Seconds for which an answer of the cluster's own zone counts, unless told otherwise: as CoreDNS.
pub const DEFAULT_DNS_TTL: u32 = 5;

/// Position of the DNS address within a service range, as kubeadm places it.
pub const DNS_POSITION: u128 = 10;

/// How the fabric's DNS works, on every node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSettings {
    /// Whether nodes run it: without it pods get their node's resolv.conf.
    pub enabled: bool,
    /// Seconds for which an answer of the cluster's own zone counts: 0 to 3600.
    pub ttl: u32,
    /// Who is asked about foreign names; empty: what each node's own resolv.conf says.
    pub upstreams: Vec<SocketAddr>,
    /// Domains with servers of their own.
    pub stub_domains: Vec<StubDomain>,
    /// Whether a name that can only be external is answered at the first of a pod's search domains.
    pub search_path: bool,
    /// Whether upstreams' answers with addresses of the fabric are dropped.
    pub rebind_protection: bool,
    /// Whether `a-b-c-d.namespace.pod.DOMAIN` exists for living pods.
    pub pod_records: bool,
}

impl Default for DnsSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            ttl: DEFAULT_DNS_TTL,
            upstreams: Vec::new(),
            stub_domains: Vec::new(),
            search_path: true,
            rebind_protection: false,
            pod_records: true,
        }
    }
}

/// A domain that servers of its own answer for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StubDomain {
    /// The domain, without a dot at the end.
    pub domain: String,
    /// Who is asked, in this order.
    pub servers: Vec<SocketAddr>,
}

/// The addresses at which pods ask: the tenth of each service range.
pub fn dns_addresses(ranges: &FabricRanges) -> impl Iterator<Item = IpAddr> {
    ranges.services.iter().filter_map(|range: &AddressRange| range.nth(DNS_POSITION))
}

/// Addresses at which every node answers its own pods' and processes' questions about names: the tenth of each service range
/// first, then those that are the same in every fabric. Empty where the fabric has no DNS.
pub fn resolver_addresses(fabric: &FabricItem) -> impl Iterator<Item = IpAddr> {
    let local = [IpAddr::V4(DNS_LOCAL_V4), IpAddr::V6(DNS_LOCAL_V6)];
    let addresses = dns_addresses(&fabric.ranges).chain(local);
    addresses.filter(|address| fabric.dns.enabled && fabric.families.has(Family::of(*address)))
}

/// Whether somebody who asks at an address asks a DNS of this fabric: whatever its families, and whether it is on or off.
pub fn is_own_resolver(ranges: &FabricRanges, address: IpAddr) -> bool {
    let address = address.to_canonical();
    address == DNS_LOCAL_V4 || address == DNS_LOCAL_V6 || dns_addresses(ranges).any(|own| own == address)
}

/// Whom a pod asks for names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DnsPolicy {
    /// The cluster's DNS; a pod on its node's own network asks as its node does.
    #[default]
    ClusterFirst,
    /// The cluster's DNS, also on the node's own network.
    ClusterFirstWithHostNet,
    /// As the node does.
    Default,
    /// What the pod's `dnsConfig` says and nothing else.
    None,
}

impl DnsPolicy {
    /// All policies.
    pub const ALL: [Self; 4] = [Self::ClusterFirst, Self::ClusterFirstWithHostNet, Self::Default, Self::None];
}

impl fmt::Display for DnsPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ClusterFirst => "ClusterFirst",
            Self::ClusterFirstWithHostNet => "ClusterFirstWithHostNet",
            Self::Default => "Default",
            Self::None => "None",
        })
    }
}

impl FromStr for DnsPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|policy| policy.to_string() == text).ok_or_else(|| {
            format!("unknown DNS policy {text:?}: use ClusterFirst, ClusterFirstWithHostNet, Default or None")
        })
    }
}

/// One option of a resolv.conf: `ndots:5`, or `edns0` without a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DnsOption {
    /// Name.
    pub name: String,
    /// Value; `None`: the name alone.
    pub value: Option<String>,
}

impl fmt::Display for DnsOption {
    /// As it stands in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}:{value}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// What a pod adds to its resolv.conf.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DnsConfig {
    /// Servers, behind those of the policy; at most 3.
    pub nameservers: Vec<IpAddr>,
    /// Search domains, behind those of the policy; at most 32.
    pub searches: Vec<String>,
    /// Options; one of the policy's with the same name gives way.
    pub options: Vec<DnsOption>,
}

impl DnsConfig {
    /// It adds nothing.
    pub const fn is_empty(&self) -> bool {
        self.nameservers.is_empty() && self.searches.is_empty() && self.options.is_empty()
    }
}

/// How a pod asks for names.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodDns {
    /// Whom it asks.
    pub policy: DnsPolicy,
    /// What it adds.
    pub config: DnsConfig,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_come_back_from_their_text() {
        for policy in DnsPolicy::ALL {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        assert!("clusterfirst".parse::<DnsPolicy>().is_err());
    }

    #[test]
    fn the_address_of_dns_is_the_tenth_of_each_service_range() {
        let check = |services: &[&str], expected: &[&str]| {
            let services = services.iter().map(|text| text.parse().unwrap()).collect();
            let ranges = FabricRanges { services, ..FabricRanges::default() };
            let shown: Vec<_> = dns_addresses(&ranges).map(|address| address.to_string()).collect();
            assert_eq!(shown, expected);
        };
        check(&["10.112.0.0/16", "fd5a:7eff::/112"], &["10.112.0.10", "fd5a:7eff::a"]);
        check(&["10.112.0.0/29"], &[]);
    }

    #[test]
    fn an_address_of_our_own_is_known_however_it_is_written() {
        let services = vec!["10.112.0.0/16".parse().unwrap(), "fd5a:7eff::/112".parse().unwrap()];
        let ranges = FabricRanges { services, ..FabricRanges::default() };
        let own = ["10.112.0.10", "fd5a:7eff::a", "169.254.1.53", "fd5a:7e53::53", "::ffff:10.112.0.10"];
        for (address, expected) in own.map(|own| (own, true)).into_iter().chain([("10.112.0.11", false)]) {
            assert_eq!(is_own_resolver(&ranges, address.parse().unwrap()), expected, "{address}");
        }
    }
}
