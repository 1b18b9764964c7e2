//! WireGuard devices through wireguard-control: one thread per device, one call at a time, each with a deadline.
//!
//! In: `PeerStep`s of weft-plan and the node's private key. Out: the device's state. The same code drives the kernel's
//! WireGuard and a userspace tunnel behind the UAPI socket. Not here: what the device should be (weft-plan), the TUN
//! device (weft-kernel), addresses and routes. None of wireguard-control's types leaves this crate, and no key is logged.

mod device;
mod error;
mod mesh;
mod translate;

pub use device::{Backend, BackendChoice, GUARD_VALUE, GUARD_VARIABLE};
pub use error::Error;
pub use mesh::{CALL_DEADLINE, Mesh, MeshOptions};
pub use translate::public_key;
