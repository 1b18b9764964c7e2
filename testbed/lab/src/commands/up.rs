//! `up`: checks what the machine offers, builds the product, starts the lab.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::{Format, print, print_json, progress};
use crate::fabric::product::{self, Profile};
use crate::layout::Layout;
use crate::topology::{Backend, Family, Overlay, Subnets, Topology, UnderlayFamily};
use crate::{Fabric, Result, prerequisites, substrate};

/// `cargo lab up`.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Topology file
    #[arg(short, long, conflicts_with_all = ["nodes", "family", "control_planes", "overlay", "subnets"])]
    topology: Option<PathBuf>,
    /// Number of nodes: n1, n2, …
    #[arg(long, default_value_t = 3)]
    nodes: u16,
    /// Families of pods; the first is the primary
    #[arg(long, value_enum, default_value_t)]
    family: Family,
    /// Number of replicas: cp-1, cp-2, …
    #[arg(long, default_value_t = 1)]
    control_planes: u16,
    /// How packets travel between nodes
    #[arg(long, value_enum, default_value_t)]
    overlay: Overlay,
    /// What nodes are made of; default: the topology's, else namespaces
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// Families of the machines' own addresses; default: those of the pods
    #[arg(long, value_enum)]
    underlay: Option<UnderlayFamily>,
    /// One link for all, or one per machine with a router between
    #[arg(long, value_enum, default_value_t)]
    subnets: Subnets,
    /// Name of the lab; default: the topology's, else "default"
    #[arg(long, env = "WEFT_LAB")]
    name: Option<String>,
    /// Programs built with optimisation
    #[arg(long)]
    release: bool,
    /// Only machines and links; nothing of Weft is built or started
    #[arg(long)]
    bare: bool,
    /// Form of the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Up {
    pub(crate) fn run(self) -> Result {
        let topology = self.topology()?;
        let name =
            self.name.clone().or_else(|| topology.name.clone()).unwrap_or_else(|| "default".to_owned());
        let layout = Layout::of(&name)?;
        prerequisites::check_for(topology.backend)?;
        if self.bare {
            substrate::start(&layout, topology, None)?;
            return print(format_args!("lab {name}: machines and links are there"));
        }
        let profile = if self.release { Profile::Release } else { Profile::Debug };
        let (product, _) = product::build(profile)?;
        let began = Instant::now();
        let fabric = Fabric::up(&layout, topology, product, &mut progress)?;
        let seconds = began.elapsed().as_secs_f64();
        let (nodes, replicas) = (fabric.nodes()?, fabric.replicas()?);
        match self.output {
            Format::Json => print_json(&json!({
                "kind": "Lab", "name": name, "nodes": nodes, "replicas": replicas, "seconds": seconds,
                "contexts": layout.contexts(), "context": layout.context(),
            })),
            Format::Text => {
                print(format_args!(
                    "lab {name} is ready: {} replicas, {} nodes, {seconds:.1} s",
                    replicas.len(),
                    nodes.len()
                ))?;
                let flag = if name == "default" { String::new() } else { format!(" --name {name}") };
                print(format_args!(
                    "  cargo lab run{flag} web --node {} --serve http:80",
                    nodes.first().map_or("n1", String::as_str)
                ))?;
                print(format_args!("  cargo lab ctl{flag} status"))?;
                print(format_args!("  cargo lab down {name}"))
            }
        }
    }

    fn topology(&self) -> Result<Topology> {
        let mut topology = match &self.topology {
            Some(file) => Topology::read(file)?,
            None => {
                let mut topology = Topology::of_nodes(self.nodes);
                topology.family = self.family;
                topology.overlay = self.overlay;
                topology.control_planes.count = self.control_planes;
                topology.underlay.subnets = self.subnets;
                topology
            }
        };
        topology.backend = self.backend.unwrap_or(topology.backend);
        topology.underlay.family = self.underlay.or(topology.underlay.family);
        topology.checked()
    }
}
