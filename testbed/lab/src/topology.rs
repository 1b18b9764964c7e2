//! What a lab consists of: read from a file of `testbed/topologies` or made from flags, and checked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::layout::check_name;
use crate::{Refusal, Result};

/// Families of pods, nodes and services; the first of two is the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// Both, IPv4 first.
    #[default]
    Dual,
    /// Both, IPv6 first.
    Dual6,
}

impl Family {
    /// All four kinds.
    pub const ALL: [Self; 4] = [Self::V4, Self::V6, Self::Dual, Self::Dual6];

    /// As written on command lines.
    pub fn word(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
            Self::Dual => "dual",
            Self::Dual6 => "dual6",
        }
    }
    /// Whether pods have an IPv4 address.
    pub fn has_v4(self) -> bool {
        self != Self::V6
    }
    /// Whether pods have an IPv6 address.
    pub fn has_v6(self) -> bool {
        self != Self::V4
    }
}

/// How packets travel between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Overlay {
    /// Encrypted.
    #[default]
    Wireguard,
    /// Plain, on one trusted link.
    Routed,
}

impl Overlay {
    /// As written on command lines.
    pub fn word(self) -> &'static str {
        match self {
            Self::Wireguard => "wireguard",
            Self::Routed => "routed",
        }
    }
}

/// Families of the machines' own addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum UnderlayFamily {
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// Both.
    Dual,
}

/// Whether machines share one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Subnets {
    /// One switch, one subnet.
    #[default]
    Shared,
    /// A subnet per machine, a router between.
    PerNode,
}

/// What nodes are made of; replicas and machines outside are namespaces in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Namespaces of this host's kernel.
    #[default]
    Ns,
    /// Virtual machines with a kernel of their own, which has WireGuard.
    Vm,
}

/// Which WireGuard a node uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tunnel {
    /// The kernel's where it exists, else the userspace process.
    #[default]
    Auto,
    /// The userspace process.
    Userspace,
    /// The kernel's, or refused.
    Kernel,
}

/// A whole lab, checked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Topology {
    /// Name of the lab unless a flag gives one.
    pub name: Option<String>,
    /// Families of the fabric.
    #[serde(default)]
    pub family: Family,
    /// Mode of the fabric.
    #[serde(default)]
    pub overlay: Overlay,
    /// What nodes are made of.
    #[serde(default)]
    pub backend: Backend,
    /// Addresses of the machines.
    #[serde(default)]
    pub underlay: Underlay,
    /// Replicas.
    #[serde(default)]
    pub control_planes: ControlPlanes,
    /// Nodes.
    #[serde(default)]
    pub node: Vec<Node>,
    /// Paths between two nodes that differ from the rest.
    #[serde(default)]
    pub link: Vec<Link>,
    /// Machines that are no nodes; the first is everybody's default gateway on a shared link.
    #[serde(default)]
    pub outside: Vec<Outside>,
    /// Pods attached once the fabric is ready.
    #[serde(default)]
    pub pod: Vec<Pod>,
    /// Objects applied once the fabric is ready.
    #[serde(default)]
    pub apply: Apply,
}

/// `[underlay]`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Underlay {
    /// Default: the families of the pods, so that both reach the outside.
    pub family: Option<UnderlayFamily>,
    /// One link or a link per machine.
    #[serde(default)]
    pub subnets: Subnets,
}

/// `[control-planes]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlPlanes {
    /// `cp-1` to `cp-N`, each on a machine of its own.
    pub count: u16,
}

impl Default for ControlPlanes {
    fn default() -> Self {
        Self { count: 1 }
    }
}

/// `[[node]]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Name of machine and node.
    pub name: String,
    /// Labels it joins with.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Which WireGuard.
    #[serde(default)]
    pub tunnel: Tunnel,
}

/// `[[link]]`: the path between two machines across the switch.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Its two ends.
    pub between: [String; 2],
    /// Bytes; both ends' ports get it.
    pub mtu: Option<u32>,
}

/// `[[outside]]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outside {
    /// Name of the machine.
    pub name: String,
}

/// `[[pod]]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pod {
    /// Name of the pod.
    pub name: String,
    /// Its namespace.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// The node it is attached on.
    pub node: String,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Servers in it: `http:PORT`, `tcp:PORT`, `udp:PORT`.
    #[serde(default)]
    pub serve: Vec<String>,
}

fn default_namespace() -> String {
    "default".to_owned()
}

/// `[apply]`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// Files, relative to the topology file.
    #[serde(default)]
    pub files: Vec<PathBuf>,
}

impl Topology {
    /// `nodes` nodes n1, n2, … and everything else as `up` has it by default.
    pub fn of_nodes(nodes: u16) -> Self {
        let node = |i| Node { name: format!("n{i}"), labels: BTreeMap::new(), tunnel: Tunnel::Auto };
        Self { node: (1..=nodes).map(node).collect(), ..Self::default() }
    }

    /// Reads a topology file. Fails with [`Refusal::Usage`] on unknown keys, with line and column.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Refusal::Usage(format!("topology {}: {e}", path.display())))?;
        let mut topology: Self =
            toml::from_str(&text).map_err(|e| Refusal::Usage(format!("topology {}: {e}", path.display())))?;
        // Whoever applies the files works somewhere else.
        let path = std::path::absolute(path)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        for file in &mut topology.apply.files {
            *file = folder.join(&file);
        }
        topology.checked().with_context(|| format!("topology {}", path.display()))
    }

    /// Names are usable and distinct, references resolve, and what can't work is refused before anything starts.
    pub fn checked(mut self) -> Result<Self> {
        if self.outside.is_empty() {
            self.outside.push(Outside { name: "outside".to_owned() });
        }
        let nodes: BTreeSet<&str> = self.node.iter().map(|n| n.name.as_str()).collect();
        let mut names = BTreeSet::new();
        for name in self.node.iter().map(|n| &n.name).chain(self.outside.iter().map(|o| &o.name)) {
            check_name("machine", name, 12)?;
            if name.contains('-') || name == "switch" || !names.insert(name) {
                let why = "a '-' would make links ambiguous (n1-n2), \"switch\" is reserved, and each name is used once";
                bail!(Refusal::Usage(format!("machine name {name:?}: {why}")));
            }
        }
        if !(1..=9).contains(&self.control_planes.count) || self.node.len() > 90 || self.outside.len() > 9 {
            bail!(Refusal::Usage("1 to 9 replicas, at most 90 nodes and 9 machines outside".to_owned()));
        }
        for pod in &self.pod {
            check_name("pod", &pod.name, 63)?;
            check_name("namespace", &pod.namespace, 63)?;
            if !nodes.contains(pod.node.as_str()) {
                bail!(Refusal::Usage(format!("pod {}: there is no node {:?}", pod.name, pod.node)));
            }
        }
        for link in &self.link {
            if let Some(stranger) = link.between.iter().find(|end| !names.contains(end)) {
                bail!(Refusal::Usage(format!("link between {:?}: there is no {stranger:?}", link.between)));
            }
        }
        if self.overlay == Overlay::Routed && self.underlay.subnets == Subnets::PerNode {
            bail!(Refusal::Usage(
                "overlay routed needs all nodes on one link: subnets = \"shared\"".to_owned()
            ));
        }
        Ok(self)
    }

    /// Families of the machines' own addresses.
    pub fn underlay_family(&self) -> UnderlayFamily {
        self.underlay.family.unwrap_or(match self.family {
            Family::V4 => UnderlayFamily::V4,
            Family::V6 => UnderlayFamily::V6,
            Family::Dual | Family::Dual6 => UnderlayFamily::Dual,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: core::result::Result<(), &str>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.toml");
        std::fs::write(&path, text).unwrap();
        match (Topology::read(&path), wanted) {
            (Ok(_), Ok(())) => {}
            (Err(e), Err(part)) => assert!(format!("{e:#}").contains(part), "{e:#}"),
            (got, wanted) => panic!("{text}: {got:?}, wanted {wanted:?}"),
        }
    }

    #[test]
    fn a_topology_that_cannot_work_is_refused_in_words() {
        check(
            "[[node]]\nname = \"n1\"\n[[pod]]\nname = \"a\"\nnode = \"n1\"\nserve = [\"http:80\"]\n",
            Ok(()),
        );
        check("[[nodes]]\nname = \"n1\"\n", Err("unknown field `nodes`"));
        check("[[node]]\nname = \"n1\"\n[[node]]\nname = \"n1\"\n", Err("used once"));
        check(
            "[[node]]\nname = \"n1\"\n[[pod]]\nname = \"a\"\nnode = \"n2\"\n",
            Err("there is no node \"n2\""),
        );
        check("overlay = \"routed\"\nunderlay = { subnets = \"per-node\" }\n", Err("one link"));
        check("[control-planes]\ncount = 0\n", Err("1 to 9 replicas"));
        check("[[link]]\nbetween = [\"n1\", \"n2\"]\n", Err("there is no"));
    }

    #[test]
    fn the_topologies_in_the_repository_are_valid() {
        let folder = crate::layout::workspace().join("testbed/topologies");
        let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().flatten().map(|e| e.path()).collect();
        // Folders hold what is applied to a fabric.
        files.retain(|file| file.extension().is_some_and(|ending| ending == "toml"));
        assert!(files.len() > 5, "{files:?}");
        for file in files {
            Topology::read(&file).unwrap();
        }
    }
}
