//! Attaching pods: the verbs of CNI, and the same for pods without a runtime.
//!
//! In: requests of `weft-cni` over its socket. Out: a pod with addresses and a guarded link, or nothing at all.
//! Never waits for the control plane. One container is served at a time, different ones beside each other.

mod arguments;
mod check;
mod config;
mod engine;
mod failure;
mod request;
mod result;
mod server;
mod socket;
mod spool;
mod version;

pub(crate) use engine::{Engine, NewPod, pod_link};
pub(crate) use server::serve;
pub(crate) use socket::Socket;
pub(crate) use spool::replay as replay_spool;
