//! The init of the machines: starts services, starts them again 50 ms after their end, holds them down, hears that they are ready.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::Signal;

use super::running::{Running, Signals};
use super::{Supervisor, no_machine};
use crate::protocol::{Act, Response, ServiceSpec, ServiceState};
use crate::vm::Start;
use crate::{Refusal, Result};

/// As in the systemd units.
const RESTART_AFTER: Duration = Duration::from_millis(50);
/// A program that can't be started at all is tried again after this time.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Longest time for a killed service to be gone.
const DOWN: Duration = Duration::from_secs(5);

pub(crate) struct Service {
    spec: ServiceSpec,
    inner: Mutex<ServiceState>,
    /// While it runs.
    process: Mutex<Option<Signals>>,
}

impl Service {
    pub(crate) fn machine(&self) -> &str {
        &self.spec.machine
    }

    pub(crate) fn state(&self) -> ServiceState {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Signals it; false if it doesn't run.
    fn signal(&self, signal: Signal) -> Result<bool> {
        match &*self.process.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(process) => process.send(signal).map(|()| true),
            None => Ok(false),
        }
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
        let service = Arc::new(Service { spec, inner: Mutex::new(inner), process: Mutex::default() });
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
                Ok(running) => {
                    self.attend(service, running);
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

    fn start_service(&self, service: &Service) -> Result<Running> {
        let spec = &service.spec;
        let log = self.layout.log(&spec.machine, &spec.name);
        self.start(
            &super::Place::Machine(spec.machine.clone()),
            Start {
                argv: spec.argv.clone(),
                env: spec.env.clone(),
                stdin: None,
                out: log.clone(),
                errors: log,
                netns: None,
                notify: Some(format!("/run/lab/{}.notify", spec.name)),
            },
        )
    }

    /// Stays with a running service until it ends.
    fn attend(&self, service: &Service, running: Running) {
        *service.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(running.signals());
        service.change(|s| {
            s.pid = Some(running.pid());
            s.ready = false;
        });
        // A hold that came between the decision to start and now finds nothing to kill.
        if service.state().held {
            let _ = service.signal(Signal::SIGKILL);
        }
        self.announce();
        let status = running.attend(|| {
            service.change(|s| s.ready = true);
            self.announce();
        });
        *service.process.lock().unwrap_or_else(PoisonError::into_inner) = None;
        service.change(|s| {
            s.pid = None;
            s.ready = false;
        });
        self.note(service, &format!("ended with status {status}"));
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
        if let Some(signal) = signal {
            let runs = service.signal(signal).with_context(|| format!("signal {name} on {machine}"))?;
            if !runs && act != Act::Hold {
                bail!("{name} on {machine} isn't running");
            }
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
