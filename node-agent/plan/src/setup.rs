//! What a new pod gets from its node besides its link: a resolv.conf, and its namespace's services as environment variables.
//!
//! Both are fixed when the pod is made, from what the View says then; files and runtimes are the agent's.

mod environment;
mod findings;
mod resolv;

pub use environment::{Variable, environment};
pub use findings::name_findings;
pub use resolv::{ResolvConf, resolv_conf};
