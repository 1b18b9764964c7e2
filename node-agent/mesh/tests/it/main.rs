//! The crate against the kernel's own WireGuard, in a network namespace per test that goes with its thread.
//!
//! A kernel without WireGuard can't run it: then each test says so and passes, unless `WEFT_NEEDS=kernel-wireguard` is set, as it
//! is in the virtual machines of the end-to-end suite.
#![allow(clippy::unwrap_used, reason = "a test binary: helpers fail their test by panicking")]

mod kernel;
mod world;
