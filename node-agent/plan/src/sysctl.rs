//! Settings below `/proc/sys/net` that the data path depends on, and why each of them.
//!
//! Not here: settings inside pods (weft-kernel writes them once, at attach).

use std::fmt;

use weft_model::{Families, Family, ownership::BRIDGE};

use crate::{Facts, is_ours};

/// Path of a setting below `/proc/sys/net`, components joined by `/`: names of interfaces may hold dots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Setting(String);

impl Setting {
    /// A setting by its path, such as `ipv4/conf/all/rp_filter`.
    pub fn new(path: impl Into<String>) -> Self {
        Self(path.into())
    }

    /// A setting of one interface: `ipv4/conf/<interface>/<name>`.
    pub fn of(family: Family, interface: &str, name: &str) -> Self {
        let tree = match family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        };
        Self(format!("{tree}/conf/{interface}/{name}"))
    }

    /// Whether bridged packets meet the IP hooks too: they come with a module and exist per network namespace.
    pub fn bridge_netfilter() -> impl Iterator<Item = Self> {
        ["iptables", "ip6tables", "arptables"]
            .into_iter()
            .map(|tables| Self::new(format!("bridge/bridge-nf-call-{tables}")))
    }

    /// Path below `/proc/sys/net`.
    pub fn path(&self) -> &str {
        &self.0
    }

    /// Whether it belongs to one interface that may come and go.
    pub fn interface(&self) -> Option<&str> {
        let (_, rest) = self.0.split_once("/conf/")?;
        let (interface, _) = rest.rsplit_once('/')?;
        (interface != "all" && interface != "default").then_some(interface)
    }

    /// Whether it must be set before forwarding is switched on: what an uplink does with router advertisements.
    pub(crate) fn comes_first(&self) -> bool {
        self.0.ends_with("/accept_ra") && self.interface().is_some_and(|interface| !is_ours(interface))
    }
}

impl fmt::Display for Setting {
    /// As `sysctl` writes it; dots in names of interfaces as slashes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net.{}", self.0.replace('.', "\u{1}").replace('/', ".").replace('\u{1}', "/"))
    }
}

/// All settings of a node of a fabric with these families.
pub(crate) fn settings(families: Families, facts: &Facts) -> Vec<(Setting, &'static str)> {
    let mut wanted = Vec::new();
    if families.has(Family::V6) {
        // Forwarding makes a host deaf to router advertisements unless this is 2; where it is 0 the host is deaf by choice.
        for link in facts.host.uplinks().into_iter().filter(|l| l.accept_ra.is_some_and(|value| value != 0)) {
            wanted.push((Setting::of(Family::V6, &link.name, "accept_ra"), "2"));
        }
        wanted.push((Setting::new("ipv6/conf/all/forwarding"), "1"));
        for device in std::iter::once(BRIDGE).chain(facts.mesh.iter().map(|m| m.name.as_str())) {
            // Hosts that switch IPv6 off by default would refuse addresses and routes here.
            for (name, value) in [("disable_ipv6", "0"), ("accept_ra", "0"), ("accept_redirects", "0")] {
                wanted.push((Setting::of(Family::V6, device, name), value));
            }
        }
    }
    wanted.push((Setting::new("ipv4/ip_forward"), "1"));
    // Without it the reverse-path lookup ignores the mark, and any rp_filter but 0 drops packets of pods.
    wanted.push((Setting::new("ipv4/conf/all/src_valid_mark"), "1"));
    // Packets of pods come in and go out of the bridge: the kernel would tell pods to talk to each other directly.
    // It sends redirects when `all` or the interface says so.
    wanted.push((Setting::new("ipv4/conf/all/send_redirects"), "0"));
    wanted.push((Setting::of(Family::V4, BRIDGE, "send_redirects"), "0"));
    for device in std::iter::once(BRIDGE).chain(facts.mesh.iter().map(|m| m.name.as_str())) {
        // `ip_forward` sets it everywhere once; what somebody sets on the interface afterwards counts alone.
        wanted.push((Setting::of(Family::V4, device, "forwarding"), "1"));
        // The larger of `all` and the interface counts: 2 makes a strict `all` loose here.
        wanted.push((Setting::of(Family::V4, device, "rp_filter"), "2"));
    }
    if facts.features.bridge_netfilter {
        // With 1, bridged packets meet the IP hooks a second time and a service with a backend on the same node fails.
        wanted.extend(Setting::bridge_netfilter().map(|setting| (setting, "0")));
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_know_their_interface() {
        for (path, interface, text) in [
            ("ipv4/ip_forward", None, "net.ipv4.ip_forward"),
            ("ipv4/conf/all/rp_filter", None, "net.ipv4.conf.all.rp_filter"),
            ("ipv6/conf/eth0.5/accept_ra", Some("eth0.5"), "net.ipv6.conf.eth0/5.accept_ra"),
        ] {
            let setting = Setting::new(path);
            assert_eq!(setting.interface(), interface, "{path}");
            assert_eq!(setting.to_string(), text);
        }
    }
}
