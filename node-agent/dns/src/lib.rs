//! The DNS process of a node (`weft-agent dns`): sockets and threads around weft-names, fed by the agent.
//!
//! In: sockets, items and pods from the agent over `/run/weft/dns.sock`; tables on disk; queries of pods and of the node.
//! Out: answers; numbers to the agent. Not here: what an answer is, who is asked, the cache (weft-names); making addresses and
//! rules (weft-plan, weft-kernel, the agent).
//!
//! The process needs no agent to go on: sockets stay, tables stay, and when it starts without one it serves what it knew. The
//! agent needs no process: sockets that it holds keep queries until one is back.

mod askers;
mod clock;
mod count;
mod error;
pub mod frame;
mod limits;
mod link;
mod problem;
mod question;
mod resolv_conf;
mod run;
mod serve;
mod sockets;
mod tables;
mod watch;

pub use error::Error;
pub use limits::ITEMS_PER_FRAME;
pub use resolv_conf::node_resolv_conf;
pub use run::{Options, run};
pub use sockets::{MOST_ADDRESSES, Socket, SocketId, addresses, bind, from_wire, to_wire};
pub use tables::is_of_names;
