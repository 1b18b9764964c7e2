//! Services: the semantics table of Kubernetes walked with real packets, and what happens while backends come and go.

mod cascade;
mod change;
mod churn;
mod crowd;
mod given;
mod memory;
mod owner;
mod owner_cut;
mod owner_steady;
mod readiness;
mod shop;
mod silent;
mod stage;
mod table;
mod tampered;
mod told;
mod upgrade;

pub use cascade::namespace_deleted;
pub use change::{affinity, backends_come_and_go, nobody_there, spread};
pub use churn::{Churn, Load};
pub use crowd::crowded;
pub use given::{addresses_as_asked, proxied};
pub use memory::affinity_times_out;
pub use owner::{
    Balanced, agent_killed, agent_restarted, owner_cut_from_replicas, owner_frozen, owner_killed,
    without_a_leader,
};
pub use owner_cut::{owner_unplugged, owner_unreached};
pub use owner_steady::owner_steady;
pub use readiness::{drained, health_ports, probed};
pub use shop::{Shop, api, cache, front, others, payment};
pub use silent::node_falls_silent;
pub use stage::Stage;
pub use table::{cluster_addresses, hairpin, node_ports};
pub use tampered::{gone_unheard, rules_tampered};
pub use told::{traces_agree, troubles_are_told};
pub use upgrade::upgraded;
