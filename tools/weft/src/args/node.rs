//! Arguments of what happens on nodes: check, node, pod, ipam, ping.

use std::net::IpAddr;

use clap::{Args, Subcommand};

/// `weft check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Only this node
    #[arg(long)]
    pub(crate) node: Option<String>,
    /// This machine, before it is a node: kernel, ports, MTU, firewalls; asks nobody
    #[arg(long, conflicts_with = "node")]
    pub(crate) pre: bool,
}

/// `weft node`.
#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// All nodes
    List,
    /// Addresses, blocks, peers, subsystems of a node
    Show {
        /// Name of the node
        name: String,
    },
    /// Remove a node for good: its peers, routes and blocks go everywhere
    Remove {
        /// Name of the node
        name: String,
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
}

/// `weft pod`.
#[derive(Debug, Subcommand)]
pub(crate) enum Pod {
    /// All pods of a namespace
    List {
        /// Label selector: app=web,tier!=db
        #[arg(short = 'l', long, default_value = "", value_name = "SELECTOR", hide_default_value = true)]
        selector: String,
        /// All namespaces
        #[arg(short = 'A', long)]
        all_namespaces: bool,
    },
    /// One pod
    Show {
        /// Name of the pod
        name: String,
    },
    /// Make a pod: a network namespace that processes can be put into
    Add {
        /// Name of the pod
        name: String,
        /// Node; default: the one this command runs on
        #[arg(long)]
        node: Option<String>,
        /// Labels: k=v
        #[arg(short = 'l', long, value_name = "K=V", value_delimiter = ',')]
        labels: Vec<String>,
    },
    /// Remove a pod made by `weft pod add`
    Remove {
        /// Name of the pod
        name: String,
    },
}

/// `weft ipam`.
#[derive(Debug, Subcommand)]
pub(crate) enum Ipam {
    /// Ranges and blocks, and how full they are
    Show,
    /// Who holds an address
    Who {
        /// The address
        address: IpAddr,
    },
    /// Proof that no address is held twice or lost: control plane, journals and kernels
    Check,
}

/// `weft ping`.
#[derive(Debug, Args)]
pub(crate) struct Ping {
    /// Pod that sends, NAMESPACE/NAME
    pub(crate) from: String,
    /// Pod or address that answers
    pub(crate) to: String,
    /// Echoes per address
    #[arg(short, long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) count: u32,
    /// Payload bytes
    #[arg(long, default_value_t = 56, value_parser = clap::value_parser!(u32).range(0..=65000))]
    pub(crate) size: u32,
    /// Forbid fragmentation
    #[arg(long)]
    pub(crate) df: bool,
}
