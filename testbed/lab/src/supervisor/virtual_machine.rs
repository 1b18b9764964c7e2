//! Nodes that are virtual machines: booting them, and what faults do inside.

use std::path::PathBuf;
use std::process::Child;

use anyhow::{Context, bail};

use super::Supervisor;
use super::machine::Body;
use crate::launch::own_program;
use crate::layout::Layout;
use crate::plan::{Machine, Plan};
use crate::protocol::Place;
use crate::vm::{Begin, Kernel, Spec, Start, Vm, write_initramfs};
use crate::{Result, ip};

impl Supervisor {
    /// Writes what every virtual machine of the lab boots into.
    pub(crate) fn prepare_virtual_machines(&self) -> Result {
        write_initramfs(&Kernel::find()?, &first_root(&self.layout)).context("make the first root")
    }

    /// A virtual machine on a port of the switch.
    pub(crate) fn boot(&self, machine: &Machine, plan: &Plan) -> Result<(Child, Body)> {
        let (name, mtu) = (machine.name.as_str(), self.link_mtu(&machine.name));
        let disk = self.layout.disk(name);
        std::fs::create_dir_all(&disk).with_context(|| format!("make {}", disk.display()))?;
        ip::batch(&plan.tap_lines(machine, mtu))?;
        let spec = Spec {
            name: name.to_owned(),
            mac: machine.mac(),
            kernel: Kernel::find()?,
            initramfs: first_root(&self.layout),
            lab: self.layout.root().to_owned(),
            console: self.layout.log(name, "console"),
            orders: PathBuf::from(format!("/run/{name}.orders")),
        };
        let mut lines = plan.machine_lines(machine);
        lines.insert(0, format!("link set dev eth0 mtu {mtu}"));
        let begin = Begin {
            name: name.to_owned(),
            lab: spec.lab.clone(),
            disk,
            lines,
            env: std::env::vars().collect(),
            program: own_program()?,
        };
        let (child, vm) = Vm::boot(&spec, begin)?;
        Ok((child, Body::Virtual(vm)))
    }

    pub(crate) fn is_virtual(&self, machine: &str) -> bool {
        let state = self.state();
        let body = state.machines.get(machine).map(super::Machine::body);
        matches!(body, Some(Ok(Body::Virtual(_))))
    }

    /// Runs a program on the machine to its end, which must be a success; its output is in the lab's own log.
    pub(crate) fn run_on(&self, machine: &str, argv: &[&str]) -> Result {
        let log = self.layout.log("lab", "supervisor");
        let start = Start {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            env: Default::default(),
            stdin: None,
            out: log.clone(),
            errors: log.clone(),
            netns: None,
            notify: None,
        };
        match self.start(&Place::Machine(machine.to_owned()), start)?.attend(|| {}) {
            0 => Ok(()),
            status => {
                bail!("{} on {machine} ended with status {status}; see {}", argv.join(" "), log.display())
            }
        }
    }
}

fn first_root(layout: &Layout) -> PathBuf {
    layout.root().join("first-root.cpio")
}
