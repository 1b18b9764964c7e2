//! How the fabric's DNS works, how pods ask, and the pods that names lead to.

use weft_model::{
    DnsConfig, DnsOption, DnsPolicy, DnsSettings, IdentityId, PodDns, PodItem, SetupItem, StubDomain,
};

use super::{
    address::{addresses_from_wire, addresses_to_wire},
    shape::{ShapeError, Within, list, optional, required},
};
use crate::v1;

impl TryFrom<v1::DnsSettings> for DnsSettings {
    type Error = ShapeError;

    fn try_from(wire: v1::DnsSettings) -> Result<Self, ShapeError> {
        Ok(Self {
            enabled: !wire.disabled,
            ttl: wire.ttl,
            upstreams: list("upstreams", wire.upstreams)?,
            stub_domains: list("stub_domains", wire.stub_domains)?,
            search_path: !wire.no_search_path,
            rebind_protection: wire.rebind_protection,
            pod_records: !wire.no_pod_records,
        })
    }
}

impl From<&DnsSettings> for v1::DnsSettings {
    fn from(settings: &DnsSettings) -> Self {
        Self {
            disabled: !settings.enabled,
            ttl: settings.ttl,
            upstreams: settings.upstreams.iter().map(Into::into).collect(),
            stub_domains: settings.stub_domains.iter().map(Into::into).collect(),
            no_search_path: !settings.search_path,
            rebind_protection: settings.rebind_protection,
            no_pod_records: !settings.pod_records,
        }
    }
}

/// Settings; absent from a writer that knew none: the default.
pub(super) fn settings_from_wire(
    field: &str,
    wire: Option<v1::DnsSettings>,
) -> Result<DnsSettings, ShapeError> {
    Ok(optional(field, wire)?.unwrap_or_default())
}

impl TryFrom<v1::StubDomain> for StubDomain {
    type Error = ShapeError;

    fn try_from(wire: v1::StubDomain) -> Result<Self, ShapeError> {
        Ok(Self { domain: wire.domain, servers: list("servers", wire.servers)? })
    }
}

impl From<&StubDomain> for v1::StubDomain {
    fn from(stub: &StubDomain) -> Self {
        Self { domain: stub.domain.clone(), servers: stub.servers.iter().map(Into::into).collect() }
    }
}

fn policy_from_wire(field: &str, value: i32) -> Result<DnsPolicy, ShapeError> {
    match v1::DnsPolicy::try_from(value) {
        Ok(v1::DnsPolicy::Unspecified | v1::DnsPolicy::ClusterFirst) => Ok(DnsPolicy::ClusterFirst),
        Ok(v1::DnsPolicy::ClusterFirstWithHostNet) => Ok(DnsPolicy::ClusterFirstWithHostNet),
        Ok(v1::DnsPolicy::Default) => Ok(DnsPolicy::Default),
        Ok(v1::DnsPolicy::None) => Ok(DnsPolicy::None),
        Err(_) => Err(ShapeError::new("no such policy")),
    }
    .within(field)
}

impl From<DnsPolicy> for v1::DnsPolicy {
    fn from(policy: DnsPolicy) -> Self {
        match policy {
            DnsPolicy::ClusterFirst => Self::ClusterFirst,
            DnsPolicy::ClusterFirstWithHostNet => Self::ClusterFirstWithHostNet,
            DnsPolicy::Default => Self::Default,
            DnsPolicy::None => Self::None,
        }
    }
}

impl TryFrom<v1::PodDns> for PodDns {
    type Error = ShapeError;

    fn try_from(wire: v1::PodDns) -> Result<Self, ShapeError> {
        let option = |option: v1::DnsOption| DnsOption { name: option.name, value: option.value };
        Ok(Self {
            policy: policy_from_wire("policy", wire.policy)?,
            config: DnsConfig {
                nameservers: addresses_from_wire("nameservers", wire.nameservers)?,
                searches: wire.searches,
                options: wire.options.into_iter().map(option).collect(),
            },
        })
    }
}

impl From<&PodDns> for v1::PodDns {
    fn from(dns: &PodDns) -> Self {
        let option =
            |option: &DnsOption| v1::DnsOption { name: option.name.clone(), value: option.value.clone() };
        Self {
            policy: v1::DnsPolicy::from(dns.policy).into(),
            nameservers: addresses_to_wire(&dns.config.nameservers),
            searches: dns.config.searches.clone(),
            options: dns.config.options.iter().map(option).collect(),
        }
    }
}

/// How a pod asks; absent from a writer that knew nothing of it: the default.
pub(super) fn pod_dns_from_wire(field: &str, wire: Option<v1::PodDns>) -> Result<PodDns, ShapeError> {
    Ok(optional(field, wire)?.unwrap_or_default())
}

/// How a pod asks; the default isn't said.
pub(super) fn pod_dns_to_wire(dns: &PodDns) -> Option<v1::PodDns> {
    (*dns != PodDns::default()).then(|| dns.into())
}

impl TryFrom<v1::PodItem> for PodItem {
    type Error = ShapeError;

    fn try_from(wire: v1::PodItem) -> Result<Self, ShapeError> {
        Ok(Self {
            name: required("name", wire.name)?,
            addresses: addresses_from_wire("addresses", wire.addresses)?,
            hostname: wire.hostname,
            subdomain: wire.subdomain,
            identity: IdentityId(wire.identity),
        })
    }
}

impl From<&PodItem> for v1::PodItem {
    fn from(item: &PodItem) -> Self {
        Self {
            name: Some((&item.name).into()),
            addresses: addresses_to_wire(&item.addresses),
            hostname: item.hostname.clone(),
            subdomain: item.subdomain.clone(),
            identity: item.identity.0,
        }
    }
}

impl TryFrom<v1::SetupItem> for SetupItem {
    type Error = ShapeError;

    fn try_from(wire: v1::SetupItem) -> Result<Self, ShapeError> {
        Ok(Self {
            pod: required("pod", wire.pod)?,
            dns: pod_dns_from_wire("dns", wire.dns)?,
            service_links: !wire.no_service_links,
        })
    }
}

impl From<&SetupItem> for v1::SetupItem {
    fn from(item: &SetupItem) -> Self {
        Self {
            pod: Some((&item.pod).into()),
            dns: pod_dns_to_wire(&item.dns),
            no_service_links: !item.service_links,
        }
    }
}
