//! Nodes as virtual machines: for what the kernel of this host hasn't got (WireGuard in the kernel) and for power cuts.
//!
//! A virtual node has the same place in a lab as any other: a port of its name on the switch, the host's files, a disk of its own
//! in the lab's folder. The host's root is its root (9p, read-only), so paths mean the same inside. Its first process, this program
//! (guest.rs), takes orders (order.rs) over a virtio port and starts what the supervisor starts elsewhere by entering namespaces.
//! Only the supervisor talks to it (host.rs); qemu is the supervisor's child and dies with it.

mod cpio;
mod guest;
mod hands;
mod host;
mod image;
mod kernel;
mod module;
mod order;
mod qemu;

pub use guest::{hands, init};
pub use kernel::{Kernel, fetch};
pub use qemu::missing;

pub(crate) use host::{Remote, Vm};
pub(crate) use image::write_initramfs;
pub(crate) use order::{Begin, Start};
pub(crate) use qemu::Spec;
