//! The userspace WireGuard tunnel: gotatun as engine on a persistent TUN device, behind the standard UAPI socket.
//!
//! In: [`TunnelOptions`]. Out: a process that serves until told to stop, starts with its last configuration and needs no
//! agent. Not here: making the device (weft-kernel, by the agent), driving it (weft-mesh), addresses and routes.

mod engine;
mod error;
mod key;
mod limits;
mod link;
mod run;
mod server;
mod socket;
mod store;
mod table;
mod uapi;

pub use error::Error;
pub use limits::MAX_MTU;
pub use run::{TunnelOptions, run};
