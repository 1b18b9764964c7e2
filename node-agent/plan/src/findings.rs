//! What `weft check` says of a node: what it is, what it found, and what stands in the way.
//!
//! In: the View, the host's facts, and what others did around us. Out: findings, each well or with its error. Not here:
//! looking (weft-kernel, the agent) and mending: nothing of others is ever changed.

use std::{net::SocketAddr, time::Duration};

use weft_errors::{
    Coded, Error, FOREIGN_FIREWALL, LINK_FAILED, MESH_FAILED, MTU_TOO_SMALL, RANGE_OVERLAP, SYSCTL_FAILED,
    UNDERLAY_UNKNOWN, UNREACHABLE, USERSPACE_TUNNEL,
};
use weft_model::{
    AddressRange, FabricItem, Families, Overlay,
    ownership::{BRIDGE, MESH_DEVICES, MESH_PORTS},
};
use weft_nft::DropPolicy;
use weft_view::View;

use crate::{Facts, Feature, Setting, mtu, problems};

/// What others did around us, and how our own engine runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Base chains of others that drop at their end.
    pub firewalls: Vec<DropPolicy>,
    /// `net.bridge.bridge-nf-call-*`, where they exist.
    pub bridge_netfilter: Vec<(Setting, String)>,
    /// Whether the kernel runs the mesh device; `None`: no device has been seen yet.
    pub mesh_in_kernel: Option<bool>,
    /// Who has the mesh's UDP ports, in their order.
    pub mesh_ports: [PortUse; 2],
}

/// Who has a port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PortUse {
    /// Not looked at yet.
    #[default]
    Unknown,
    /// Nobody.
    Free,
    /// The mesh.
    Ours,
    /// Another program, in words.
    Other(String),
}

/// What a fabric would ask of a machine.
#[derive(Clone, Copy, Debug)]
pub struct Intent<'a> {
    /// How packets travel between nodes.
    pub overlay: Overlay,
    /// Families of pods.
    pub families: Families,
    /// All its ranges.
    pub ranges: &'a [AddressRange],
}

/// One line of `weft check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub name: String,
    /// What was seen.
    pub detail: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What is wrong, or, of a finding that is well, what is worth knowing.
    pub error: Option<Error>,
}

impl Finding {
    fn well(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), detail: detail.into(), ok: true, error: None }
    }

    fn wrong(name: impl Into<String>, error: Error) -> Self {
        Self { name: name.into(), detail: error.message.clone(), ok: false, error: Some(error) }
    }
}

/// All findings, in a fixed order.
pub fn findings(view: &View, facts: &Facts, around: &Surroundings) -> Vec<Finding> {
    let mut found = features(facts);
    found.extend(engine(facts, around));
    found.push(underlay(facts));
    if let Some(fabric) = view.fabric() {
        let ranges = &fabric.ranges;
        found.push(host_routes(ranges.pods.iter().chain(&ranges.services).chain(&ranges.nodes), facts));
        found.extend(paths(fabric, facts));
        found.extend(mesh_ports(fabric.overlay, around));
    }
    found.extend(problems(view, facts).iter().map(|problem| Finding::wrong("plan", problem.envelope())));
    found.extend(firewalls(&around.firewalls));
    found.push(bridge_netfilter(&around.bridge_netfilter));
    found
}

/// The same of a machine that is to become a node, before there is a fabric. What an agent sets is no finding.
pub fn preflight(facts: &Facts, around: &Surroundings, intent: Intent<'_>) -> Vec<Finding> {
    let mut found = features(facts);
    found.extend(engine(facts, around).filter(|_| intent.overlay == Overlay::Wireguard));
    found.push(underlay(facts));
    found.extend(underlay_mtu(facts, intent));
    found.push(host_routes(intent.ranges, facts));
    found.extend(mesh_ports(intent.overlay, around));
    found.extend(firewalls(&around.firewalls));
    found
}

/// Replicas of the control plane that this node tried to reach, with the time that it took or the system's words.
pub fn replica_findings(
    tried: impl IntoIterator<Item = (SocketAddr, Result<Duration, String>)>,
) -> Vec<Finding> {
    let finding = |(address, seen): (SocketAddr, Result<Duration, String>)| {
        let name = format!("replica {address}");
        match seen {
            Ok(took) => Finding::well(name, format!("answers in {:.1} ms", took.as_secs_f64() * 1e3)),
            Err(why) => {
                let error =
                    Error::new(&UNREACHABLE, format!("this node doesn't reach the replica at {address}"))
                        .because(why);
                let remedy = format!("start weftd there, and let TCP {} through to it", address.port());
                Finding::wrong(name, error.try_this(remedy, ""))
            }
        }
    };
    tried.into_iter().map(finding).collect()
}

fn features(facts: &Facts) -> Vec<Finding> {
    let features = &facts.features;
    let all = [
        ("kernel: bridge", &features.bridge, true),
        ("kernel: veth", &features.veth, true),
        ("kernel: nf_tables", &features.nf_tables, true),
        ("kernel: IPv4 policy rules", &features.rules_v4, true),
        ("kernel: IPv6 policy rules", &features.rules_v6, true),
        ("kernel: TUN", &features.tun, !features.wireguard.is_present()),
    ];
    let finding = |(name, feature, needed): (&str, &Feature, bool)| match feature {
        Feature::Missing(why) if needed => {
            Finding::wrong(name, Error::new(&LINK_FAILED, format!("{name} is missing")).because(why))
        }
        Feature::Missing(_) | Feature::Present | Feature::Untried => Finding::well(name, feature.to_string()),
    };
    all.into_iter().map(finding).collect()
}

/// Which engine carries the mesh. Without the kernel's that is worth knowing, and no fault.
fn engine(facts: &Facts, around: &Surroundings) -> Option<Finding> {
    if around.mesh_in_kernel.is_none() && facts.features.wireguard == Feature::Untried {
        return None;
    }
    let in_kernel = around.mesh_in_kernel.unwrap_or(facts.features.wireguard.is_present());
    let detail = if in_kernel { "the kernel's WireGuard" } else { "the built-in tunnel" };
    let error = (!in_kernel).then(|| {
        let why = facts.features.wireguard.to_string();
        Error::new(&USERSPACE_TUNNEL, "the built-in userspace tunnel is used")
            .because(format!("the kernel's WireGuard is {why}"))
    });
    Some(Finding { error, ..Finding::well("mesh engine", detail) })
}

fn underlay(facts: &Facts) -> Finding {
    let Some(underlay) = &facts.underlay else {
        return Finding::wrong("underlay", Error::new(&UNDERLAY_UNKNOWN, "the node has no underlay"));
    };
    let addresses: Vec<_> = underlay.addresses.iter().map(ToString::to_string).collect();
    let detail = format!("{} {} mtu {}", underlay.interface, addresses.join(" "), underlay.mtu);
    Finding::well("underlay", detail)
}

/// Whether the underlay's packets are large enough for what is to travel in them.
fn underlay_mtu(facts: &Facts, intent: Intent<'_>) -> Option<Finding> {
    let underlay = facts.underlay.as_ref()?;
    let left = mtu::pod_mtu(intent.overlay, underlay.mtu, underlay.outer(), intent.families.list());
    Some(match left {
        Ok(left) => Finding::well("MTU", format!("{left} bytes for pods over {}", underlay.interface)),
        Err(error) => Finding::wrong("MTU", error.envelope()),
    })
}

/// Ranges of the fabric against the machine's own routes.
fn host_routes<'a>(ranges: impl IntoIterator<Item = &'a AddressRange>, facts: &Facts) -> Finding {
    let reserved = facts.host.reserved();
    for range in ranges {
        if let Some(route) = reserved.iter().find(|route| route.overlaps(*range)) {
            let message = format!("range {range} of the fabric overlaps the route {route} of this host");
            return Finding::wrong("host routes", Error::new(&RANGE_OVERLAP, message));
        }
    }
    Finding::well("host routes", format!("{} routes, none overlaps the fabric", reserved.len()))
}

/// Paths that are narrower than the link: routes carry their size, so that is well down to what the families need.
fn paths(fabric: &FabricItem, facts: &Facts) -> Vec<Finding> {
    let link = match fabric.overlay {
        Overlay::Wireguard => facts.mesh_mtu(fabric),
        Overlay::Routed => facts.pod_mtu(fabric),
    };
    let least = mtu::least(fabric.families.list());
    let narrow = facts.probed_mtus.iter().filter(|(_, size)| **size < link);
    let finding = |(peer, size): (&weft_model::NodeName, &u32)| {
        let (name, detail) = (format!("path to {peer}"), format!("{size} of the link's {link} bytes pass"));
        if *size > least {
            return Finding::well(name, detail);
        }
        let message = format!("packets to node {peer} above {least} bytes are lost on the way");
        Finding::wrong(name, Error::new(&MTU_TOO_SMALL, message).object("node", "", peer).because(detail))
    };
    narrow.map(finding).collect()
}

/// The first port carries the mesh; the second is wanted only while its keys are rotated.
fn mesh_ports(overlay: Overlay, around: &Surroundings) -> Vec<Finding> {
    let [device, _] = MESH_DEVICES;
    let finding = |(index, (port, seen)): (usize, (u16, &PortUse))| {
        let name = format!("UDP {port}");
        let taken = |who: &str, so: &str| {
            Error::new(&MESH_FAILED, format!("UDP port {port} is held by {who}: {so}"))
                .try_this("stop that program", format!("ss -lunp sport = :{port}"))
        };
        match seen {
            PortUse::Unknown => None,
            PortUse::Free => Some(Finding::well(name, "free")),
            PortUse::Ours => Some(Finding::well(name, format!("{device} listens"))),
            PortUse::Other(who) if index == 0 => {
                Some(Finding::wrong(name, taken(who, &format!("{device} can't listen on it"))))
            }
            PortUse::Other(who) => {
                let error = taken(who, "the mesh's keys can't be rotated without a gap");
                Some(Finding { error: Some(error.clone()), ..Finding::well(name, error.message) })
            }
        }
    };
    let ports = MESH_PORTS.into_iter().zip(&around.mesh_ports).enumerate();
    ports.filter(|_| overlay == Overlay::Wireguard).filter_map(finding).collect()
}

/// A chain that accepts one of our devices by name was made with us in mind; any other drops what it doesn't know.
fn firewalls(policies: &[DropPolicy]) -> Vec<Finding> {
    let [mesh, _] = MESH_DEVICES;
    let strange = policies.iter().filter(|policy| !policy.accepts);
    let found: Vec<_> = strange
        .map(|policy| {
            let DropPolicy { table, chain, hook, .. } = policy;
            let hook = hook.name();
            let message = format!("chain {chain} of table {table} drops packets at hook {hook}");
            let error = Error::new(&FOREIGN_FIREWALL, message).because(format!(
                "its policy is drop, and no rule of table {table} accepts {BRIDGE} or {mesh}"
            ));
            let (direction, protocol) = match hook {
                "input" => ("iifname", format!("; and UDP {}", MESH_PORTS[0])),
                "output" => ("oifname", format!("; and UDP {}", MESH_PORTS[0])),
                _ => ("iifname", String::new()),
            };
            let remedy = format!("accept {BRIDGE} and {mesh} in that chain{protocol}");
            let command =
                format!("nft insert rule {table} {chain} {direction} {{ {BRIDGE}, {mesh} }} accept");
            Finding::wrong(format!("firewall {table} {chain}"), error.try_this(remedy, command))
        })
        .collect();
    if found.is_empty() {
        return vec![Finding::well("firewalls", "none of others drops packets of the fabric")];
    }
    found
}

fn bridge_netfilter(settings: &[(Setting, String)]) -> Finding {
    let name = "bridge netfilter";
    match settings.iter().find(|(_, value)| value != "0") {
        Some((setting, value)) => {
            let message = format!("{setting} is {value}: bridged packets meet the IP rules twice");
            let error = Error::new(&SYSCTL_FAILED, message)
                .because("another program sets it again and again; the agent puts it back to 0");
            Finding::wrong(name, error.try_this("find who sets it, and stop that", ""))
        }
        None if settings.is_empty() => Finding::well(name, "not in this kernel"),
        None => Finding::well(name, "off"),
    }
}

#[cfg(test)]
mod tests {
    use weft_model::Families;
    use weft_nft::{Hook, TableFamily, TableRef};

    use super::*;
    use crate::{
        HostLink, HostRoute,
        world::{facts, node, view},
    };

    /// What is found on a node of the usual fabric under a name.
    fn check(name: &str, facts: &Facts, around: &Surroundings, expected: &[&str]) {
        said(&findings(&view(Families::Dual, Overlay::Wireguard), facts, around), name, expected);
    }

    /// `name: detail` of those that are well, `name! code detail` of the others, of one name.
    fn said(found: &[Finding], name: &str, expected: &[&str]) {
        let said: Vec<_> = found
            .iter()
            .filter(|finding| finding.name.starts_with(name))
            .map(|finding| {
                let code = finding.error.as_ref().map(|e| format!(" {}", e.code)).unwrap_or_default();
                let mark = if finding.ok { ':' } else { '!' };
                format!("{}{mark}{code} {}", finding.name, finding.detail)
            })
            .collect();
        assert_eq!(said, expected);
    }

    fn link() -> HostLink {
        HostLink {
            index: 1,
            name: "lo".to_owned(),
            mac: None,
            mtu: 1500,
            up: true,
            loopback: false,
            kind: String::new(),
            master: None,
            accept_ra: None,
        }
    }

    fn policy(family: TableFamily, chain: &str, hook: Hook, accepts: bool) -> DropPolicy {
        let table = TableRef { family, name: "filter".to_owned() };
        DropPolicy { table, chain: chain.to_owned(), hook, accepts }
    }

    #[test]
    fn firewalls_of_others_are_named_with_a_remedy() {
        let around = |firewalls| Surroundings { firewalls, ..Surroundings::default() };
        let none = "firewalls: none of others drops packets of the fabric";
        check("firewall", &facts(), &around(Vec::new()), &[none]);
        let known = policy(TableFamily::Inet, "forward", Hook::Forward, true);
        check("firewall", &facts(), &around(vec![known.clone()]), &[none]);
        let around = around(vec![
            known,
            policy(TableFamily::Ip, "FORWARD", Hook::Forward, false),
            policy(TableFamily::Ip6, "INPUT", Hook::Input, false),
        ]);
        check(
            "firewall",
            &facts(),
            &around,
            &[
                "firewall ip filter FORWARD! W4302 chain FORWARD of table ip filter drops packets at hook forward",
                "firewall ip6 filter INPUT! W4302 chain INPUT of table ip6 filter drops packets at hook input",
            ],
        );
        let commands: Vec<_> = firewalls(&around.firewalls)
            .into_iter()
            .filter_map(|finding| Some(finding.error?.remedy.first()?.command.clone()))
            .collect();
        assert_eq!(
            commands,
            [
                "nft insert rule ip filter FORWARD iifname { weftbr0, weft0 } accept",
                "nft insert rule ip6 filter INPUT iifname { weftbr0, weft0 } accept",
            ]
        );
    }

    #[test]
    fn what_else_stands_in_the_way() {
        let calm = Surroundings { mesh_in_kernel: Some(true), ..Surroundings::default() };
        let mut narrow = facts();
        narrow.probed_mtus = [(node(2), 1328), (node(3), 1280), (node(4), 1440)].into();
        check("path", &facts(), &calm, &[]);
        check(
            "path",
            &narrow,
            &calm,
            &[
                "path to n2: 1328 of the link's 1440 bytes pass",
                "path to n3! W4104 packets to node n3 above 1280 bytes are lost on the way",
            ],
        );
        check("mesh engine", &facts(), &calm, &["mesh engine: the kernel's WireGuard"]);
        let other = |name: &str| PortUse::Other(name.to_owned());
        let ports = |mesh_ports| Surroundings { mesh_ports, ..calm.clone() };
        let mesh_ports = [other("process 7 (wg-go)"), PortUse::Free];
        let userspace = Surroundings { mesh_in_kernel: Some(false), mesh_ports, ..calm.clone() };
        check("mesh engine", &facts(), &userspace, &["mesh engine: W4107 the built-in tunnel"]);
        check("UDP", &facts(), &calm, &[]);
        let taken = "UDP 51820! W4101 UDP port 51820 is held by process 7 (wg-go): weft0 can't listen on it";
        check("UDP", &facts(), &userspace, &[taken, "UDP 51821: free"]);
        let second =
            "UDP 51821: W4101 UDP port 51821 is held by x: the mesh's keys can't be rotated without a gap";
        let ours = ["UDP 51820: weft0 listens", second];
        check("UDP", &facts(), &ports([PortUse::Ours, other("x")]), &ours);
        let settings = |value: &str| Surroundings {
            bridge_netfilter: Setting::bridge_netfilter().map(|s| (s, value.to_owned())).collect(),
            ..Surroundings::default()
        };
        check("bridge", &facts(), &calm, &["bridge netfilter: not in this kernel"]);
        check("bridge", &facts(), &settings("0"), &["bridge netfilter: off"]);
        let on = "bridge netfilter! W4004 net.bridge.bridge-nf-call-iptables is 1: bridged packets meet the IP rules twice";
        check("bridge", &facts(), &settings("1"), &[on]);
    }

    #[test]
    fn routes_of_the_host_that_overlap_are_named() {
        let calm = Surroundings::default();
        check("host routes", &facts(), &calm, &["host routes: 0 routes, none overlaps the fabric"]);
        let mut overlapping = facts();
        let route = |text: &str| HostRoute {
            destination: text.parse().unwrap(),
            link: Some(2),
            gateway: None,
            metric: 0,
        };
        overlapping.host.routes = vec![route("10.0.0.0/8")];
        let said =
            "host routes! W2203 range 10.1.0.0/16 of the fabric overlaps the route 10.0.0.0/8 of this host";
        check("host routes", &overlapping, &calm, &[said]);
        overlapping.host.routes = vec![route("10.1.2.0/24")];
        let said =
            "host routes! W2203 range 10.1.0.0/16 of the fabric overlaps the route 10.1.2.0/24 of this host";
        check("host routes", &overlapping, &calm, &[said]);
        // The same route is the kernel's own when it leads to a link of ours.
        overlapping.host.links = vec![HostLink { index: 2, name: "weftbr0".to_owned(), ..link() }];
        check("host routes", &overlapping, &calm, &["host routes: 0 routes, none overlaps the fabric"]);
        let mut bare = facts();
        bare.underlay = None;
        check("underlay", &bare, &calm, &["underlay! W4102 the node has no underlay"]);
        check("underlay", &facts(), &calm, &["underlay: eth0 192.168.1.11 fd99::11 mtu 1500"]);
    }

    #[test]
    fn replicas_out_of_reach_are_named_with_why() {
        let address = |last: u8| SocketAddr::from(([192, 168, 1, last], 7443));
        let refused = Err("Connection refused (os error 111)".to_owned());
        let found = replica_findings([(address(1), Ok(Duration::from_micros(340))), (address(2), refused)]);
        let expected = [
            "replica 192.168.1.1:7443: answers in 0.3 ms",
            "replica 192.168.1.2:7443! W1001 this node doesn't reach the replica at 192.168.1.2:7443",
        ];
        said(&found, "replica", &expected);
        let error = found[1].error.as_ref().unwrap();
        assert_eq!(error.cause, ["Connection refused (os error 111)"]);
        assert_eq!(error.remedy[0].text, "start weftd there, and let TCP 7443 through to it");
    }

    #[test]
    fn a_machine_is_looked_at_before_there_is_a_fabric() {
        let ranges: Vec<AddressRange> = vec!["10.1.0.0/16".parse().unwrap()];
        let intent = Intent { overlay: Overlay::Wireguard, families: Families::Dual, ranges: &ranges };
        let calm = Surroundings::default();
        let found = preflight(&facts(), &calm, intent);
        assert!(found.iter().all(|finding| finding.ok), "{found:?}");
        said(&found, "MTU", &["MTU: 1440 bytes for pods over eth0"]);
        let mut bad = facts();
        bad.underlay.as_mut().unwrap().mtu = 1300;
        bad.host.routes = vec![HostRoute {
            destination: "10.0.0.0/8".parse().unwrap(),
            link: Some(2),
            gateway: None,
            metric: 0,
        }];
        let found = preflight(&bad, &calm, intent);
        let wrong: Vec<_> = found.iter().filter(|finding| !finding.ok).map(|f| f.name.as_str()).collect();
        assert_eq!(wrong, ["MTU", "host routes"]);
    }
}
