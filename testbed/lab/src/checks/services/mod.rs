//! Services: the semantics table of Kubernetes walked with real packets, and what happens while backends come and go.

mod change;
mod churn;
mod owner;
mod readiness;
mod shop;
mod stage;
mod table;
mod told;

pub use change::{affinity, backends_come_and_go, nobody_there, spread};
pub use churn::{Churn, Load};
pub use owner::{
    Balanced, addresses_as_asked, agent_killed, agent_restarted, owner_cut_from_replicas, owner_frozen,
    owner_killed, proxied, without_a_leader,
};
pub use readiness::{drained, health_ports, probed};
pub use shop::{Shop, api, cache, front, others, payment};
pub use stage::Stage;
pub use table::{cluster_addresses, hairpin, node_ports};
pub use told::{traces_agree, troubles_are_told};
