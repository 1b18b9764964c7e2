//! resolv.conf of a node and of a pod (`pkg/kubelet/network/dns/dns.go` of Kubernetes; resolv.conf(5)).

use std::{fmt, net::IpAddr};

use weft_model::{DnsConfig, DnsOption, DnsPolicy, FabricItem, Family, NamespaceName, PodDns, dns_addresses};

/// Servers that a resolver takes (`MAXNS`); further ones are left out.
const MOST_SERVERS: usize = 3;
/// Search domains that a resolver takes; further ones are left out.
const MOST_SEARCHES: usize = 32;
/// Characters of the search line; domains beyond them are left out.
const MOST_CHARACTERS: usize = 2_048;
/// Longest search domain: glibc 2.28 aborts beyond.
const LONGEST_SEARCH: usize = 253;
/// Names with fewer dots are looked for in the search domains first: as Kubernetes.
const NDOTS: &str = "5";

/// A resolv.conf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Whom to ask, in this order.
    pub nameservers: Vec<IpAddr>,
    /// Search domains, in this order.
    pub searches: Vec<String>,
    /// Options, each name once.
    pub options: Vec<DnsOption>,
}

impl ResolvConf {
    /// Reads a file as a resolver does: what it doesn't know is passed over, the last of several search lines counts.
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let mut words = line.split(['#', ';']).next().unwrap_or_default().split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // A zone (`fe80::1%eth0`) means a link of the node, which a pod doesn't have.
                    let address = words.next().and_then(|word| word.parse().ok());
                    add_new(&mut conf.nameservers, address);
                }
                Some("search" | "domain") => conf.searches = words.map(without_dot).collect(),
                Some("options") => merge(&mut conf.options, words.map(option)),
                Some(_) | None => {}
            }
        }
        conf
    }

    /// What counts of a node: its own file, or what stands behind it, where its own only names stubs on loopback and what they
    /// forward to is told (systemd-resolved): pods have a loopback of their own. As many servers as the C library heeds.
    pub fn of_node(own: Self, behind: Option<Self>) -> Self {
        let behind = behind.filter(|behind| own.is_local() && !behind.is_local());
        let mut conf = behind.unwrap_or(own);
        conf.nameservers.truncate(MOST_SERVERS);
        conf
    }

    /// Whether nobody but the machine itself can ask as this says: its servers listen on loopback.
    fn is_local(&self) -> bool {
        !self.nameservers.is_empty() && self.nameservers.iter().all(|address| address.is_loopback())
    }

    /// Names with fewer dots than this are looked for in the search domains first.
    pub fn ndots(&self) -> usize {
        let value = self.options.iter().rev().find(|option| option.name == "ndots");
        value.and_then(|option| option.value.as_deref()?.parse().ok()).unwrap_or(1)
    }

    /// The names that a resolver (glibc) asks for in turn, until one has an answer; a dot at the end of the name says that it is
    /// whole.
    pub fn tries(&self, name: &str) -> Vec<String> {
        let whole = name.trim_end_matches('.');
        if name.ends_with('.') || whole.is_empty() {
            return vec![format!("{whole}.")];
        }
        let below = |search: &String| match search.as_str() {
            "." => format!("{whole}."),
            search => format!("{whole}.{}.", search.trim_end_matches('.')),
        };
        let mut tries: Vec<String> = self.searches.iter().map(below).collect();
        let as_it_is = format!("{whole}.");
        if !tries.contains(&as_it_is) {
            let dots = whole.bytes().filter(|b| *b == b'.').count();
            tries.insert(if dots >= self.ndots() { 0 } else { tries.len() }, as_it_is);
        }
        tries
    }

    /// What no resolver would take is left out.
    fn fit(mut self) -> Self {
        self.nameservers.truncate(MOST_SERVERS);
        self.searches.truncate(MOST_SEARCHES);
        self.searches.retain(|search| search.len() <= LONGEST_SEARCH);
        let mut characters = 0;
        let fits = |search: &&String| {
            characters += search.len() + usize::from(characters > 0);
            characters <= MOST_CHARACTERS
        };
        let kept = self.searches.iter().take_while(fits).count();
        self.searches.truncate(kept);
        self
    }
}

impl fmt::Display for ResolvConf {
    /// The file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.nameservers.iter().try_for_each(|address| writeln!(f, "nameserver {address}"))?;
        if !self.searches.is_empty() {
            writeln!(f, "search {}", self.searches.join(" "))?;
        }
        if !self.options.is_empty() {
            let options: Vec<_> = self.options.iter().map(ToString::to_string).collect();
            writeln!(f, "options {}", options.join(" "))?;
        }
        Ok(())
    }
}

/// The resolv.conf of a new pod of a namespace, which its node's own is the base of.
///
/// The fabric's DNS is asked at its address of the primary family alone: musl asks all servers at once, and all of them are the same
/// process. A fabric without a DNS gives every pod its node's, as kubelet does.
pub fn resolv_conf(
    fabric: &FabricItem,
    namespace: &NamespaceName,
    dns: &PodDns,
    node: &ResolvConf,
) -> ResolvConf {
    let server = own_server(fabric);
    let base = match (dns.policy, server) {
        (DnsPolicy::None, _) => ResolvConf::default(),
        (DnsPolicy::ClusterFirst | DnsPolicy::ClusterFirstWithHostNet, Some(server)) => {
            cluster_first(fabric, namespace, server, node)
        }
        (DnsPolicy::Default, _) | (DnsPolicy::ClusterFirst | DnsPolicy::ClusterFirstWithHostNet, None) => {
            node.clone()
        }
    };
    with(base, &dns.config).fit()
}

/// Where pods ask; `None` when the fabric has no DNS.
fn own_server(fabric: &FabricItem) -> Option<IpAddr> {
    let primary = fabric.families.primary();
    let own = || dns_addresses(&fabric.ranges).find(|address| Family::of(*address) == primary);
    fabric.dns.enabled.then(own).flatten()
}

fn cluster_first(
    fabric: &FabricItem,
    namespace: &NamespaceName,
    server: IpAddr,
    node: &ResolvConf,
) -> ResolvConf {
    let domain = &fabric.domain;
    let mut searches = Vec::new();
    let own = [format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
    add_new(&mut searches, own.into_iter().chain(node.searches.iter().cloned()));
    let ndots = DnsOption { name: "ndots".to_owned(), value: Some(NDOTS.to_owned()) };
    ResolvConf { nameservers: vec![server], searches, options: vec![ndots] }
}

fn with(mut base: ResolvConf, config: &DnsConfig) -> ResolvConf {
    add_new(&mut base.nameservers, config.nameservers.iter().copied());
    add_new(&mut base.searches, config.searches.iter().cloned());
    merge(&mut base.options, config.options.iter().cloned());
    base
}

/// Adds what isn't there yet.
fn add_new<T: PartialEq>(list: &mut Vec<T>, more: impl IntoIterator<Item = T>) {
    for one in more {
        if !list.contains(&one) {
            list.push(one);
        }
    }
}

/// An option takes the place of the earlier one with its name.
fn merge(options: &mut Vec<DnsOption>, more: impl IntoIterator<Item = DnsOption>) {
    for option in more {
        match options.iter_mut().find(|earlier| earlier.name == option.name) {
            Some(earlier) => *earlier = option,
            None => options.push(option),
        }
    }
}

fn option(word: &str) -> DnsOption {
    match word.split_once(':') {
        Some((name, value)) => DnsOption { name: name.to_owned(), value: Some(value.to_owned()) },
        None => DnsOption { name: word.to_owned(), value: None },
    }
}

/// The root stays; of any other domain the dot at the end says nothing.
fn without_dot(word: &str) -> String {
    if word == "." { word.to_owned() } else { word.strip_suffix('.').unwrap_or(word).to_owned() }
}

#[cfg(test)]
#[path = "resolv_tests.rs"]
mod tests;
