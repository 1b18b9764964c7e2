//! Integration tests: real tunnels on real TUN devices in namespaces, driven only through weft-mesh.
//!
//! Each test runs in a process of its own (the test binary started again), with a mount namespace and one network
//! namespace per node and one for the wire; all of it ends with that process. An ordinary user needs user namespaces and
//! an open `/dev/net/tun`; without them the tests fail and say so.

#![allow(clippy::unwrap_used, reason = "these are tests, also where a helper is no test itself")]

mod cases;
mod node;
mod wire;
mod world;
