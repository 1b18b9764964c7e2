//! A kernel in memory with Linux's own refusals, for tests of whatever drives the executors.
//!
//! The same contract suite runs against it and against the real executors (tests/it/contract.rs). It knows no packets.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
};

use nix::errno::Errno;
use weft_model::{PodUid, ownership::BRIDGE};
use weft_plan::{
    Executor, Failure, ForeignRoute, Link, LinkKey, LinkStep, LinkValue, OWN_TABLES, Path, PortState, Route,
    RouteKey, RouteStep, RouteValue, Step,
};

use crate::error::{Area, Error, Refusal};

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Reading everything.
    Observe,
    /// Adding or changing one object.
    Put,
    /// Removing one object.
    Delete,
}

/// A kernel in memory: one namespace.
#[derive(Clone, Debug, Default)]
pub struct FakeKernel {
    /// Links that aren't of the subject: uplinks, mesh devices, bare veth ends.
    devices: BTreeSet<String>,
    settings: BTreeMap<String, String>,
    links: BTreeMap<LinkKey, LinkValue>,
    routes: BTreeMap<RouteKey, RouteValue>,
    foreign_routes: BTreeSet<RouteKey>,
    failing: Vec<(Op, usize)>,
}

impl FakeKernel {
    /// A namespace without links but with all settings at 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a link that isn't the subject's: an uplink, a mesh device.
    pub fn add_device(&mut self, name: &str) {
        self.devices.insert(name.to_owned());
    }

    /// Adds the node's end of a pod's veth, as an attach leaves it when it is interrupted: no port yet, down.
    pub fn add_pod_link(&mut self, name: &str, uid: PodUid) {
        self.devices.insert(name.to_owned());
        let state = PortState { uid, mtu: 1500, up: false, guarded: false };
        self.links.insert(LinkKey::Port(name.to_owned()), LinkValue::Port(state));
    }

    /// Adds a route of somebody else.
    pub fn add_foreign_route(&mut self, key: RouteKey) {
        self.foreign_routes.insert(key);
    }

    /// Whether somebody else's route is there still.
    pub fn has_foreign_route(&self, key: &RouteKey) -> bool {
        self.foreign_routes.contains(key)
    }

    /// Removes an object behind everybody's back.
    pub fn tamper_link(&mut self, key: &LinkKey) {
        match key {
            LinkKey::Setting(setting) => {
                self.settings.insert(setting.path().to_owned(), "1".to_owned());
            }
            LinkKey::Bridge
            | LinkKey::Address(..)
            | LinkKey::Port(_)
            | LinkKey::Forwarding(_)
            | LinkKey::Neighbour(_)
            | LinkKey::Renamed(_) => {
                self.remove_link(key);
            }
        }
    }

    /// Removes a route or rule behind everybody's back: ours, else somebody else's.
    pub fn tamper_route(&mut self, key: &RouteKey) {
        if self.routes.remove(key).is_none() {
            self.foreign_routes.remove(key);
        }
    }

    /// One operation of this kind fails once with EBUSY, after so many that succeed.
    pub fn fail_after(&mut self, op: Op, successes: usize) {
        self.failing.push((op, successes));
    }

    fn fails(&mut self, op: Op, what: &str, area: Area) -> Result<(), Error> {
        for (place, (failing, left)) in self.failing.iter_mut().enumerate() {
            if *failing != op {
                continue;
            }
            if *left == 0 {
                self.failing.remove(place);
                return Err(refused(what, area, Errno::EBUSY));
            }
            *left -= 1;
        }
        Ok(())
    }

    fn has_bridge(&self) -> Result<(), Error> {
        if self.links.contains_key(&LinkKey::Bridge) {
            return Ok(());
        }
        Err(Error::NoLink { name: BRIDGE.to_owned() })
    }

    fn has_link(&self, name: &str) -> bool {
        self.devices.contains(name) || name == "lo" || name == BRIDGE && self.has_bridge().is_ok()
    }

    fn has_source(&self, source: IpAddr) -> bool {
        self.links.keys().any(|key| matches!(key, LinkKey::Address(address, _) if *address == source))
    }

    fn put_link(&mut self, key: &LinkKey, value: &LinkValue) -> Result<(), Error> {
        match (key, value) {
            (LinkKey::Setting(setting), LinkValue::Setting(value)) => {
                if let Some(interface) = setting.interface().filter(|name| !self.has_link(name)) {
                    let source = io::Error::from(io::ErrorKind::NotFound);
                    let action = format!("set to {value} on {interface}");
                    return Err(Error::Setting { setting: setting.to_string(), action, source });
                }
                self.settings.insert(setting.path().to_owned(), value.clone());
                return Ok(());
            }
            (LinkKey::Address(..) | LinkKey::Neighbour(_), _) => self.has_bridge()?,
            (LinkKey::Port(name), _) => {
                self.has_bridge()?;
                if !self.devices.contains(name) {
                    return Err(Error::PortGone { name: name.clone() });
                }
            }
            (LinkKey::Forwarding(_), LinkValue::Forwarding { port }) => self.is_port(port)?,
            (LinkKey::Bridge | LinkKey::Setting(_) | LinkKey::Forwarding(_) | LinkKey::Renamed(_), _) => {}
        }
        self.links.insert(key.clone(), value.clone());
        Ok(())
    }

    fn is_port(&self, name: &str) -> Result<(), Error> {
        match self.links.get(&LinkKey::Port(name.to_owned())) {
            Some(LinkValue::Port(PortState { guarded: true, .. })) => Ok(()),
            Some(_) => Err(refused("add forwarding entry", Area::Route, Errno::EINVAL)),
            None => Err(Error::PortGone { name: name.to_owned() }),
        }
    }

    /// What hangs on an object goes with it.
    fn remove_link(&mut self, key: &LinkKey) {
        self.links.remove(key);
        match key {
            LinkKey::Bridge => {
                self.links.retain(|key, _| matches!(key, LinkKey::Port(_)));
                for value in self.links.values_mut() {
                    if let LinkValue::Port(state) = value {
                        state.guarded = false;
                    }
                }
                self.routes.retain(|_, value| device_of(value) != Some(BRIDGE));
            }
            LinkKey::Port(name) => {
                self.devices.remove(name);
                let port = name.clone();
                self.links.retain(|_, value| *value != LinkValue::Forwarding { port: port.clone() });
            }
            LinkKey::Address(address, _) => {
                // IPv4 routes lose their life with their source, IPv6 routes only the source; both are to be repaired.
                self.routes.retain(|_, value| source_of(value) != Some(*address));
            }
            LinkKey::Setting(_) | LinkKey::Forwarding(_) | LinkKey::Neighbour(_) | LinkKey::Renamed(_) => {}
        }
    }

    fn put_route(&mut self, key: &RouteKey, value: &RouteValue) -> Result<(), Error> {
        if let Some(device) = device_of(value).filter(|device| !self.has_link(device)) {
            return Err(Error::NoLink { name: device.to_owned() });
        }
        if source_of(value).is_some_and(|source| !self.has_source(source)) {
            return Err(refused(&format!("add {key}"), Area::Route, Errno::EINVAL));
        }
        if self.foreign_routes.contains(key) && !self.routes.contains_key(key) && !in_own_table(key) {
            return Err(Error::RouteTaken { route: key.to_string() });
        }
        self.foreign_routes.remove(key);
        self.routes.insert(key.clone(), value.clone());
        Ok(())
    }

    fn remove_route(&mut self, key: &RouteKey) {
        match key {
            RouteKey::Foreign(ForeignRoute { table, destination, .. }) => {
                self.foreign_routes.remove(&RouteKey::Route { table: *table, destination: *destination });
            }
            RouteKey::Rule(_) | RouteKey::Route { .. } => drop(self.routes.remove(key)),
        }
    }
}

fn in_own_table(key: &RouteKey) -> bool {
    matches!(key, RouteKey::Route { table, .. } if OWN_TABLES.contains(table))
}

/// How the kernel shows a route of somebody else (protocol "static") that stands in a table of ours.
fn foreign_seen(key: &RouteKey) -> Option<(RouteKey, RouteValue)> {
    match key {
        RouteKey::Route { table, destination } if in_own_table(key) => {
            let foreign = ForeignRoute { table: *table, destination: *destination, protocol: 4, metric: 0 };
            Some((RouteKey::Foreign(foreign), RouteValue::Foreign))
        }
        RouteKey::Rule(_) | RouteKey::Route { .. } | RouteKey::Foreign(_) => None,
    }
}

impl Executor<Link> for FakeKernel {
    type Error = Error;

    fn observe(&mut self, wanted: &[&LinkKey]) -> Result<Vec<(LinkKey, LinkValue)>, Error> {
        self.fails(Op::Observe, "list links", Area::Link)?;
        let mut seen: Vec<_> = self.links.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        for key in wanted {
            if let LinkKey::Setting(setting) = key
                && setting.interface().is_none_or(|name| self.has_link(name))
            {
                let value = self.settings.get(setting.path()).cloned().unwrap_or_else(|| "1".to_owned());
                seen.push(((*key).clone(), LinkValue::Setting(value)));
            }
        }
        Ok(seen)
    }

    fn execute(&mut self, steps: &[LinkStep]) -> Result<(), Vec<Failure<Error>>> {
        collect(steps.iter().map(|step| match step {
            Step::Put { key, value, .. } => {
                self.fails(Op::Put, &step.to_string(), Area::Link)?;
                self.put_link(key, value)
            }
            Step::Delete { key, .. } => {
                self.fails(Op::Delete, &step.to_string(), Area::Link)?;
                self.remove_link(key);
                Ok(())
            }
        }))
    }
}

impl Executor<Route> for FakeKernel {
    type Error = Error;

    fn observe(&mut self, _wanted: &[&RouteKey]) -> Result<Vec<(RouteKey, RouteValue)>, Error> {
        self.fails(Op::Observe, "list routes", Area::Route)?;
        let foreign = self.foreign_routes.iter().filter_map(foreign_seen);
        Ok(self.routes.iter().map(|(k, v)| (k.clone(), v.clone())).chain(foreign).collect())
    }

    fn execute(&mut self, steps: &[RouteStep]) -> Result<(), Vec<Failure<Error>>> {
        collect(steps.iter().map(|step| match step {
            Step::Put { key, value, .. } => {
                self.fails(Op::Put, &step.to_string(), Area::Route)?;
                self.put_route(key, value)
            }
            Step::Delete { key, .. } => {
                self.fails(Op::Delete, &step.to_string(), Area::Route)?;
                self.remove_route(key);
                Ok(())
            }
        }))
    }
}

fn collect(outcomes: impl Iterator<Item = Result<(), Error>>) -> Result<(), Vec<Failure<Error>>> {
    let failures: Vec<_> = outcomes
        .enumerate()
        .filter_map(|(step, outcome)| outcome.err().map(|error| Failure { step, error }))
        .collect();
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}

fn refused(what: &str, area: Area, errno: Errno) -> Error {
    Refusal { what: what.to_owned(), area, errno, message: None }.into()
}

fn device_of(value: &RouteValue) -> Option<&str> {
    match value {
        RouteValue::Route { path: Path::Device(device) | Path::Gateway { device, .. }, .. } => Some(device),
        RouteValue::Route { path: Path::Unreachable, .. } | RouteValue::Rule | RouteValue::Foreign => None,
    }
}

const fn source_of(value: &RouteValue) -> Option<IpAddr> {
    match value {
        RouteValue::Route { source, .. } => *source,
        RouteValue::Rule | RouteValue::Foreign => None,
    }
}
