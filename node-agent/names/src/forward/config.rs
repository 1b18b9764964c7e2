//! Who is asked about which names.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use weft_model::{AddressRange, FabricItem, is_own_resolver};

use crate::DomainName;

/// Servers of a domain and all below it, in the order in which they are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The domain; the root for all names that have no better route.
    pub domain: DomainName,
    /// The servers; empty: such names can't be answered.
    pub servers: Vec<SocketAddr>,
}

/// Who is asked about which names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardConfig {
    /// Longest domains first; the root last.
    routes: Vec<Route>,
    /// Addresses that upstreams of the root must not give out; empty: no protection.
    filtered: Vec<AddressRange>,
}

/// What is wrong with the settings, and so is left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// An upstream is one of our own addresses: it would ask us.
    OwnAddress {
        /// The upstream.
        server: SocketAddr,
    },
    /// A stub domain isn't a domain name.
    Domain {
        /// What stands there.
        domain: String,
    },
    /// A stub domain is the cluster's own, or part of it.
    OwnDomain {
        /// What stands there.
        domain: String,
    },
    /// No server is left for a domain.
    NoServer {
        /// The domain; `.` for everything.
        domain: String,
        /// Those that are named for it, all of them our own addresses.
        own: Vec<SocketAddr>,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnAddress { server } => {
                write!(f, "upstream {server} is this fabric's own DNS: it would ask itself")
            }
            Self::Domain { domain } => write!(f, "stub domain {domain:?} is no domain name"),
            Self::OwnDomain { domain } => {
                write!(f, "stub domain {domain:?} belongs to the cluster's own domain")
            }
            Self::NoServer { domain, own } => match own.as_slice() {
                [] => write!(f, "nobody answers for {}: no upstream is named", about(domain)),
                own => {
                    let named: Vec<_> = own.iter().map(|server| server.ip().to_string()).collect();
                    let named = named.join(", ");
                    write!(
                        f,
                        "nobody answers for {}: only the fabric's own DNS is named: {named}",
                        about(domain)
                    )
                }
            },
        }
    }
}

fn about(domain: &str) -> String {
    if domain == "." { "foreign names".to_owned() } else { format!("names of {domain}") }
}

impl ForwardConfig {
    /// From the fabric's settings; `host` are the servers of the node's own resolv.conf, used when the fabric names none. Parts
    /// that can't be right are left out, and said.
    pub fn new(fabric: &FabricItem, host: &[SocketAddr]) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let dns = &fabric.dns;
        let cluster = fabric.domain.parse::<DomainName>().ok();
        let mut routes = Vec::new();
        let mut add = |domain: DomainName, wanted: &[SocketAddr], problems: &mut Vec<Problem>| {
            let mut servers = Vec::with_capacity(wanted.len());
            let mut own = Vec::new();
            for server in wanted {
                let list = if is_own_resolver(&fabric.ranges, server.ip()) { &mut own } else { &mut servers };
                if !list.contains(server) {
                    list.push(*server);
                }
            }
            if servers.is_empty() {
                problems.push(Problem::NoServer { domain: domain.to_string(), own });
            } else {
                problems.extend(own.into_iter().map(|server| Problem::OwnAddress { server }));
            }
            routes.push(Route { domain, servers });
        };
        for stub in &dns.stub_domains {
            let Ok(domain) = stub.domain.parse::<DomainName>() else {
                problems.push(Problem::Domain { domain: stub.domain.clone() });
                continue;
            };
            if cluster.as_ref().is_some_and(|cluster| domain.is_within(cluster)) {
                problems.push(Problem::OwnDomain { domain: stub.domain.clone() });
                continue;
            }
            add(domain, &stub.servers, &mut problems);
        }
        let upstreams = if dns.upstreams.is_empty() { host } else { dns.upstreams.as_slice() };
        add(DomainName::root(), upstreams, &mut problems);
        routes.sort_by_key(|route| std::cmp::Reverse(route.domain.labels().count()));
        let filtered = if dns.rebind_protection { ranges(fabric) } else { Vec::new() };
        (Self { routes, filtered }, problems)
    }

    /// The route of a name: the longest domain that it is within.
    pub(crate) fn route(&self, name: &DomainName) -> Option<&Route> {
        self.routes.iter().find(|route| name.is_within(&route.domain))
    }

    /// Whether the same addresses are left out.
    pub(crate) fn filters_like(&self, other: &Self) -> bool {
        self.filtered == other.filtered
    }

    /// Domains whose servers differ.
    pub(crate) fn changed<'a>(&'a self, old: &'a Self) -> impl Iterator<Item = &'a DomainName> {
        let differs = |a: &'a Self, b: &'a Self| a.routes.iter().filter(|route| !b.routes.contains(route));
        differs(self, old).chain(differs(old, self)).map(|route| &route.domain)
    }

    /// All routes, longest domains first.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Whether an upstream of the root may not give out this address (DNS rebinding). Stub domains may: they are the owner's.
    pub(crate) fn is_filtered(&self, route: &Route, address: IpAddr) -> bool {
        route.domain == DomainName::root() && self.filtered.iter().any(|range| range.contains(address))
    }
}

fn ranges(fabric: &FabricItem) -> Vec<AddressRange> {
    let ranges = &fabric.ranges;
    [&ranges.pods, &ranges.services, &ranges.nodes].into_iter().flatten().copied().collect()
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
