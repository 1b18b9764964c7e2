//! A process that the supervisor started, in namespaces or in a virtual machine: one way to start, signal and attend it.

use std::os::unix::net::UnixDatagram;
use std::process::Child;
use std::sync::atomic::AtomicBool;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};

use super::machine::{Body, raw};
use super::{Place, Supervisor, no_machine, status_byte};
use crate::namespace::resolve_as;
use crate::vm::{Remote, Start};
use crate::{Result, notify, priority};

/// A process that runs.
pub(crate) enum Running {
    /// A child of the supervisor, and where it says that it is ready.
    Here(Child, Option<UnixDatagram>),
    /// In a virtual machine.
    There(Remote),
}

/// What a process can be signalled with.
#[derive(Clone, Debug)]
pub(crate) enum Signals {
    Here(u32),
    There(Remote),
}

impl Signals {
    /// Sends a signal; that the process has ended is no error.
    pub(crate) fn send(&self, signal: Signal) -> Result {
        match self {
            Self::Here(pid) => match kill(raw(*pid), signal) {
                Ok(()) | Err(Errno::ESRCH) => Ok(()),
                Err(e) => Err(e.into()),
            },
            Self::There(remote) => remote.signal(signal),
        }
    }
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::Here(child, _) => child.id(),
            Self::There(remote) => remote.pid(),
        }
    }

    pub(crate) fn signals(&self) -> Signals {
        match self {
            Self::Here(child, _) => Signals::Here(child.id()),
            Self::There(remote) => Signals::There(remote.clone()),
        }
    }

    /// Waits for its end and returns its status; `ready` is called when it says that it is.
    pub(crate) fn attend(self, ready: impl Fn() + Sync) -> u8 {
        let (mut child, notifications) = match self {
            Self::Here(child, notifications) => (child, notifications),
            Self::There(remote) => return remote.attend(ready),
        };
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            if let Some(socket) = &notifications {
                scope.spawn(|| notify::hear(socket, &ended, &ready));
            }
            let status = child.wait().map_or(255, status_byte);
            if let Some(socket) = &notifications {
                notify::end(socket, &ended);
            }
            status
        })
    }
}

impl Supervisor {
    /// Starts a process at `place`.
    pub(crate) fn start(&self, place: &Place, mut start: Start) -> Result<Running> {
        let machine = match place {
            Place::Switch => None,
            Place::Machine(machine) | Place::Pod(machine, _) => Some(machine),
        };
        if let Some(name) = machine {
            let body = {
                let state = self.state();
                state.machines.get(name).ok_or_else(|| no_machine(name))?.body()?
            };
            if let Body::Virtual(vm) = body {
                start.netns = match place {
                    Place::Pod(_, netns) => Some(netns.clone()),
                    Place::Switch | Place::Machine(_) => None,
                };
                return vm.start(start).map(Running::There);
            }
        }
        self.start_here(place, &start)
    }

    fn start_here(&self, place: &Place, start: &Start) -> Result<Running> {
        let mut command = start.command()?;
        self.within(place, || {
            if let Place::Pod(_, netns) = place
                && start.resolves()
            {
                resolve_as(netns)?;
            }
            if start.notify.is_some() {
                // A service of the product: this thread is there for it alone.
                priority::first();
            }
            let notifications = start.listen(&mut command)?;
            Ok(Running::Here(start.spawn(&mut command)?, notifications))
        })
    }
}
