//! Netlink, namespaces, sysctl, TUN: the only crate with unsafe.

mod announce;
mod attach;
mod claim;
mod conntrack;
mod datagram;
mod environment;
mod error;
mod fake;
mod features;
mod held;
mod host;
mod icmp;
mod link;
mod listening;
mod memory;
mod monitor;
mod namespace;
mod netlink;
mod nft;
mod observe;
mod packet_log;
mod purge;
mod raw;
mod request;
mod route;
mod setting;
mod signs;
mod tun;
mod vouch;

pub use announce::{Announce, Announcer, LinkEnd};
pub use attach::{Attached, PodInterface, PodLink, attach, detach, inspect, is_link_alive, reap};
pub use claim::Claims;
pub use conntrack::{ConnFilter, Connection, Conntrack, Way, number_of};
pub use datagram::{Datagram, Datagrams, Sent};
pub use environment::set_environment;
pub use error::{Area, Error, Refusal};
pub use fake::{FakeKernel, Op};
pub use features::detect_features;
pub use held::HeldAddresses;
pub use host::{
    PortHolder, configure_mesh_device, read_host, read_mesh_devices, remove_mesh_device,
    remove_renamed_mesh_devices, tcp_port_holder, udp_port_holder,
};
pub use icmp::{Echo, LEAST_PROBE, Pinger};
pub use link::LinkExecutor;
pub use listening::{Listener, listeners};
pub use memory::{give_memory_back, keep_memory_together};
pub use monitor::{Look, Monitor};
pub use namespace::{Namespace, create_namespace, remove_namespace};
pub use netlink::Netlink;
pub use nft::{NftError, NftMonitor, NftSocket, Notice};
pub use packet_log::{LoggedPacket, PacketLog};
pub use purge::purge;
pub use route::RouteExecutor;
pub use setting::{read_setting, write_setting};
pub use tun::{TUN_CONTROL, Tun, TunEnsured, TunError, ensure_tun, link_kind, link_mtu};
pub use vouch::Voucher;
