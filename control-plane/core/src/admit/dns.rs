//! The fabric's DNS settings, and how pods ask (`validatePodDNSConfig` of Kubernetes).

use std::net::{IpAddr, SocketAddr};

use weft_model::{
    DnsConfig, DnsPolicy, DnsSettings, DomainName, Fabric, PodDns, StubDomain, is_link_local, is_own_resolver,
};

use super::Problems;
use crate::{Error, limits};

/// Checks the settings of a fabric.
pub(super) fn check_settings(fabric: &Fabric) -> Result<(), Error> {
    let settings: &DnsSettings = &fabric.dns;
    let mut problems = Problems::new("fabric", "main");
    if settings.ttl > limits::MAX_DNS_TTL {
        let why = format!("must be between 0 and {}, inclusive", limits::MAX_DNS_TTL);
        problems.invalid("spec.dns.ttl", settings.ttl, &why);
    }
    check_servers(fabric, "spec.dns.upstreams", &settings.upstreams, &mut problems);
    if settings.stub_domains.len() > limits::MAX_STUB_DOMAINS {
        problems.too_many("spec.dns.stubDomains", settings.stub_domains.len(), limits::MAX_STUB_DOMAINS);
    }
    for (index, stub) in settings.stub_domains.iter().enumerate() {
        let field = format!("spec.dns.stubDomains[{index}]");
        let earlier = settings.stub_domains.iter().take(index);
        check_stub(fabric, &field, stub, earlier, &mut problems);
    }
    problems.finish()
}

fn check_stub<'a>(
    fabric: &Fabric,
    field: &str,
    stub: &StubDomain,
    mut earlier: impl Iterator<Item = &'a StubDomain>,
    problems: &mut Problems,
) {
    let at = format!("{field}.domain");
    if DomainName::new(stub.domain.as_str()).is_err() {
        problems.subdomain(&at, &stub.domain);
    } else if is_within(&stub.domain, &fabric.domain) {
        let why =
            format!("lies in {}, which the fabric answers for itself: name another domain", fabric.domain);
        problems.invalid(&at, &stub.domain, &why);
    } else if earlier.any(|other| other.domain == stub.domain) {
        problems.duplicate(&at, &stub.domain);
    }
    let at = format!("{field}.servers");
    if stub.servers.is_empty() {
        problems.required(&at, "a domain without servers has no answers");
    }
    check_servers(fabric, &at, &stub.servers, problems);
}

/// Whether a domain is another one or lies below it.
fn is_within(domain: &str, other: &str) -> bool {
    domain.strip_suffix(other).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn check_servers(fabric: &Fabric, field: &str, servers: &[SocketAddr], problems: &mut Problems) {
    if servers.len() > limits::MAX_DNS_SERVERS {
        problems.too_many(field, servers.len(), limits::MAX_DNS_SERVERS);
    }
    for (index, server) in servers.iter().enumerate() {
        let at = format!("{field}[{index}]");
        if servers.iter().take(index).any(|earlier| earlier == server) {
            problems.duplicate(&at, server.to_string());
        } else if let Some(why) = why_not(fabric, *server) {
            problems.invalid(&at, server.to_string(), &why);
        }
    }
}

/// Why nobody can be asked at an address.
fn why_not(fabric: &Fabric, server: SocketAddr) -> Option<String> {
    let address = server.ip();
    // Nothing else is there at any other port either: nodes refuse it.
    if is_own_resolver(&fabric.ranges, address) {
        return Some(
            "is the fabric's own DNS, so questions would go round: name a server outside".to_owned(),
        );
    }
    if server.port() == 0 {
        return Some("has no port".to_owned());
    }
    if matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
        return Some("is an IPv4-mapped address: write it as IPv4".to_owned());
    }
    if address.is_unspecified() || address.is_multicast() || is_broadcast(address) {
        return Some("is no address of one server".to_owned());
    }
    if address.is_loopback() {
        return Some(
            "is each node's own loopback; what runs there stands in the node's resolv.conf".to_owned(),
        );
    }
    if is_link_local(address) {
        return Some("is link-local, so it means another machine on each node".to_owned());
    }
    None
}

fn is_broadcast(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.is_broadcast())
}

/// Checks how a pod asks.
pub(super) fn check_pod(dns: &PodDns, problems: &mut Problems) {
    let DnsConfig { nameservers, searches, options } = &dns.config;
    if dns.policy == DnsPolicy::None && nameservers.is_empty() {
        problems.required(
            "spec.dnsConfig.nameservers",
            "must provide at least one DNS nameserver when `dnsPolicy` is None",
        );
    }
    if nameservers.len() > limits::MAX_POD_NAMESERVERS {
        problems.too_many("spec.dnsConfig.nameservers", nameservers.len(), limits::MAX_POD_NAMESERVERS);
    }
    if searches.len() > limits::MAX_POD_SEARCHES {
        problems.too_many("spec.dnsConfig.searches", searches.len(), limits::MAX_POD_SEARCHES);
    }
    let characters = searches.iter().map(String::len).sum::<usize>() + searches.len().saturating_sub(1);
    if characters > limits::MAX_POD_SEARCH_CHARACTERS {
        let why = format!(
            "must not have more than {} characters (including spaces) in the search list",
            limits::MAX_POD_SEARCH_CHARACTERS
        );
        problems.invalid("spec.dnsConfig.searches", characters, &why);
    }
    for (index, search) in searches.iter().enumerate() {
        if !is_search(search) {
            let why = "must be a domain of RFC 1123 labels, which may have '_' (KEP 4427), or '.'";
            problems.invalid(format!("spec.dnsConfig.searches[{index}]"), search, why);
        }
    }
    if options.len() > limits::MAX_POD_OPTIONS {
        problems.too_many("spec.dnsConfig.options", options.len(), limits::MAX_POD_OPTIONS);
    }
    for (index, option) in options.iter().enumerate() {
        let field = format!("spec.dnsConfig.options[{index}]");
        if option.name.is_empty() {
            problems.required(format!("{field}.name"), "must not be empty");
        }
        // The file has one option per word: what would break the line is refused, where Kubernetes writes it as it is.
        let text = option.to_string();
        if text.len() > limits::MAX_POD_OPTION_CHARACTERS || !text.bytes().all(|b| b.is_ascii_graphic()) {
            problems.invalid(&field, &text, "must be printable ASCII characters without spaces");
        }
    }
}

/// A search domain: a domain whose labels may have underscores, with or without a dot at the end, or the root.
fn is_search(text: &str) -> bool {
    let domain = text.strip_suffix('.').unwrap_or(text);
    text == "." || DomainName::new(domain.replace('_', "a")).is_ok()
}
