//! Services: every packet to an address of a service reaches one of its backends, by rules that never change.
//!
//! In: the `View`'s services, and `Facts`. Out: transactions for `ip weft` and `ip6 weft`, flows that must go, what a node serves.
//! Reading order: `choose` (which endpoints for whom), `local` (who is known to be gone), `class` and `maglev` (slots), `ids` (numbers), `compile` (one service),
//! `rules` (what a packet meets), `forecast` (the same, told), `tables` and `round` (differences, transactions), `cleanup` (connection tracking).
//! Not here: sending (weft-kernel), who answers for a load-balancer address on the link.

mod base;
mod choose;
mod class;
mod cleanup;
mod compile;
mod element;
#[cfg(test)]
mod fixture;
mod forecast;
mod group;
mod ids;
mod local;
mod maglev;
mod problem;
mod reading;
mod round;
mod rules;
mod serve;
mod tables;

pub use base::node_port_addresses;
pub use choose::{Chosen, Here, choose};
pub use cleanup::{Cleanup, Flow};
pub(crate) use element::number as protocol_number;
pub use forecast::{Backend, Fate, Forecast, FrontKind, Met, Packet, forecast};
pub use local::Local;
pub use problem::{MOST_ELEMENTS, MOST_TIMEOUTS, ServiceProblem};
pub use round::{Transaction, remove_service_tables};
pub use serve::{HealthPort, health_ports, owned_addresses};
pub use tables::{Limits, Services};
