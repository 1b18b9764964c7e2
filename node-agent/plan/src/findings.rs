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

    pub(crate) fn wrong(name: impl Into<String>, error: Error) -> Self {
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
#[path = "findings_tests.rs"]
mod tests;
