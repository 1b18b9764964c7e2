//! A whole fabric in a lab: replicas, nodes and pods of the real programs, and what tests do with them.

mod bringup;
mod drops;
mod evidence;
mod pod;
pub mod product;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::client::{Client, Job, Output, Tie};
use crate::fault::Fault;
use crate::launch::own_program;
use crate::layout::Layout;
use crate::plan::{Kind, Machine, Plan};
use crate::probe::Change;
use crate::protocol::{Act, JobSpec, Place, Request, ServiceState};
use crate::record::{Product, Record};
use crate::topology::Topology;
use crate::wait::until;
use crate::{Refusal, Result, substrate};

pub use drops::Drops;
pub use evidence::{Capture, SwitchCapture};
pub use pod::Pod;

/// Deadline of a command of the product.
pub const COMMAND: Duration = Duration::from_secs(30);
/// Deadline of a service that starts anew.
pub const READY: Duration = Duration::from_secs(20);
/// Deadline of a probe, above its own.
pub const PROBE: Duration = Duration::from_secs(20);

/// A running fabric.
#[derive(Debug)]
pub struct Fabric {
    client: Client,
    topology: Topology,
    product: Product,
    /// Ends the lab with its owner.
    tie: Option<Tie>,
}

impl Fabric {
    /// Starts machines, replicas and nodes, and waits until all is ready. `say` gets a line per step.
    pub fn up(
        layout: &Layout,
        topology: Topology,
        product: Product,
        say: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let client = substrate::start(layout, topology.clone(), Some(product.clone()))?;
        let mut fabric = Self { client, topology, product, tie: None };
        match bringup::bring_up(&mut fabric, say) {
            Ok(()) => Ok(fabric),
            Err(e) => {
                let left = substrate::stop(layout)?;
                let logs = layout.logs();
                Err(e.context(format!(
                    "the lab did not come up; logs in {}{}",
                    logs.display(),
                    left.join(", ")
                )))
            }
        }
    }

    /// As [`Fabric::up`], and the lab ends when the returned value is dropped or its process dies.
    pub fn tied(
        layout: &Layout,
        topology: Topology,
        product: Product,
        say: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let mut fabric = Self::up(layout, topology, product, say)?;
        fabric.tie = Some(fabric.client.tie()?);
        Ok(fabric)
    }

    /// The fabric of a lab that runs.
    pub fn open(layout: &Layout) -> Result<Self> {
        let client = Client::open(layout.clone())?;
        let record = Record::read(layout)?;
        let product = record.product.context("this lab has only machines")?;
        Ok(Self { client, topology: record.topology, product, tie: None })
    }

    /// Ends the lab; what remains is an error that lists it.
    pub fn down(self) -> Result {
        let layout = self.client.layout().clone();
        let left = substrate::stop(&layout)?;
        drop(self);
        if left.is_empty() {
            Ok(())
        } else {
            bail!("the lab {} left behind: {}", layout.name(), left.join(", "))
        }
    }

    /// Leaves the lab running when this value goes.
    pub fn keep(&mut self) -> Result {
        self.tie.take().map_or(Ok(()), Tie::release)
    }

    /// The connection to the lab.
    pub fn client(&self) -> &Client {
        &self.client
    }
    /// What the lab consists of.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }
    /// Names of the nodes that run now.
    pub fn nodes(&self) -> Result<Vec<String>> {
        self.machines(Kind::Node)
    }
    /// Names of the replicas that run now.
    pub fn replicas(&self) -> Result<Vec<String>> {
        self.machines(Kind::Replica)
    }
    /// Name of the first machine outside.
    pub fn outside(&self) -> String {
        self.topology.outside.first().map_or_else(|| "outside".to_owned(), |o| o.name.clone())
    }
    /// A machine's addresses.
    pub fn machine(&self, name: &str) -> Result<Machine> {
        let plan = self.client.describe()?.plan;
        let machine = plan.machine(name).cloned();
        machine.ok_or_else(|| Refusal::NotFound(format!("the lab has no machine {name:?}")).into())
    }

    fn machines(&self, kind: Kind) -> Result<Vec<String>> {
        let machines = self.client.describe()?.machines.into_iter();
        Ok(machines.filter(|m| m.machine.kind == kind && m.pid.is_some()).map(|m| m.machine.name).collect())
    }

    /// Runs `weft` against this fabric from the switch: its output, whatever the status.
    pub fn weft(&self, arguments: &[&str]) -> Result<Output> {
        self.command(arguments, None)
    }

    /// The same with a text on its standard input.
    pub fn weft_told(&self, arguments: &[&str], text: &str) -> Result<Output> {
        self.command(arguments, Some(text.to_owned()))
    }

    fn command(&self, arguments: &[&str], input: Option<String>) -> Result<Output> {
        let (contexts, context) = (self.client.layout().contexts(), self.client.layout().context());
        let program = self.product.weft.to_string_lossy().into_owned();
        let argv: Vec<&str> = std::iter::once(program.as_str()).chain(arguments.iter().copied()).collect();
        let env = [("WEFT_CONFIG", &*contexts.to_string_lossy()), ("WEFT_CONTEXT", context.as_str())];
        self.client.run_with(Place::Switch, &argv, &env, input, COMMAND + Duration::from_secs(5))
    }

    /// Runs `weft … -o json`, which must succeed, and reads its document.
    pub fn weft_json(&self, arguments: &[&str]) -> Result<Value> {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["-o", "json"]).collect();
        let what = format!("weft {}", arguments.join(" "));
        let text = self.weft(&arguments)?.success(&what)?;
        serde_json::from_str(&text).with_context(|| format!("{what}: {text}"))
    }

    /// Applies Kubernetes-style text and waits until every reachable node has it in its kernel.
    pub fn apply(&self, text: &str) -> Result {
        self.write(&["apply", "-f", "-", "--wait"], text)
    }

    /// Applies Kubernetes-style text; returns when it is stored.
    pub fn store(&self, text: &str) -> Result {
        self.write(&["apply", "-f", "-"], text)
    }

    /// Deletes what a text names.
    pub fn erase(&self, text: &str) -> Result {
        self.write(&["delete", "-f", "-", "--yes"], text)
    }

    fn write(&self, arguments: &[&str], text: &str) -> Result {
        self.weft_told(arguments, text)?.success(&arguments.join(" ")).map(drop)
    }

    /// Applies texts at so many per second, each list of them through a client of its own that stays connected; gives up after
    /// `within`. Returns what the probe says.
    pub fn write_all(&self, texts: &[Vec<String>], rate: f64, within: Duration) -> Result<Value> {
        let changes = |texts: &Vec<String>| texts.iter().cloned().map(Change::Apply).collect();
        self.change_all(&texts.iter().map(changes).collect::<Vec<_>>(), rate, within, &[])
    }

    /// As [`Fabric::write_all`], and tells of every change when it was sent and when it was stored: two moments (microseconds of the
    /// wall clock) for each.
    pub(crate) fn change_and_tell(
        &self,
        changes: &[Vec<Change>],
        rate: f64,
        within: Duration,
    ) -> Result<(Vec<Vec<[u64; 2]>>, Value)> {
        let mut seen = self.change_all(changes, rate, within, &["--tell"])?;
        let told: Vec<Vec<[u64; 2]>> = serde_json::from_value(seen["told"].take())?;
        let all = told.iter().map(Vec::len).eq(changes.iter().map(Vec::len));
        ensure!(all, "not every change was written: {seen}");
        Ok((told, seen))
    }

    fn change_all(
        &self,
        changes: &[Vec<Change>],
        rate: f64,
        within: Duration,
        more: &[&str],
    ) -> Result<Value> {
        let (rate, ms) = (rate.to_string(), within.as_millis().to_string());
        let arguments = [&["write", "--rate", &rate, "--within", &ms], more].concat();
        let seen = self.told_probe(&arguments, serde_json::to_string(changes)?, within + COMMAND)?;
        ensure!(seen["ok"] == true, "writing failed: {seen}");
        Ok(seen)
    }

    /// Runs a probe at the switch that may write to the control plane, and is told what on standard input.
    pub(crate) fn told_probe(&self, arguments: &[&str], text: String, within: Duration) -> Result<Value> {
        let (contexts, context) = (self.client.layout().contexts(), self.client.layout().context());
        let env = [("WEFT_CONFIG", &*contexts.to_string_lossy()), ("WEFT_CONTEXT", context.as_str())];
        let argv = probe_argv(arguments)?;
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        document(&self.client.run_with(Place::Switch, &argv, &env, Some(text), within)?)
    }

    /// Waits until every reachable node has the present state in its kernel.
    pub fn settle(&self) -> Result {
        self.weft(&["wait", "--timeout", "20s"])?.success("weft wait").map(drop)
    }

    /// Waits until every node follows the control plane and has what it has been told: what [`Fabric::settle`] doesn't ask of
    /// nodes that are away.
    pub fn settle_all(&self) -> Result {
        until(Duration::from_secs(20), Duration::from_millis(20), || {
            let said = match self.weft_json(&["wait", "--timeout", "20s"]) {
                Ok(said) => said,
                Err(error) => return Some(Err(error)),
            };
            said["unreachable"].as_array().is_some_and(Vec::is_empty).then_some(Ok(()))
        })
        .context("not every node follows the control plane again")?
    }

    /// Runs a probe to its end and returns its document, also when it says that it did not work.
    pub fn probe(&self, place: Place, arguments: &[&str]) -> Result<Value> {
        self.long_probe(place, arguments, PROBE)
    }

    /// As [`Fabric::probe`], with a deadline of its own.
    pub fn long_probe(&self, place: Place, arguments: &[&str], within: Duration) -> Result<Value> {
        let argv = probe_argv(arguments)?;
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let output = self.client.run(place, &argv, within)?;
        document(&output).with_context(|| format!("probe {}", arguments.join(" ")))
    }

    /// Starts a probe that runs until it is stopped; returns once it is ready if it is one that says so.
    pub fn background(&self, place: Place, arguments: &[&str], env: &[(&str, &str)]) -> Result<Background> {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let job = self.client.spawn(JobSpec { place, argv: probe_argv(arguments)?, env, stdin: None })?;
        if matches!(arguments.first(), Some(&"serve" | &"sink" | &"watch" | &"moments" | &"dns-changes")) {
            let ready = until(PROBE, Duration::from_millis(2), || match job.output() {
                Ok(output) if output.stdout.contains("\"ready\"") => Some(Ok(())),
                Ok(output) if output.status != 0 => {
                    Some(Err(anyhow::anyhow!("{} {}", output.stdout.trim(), output.stderr.trim())))
                }
                Ok(_) => None,
                Err(e) => Some(Err(e)),
            });
            ready
                .unwrap_or_else(|| bail!("no end"))
                .with_context(|| format!("probe {}", arguments.join(" ")))?;
        }
        Ok(Background { job })
    }

    /// Runs a program of the machine's file system to its end.
    pub fn on(&self, place: Place, argv: &[&str]) -> Result<Output> {
        self.client.run(place, argv, COMMAND)
    }

    /// Brings a fault about.
    pub fn fail(&self, words: &str) -> Result {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        self.client.call(&Request::Fail(Fault::parse(&words, false)?)).map(drop)
    }

    /// Undoes every fault.
    pub fn heal(&self) -> Result {
        self.client.call(&Request::Heal(None)).map(drop)
    }

    /// Stops a service until [`Fabric::release`].
    pub fn hold(&self, machine: &str, service: &str) -> Result {
        self.act(machine, service, Act::Hold)
    }
    /// Lets a held service start.
    pub fn release(&self, machine: &str, service: &str) -> Result {
        self.act(machine, service, Act::Release)
    }
    /// Asks a service to end in order, as an upgrade does; the machine's init starts it again. Returns when the new one is ready.
    pub fn restart(&self, machine: &str, service: &str) -> Result {
        let before = self.service(machine, service)?.restarts;
        self.act(machine, service, Act::Restart)?;
        // Its end is noticed before its next readiness can be heard.
        let again = || (self.service(machine, service).ok()?.restarts > before).then_some(());
        until(READY, Duration::from_millis(5), again)
            .with_context(|| format!("{service} on {machine} doesn't end"))?;
        self.client.ready(machine, service, READY)
    }
    /// Kills a service; the machine's init starts it again.
    pub fn kill(&self, machine: &str, service: &str) -> Result {
        self.act(machine, service, Act::Kill)
    }

    fn act(&self, machine: &str, service: &str, act: Act) -> Result {
        self.client.call(&Request::Act(machine.to_owned(), service.to_owned(), act)).map(drop)
    }

    /// A service of a machine as it is now.
    pub fn service(&self, machine: &str, name: &str) -> Result<ServiceState> {
        let description = self.client.describe()?;
        let state = description.machines.into_iter().find(|m| m.machine.name == machine);
        let state = state.and_then(|m| m.services.into_iter().find(|s| s.name == name));
        state.with_context(|| format!("{machine} runs no {name}"))
    }

    /// Whether a machine runs a service (nodes with a kernel WireGuard have no `tunnel`).
    pub fn has_service(&self, machine: &str, service: &str) -> Result<bool> {
        let description = self.client.describe()?;
        let machine = description.machines.iter().find(|m| m.machine.name == machine);
        Ok(machine.is_some_and(|m| m.services.iter().any(|s| s.name == service)))
    }

    /// A node that joins now, as a machine of its own.
    pub fn add_node(&self, name: &str) -> Result {
        self.client.call(&Request::Grow(name.to_owned(), Kind::Node))?;
        let token = bringup::token(self, "node")?;
        let node = crate::topology::Node {
            name: name.to_owned(),
            labels: Default::default(),
            tunnel: Default::default(),
        };
        bringup::join_node(self, &node, &token)?;
        bringup::await_node(self, name)?;
        self.settle()
    }

    pub(crate) fn plan(&self) -> Result<Plan> {
        Ok(self.client.describe()?.plan)
    }
}

/// A probe that runs until it is stopped.
#[derive(Debug)]
pub struct Background {
    job: Job,
}

impl Background {
    /// Stops it and returns its document.
    pub fn stop(self) -> Result<Value> {
        document(&self.job.stop()?)
    }
    /// Asks a probe to end that says nothing at its end.
    pub(crate) fn stop_silently(self) {
        // It ends with the lab at the latest.
        let _ = self.job.stop();
    }
    /// What it has printed so far, line by line.
    pub fn lines(&self) -> Result<Vec<Value>> {
        let text = self.job.output()?.stdout;
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }
}

/// The place of a machine.
pub fn on(machine: &str) -> Place {
    Place::Machine(machine.to_owned())
}

fn probe_argv(arguments: &[&str]) -> Result<Vec<String>> {
    let program: PathBuf = own_program()?;
    let mut argv = vec![program.to_string_lossy().into_owned(), "probe".to_owned()];
    argv.extend(arguments.iter().map(|a| (*a).to_owned()));
    Ok(argv)
}

fn document(output: &Output) -> Result<Value> {
    let line = output.stdout.lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| {
        format!("no document: status {}, {} {}", output.status, output.stdout, output.stderr)
    })
}
