//! Machines: a process, network and mount namespace each, connected to the switch. Killing its first process kills a machine.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Supervisor, no_machine};
use crate::launch::own_program;
use crate::namespace::{Namespaces, in_thread};
use crate::plan::{self, Kind, LINK_MTU};
use crate::protocol::{MachineState, ServiceState};
use crate::topology::Backend;
use crate::vm::Vm;
use crate::{Refusal, Result, ip};

/// Time in which a killed machine has disappeared.
const GONE: Duration = Duration::from_secs(5);

pub(crate) struct Machine {
    plan: plan::Machine,
    up: Option<(u32, Body)>,
    /// Held down by `kill-node`.
    held: bool,
}

/// What a machine is made of.
#[derive(Clone)]
pub(crate) enum Body {
    Namespaces(Arc<Namespaces>),
    Virtual(Arc<Vm>),
}

impl Machine {
    pub(crate) fn down(plan: plan::Machine) -> Self {
        Self { plan, up: None, held: false }
    }

    pub(crate) fn name(&self) -> &str {
        &self.plan.name
    }

    pub(crate) fn plan(&self) -> &plan::Machine {
        &self.plan
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up.is_some()
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.up.as_ref().map(|(pid, _)| *pid)
    }

    pub(crate) fn namespaces(&self) -> Result<Arc<Namespaces>> {
        match self.body()? {
            Body::Namespaces(namespaces) => Ok(namespaces),
            Body::Virtual(_) => bail!(Refusal::Usage(format!(
                "{} is a virtual machine: this is done on its link at the switch only",
                self.plan.name
            ))),
        }
    }

    pub(crate) fn body(&self) -> Result<Body> {
        match &self.up {
            Some((_, body)) => Ok(body.clone()),
            None => bail!(Refusal::NotFound(format!(
                "{} is down (cargo lab heal brings it back)",
                self.plan.name
            ))),
        }
    }

    pub(crate) fn state(&self, services: Vec<ServiceState>) -> MachineState {
        let is_virtual = matches!(self.up, Some((_, Body::Virtual(_))));
        MachineState { machine: self.plan.clone(), pid: self.pid(), is_virtual, services }
    }
}

impl Supervisor {
    /// Starts machines side by side and connects them.
    pub(crate) fn start_machines(self: &Arc<Self>, names: impl IntoIterator<Item = String>) -> Result {
        let starts: Vec<_> = names
            .into_iter()
            .map(|name| {
                let supervisor = Arc::clone(self);
                std::thread::spawn(move || {
                    supervisor.start_machine(&name).with_context(|| format!("start the machine {name}"))
                })
            })
            .collect();
        for start in starts {
            start.join().map_err(|_| anyhow!("starting a machine panicked"))??;
        }
        self.renew_losses()
    }

    fn start_machine(self: &Arc<Self>, name: &str) -> Result {
        let (machine, plan) = {
            let mut state = self.state();
            let plan = state.plan.clone();
            let machine = state.machines.get_mut(name).ok_or_else(|| no_machine(name))?;
            machine.held = false;
            (machine.plan.clone(), plan)
        };
        let (child, body) = if self.backend == Backend::Vm && machine.kind == Kind::Node {
            self.boot(&machine, &plan)?
        } else {
            self.divide(&machine, &plan)?
        };
        self.attend_machine(name, child, body)
    }

    /// A machine of namespaces.
    fn divide(&self, machine: &plan::Machine, plan: &plan::Plan) -> Result<(Child, Body)> {
        let name = machine.name.as_str();
        let mut child = self.first_process(name)?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("no pipe from the machine")?;
        BufReader::new(stdout).read_line(&mut line)?;
        if line.trim() != "ready" {
            bail!("{}", line.trim());
        }
        let pid = child.id();
        let namespaces = Arc::new(Namespaces::of(pid)?);
        ip::batch(&plan.port_lines(machine, pid, self.link_mtu(name)))?;
        namespaces.run(None, || {
            if Path::new("/proc/sys/net/ipv6/conf/eth0").exists() {
                ip::sysctl("net/ipv6/conf/eth0/accept_dad", "0")?;
                ip::sysctl("net/ipv6/conf/eth0/accept_ra", "0")?;
            }
            ip::batch(&plan.machine_lines(machine))
        })?;
        Ok((child, Body::Namespaces(namespaces)))
    }

    /// Stays with a machine until its first process ends.
    fn attend_machine(self: &Arc<Self>, name: &str, mut child: Child, body: Body) -> Result {
        let pid = child.id();
        if let Some(machine) = self.state().machines.get_mut(name) {
            machine.up = Some((pid, body));
        }
        self.announce();
        let (supervisor, name) = (Arc::clone(self), name.to_owned());
        std::thread::Builder::new().name(format!("machine {name}")).spawn(move || {
            let _ = child.wait();
            if let Some(machine) = supervisor.state().machines.get_mut(&name)
                && machine.pid() == Some(pid)
            {
                machine.up = None;
            }
            supervisor.announce();
        })?;
        Ok(())
    }

    /// Pid 1 of a new process namespace, with a network, mount and host-name namespace of its own.
    fn first_process(&self, name: &str) -> Result<Child> {
        let disk = self.layout.disk(name);
        let program = own_program()?;
        in_thread(|| {
            let spaces = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
            unshare(spaces | CloneFlags::CLONE_NEWUTS).context("unshare")?;
            Command::new(program)
                .args(["inside", "machine", name])
                .arg(&disk)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .context("start its first process")
        })
    }

    /// SIGKILL to everything on the machine; its disk stays, its services wait until it is back.
    pub(crate) fn kill_machine(&self, name: &str) -> Result {
        let pid = {
            let mut state = self.state();
            let machine = state.machines.get_mut(name).ok_or_else(|| no_machine(name))?;
            machine.held = true;
            let pid = machine.pid();
            // Open handles would keep the namespaces alive.
            machine.up = None;
            state.pods.retain(|pod| pod.node != name);
            pid
        };
        let Some(pid) = pid else { bail!("{name} is down already") };
        kill(raw(pid), Signal::SIGKILL).with_context(|| format!("kill {name}"))?;
        // The port goes with the machine's namespace, at the latest: whoever comes first removes it.
        let _ = ip::batch(&[format!("link delete dev {name}")]);
        let (process, port) = (format!("/proc/{pid}"), format!("/proc/sys/net/ipv4/conf/{name}"));
        let gone = crate::wait::until(GONE, Duration::from_millis(2), || {
            (!Path::new(&process).exists() && !Path::new(&port).exists()).then_some(())
        });
        gone.ok_or_else(|| anyhow!("{name} didn't die within {GONE:?}"))
    }

    /// MTU of a machine's own link: the topology's smallest path that ends there.
    pub(crate) fn link_mtu(&self, name: &str) -> u32 {
        let own = self.links.iter().filter(|link| link.between.iter().any(|end| end == name));
        own.filter_map(|link| link.mtu).min().unwrap_or(LINK_MTU)
    }
}

/// A process number as the system calls take it.
pub(crate) fn raw(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX))
}
