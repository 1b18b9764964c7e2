//! What this node wants, against what its kernel has: subjects, their desired state and the steps between.
//!
//! In: the `View` (what the fabric is) and `Facts` (what this host is). Out: typed steps that print, compare and replay as data.
//! Not here: any call to the kernel (weft-kernel, weft-mesh) and the clock (retries belong to the agent).

mod answer;
mod drops;
mod duty;
mod error;
mod facts;
mod few;
mod findings;
mod guard;
mod hearing;
mod limits;
mod link;
pub mod mtu;
mod node_facts;
mod peer;
mod policy;
mod readiness;
mod rhythm;
mod route;
mod service;
mod setup;
mod subject;
mod sysctl;
mod tracker;
mod underlay;
mod way;
#[cfg(test)]
mod world;

pub use answer::{
    AWAKE, AWAKE_RESTART, answer_tables, changed_answers, fall_asleep, guard_answers, is_awake,
    remove_answer_tables, stay_awake, try_vouchers, vouched_for,
};
pub use drops::{DropCounters, DropCounts, DropLabel, DropReason, DropTally, PacketHead};
pub use duty::{Claim, DOUBT, Duties, Heard};
pub use error::Error;
pub use facts::{
    Facts, Feature, Features, Host, HostAddress, HostLink, HostRoute, LocalPod, MeshDevice, is_ours,
    pod_link_name,
};
pub use findings::{Finding, Intent, PortUse, Surroundings, findings, preflight, replica_findings};
pub use guard::{GuardInput, GuardPod, Ruleset, lets_out, port_security};
pub use hearing::{Hearing, LinkSigns};
pub use link::{BridgeState, Link, LinkKey, LinkStep, LinkValue, PortState, pod_mac};
pub use node_facts::node_facts;
pub use peer::{
    DeviceConfig, DeviceState, HANDSHAKE_STALE, KEEPALIVE_SECS, LocalDevice, PeerChange, PeerConfig,
    PeerError, PeerState, PeerStep, desired_device, peer_steps,
};
pub use policy::{HeldPolicies, Judgement, Policies, PolicyTransaction, explain, own_addresses};
pub use readiness::{Asked, Schedule};
pub use rhythm::{Rhythm, rhythm};
pub use route::{
    ForeignRoute, OWN_TABLES, Path, Route, RouteKey, RouteStep, RouteValue, Rule, RuleAction, problems,
};
pub use service::{
    Backend, Chosen, Cleanup, Fate, Flow, Forecast, FrontKind, HealthPort, Here, Limits, Local,
    MOST_ELEMENTS, MOST_TIMEOUTS, Met, Packet, ServiceProblem, Services, Transaction, choose, forecast,
    health_ports, node_port_addresses, owned_addresses, remove_service_tables,
};
pub use setup::{ResolvConf, Variable, environment, name_findings, resolv_conf};
pub use subject::{Executor, Failure, Pending, Scope, Seen, Source, Step, Subject, Sweep, Wanted};
pub use sysctl::Setting;
pub use tracker::Tracker;
pub use underlay::{Underlay, UnderlayChoice, choose_underlay};
pub use way::{Way, way};
