//! Which interface and addresses of the host are its underlay: as configured, else those of the best default route.

use std::net::IpAddr;

use weft_model::Family;

use crate::{Error, Host, HostLink, is_ours};

/// What agent.toml or a flag says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnderlayChoice {
    /// `underlay.interface`.
    pub interface: Option<String>,
    /// `underlay.address`.
    pub address: Option<IpAddr>,
}

/// The chosen underlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Underlay {
    /// Name of the interface.
    pub interface: String,
    /// Its index.
    pub index: u32,
    /// Its hardware address, where it has one.
    pub mac: Option<[u8; 6]>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its global addresses; the first is the one that the mesh device is reached at.
    pub addresses: Vec<IpAddr>,
}

impl Underlay {
    /// Family of the outer packets of the mesh.
    pub fn outer(&self) -> Family {
        self.addresses.first().map_or(Family::V4, |a| Family::of(*a))
    }

    /// Its first address of a family: the next hop to this node in mode routed.
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|a| Family::of(*a) == family)
    }
}

/// Chooses. A configured address decides over a configured interface, and both over the default route.
///
/// Fails when what is configured isn't there, when the interface has no global address, or when nothing is configured and no
/// default route leaves by an interface that isn't ours.
pub fn choose_underlay(host: &Host, choice: &UnderlayChoice) -> Result<Underlay, Error> {
    if let Some(address) = choice.address {
        let holder = host.addresses.iter().find(|a| a.address == address);
        let link = holder.and_then(|a| host.link_at(a.link)).ok_or(Error::NoSuchAddress { address })?;
        return with_first(host, link, Some(address));
    }
    if let Some(interface) = &choice.interface {
        let link =
            host.link(interface).ok_or_else(|| Error::NoSuchInterface { interface: interface.clone() })?;
        return with_first(host, link, None);
    }
    let routes = host.default_routes();
    let links = routes.iter().filter_map(|r| Some((r.destination.family(), host.link_at(r.link?)?)));
    let (family, link) = links
        .filter(|(_, link)| !is_ours(&link.name) && !link.loopback)
        .min_by_key(|(family, _)| *family)
        .ok_or(Error::NoDefaultRoute)?;
    let first = stable_addresses(host, link).into_iter().find(|a| Family::of(*a) == family);
    with_first(host, link, first)
}

fn with_first(host: &Host, link: &HostLink, first: Option<IpAddr>) -> Result<Underlay, Error> {
    let mut addresses = stable_addresses(host, link);
    if let Some(first) = first {
        addresses.retain(|a| *a != first);
        addresses.insert(0, first);
    }
    if addresses.is_empty() {
        return Err(Error::NoAddress { interface: link.name.clone() });
    }
    Ok(Underlay { interface: link.name.clone(), index: link.index, mac: link.mac, mtu: link.mtu, addresses })
}

/// Global addresses that last, IPv4 first, in the kernel's order (the first is the primary one).
fn stable_addresses(host: &Host, link: &HostLink) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = host
        .addresses
        .iter()
        .filter(|a| a.link == link.index && a.global && a.stable)
        .map(|a| a.address)
        .collect();
    found.sort_by_key(|a| Family::of(*a));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HostAddress, HostRoute};

    fn host(links: &[(u32, &str)], addresses: &[(u32, &str)], defaults: &[(&str, u32, u32)]) -> Host {
        Host {
            links: links
                .iter()
                .map(|(index, name)| HostLink {
                    index: *index,
                    name: (*name).to_owned(),
                    mac: Some([2, 0, 0, 0, 0, 1]),
                    mtu: 1500,
                    up: true,
                    loopback: *name == "lo",
                    kind: String::new(),
                    master: None,
                    accept_ra: Some(1),
                })
                .collect(),
            addresses: addresses
                .iter()
                .map(|(link, text)| HostAddress {
                    link: *link,
                    address: text.parse().unwrap(),
                    prefix: 24,
                    global: !text.starts_with("fe80"),
                    stable: !text.ends_with("ff"),
                })
                .collect(),
            routes: defaults
                .iter()
                .map(|(destination, link, metric)| HostRoute {
                    destination: destination.parse().unwrap(),
                    link: Some(*link),
                    gateway: None,
                    metric: *metric,
                })
                .collect(),
        }
    }

    fn check(
        host: &Host,
        interface: Option<&str>,
        address: Option<&str>,
        want: Result<(&str, &[&str]), Error>,
    ) {
        let choice = UnderlayChoice {
            interface: interface.map(str::to_owned),
            address: address.map(|a| a.parse().unwrap()),
        };
        let got = choose_underlay(host, &choice);
        let want = want.map(|(name, list)| {
            (name.to_owned(), list.iter().map(|a| a.parse().unwrap()).collect::<Vec<IpAddr>>())
        });
        assert_eq!(got.map(|u| (u.interface, u.addresses)), want, "{interface:?} {address:?}");
    }

    #[test]
    fn the_underlay_is_configured_or_learnt() {
        let h = host(
            &[(1, "lo"), (2, "eth0"), (3, "eth1"), (4, "weft0")],
            &[(2, "fd99::1"), (2, "192.168.1.11"), (2, "fe80::5"), (2, "fd99::ff"), (3, "10.0.0.5")],
            &[("::/0", 3, 50), ("0.0.0.0/0", 2, 100), ("0.0.0.0/0", 4, 0)],
        );
        check(&h, None, None, Ok(("eth0", &["192.168.1.11", "fd99::1"])));
        check(&h, Some("eth1"), None, Ok(("eth1", &["10.0.0.5"])));
        check(&h, None, Some("fd99::1"), Ok(("eth0", &["fd99::1", "192.168.1.11"])));
        check(&h, Some("eth7"), None, Err(Error::NoSuchInterface { interface: "eth7".to_owned() }));
        check(&h, Some("weft0"), None, Err(Error::NoAddress { interface: "weft0".to_owned() }));
        let nowhere = "10.9.9.9";
        check(&h, None, Some(nowhere), Err(Error::NoSuchAddress { address: nowhere.parse().unwrap() }));
        let v6 = host(&[(2, "eth0")], &[(2, "fd99::1"), (2, "10.0.0.1")], &[("::/0", 2, 1024)]);
        check(&v6, None, None, Ok(("eth0", &["fd99::1", "10.0.0.1"])));
        check(&host(&[(2, "eth0")], &[(2, "10.0.0.1")], &[]), None, None, Err(Error::NoDefaultRoute));
    }
}
