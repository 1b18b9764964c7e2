//! The agent's side of names: sockets for the DNS process, what it must know, and what it says.
//!
//! The sockets belong to the agent. While no process is there they keep queries; the next one gets the same sockets, and an
//! agent that starts anew gets them back from the process. Not here: answers (weft-dns, weft-names); addresses (plan's links).

mod accept;
mod feed;
mod pods;
mod post;
mod sockets;

pub(crate) use accept::serve;
pub(crate) use feed::Feed;
pub(crate) use post::Post;
