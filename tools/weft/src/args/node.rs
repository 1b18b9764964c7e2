//! Arguments of what happens on nodes: check, node, pod, ipam, ping.

use std::{net::IpAddr, time::Duration};

use clap::{Args, Subcommand};
use weft_model::Probe;

use super::{names::PodNames, probe::probe, value::duration};

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
#[allow(clippy::large_enum_variant, reason = "one is made from the command line, once")]
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
        /// Readiness: tcp:PORT, http:PORT/PATH, https:PORT/PATH or grpc:PORT/SERVICE, then delay, period, timeout,
        /// successes, failures: http:8080/ready,period=1s,failures=2
        #[arg(long = "probe", value_name = "PROBE", value_parser = probe)]
        readiness: Option<Probe>,
        /// Until this one has succeeded once, the pod isn't ready and not asked otherwise
        #[arg(long = "startup-probe", value_name = "PROBE", value_parser = probe)]
        startup: Option<Probe>,
        /// What is said of it stays with its name, until `weft delete pod NAME`
        #[command(flatten)]
        names: PodNames,
    },
    /// End a pod made by `weft pod add` in order: no new connections at once, removed after a grace
    Drain {
        /// Name of the pod
        name: String,
        /// How long its connections may go on
        #[arg(long, default_value = "30s", value_parser = duration, value_name = "TIME")]
        grace: Duration,
        /// Don't wait until it is gone
        #[arg(long)]
        no_wait: bool,
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
