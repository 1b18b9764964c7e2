//! Replicas in one process, over real TLS on loopback addresses of their own.

mod access;
mod cluster;
mod join;
mod watch;
mod world;
