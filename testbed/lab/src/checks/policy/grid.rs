//! The grid in a lab: its pods, and rounds of questions there.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use serde_json::Value;

use super::cases::Case;
use super::differential::summary;
use super::script;
use super::state::State;
use super::{NAMESPACES, PODS};
use crate::Fabric;
use crate::checks::names::in_service_ranges;
use crate::checks::{Cast, each};
use crate::fabric::Pod;
use crate::probe::grid::{End, Plan, Report, Step};
use crate::topology;

/// What may pass is answered within this on any machine, milliseconds.
const PATIENCE: u64 = 5_000;
/// A round takes at most this long on any machine.
const ROUND: Duration = Duration::from_secs(10);

/// More rounds that aren't as expected tell nothing new.
const MOST_PROBLEMS: usize = 20;

/// Nine pods on two nodes.
pub struct Grid<'a> {
    pub(super) fabric: &'a Fabric,
    /// In the order of namespaces and pods.
    pub(super) pods: Vec<Pod>,
    /// Of `a` and `b`, and of `c`.
    pub(super) nodes: [String; 2],
    /// What the control plane has of ours.
    pub(super) state: State,
}

/// Who asks in rounds: pods by `namespace/name`, and machines.
pub(super) const MACHINES: [&str; 3] = ["node:1", "node:2", "out"];

impl<'a> Grid<'a> {
    /// Attaches the pods and makes their namespaces.
    pub fn set(fabric: &'a Fabric, cast: &Cast) -> Result<Self> {
        let nodes = [cast.a.node().to_owned(), cast.c.node().to_owned()];
        let names: Vec<(usize, usize)> = (0..NAMESPACES.len())
            .flat_map(|namespace| (0..PODS.len()).map(move |pod| (namespace, pod)))
            .collect();
        each(&names, |(namespace, pod)| {
            let node = &nodes[usize::from(*pod == PODS.len() - 1)];
            fabric.attach(&topology::Pod {
                name: PODS[*pod].to_owned(),
                namespace: NAMESPACES[*namespace].to_owned(),
                node: node.clone(),
                labels: Default::default(),
                serve: Vec::new(),
            })?;
            Ok(())
        })?;
        let all = fabric.pods()?;
        let find = |(namespace, pod): &(usize, usize)| {
            let record =
                |one: &&Pod| one.record.namespace == NAMESPACES[*namespace] && one.record.name == PODS[*pod];
            all.iter().find(record).cloned().context("a pod of the grid isn't there")
        };
        let pods = names.iter().map(find).collect::<Result<Vec<_>>>()?;
        Ok(Self { fabric, pods, nodes, state: State::default() })
    }

    /// Takes all of it away.
    pub fn strike(mut self) -> Result<()> {
        let changes = self.state.become_(State::default());
        let steps = vec![Step { name: "strike".to_owned(), changes, ..Step::default() }];
        self.run(steps, 1)?;
        each(&self.pods, |pod| self.fabric.detach(pod))?;
        for namespace in NAMESPACES {
            self.fabric
                .weft(&["delete", "namespace", namespace, "--yes"])?
                .success("weft delete namespace")?;
        }
        Ok(())
    }

    /// Names of those who ask: pods, then machines.
    pub(super) fn names() -> Vec<String> {
        let pods = NAMESPACES.iter().flat_map(|namespace| PODS.map(|pod| format!("{namespace}/{pod}")));
        pods.chain(MACHINES.map(str::to_owned)).collect()
    }

    /// A pod of the grid by name.
    pub(super) fn pod(&self, name: &str) -> Option<&Pod> {
        self.pods.iter().find(|pod| format!("{}/{}", pod.record.namespace, pod.record.name) == name)
    }

    /// Runs cases; all that wasn't as expected is told.
    pub fn cases(&mut self, cases: &[Case]) -> Result<String> {
        let steps = script::steps(self, cases)?;
        let report = self.run(steps, MOST_PROBLEMS)?;
        let bad = report.rounds.iter().filter(|seen| !seen.problems.is_empty());
        let bad: Vec<String> =
            bad.map(|seen| format!("{}: {}", seen.name, seen.problems.join("; "))).collect();
        ensure!(bad.is_empty(), "{} rounds weren't as expected:\n{}", bad.len(), bad.join("\n"));
        Ok(format!("{} cases: {}", cases.len(), summary(&report)))
    }

    /// Whether the fabric has a family.
    pub(super) fn has(&self, v6: bool) -> bool {
        self.pods[0].addresses().iter().any(|address| address.is_ipv6() == v6)
    }

    /// Runs steps in one process; gives up after some rounds that aren't as expected.
    pub(super) fn run(&self, steps: Vec<Step>, most_problems: usize) -> Result<Report> {
        self.run_within(steps, most_problems, PATIENCE)
    }

    /// As [`Grid::run`]; what may pass is answered within so many milliseconds.
    pub(super) fn run_within(
        &self,
        steps: Vec<Step>,
        most_problems: usize,
        patience_ms: u64,
    ) -> Result<Report> {
        let within = Duration::from_secs(30) + ROUND * u32::try_from(steps.len())?;
        let plan = Plan { ends: self.ends()?, nodes: self.node_files()?, steps, patience_ms, most_problems };
        let seen = self.fabric.told_probe(&["grid"], serde_json::to_string(&plan)?, within)?;
        serde_json::from_value(seen.clone()).with_context(|| format!("{seen}"))
    }

    /// Files of the nodes' network namespaces, as the supervisor sees them.
    pub(super) fn node_files(&self) -> Result<Vec<PathBuf>> {
        self.nodes.iter().map(|node| Ok(self.process(node)?.join("ns/net"))).collect()
    }

    fn process(&self, machine: &str) -> Result<PathBuf> {
        let description = self.fabric.client().describe()?;
        let state = description.machines.iter().find(|state| state.machine.name == machine);
        let pid = state.and_then(|state| state.pid).with_context(|| format!("{machine} is down"))?;
        Ok(PathBuf::from(format!("/proc/{pid}")))
    }

    /// Folders in which namespaces of pods appear, as the supervisor sees them.
    pub(super) fn folders(&self) -> Result<Vec<PathBuf>> {
        self.nodes.iter().map(|node| Ok(self.process(node)?.join("root/run/netns"))).collect()
    }

    pub(super) fn ends(&self) -> Result<Vec<End>> {
        let mut ends = Vec::new();
        for (name, pod) in Self::names().into_iter().zip(&self.pods) {
            let netns = self.process(pod.node())?.join("root/run/netns").join(&pod.record.netns);
            ends.push(End { name, netns, addresses: pod.addresses().to_vec() });
        }
        let machines = [self.nodes[0].clone(), self.nodes[1].clone(), self.fabric.outside()];
        for (name, machine) in MACHINES.iter().zip(&machines) {
            let netns = self.process(machine)?.join("ns/net");
            ends.push(End { name: (*name).to_owned(), netns, addresses: Vec::new() });
        }
        Ok(ends)
    }

    /// What `<…>` in a case means: `4:x/a` a pod's address, `4:net:x/a` the same as a block, `4:pods:1` the least block with all the grid's pods of a node and no other,
    /// `4:pods` of both nodes, `4:node:1` a node's address on the link, `4:mesh:1` its address in the mesh, `4:out` of the machine outside, `4:service:77` the address at a
    /// place of the range of services.
    pub(super) fn place(&self, word: &str) -> Result<String> {
        let (family, what) = word.split_once(':').with_context(|| format!("{{{word}}}"))?;
        let v6 = family == "6";
        let pick = |all: &[IpAddr]| all.iter().find(|address| address.is_ipv6() == v6).copied();
        if let Some(pod) = self.pod(what) {
            return pick(pod.addresses()).map(|address| address.to_string()).context("no such address");
        }
        if let Some(name) = what.strip_prefix("net:") {
            return Ok(format!("{}/{}", self.place(&format!("{family}:{name}"))?, if v6 { 128 } else { 32 }));
        }
        let parts: Vec<&str> = what.split(':').collect();
        let node = |number: &str| -> Result<&String> {
            self.nodes.get(number.parse::<usize>()?.wrapping_sub(1)).context("no such node")
        };
        let address = match parts.as_slice() {
            ["pods"] => return self.block(v6, None),
            ["pods", number] => return self.block(v6, Some(node(number)?)),
            ["node", number] => pick(&self.fabric.machine(node(number)?)?.addresses()),
            ["out"] => pick(&self.fabric.machine(&self.fabric.outside())?.addresses()),
            ["service", number] => pick(&in_service_ranges(self.fabric, number.parse()?)?),
            ["mesh", number] => {
                let seen = self.fabric.weft_json(&["get", "node", node(number)?])?;
                let all = seen["status"]["mesh"].as_array().into_iter().flatten();
                pick(&all.filter_map(Value::as_str).filter_map(|a| a.parse().ok()).collect::<Vec<_>>())
            }
            _ => None,
        };
        address.map(|address| address.to_string()).with_context(|| format!("nothing is {{{word}}}"))
    }

    fn block(&self, v6: bool, node: Option<&String>) -> Result<String> {
        let of = |node: Option<&String>| -> Vec<IpAddr> {
            let own = self.pods.iter().filter(|pod| node.is_none_or(|node| pod.node() == node));
            let all = own.flat_map(|pod| pod.addresses().iter().copied());
            all.filter(|address| address.is_ipv6() == v6).collect()
        };
        let own = of(node);
        let first = *own.first().context("no address of that family")?;
        let bits = if v6 { 128 } else { 32 };
        let fits =
            |length: &u8| IpNet::new(first, *length).is_ok_and(|net| own.iter().all(|a| net.contains(a)));
        let length = (0..=bits).rev().find(fits).context("no block holds them")?;
        let block = IpNet::new(first, length)?.trunc();
        let strange = of(None).iter().filter(|address| block.contains(*address)).count();
        ensure!(strange == own.len(), "{block} holds pods of both nodes");
        Ok(block.to_string())
    }
}
