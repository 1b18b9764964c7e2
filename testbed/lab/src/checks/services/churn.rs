//! Churn: backends come and go many times a second while many clients connect. No connection fails, and afterwards the kernels have
//! exactly what is wanted. Long connections live through unrelated changes, an agent's restart and an outage of the control plane.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::checks::{Cast, TCP, eventually};
use crate::fabric::{Background, Pod, on};
use crate::wait::pass;
use crate::{Fabric, Result};

/// How much happens.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Services, of as many backends as there are pods.
    pub services: usize,
    /// Changes of backends per second.
    pub rate: u32,
    /// Changes in one command.
    pub per_command: usize,
    /// For how long.
    pub span: Duration,
    /// Clients, on two nodes.
    pub clients: usize,
    /// Milliseconds that a client rests after each connection.
    pub rest: u32,
    /// One of so many connections may take longer than a second, and one more: a client's port that meets a backend's memory of another
    /// connection is refused once (docs/services.md, "A port that comes again"), rarely twice; and a machine may do much else.
    pub slow_in: u64,
    /// What the changes may take at most, in spans: a machine that does much else writes more slowly, and proves as much.
    pub patience: f64,
}

impl Load {
    /// As much as a machine does beside other tests.
    pub const SHORT: Self = Self {
        services: 40,
        rate: 20,
        per_command: 2,
        span: Duration::from_secs(5),
        clients: 30,
        rest: 150,
        slow_in: 20,
        patience: 10.0,
    };
    /// What the issue asks for.
    pub const LONG: Self = Self {
        services: 200,
        rate: 50,
        per_command: 1,
        span: Duration::from_mins(1),
        clients: 100,
        rest: 100,
        slow_in: 5000,
        patience: 1.25,
    };
}

/// Backends of each service. The first stays ready, the others come and go.
const BACKENDS: usize = 5;
/// Writers at the same time, each for services of its own.
const WRITERS: usize = 2;
/// Where a backend that isn't ready seems to be: nobody listens there, so that a connection that is led to it fails.
const DEAD: u16 = 9;
/// Objects in one command while the stage is set.
const BATCH: usize = 40;

/// Services in front of pods.
pub struct Churn<'a> {
    fabric: &'a Fabric,
    cast: &'a Cast,
    pods: Vec<Pod>,
    services: usize,
}

/// Which backends are ready, per service.
type Ready = Vec<[bool; BACKENDS]>;

/// What was written.
struct Written {
    ready: Ready,
    changes: usize,
    /// What the writers say.
    seen: Value,
}

impl<'a> Churn<'a> {
    /// Attaches the pods and makes the services, all backends ready.
    pub fn set(fabric: &'a Fabric, cast: &'a Cast, services: usize) -> Result<Self> {
        let nodes = [cast.a.node(), cast.c.node()];
        let pod = |place: usize| {
            fabric.pod(nodes[place % nodes.len()], &format!("churn-{place}"), &["http:80", "tcp:9000"])
        };
        let pods = (0..BACKENDS).map(pod).collect::<Result<_>>()?;
        let churn = Self { fabric, cast, pods, services };
        churn.manifests()?.iter().try_for_each(|text| fabric.store(text))?;
        fabric.settle_all()?;
        Ok(churn)
    }

    /// Takes all of it away.
    pub fn strike(self) -> Result {
        self.manifests()?.iter().try_for_each(|text| self.fabric.erase(text))?;
        self.pods.iter().try_for_each(|pod| self.fabric.detach(pod))
    }

    /// Services and slices as they are at first.
    fn manifests(&self) -> Result<Vec<String>> {
        let places: Vec<usize> = (0..self.services).collect();
        let texts = places.chunks(BATCH).map(|chunk| {
            let mut text = String::new();
            for place in chunk {
                write!(
                    text,
                    "apiVersion: v1\nkind: Service\nmetadata: {{ name: churn-{place} }}\nspec:\n  ports:\n  - {{ name: http, port: 80 }}\n  \
                     - {{ name: tcp, port: 9000 }}\n---\n"
                )?;
                (0..BACKENDS).try_for_each(|backend| self.slice(*place, backend, true, &mut text))?;
            }
            Ok(text)
        });
        texts.collect()
    }

    /// One backend of a service, in a slice of its own.
    fn slice(&self, service: usize, backend: usize, ready: bool, text: &mut String) -> Result {
        let address = self.pods[backend].addresses()[0];
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        let (http, tcp) = if ready { (80, 9000) } else { (DEAD, DEAD) };
        write!(
            text,
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: churn-{service}-{backend}\n  labels: \
             {{ kubernetes.io/service-name: churn-{service} }}\naddressType: {family}\nports:\n- {{ name: http, port: {http} }}\n\
             - {{ name: tcp, port: {tcp} }}\nendpoints:\n- {{ addresses: [\"{address}\"], conditions: {{ ready: {ready} }} }}\n---\n"
        )?;
        Ok(())
    }

    /// Addresses of the services, in their order.
    fn addresses(&self) -> Result<Vec<IpAddr>> {
        let list = self.fabric.weft_json(&["get", "services"])?;
        let all: BTreeMap<&str, &str> = list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|item| {
                Some((item["metadata"]["name"].as_str()?, item["spec"]["clusterIP"].as_str()?))
            })
            .collect();
        let address = |place: usize| -> Result<IpAddr> {
            let name = format!("churn-{place}");
            let address = all.get(name.as_str()).with_context(|| format!("{name} has no address: {list}"))?;
            Ok(address.parse()?)
        };
        (0..self.services).map(address).collect()
    }

    /// Clients connect while backends come and go: none fails, and afterwards each kernel has what is wanted.
    pub fn under_change(&self, load: &Load) -> Result<String> {
        let addresses = self.addresses()?;
        let clients = self.clients(load, &addresses)?;
        let written = self.write(load);
        let seen = clients.into_iter().map(Background::stop).collect::<Result<Vec<Value>>>()?;
        let Written { ready, changes, seen: writers } = written?;
        let of = |key: &str| seen.iter().filter_map(|seen| seen[key].as_u64()).sum::<u64>();
        let worst = seen.iter().filter_map(|seen| seen["longest_us"].as_f64()).fold(0.0, f64::max);
        ensure!(of("failed") == 0, "{} of {} connections failed: {seen:?}", of("failed"), of("connections"));
        let least = load.clients as u64 * u64::try_from(load.span.as_millis() / 1000)?;
        ensure!(
            of("connections") >= least,
            "only {} connections, {least} at least: {seen:?}",
            of("connections")
        );
        let slow = of("slow");
        ensure!(
            slow <= 1 + of("connections") / load.slow_in,
            "{slow} of {} connections took longer than a second: {seen:?}",
            of("connections")
        );
        self.fabric.settle()?;
        let elements = self.kernels_have(&addresses, &ready)?;
        self.compared()?;
        let number = |key: &str| writers[key].as_f64().unwrap_or(f64::NAN);
        Ok(format!(
            "{changes} changes of {} services in {:.1} s (each stored after {:.1} ms, p99 {:.1}), {} connections of {} clients (the longest {:.0} ms, {slow} longer than a second), 0 failed; {elements} \
             backends in the kernel of each node, as wanted",
            self.services,
            number("ms") / 1000.0,
            number("p50_us") / 1000.0,
            number("p99_us") / 1000.0,
            of("connections"),
            load.clients,
            worst / 1000.0
        ))
    }

    /// Starts clients on two nodes, and lets them connect.
    fn clients(&self, load: &Load, addresses: &[IpAddr]) -> Result<Vec<Background>> {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let (half, rest) = ((load.clients / 2).to_string(), load.rest.to_string());
        let mut arguments = vec!["clients", "--clients", &half, "--rest", &rest];
        arguments.extend(addresses.iter().map(String::as_str));
        let start = |pod: &Pod| self.fabric.background(pod.place(), &arguments, &[]);
        [&self.cast.a, &self.cast.c].into_iter().map(start).collect()
    }

    /// Changes backends; which are ready in the end, how many changes there were, and how long they took.
    fn write(&self, load: &Load) -> Result<Written> {
        let mut ready = vec![[true; BACKENDS]; self.services];
        let commands =
            usize::try_from(load.span.as_millis())? * usize::try_from(load.rate)? / (1000 * load.per_command);
        let mut texts = vec![Vec::new(); WRITERS];
        // Every writer has services of its own, and takes another one each time, and another backend of it.
        for command in 0..commands {
            let (writer, turn) = (command % WRITERS, command / WRITERS);
            let own: Vec<usize> = (writer..self.services).step_by(WRITERS).collect();
            let mut text = String::new();
            for count in turn * load.per_command..(turn + 1) * load.per_command {
                let service = own[count % own.len()];
                let backend = 1 + (count / own.len() + service) % (BACKENDS - 1);
                ready[service][backend] ^= true;
                self.slice(service, backend, ready[service][backend], &mut text)?;
            }
            texts[writer].push(text);
        }
        let rate = f64::from(load.rate) / load.per_command as f64;
        let seen = self.fabric.write_all(&texts, rate, load.span.mul_f64(load.patience))?;
        Ok(Written { ready, changes: commands * load.per_command, seen })
    }

    /// Each node's kernel leads each service to its ready backends and to no other, by the maps as `nft` lists them.
    fn kernels_have(&self, addresses: &[IpAddr], ready: &Ready) -> Result<usize> {
        let mut sum = 0;
        for node in self.fabric.nodes()? {
            let maps = Maps::read(self.fabric, &node, addresses[0].is_ipv4())?;
            sum = 0;
            for ((address, backends), place) in addresses.iter().zip(ready).zip(0..) {
                for (port, to) in [(80, 80), (9000, 9000)] {
                    let wanted: BTreeSet<(String, u64)> = self
                        .pods
                        .iter()
                        .zip(backends)
                        .filter(|(_, ready)| **ready)
                        .map(|(pod, _)| (pod.addresses()[0].to_string(), to))
                        .collect();
                    let seen = maps.backends(*address, port)?;
                    ensure!(
                        seen == wanted,
                        "{node}: churn-{place}:{port} leads to {seen:?} instead of {wanted:?}"
                    );
                    sum += seen.len();
                }
            }
        }
        Ok(sum)
    }

    /// Each agent compares its maps with what is wanted and finds nothing.
    fn compared(&self) -> Result {
        for node in self.fabric.nodes()? {
            let said = self.fabric.weft(&["check", "--node", &node, "-o", "json"])?;
            let list: Value = serde_json::from_str(&said.stdout).with_context(|| format!("{said:?}"))?;
            let found =
                list["items"].as_array().into_iter().flatten().find(|item| item["check"] == "services");
            let found = found.with_context(|| format!("{node} says nothing of services: {list}"))?;
            let detail = found["detail"].as_str().unwrap_or_default();
            ensure!(found["ok"] == true && detail.contains("; as wanted when compared"), "{node}: {found}");
        }
        Ok(())
    }

    /// Connections through a service live on through changes of others, a restart of the agents and an outage of the control plane.
    pub fn long_connections(&self, load: &Load) -> Result<String> {
        // The last service is spared by the changes.
        let address = self.addresses()?.pop().context("no service")?.to_string();
        let spared = Self { services: self.services - 1, pods: self.pods.clone(), ..*self };
        let stream = |pod: &Pod| self.fabric.background(pod.place(), &["stream", &address, TCP], &[]);
        let streams = [&self.cast.a, &self.cast.a, &self.cast.c, &self.cast.c];
        let streams = streams.into_iter().map(stream).collect::<Result<Vec<_>>>()?;
        let restarts = |node: &str| -> Result<u32> {
            let description = self.fabric.client().describe()?;
            let machine = description.machines.iter().find(|m| m.machine.name == node);
            let agent = machine.and_then(|m| m.services.iter().find(|service| service.name == "agent"));
            Ok(agent.with_context(|| format!("{node} has no agent"))?.restarts)
        };
        let work = || -> Result<usize> {
            let Written { ready, changes, .. } = spared.write(&Load { span: load.span / 2, ..*load })?;
            spared.restore(&ready)?;
            for node in [self.cast.a.node(), self.cast.c.node()] {
                let before = restarts(node)?;
                self.fabric.kill(node, "agent")?;
                eventually(Duration::from_secs(5), || {
                    ensure!(restarts(node)? > before, "the agent of {node} has not been started anew");
                    Ok(())
                })?;
                self.fabric.client().ready(node, "agent", Duration::from_secs(20))?;
            }
            let replicas = self.fabric.replicas()?;
            replicas.iter().try_for_each(|replica| self.fabric.hold(replica, "weftd"))?;
            pass(Duration::from_secs(2));
            replicas.iter().try_for_each(|replica| self.fabric.release(replica, "weftd"))?;
            for replica in &replicas {
                self.fabric.client().ready(replica, "weftd", Duration::from_secs(20))?;
            }
            self.fabric.settle_all()?;
            Ok(changes)
        };
        let worked = work();
        let seen = streams.into_iter().map(Background::stop).collect::<Result<Vec<Value>>>()?;
        let changes = worked?;
        let bad: Vec<&Value> = seen.iter().filter(|seen| seen["ok"] != true).collect();
        ensure!(bad.is_empty(), "connections did not survive: {bad:?}");
        let gap = seen.iter().filter_map(|seen| seen["longest_gap_ms"].as_u64()).max().unwrap_or(0);
        Ok(format!(
            "{} connections lived through {changes} changes of other services, new agents and 2 s without a control plane; the \
             longest silence {gap} ms",
            seen.len()
        ))
    }

    /// Makes all backends ready again.
    fn restore(&self, ready: &Ready) -> Result {
        let mut text = String::new();
        for (service, backends) in ready.iter().enumerate() {
            for (backend, _) in backends.iter().enumerate().filter(|(_, ready)| !**ready) {
                self.slice(service, backend, true, &mut text)?;
            }
        }
        if text.is_empty() { Ok(()) } else { self.fabric.apply(&text) }
    }

    /// Many connections to one service are shared evenly among its backends (chi-square test).
    pub fn shares(&self, connections: u64) -> Result<String> {
        // Four degrees of freedom: a fair choice is above this once in a million runs.
        const LIMIT: f64 = 33.4;
        let address = self.addresses()?.first().context("no service")?.to_string();
        let count = connections.to_string();
        let arguments = ["clients", &address, "--clients", "8", "--count", &count];
        let seen = self.fabric.long_probe(self.cast.c.place(), &arguments, Duration::from_secs(120))?;
        ensure!(seen["ok"] == true, "connections failed: {seen}");
        let answers: Vec<u64> =
            seen["answers"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).collect();
        ensure!(answers.len() == BACKENDS, "not all backends answered: {seen}");
        let expected = connections as f64 / BACKENDS as f64;
        let squared = answers.iter().map(|n| (*n as f64 - expected).powi(2) / expected).sum::<f64>();
        ensure!(squared <= LIMIT, "chi-square {squared:.1} of {answers:?} is above {LIMIT}");
        Ok(format!("{connections} connections: {answers:?}, chi-square {squared:.2} (fair up to {LIMIT})"))
    }
}

/// What a node's kernel has.
struct Maps {
    services: BTreeMap<(String, u64), u64>,
    backends: BTreeMap<u64, BTreeSet<(String, u64)>>,
}

impl Maps {
    fn read(fabric: &Fabric, node: &str, v4: bool) -> Result<Self> {
        /// Bits of a target that are not the group.
        const CLASS: u64 = 0xff;
        let elements = |map: &str| -> Result<Vec<(Vec<Value>, Value)>> {
            let argv = ["nft", "-j", "list", "map", if v4 { "ip" } else { "ip6" }, "weft", map];
            let text = fabric.on(on(node), &argv)?.success("nft list map")?;
            let list: Value = serde_json::from_str(&text)?;
            let map = list["nftables"].as_array().into_iter().flatten().find_map(|item| item.get("map"));
            let all = map.with_context(|| format!("no map {map:?}"))?["elem"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let of = |element: &Value| Some((element[0]["concat"].as_array()?.clone(), element[1].clone()));
            all.iter()
                .map(|element| of(element).with_context(|| format!("another form: {element}")))
                .collect()
        };
        let text = |value: &Value| value.as_str().map(str::to_owned).context("no text");
        let number = |value: &Value| value.as_u64().context("no number");
        let mut maps = Self { services: BTreeMap::new(), backends: BTreeMap::new() };
        for (key, target) in elements("services")? {
            maps.services.insert((text(&key[0])?, number(&key[2])?), number(&target)? & !CLASS);
        }
        for (key, to) in elements("backends")? {
            let to = (text(&to["concat"][0])?, number(&to["concat"][1])?);
            maps.backends.entry(number(&key[0])?).or_default().insert(to);
        }
        Ok(maps)
    }

    /// Where a port of a service leads.
    fn backends(&self, address: IpAddr, port: u64) -> Result<BTreeSet<(String, u64)>> {
        let group = self.services.get(&(address.to_string(), port));
        let group = group.with_context(|| format!("{address}:{port} isn't in the kernel"))?;
        Ok(self.backends.get(group).cloned().unwrap_or_default())
    }
}
