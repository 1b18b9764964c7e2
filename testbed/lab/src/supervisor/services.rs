//! The init of the machines: starts services, starts them again 50 ms after their end, holds them down, hears that they are ready.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};

use super::machine::raw;
use super::{Supervisor, no_machine};
use crate::protocol::{Act, Response, ServiceSpec, ServiceState};
use crate::{Refusal, Result};

/// As in the systemd units.
const RESTART_AFTER: Duration = Duration::from_millis(50);
/// A program that can't be started at all is tried again after this time.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Longest time for a killed service to be gone.
const DOWN: Duration = Duration::from_secs(5);
/// How often the reader of a service's notifications looks whether the service is gone.
const LISTEN: Duration = Duration::from_millis(100);

pub(crate) struct Service {
    spec: ServiceSpec,
    inner: Mutex<ServiceState>,
}

impl Service {
    pub(crate) fn machine(&self) -> &str {
        &self.spec.machine
    }

    pub(crate) fn state(&self) -> ServiceState {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut ServiceState)) {
        change(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Supervisor {
    /// Starts a service and keeps it alive until the lab ends.
    pub(crate) fn keep(self: &Arc<Self>, spec: ServiceSpec) -> Result {
        let inner =
            ServiceState { name: spec.name.clone(), pid: None, restarts: 0, ready: false, held: false };
        let name = format!("{} {}", spec.machine, spec.name);
        let service = Arc::new(Service { spec, inner: Mutex::new(inner) });
        {
            let mut state = self.state();
            if !state.machines.contains_key(service.machine()) {
                return Err(no_machine(service.machine()));
            }
            if find(&state.services, service.machine(), &service.spec.name).is_some() {
                bail!("{name} is running already");
            }
            state.services.push(Arc::clone(&service));
        }
        let supervisor = Arc::clone(self);
        std::thread::Builder::new().name(name).spawn(move || supervisor.run_service(&service))?;
        Ok(())
    }

    fn run_service(self: &Arc<Self>, service: &Arc<Service>) {
        loop {
            let may_run = |state: &mut super::State| {
                let up = state.machines.get(service.machine()).is_some_and(super::Machine::is_up);
                (up && !service.state().held).then_some(())
            };
            if self.wait(Duration::from_secs(3600), may_run).is_none() {
                continue;
            }
            let pause = match self.start_service(service) {
                Ok((child, notifications)) => {
                    self.attend(service, child, &notifications);
                    RESTART_AFTER
                }
                Err(e) => {
                    self.note(service, &format!("can't be started: {e:#}"));
                    RETRY_AFTER
                }
            };
            crate::wait::pass(pause);
            service.change(|s| s.restarts += 1);
        }
    }

    fn start_service(&self, service: &Service) -> Result<(Child, UnixDatagram)> {
        let spec = &service.spec;
        let log = self.layout.log(&spec.machine, &spec.name);
        let open = || OpenOptions::new().create(true).append(true).open(&log);
        let (out, errors) = (open().with_context(|| format!("open {}", log.display()))?, open()?);
        let (program, arguments) = spec.argv.split_first().context("no program")?;
        let socket = format!("/run/lab/{}.notify", spec.name);
        self.within(&super::Place::Machine(spec.machine.clone()), || {
            let _ = std::fs::remove_file(&socket);
            let notifications = UnixDatagram::bind(&socket).with_context(|| format!("make {socket}"))?;
            notifications.set_read_timeout(Some(LISTEN))?;
            let child = Command::new(program)
                .args(arguments)
                .envs(&spec.env)
                .env("NOTIFY_SOCKET", &socket)
                .stdin(Stdio::null())
                .stdout(out)
                .stderr(errors)
                .spawn()
                .with_context(|| format!("start {program}"))?;
            Ok((child, notifications))
        })
    }

    /// Stays with a running service until it ends.
    fn attend(&self, service: &Service, mut child: Child, notifications: &UnixDatagram) {
        service.change(|s| {
            s.pid = Some(child.id());
            s.ready = false;
        });
        // A hold that came between the decision to start and now finds no pid to kill.
        if service.state().held {
            let _ = child.kill();
        }
        self.announce();
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut buffer = [0; 4096];
                while !ended.load(Ordering::Relaxed) {
                    let Ok(length) = notifications.recv(&mut buffer) else { continue };
                    if buffer[..length].split(|b| *b == b'\n').any(|line| line == b"READY=1") {
                        service.change(|s| s.ready = true);
                        self.announce();
                    }
                }
            });
            let ending = child.wait();
            service.change(|s| {
                s.pid = None;
                s.ready = false;
            });
            ended.store(true, Ordering::Relaxed);
            let words = ending.map_or_else(|e| e.to_string(), |status| status.to_string());
            self.note(service, &format!("ended: {words}"));
        });
        self.announce();
    }

    /// A line of the lab in the service's own log.
    fn note(&self, service: &Service, what: &str) {
        let log = self.layout.log(service.machine(), &service.spec.name);
        if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(log) {
            let _ = writeln!(file, "# lab: {} {what}", service.spec.name);
        }
    }

    pub(crate) fn act(&self, machine: &str, name: &str, act: Act) -> Result<Response> {
        let service = self.service(machine, name)?;
        match act {
            Act::Hold => service.change(|s| s.held = true),
            Act::Release => service.change(|s| s.held = false),
            Act::Kill | Act::Restart => {}
        }
        let signal = match act {
            Act::Kill | Act::Hold => Some(Signal::SIGKILL),
            Act::Restart => Some(Signal::SIGTERM),
            Act::Release => None,
        };
        match (signal, service.state().pid) {
            (Some(signal), Some(pid)) => {
                kill(raw(pid), signal).with_context(|| format!("signal {name} on {machine}"))?
            }
            (Some(_), None) if act != Act::Hold => bail!("{name} on {machine} isn't running"),
            _ => {}
        }
        self.announce();
        // What is held down is down: nothing of it writes any more, and a release finds nothing that is still ready.
        if act == Act::Hold && self.wait(DOWN, |_| service.state().pid.is_none().then_some(())).is_none() {
            bail!("{name} on {machine} doesn't end");
        }
        Ok(Response::Done)
    }

    pub(crate) fn await_ready(&self, machine: &str, name: &str, within: Duration) -> Result<Response> {
        let service = self.service(machine, name)?;
        Ok(Response::Ready(self.wait(within, |_| service.state().ready.then_some(())).is_some()))
    }

    fn service(&self, machine: &str, name: &str) -> Result<Arc<Service>> {
        let state = self.state();
        if let Some(service) = find(&state.services, machine, name) {
            return Ok(service);
        }
        let known = state.services.iter().filter(|s| s.machine() == machine).map(|s| s.spec.name.as_str());
        let known: Vec<&str> = known.collect();
        bail!(Refusal::NotFound(format!("{machine} runs no {name:?}; it runs: {}", known.join(", "))))
    }
}

fn find(services: &[Arc<Service>], machine: &str, name: &str) -> Option<Arc<Service>> {
    services.iter().find(|s| s.machine() == machine && s.spec.name == name).cloned()
}
