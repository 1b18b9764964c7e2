//! Replicas in one process, over real TLS on loopback addresses of their own.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod access;
mod apply;
mod cluster;
mod events;
mod join;
mod policies;
mod services;
mod watch;
mod world;
