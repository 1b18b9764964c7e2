//! Netlink, namespaces, sysctl, TUN: the only crate with unsafe.
