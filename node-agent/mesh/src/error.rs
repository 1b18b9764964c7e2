//! What can go wrong with a mesh device.

use std::{io, path::PathBuf, time::Duration};

use weft_errors::{Code, Coded};

use crate::device::{GUARD_VALUE, GUARD_VARIABLE};

/// Why a device can't be read or changed; all may pass, so the agent tries again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a name that a link can have.
    #[error("{device:?} is not a name that a WireGuard device can have")]
    Name {
        /// The refused name.
        device: String,
    },
    /// There is no device yet: neither in the kernel nor behind a socket.
    #[error("there is no WireGuard device {device} yet")]
    Missing {
        /// Its name.
        device: String,
    },
    /// Nobody answers on the UAPI socket.
    #[error("the tunnel of {device} doesn't answer on {}", socket.display())]
    TunnelDown {
        /// Name of the device.
        device: String,
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel or the tunnel refused.
    #[error("{device}: can't {step}")]
    Refused {
        /// Name of the device.
        device: String,
        /// What was tried.
        step: String,
        /// The answer.
        #[source]
        source: io::Error,
    },
    /// The device took the steps but doesn't show them.
    #[error("{device}: took a change but doesn't show it: {step}")]
    NotShown {
        /// Name of the device.
        device: String,
        /// The first step that isn't there.
        step: String,
    },
    /// A step asks for a key that this process doesn't hold.
    #[error("{device}: the wanted public key doesn't belong to the private key that is held")]
    ForeignKey {
        /// Name of the device.
        device: String,
    },
    /// The device shows something that can't be what it should be.
    #[error("{device}: shows {what}")]
    Unreadable {
        /// Name of the device.
        device: String,
        /// What, in words.
        what: String,
    },
    /// No answer in time; an earlier call may still hang.
    #[error("{device}: no answer within {} ms", waited.as_millis())]
    Deadline {
        /// Name of the device.
        device: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The library broke down in a call.
    #[error("{device}: the WireGuard library panicked")]
    Panicked {
        /// Name of the device.
        device: String,
    },
    /// The process would start a foreign program when the tunnel goes down.
    #[error("{GUARD_VARIABLE} isn't {GUARD_VALUE} in this process")]
    Unguarded,
}

impl Coded for Error {
    fn code(&self) -> &'static Code {
        &weft_errors::MESH_FAILED
    }

    fn envelope(&self) -> weft_errors::Error {
        let mut error = weft_errors::Error::new(self.code(), self.to_string());
        if let Self::TunnelDown { source, .. } | Self::Refused { source, .. } = self {
            error = error.because(source);
        }
        match self {
            Self::TunnelDown { device, .. } | Self::Deadline { device, .. } => {
                error.object("link", "", device).try_this("restart the tunnel process of this device", "")
            }
            Self::Unguarded => {
                error.try_this(format!("start the process with {GUARD_VARIABLE}={GUARD_VALUE}"), "")
            }
            Self::Name { device }
            | Self::Missing { device }
            | Self::Refused { device, .. }
            | Self::NotShown { device, .. }
            | Self::ForeignKey { device }
            | Self::Unreadable { device, .. }
            | Self::Panicked { device } => error.object("link", "", device),
        }
    }
}
