//! Why the tunnel process ends.

use std::{io, path::PathBuf};

use weft_errors::{Code, Coded};
use weft_kernel::TunError;

/// What ends the tunnel; its init starts it again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The TUN device can't be used.
    #[error(transparent)]
    Tun(#[from] TunError),
    /// The TUN device has been deleted under the tunnel.
    #[error("TUN device {device} is gone")]
    DeviceGone {
        /// Its name.
        device: String,
    },
    /// The engine can't go on, or can't start with the stored configuration.
    #[error("the WireGuard engine of {device} failed: {why}")]
    Engine {
        /// Name of the device.
        device: String,
        /// What it said.
        why: String,
    },
    /// Another process serves the UAPI socket.
    #[error("another process serves {}", path.display())]
    Served {
        /// The socket.
        path: PathBuf,
    },
    /// The UAPI socket can't be made.
    #[error("the socket {} can't be made", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The stored configuration can't be read or written.
    #[error(transparent)]
    Store(#[from] weft_process::Error),
}

impl Coded for Error {
    fn code(&self) -> &'static Code {
        match self {
            Self::Tun(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::DeviceGone { .. } | Self::Engine { .. } | Self::Served { .. } | Self::Socket { .. } => {
                &weft_errors::MESH_FAILED
            }
        }
    }

    fn envelope(&self) -> weft_errors::Error {
        let mut error = weft_errors::Error::new(self.code(), self.to_string());
        if let Self::Socket { source, .. } = self {
            error = error.because(source);
        }
        match self {
            Self::DeviceGone { device } | Self::Engine { device, .. } => error.object("link", "", device),
            Self::Served { path } => error.object("file", "", path.display()).try_this(
                "one tunnel serves a device; stop the other",
                format!("ss -lxp src {}", path.display()),
            ),
            Self::Socket { path, .. } => error
                .object("file", "", path.display())
                .try_this("make its directory writable for the tunnel", ""),
            Self::Tun(error) => error.envelope(),
            Self::Store(error) => error.envelope(),
        }
    }
}
