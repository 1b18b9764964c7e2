//! `spec.dns` of a Fabric, `dnsPolicy` and `dnsConfig` of a Pod.

use std::net::{IpAddr, SocketAddr};

use weft_model::{DnsConfig, DnsDraft, DnsOption, DnsPolicy, PodDns, StubDomain, ownership::DNS_PORT};

use super::service::text_or_empty;
use crate::{
    read::{Fields, Reader},
    tree::Placed,
};

/// `spec.dns` of a Fabric; what has a problem counts as absent.
pub(super) fn settings(reader: &mut Reader<'_>, value: Placed) -> DnsDraft {
    let mut draft = DnsDraft::default();
    let Some(mut dns) = reader.fields(value, "spec.dns") else { return draft };
    let mut flag = |reader: &mut Reader<'_>, key: &'static str| {
        dns.take(key).and_then(|value| reader.flag(&value, &format!("spec.dns.{key}")))
    };
    draft.enabled = flag(reader, "enabled");
    draft.search_path = flag(reader, "searchPath");
    draft.rebind_protection = flag(reader, "rebindProtection");
    draft.pod_records = flag(reader, "podRecords");
    draft.ttl = dns.take("ttl").and_then(|value| reader.number(&value, "spec.dns.ttl", 0, 3_600));
    draft.upstreams = dns.take("upstreams").and_then(|value| servers(reader, value, "spec.dns.upstreams"));
    draft.stub_domains = dns
        .take("stubDomains")
        .and_then(|value| reader.each(Some(value), "spec.dns.stubDomains", stub_domain));
    reader.done(dns);
    draft
}

fn stub_domain(reader: &mut Reader<'_>, value: Placed, path: &str) -> Option<StubDomain> {
    let mut fields = reader.fields(value, path)?;
    let domain = text_or_empty(reader, fields.take("domain"), &format!("{path}.domain"));
    let at = format!("{path}.servers");
    let servers =
        fields.take("servers").map_or_else(|| Some(Vec::new()), |value| servers(reader, value, &at));
    reader.done(fields);
    // A dot at the end says the same.
    let domain = domain?;
    let domain = domain.strip_suffix('.').unwrap_or(&domain).to_owned();
    Some(StubDomain { domain, servers: servers? })
}

fn servers(reader: &mut Reader<'_>, value: Placed, path: &str) -> Option<Vec<SocketAddr>> {
    reader.each(Some(value), path, server)
}

/// `192.0.2.53`, `192.0.2.53:5353`, `2001:db8::53` or `[2001:db8::53]:5353`.
fn server(reader: &mut Reader<'_>, value: Placed, path: &str) -> Option<SocketAddr> {
    let at = value.referenced;
    let text = reader.text(value, path)?;
    let alone = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, DNS_PORT));
    let server = alone.or_else(|_| text.parse()).ok();
    if server.is_none() {
        let why =
            format!("{text:?} is not a server such as 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:5353");
        reader.invalid(at, path, why);
    }
    server
}

/// `dnsPolicy` and `dnsConfig` of a Pod.
pub(super) fn pod(reader: &mut Reader<'_>, spec: &mut Fields) -> Option<PodDns> {
    let policy = spec
        .take("dnsPolicy")
        .map_or(Some(DnsPolicy::default()), |value| reader.parsed(value, "spec.dnsPolicy"));
    let config =
        spec.take("dnsConfig").map_or_else(|| Some(DnsConfig::default()), |value| config(reader, value));
    Some(PodDns { policy: policy?, config: config? })
}

fn config(reader: &mut Reader<'_>, value: Placed) -> Option<DnsConfig> {
    let mut fields = reader.fields(value, "spec.dnsConfig")?;
    let nameservers = reader.addresses(fields.take("nameservers"), "spec.dnsConfig.nameservers");
    let searches = reader.each(fields.take("searches"), "spec.dnsConfig.searches", Reader::text);
    let options = reader.each(fields.take("options"), "spec.dnsConfig.options", option);
    reader.done(fields);
    Some(DnsConfig { nameservers: nameservers?, searches: searches?, options: options? })
}

fn option(reader: &mut Reader<'_>, value: Placed, path: &str) -> Option<DnsOption> {
    let mut fields = reader.fields(value, path)?;
    let name = text_or_empty(reader, fields.take("name"), &format!("{path}.name"));
    let value = fields
        .take("value")
        .map_or(Some(None), |value| reader.text(value, &format!("{path}.value")).map(Some));
    reader.done(fields);
    Some(DnsOption { name: name?, value: value? })
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
