//! The crate against the real kernel, in network namespaces of its own that go with the threads that made them.
//!
//! A machine that grants no namespaces can't run it: then each test fails and says so. Nothing touches the machine's own links.
#![allow(clippy::unwrap_used, reason = "a test binary: helpers fail their test by panicking")]

#[path = "announce.rs"]
mod announce;
#[path = "attach.rs"]
mod attach;
#[path = "conntrack.rs"]
mod conntrack;
#[path = "contract.rs"]
mod contract;
#[path = "datapath.rs"]
mod datapath;
#[path = "namespaces.rs"]
mod namespaces;
#[path = "nft.rs"]
mod nft;
#[path = "policy.rs"]
mod policy;
#[path = "resolver.rs"]
mod resolver;
#[path = "service.rs"]
mod service;
#[path = "service_again.rs"]
mod service_again;
#[path = "service_mend.rs"]
mod service_mend;
#[path = "service_paths.rs"]
mod service_paths;
#[path = "world.rs"]
mod world;
