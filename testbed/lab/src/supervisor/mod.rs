//! The first process of a lab: makes the machines, keeps their services alive, runs commands inside, brings faults about.
//!
//! It is pid 1 of its process namespace and its network namespace is the switch between the machines; its end, however it comes,
//! is the end of everything in the lab. Commands talk to it as in `protocol.rs`; it makes no decisions of its own.

mod faults;
mod jobs;
mod machine;
mod running;
mod services;
mod virtual_machine;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::capture::sniff::{Sniffer, Tap};
use crate::fault::Fault;
use crate::layout::Layout;
use crate::plan::{Kind, Plan};
use crate::protocol::{Description, Place, PodRecord, Request, Response};
use crate::topology::{Backend, Link, Subnets, Topology};
use crate::{Refusal, Result, ip, mounts};

pub(crate) use jobs::status_byte;
pub(crate) use machine::raw;

use jobs::Jobs;
use machine::Machine;
use services::Service;

pub(crate) struct Supervisor {
    layout: Layout,
    /// Paths with an MTU of their own, from the topology.
    links: Vec<Link>,
    backend: Backend,
    state: Mutex<State>,
    /// Signalled whenever a machine, a service or a job changes.
    changed: Condvar,
}

pub(crate) struct State {
    plan: Plan,
    machines: BTreeMap<String, Machine>,
    services: Vec<Arc<Service>>,
    jobs: Jobs,
    pods: Vec<PodRecord>,
    faults: Vec<Fault>,
    captures: BTreeMap<u64, Sniffer>,
    next_capture: u64,
}

/// Runs the supervisor: `listener` is the control socket, `ready` is called once every machine is connected.
pub fn supervise(
    layout: Layout,
    topology: &Topology,
    listener: &UnixListener,
    ready: impl FnOnce() -> Result,
) -> Result {
    std::env::set_current_dir("/")?;
    mounts::prepare_lab()?;
    let plan = Plan::of(topology);
    prepare_switch(&plan)?;
    let machines = plan.machines.clone();
    let supervisor = Arc::new(Supervisor {
        layout,
        links: topology.link.clone(),
        backend: topology.backend,
        state: Mutex::new(State {
            plan,
            machines: machines.iter().map(|m| (m.name.clone(), Machine::down(m.clone()))).collect(),
            services: Vec::new(),
            jobs: Jobs::default(),
            pods: Vec::new(),
            faults: Vec::new(),
            captures: BTreeMap::new(),
            next_capture: 0,
        }),
        changed: Condvar::new(),
    });
    if supervisor.backend == Backend::Vm {
        supervisor.prepare_virtual_machines()?;
    }
    supervisor.start_machines(machines.iter().map(|m| m.name.clone()))?;
    ready()?;
    for stream in listener.incoming() {
        let (stream, supervisor) = (stream.context("accept on the control socket")?, Arc::clone(&supervisor));
        std::thread::Builder::new().name("control".to_owned()).spawn(move || {
            let _ = supervisor.serve(&stream);
        })?;
    }
    Ok(())
}

fn prepare_switch(plan: &Plan) -> Result {
    // Bridged frames don't pass the IP hooks; the file is missing where the kernel lacks bridge netfilter.
    for hook in ["iptables", "ip6tables", "arptables"] {
        let path = format!("/proc/sys/net/bridge/bridge-nf-call-{hook}");
        if Path::new(&path).exists() {
            std::fs::write(&path, "0").with_context(|| format!("write {path}"))?;
        }
    }
    if plan.subnets == Subnets::PerNode {
        ip::sysctl("net.ipv4.ip_forward", "1")?;
        ip::sysctl("net.ipv6.conf.all.forwarding", "1")?;
    }
    // A port that was down speaks at once again, without a second of duplicate address detection.
    for scope in ["all", "default"] {
        let path = format!("/proc/sys/net/ipv6/conf/{scope}/accept_dad");
        if Path::new(&path).exists() {
            std::fs::write(&path, "0").with_context(|| format!("write {path}"))?;
        }
    }
    ip::batch(&plan.switch_lines())
}

impl Supervisor {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self) {
        self.changed.notify_all();
    }

    /// Waits until `probe` has an answer or `within` has passed.
    fn wait<T>(&self, within: Duration, mut probe: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let deadline = std::time::Instant::now() + within;
        let mut state = self.state();
        loop {
            if let Some(answer) = probe(&mut state) {
                return Some(answer);
            }
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return None;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// One connection: only whoever started the lab may give orders.
    fn serve(self: &Arc<Self>, stream: &UnixStream) -> Result {
        if getsockopt(&stream.as_fd(), PeerCredentials)?.uid() != 0 {
            bail!("a stranger");
        }
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        let request: Request = serde_json::from_str(&line).context("not a request")?;
        let tied = matches!(request, Request::Tie);
        let ends = matches!(request, Request::Down);
        let response = self.answer(request).unwrap_or_else(|e| {
            Response::Failed(format!("{e:#}"), e.downcast_ref::<Refusal>().map_or(1, Refusal::exit))
        });
        let mut text = serde_json::to_string(&response)?;
        text.push('\n');
        (&mut &*stream).write_all(text.as_bytes())?;
        if tied {
            line.clear();
            let _ = BufReader::new(stream).read_line(&mut line);
        }
        if ends || (tied && line.trim() != "keep") {
            end();
        }
        Ok(())
    }

    fn answer(self: &Arc<Self>, request: Request) -> Result<Response> {
        match request {
            Request::Describe => Ok(Response::Lab(Box::new(self.describe()))),
            Request::Tie | Request::Down => Ok(Response::Done),
            Request::Services(specs) => {
                for spec in specs {
                    self.keep(spec)?;
                }
                Ok(Response::Done)
            }
            Request::Act(machine, service, act) => self.act(&machine, &service, act),
            Request::Ready(machine, service, ms) => {
                self.await_ready(&machine, &service, Duration::from_millis(ms))
            }
            Request::Spawn(spec) => self.spawn(&spec).map(Response::Job),
            Request::Await(job, ms) => self.await_job(job, Duration::from_millis(ms)),
            Request::Signal(job, signal) => self.signal_job(job, signal),
            Request::PodAdded(pod) => {
                self.state().pods.push(pod);
                Ok(Response::Done)
            }
            Request::PodRemoved(namespace, name) => {
                self.state().pods.retain(|p| p.namespace != namespace || p.name != name);
                Ok(Response::Done)
            }
            Request::Grow(name, kind) => self.grow(name, kind),
            Request::Capture(place, interface, file) => self.capture(&place, &interface, &file),
            Request::CaptureEnd(number) => self.end_capture(number),
            Request::Fail(fault) => self.fail(fault),
            Request::Heal(fault) => self.heal(fault.as_ref()),
        }
    }

    fn describe(&self) -> Description {
        let state = self.state();
        let machines = state.machines.values().map(|machine| {
            let services = state.services.iter().filter(|s| s.machine() == machine.name());
            machine.state(services.map(|s| s.state()).collect())
        });
        Description {
            plan: state.plan.clone(),
            machines: machines.collect(),
            pods: state.pods.clone(),
            faults: state.faults.clone(),
        }
    }

    fn grow(self: &Arc<Self>, name: String, kind: Kind) -> Result<Response> {
        let machine = {
            let mut state = self.state();
            if state.machines.contains_key(&name) {
                bail!("there is a machine {name} already");
            }
            let machine = state.plan.add(name.clone(), kind);
            state.machines.insert(name.clone(), Machine::down(machine.clone()));
            machine
        };
        self.start_machines([name])?;
        Ok(Response::Machine(machine))
    }

    fn capture(&self, place: &Place, interface: &str, file: &Path) -> Result<Response> {
        let tap = self.within(place, || Tap::open(interface))?;
        let sniffer = Sniffer::start(tap, file)?;
        let mut state = self.state();
        state.next_capture += 1;
        let number = state.next_capture;
        state.captures.insert(number, sniffer);
        Ok(Response::Capturing(number))
    }

    fn end_capture(&self, number: u64) -> Result<Response> {
        let sniffer = self.state().captures.remove(&number);
        let sniffer = sniffer.ok_or_else(|| anyhow!("there is no capture {number}"))?;
        sniffer.stop().map(Response::Captured)
    }

    /// Runs `work` in a thread at `place`; what it starts is born there.
    fn within<T: Send>(&self, place: &Place, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let (machine, pod) = match place {
            Place::Switch => return crate::namespace::in_thread(work),
            Place::Machine(machine) => (machine, None),
            Place::Pod(machine, pod) => (machine, Some(Path::new("/run/netns").join(pod))),
        };
        let namespaces = {
            let state = self.state();
            let machine = state.machines.get(machine).ok_or_else(|| no_machine(machine))?;
            machine.namespaces()?
        };
        namespaces.run(pod.as_deref(), work)
    }
}

fn no_machine(name: &str) -> anyhow::Error {
    Refusal::NotFound(format!("the lab has no machine {name:?}")).into()
}

/// Ends this process, and with it the process namespace: every process, mount and namespace of the lab.
#[allow(clippy::exit, reason = "the end of pid 1 is how a lab ends; nothing is left to unwind")]
fn end() -> ! {
    std::process::exit(0)
}
