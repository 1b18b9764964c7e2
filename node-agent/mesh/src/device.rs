//! One device, called from its own thread: which backend it has, get and set.

use std::{
    io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::SystemTime,
};

use weft_model::Secret;
use weft_plan::{DeviceState, PeerStep};
use wireguard_control as wg;

use crate::{Error, translate};

/// Names the program that wireguard-control starts when it finds no socket.
pub const GUARD_VARIABLE: &str = "WG_USERSPACE_IMPLEMENTATION";
/// What the variable must be in our processes: a program that does nothing and fails.
pub const GUARD_VALUE: &str = "/bin/false";

/// Who carries the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The kernel's WireGuard.
    Kernel,
    /// A tunnel process behind the UAPI socket, on a TUN device that the agent makes (`weft_kernel::ensure_tun`).
    Userspace,
}

/// Which backends may be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendChoice {
    /// The kernel's where it has one, else userspace.
    #[default]
    Best,
    /// Userspace, also where the kernel has WireGuard.
    UserspaceOnly,
}

/// A device by name.
pub(crate) struct Device {
    name: String,
    interface: wg::InterfaceName,
    private: Secret<[u8; 32]>,
    choice: BackendChoice,
    backend: Option<Backend>,
}

impl Device {
    /// Checks the name; touches nothing.
    pub(crate) fn new(name: &str, private: Secret<[u8; 32]>, choice: BackendChoice) -> Result<Self, Error> {
        let interface = name.parse().map_err(|_| Error::Name { device: name.to_owned() })?;
        Ok(Self { name: name.to_owned(), interface, private, choice, backend: None })
    }

    /// Finds the backend, and makes the device where the kernel can. An existing device is left as it is.
    pub(crate) fn prepare(&mut self) -> Result<Backend, Error> {
        let backend = self.find_backend();
        self.backend = Some(backend);
        Ok(backend)
    }

    fn find_backend(&self) -> Backend {
        if self.choice == BackendChoice::UserspaceOnly {
            return Backend::Userspace;
        }
        if wg::Device::get(&self.interface, wg::Backend::Kernel).is_ok() {
            return Backend::Kernel;
        }
        // A tunnel that serves the device already keeps it: a kernel module loaded later doesn't change a running mesh.
        if UnixStream::connect(self.socket()).is_ok() {
            return Backend::Userspace;
        }
        // An empty update is "create the link" alone; that it exists already as something else is no error there, so
        // only the look afterwards decides.
        if let Err(error) = wg::DeviceUpdate::new().apply(&self.interface, wg::Backend::Kernel) {
            tracing::debug!(device = self.name, %error, "no WireGuard in the kernel");
            return Backend::Userspace;
        }
        match wg::Device::get(&self.interface, wg::Backend::Kernel) {
            Ok(_) => Backend::Kernel,
            Err(_) => Backend::Userspace,
        }
    }

    /// Reads the device.
    pub(crate) fn observe(&mut self) -> Result<DeviceState, Error> {
        let backend = self.backend_now()?;
        let device = match backend {
            Backend::Kernel => wg::Device::get(&self.interface, wg::Backend::Kernel).map_err(|error| {
                // Deleted behind us: prepare() must make it again before anything is set.
                self.backend = None;
                match error.raw_os_error() {
                    Some(NO_SUCH_DEVICE) => Error::Missing { device: self.name.clone() },
                    _ => self.refused("be read", error),
                }
            })?,
            Backend::Userspace => {
                self.probe()?;
                wg::Device::get(&self.interface, wg::Backend::Userspace)
                    .map_err(|e| self.refused("be read", e))?
            }
        };
        translate::state_of(&self.name, device, SystemTime::now())
    }

    /// Does the steps in one request, reads the device back and reports the first step that it doesn't show.
    pub(crate) fn execute(&mut self, steps: &[PeerStep]) -> Result<DeviceState, Error> {
        let backend = self.backend_now()?;
        if !steps.is_empty() {
            let update = translate::update_of(&self.name, steps, &self.private)?;
            self.apply(backend, update, steps)?;
        }
        let state = self.observe()?;
        match state.first_unmet(steps) {
            None => Ok(state),
            Some(step) => Err(Error::NotShown { device: self.name.clone(), step: step.to_string() }),
        }
    }

    fn apply(&mut self, backend: Backend, update: wg::DeviceUpdate, steps: &[PeerStep]) -> Result<(), Error> {
        let applied = match backend {
            Backend::Kernel => {
                // Setting creates a device that isn't there, so look first.
                self.observe()?;
                update.apply(&self.interface, wg::Backend::Kernel)
            }
            Backend::Userspace => {
                if std::env::var_os(GUARD_VARIABLE).is_none_or(|value| value != GUARD_VALUE) {
                    return Err(Error::Unguarded);
                }
                self.probe()?;
                update.apply(&self.interface, wg::Backend::Userspace)
            }
        };
        applied.map_err(|error| {
            let step = match steps {
                [one] => one.to_string(),
                many => format!("do {} steps", many.len()),
            };
            self.refused(&step, error)
        })
    }

    fn backend_now(&mut self) -> Result<Backend, Error> {
        self.backend.ok_or_else(|| Error::Missing { device: self.name.clone() })
    }

    fn probe(&self) -> Result<(), Error> {
        let socket = self.socket();
        match UnixStream::connect(&socket) {
            Ok(_) => Ok(()),
            Err(source) => Err(Error::TunnelDown { device: self.name.clone(), socket, source }),
        }
    }

    /// Where wireguard-control looks: the first directory that exists.
    fn socket(&self) -> PathBuf {
        let directory = if Path::new("/var/run/wireguard").exists() { "/var/run" } else { "/run" };
        Path::new(directory).join("wireguard").join(format!("{}.sock", self.name))
    }

    fn refused(&self, step: &str, source: io::Error) -> Error {
        Error::Refused { device: self.name.clone(), step: step.to_owned(), source }
    }
}

/// `ENODEV` on all Linux platforms that Weft builds for.
const NO_SUCH_DEVICE: i32 = 19;
