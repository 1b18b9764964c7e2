//! Servers and channels over real sockets on 127.0.0.1: who gets in, who is told what, what breaks and heals.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "the whole binary is a test: helpers outside of test functions may fail it too"
)]

mod connection;
mod hostile;
mod local;
mod world;
