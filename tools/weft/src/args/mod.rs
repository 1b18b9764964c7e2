//! What can be typed.

mod cluster;
mod examples;
mod names;
mod node;
mod object;
mod policy;
mod probe;
mod service;
mod trace;
mod value;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

pub(crate) use cluster::{ContextCommand, Init, Token};
pub(crate) use names::{Dns, Env, FlowVerdict, Flows, PodNames};
pub(crate) use node::{Check, Ipam, Node, Ping, Pod};
pub(crate) use object::{Apply, Delete, Describe, Diff, Explain, Get, Wait};
pub(crate) use policy::Policy;
pub(crate) use service::{Create, NewService, Service};
pub(crate) use trace::{Destination, Trace};
pub(crate) use value::{Expect, pod_name};

use crate::output::Format;
use value::duration;

/// The pod network: admin command line.
#[derive(Debug, Parser)]
#[command(
    name = "weft",
    version,
    about = "Weft: the pod network, from the command line",
    max_term_width = 110,
    after_help = "Exit status: 0 done, 1 the answer is no, 2 wrong use, 3 refused, 4 not found, 5 not allowed, 6 unreachable, 7 timeout, 8 partial, 70 bug, 130 interrupted."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads a command line; help, version and wrong use come back as clap's error.
    pub(crate) fn read(arguments: &[std::ffi::OsString]) -> Result<Self, clap::Error> {
        Self::from_arg_matches(&tree().try_get_matches_from(arguments)?)
    }
}

/// All commands, with their examples.
pub(crate) fn tree() -> clap::Command {
    examples::add(Cli::command())
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// Context of the contexts file
    #[arg(long, global = true, env = "WEFT_CONTEXT", value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Replicas to ask instead of the context's
    #[arg(long, global = true, env = "WEFT_ENDPOINT", value_name = "HOST:PORT", value_delimiter = ',')]
    pub(crate) endpoint: Vec<String>,
    /// Namespace
    #[arg(short, long, global = true, env = "WEFT_NAMESPACE", value_name = "NS")]
    pub(crate) namespace: Option<String>,
    /// Form of the result
    #[arg(
        short,
        long,
        global = true,
        env = "WEFT_OUTPUT",
        value_enum,
        default_value_t,
        hide_default_value = true
    )]
    pub(crate) output: Format,
    /// Tables without column names
    #[arg(long, global = true)]
    pub(crate) no_headers: bool,
    /// Colour on a terminal
    #[arg(long, global = true, value_enum, default_value_t, hide_default_value = true)]
    pub(crate) color: Color,
    /// Nothing on stderr but errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Each request on stderr: what, of whom, how long, how it ended
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// Total time of the command: 500ms, 30s, 5m
    #[arg(long, global = true, default_value = "30s", value_parser = duration, value_name = "TIME")]
    pub(crate) timeout: std::time::Duration,
    /// Any replica may answer reads from its own state
    #[arg(long, global = true)]
    pub(crate) stale: bool,
}

/// `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a cluster here: authority, first replica, fabric, context; prints the join command
    Init(Init),
    /// Join tokens: single-use, short-lived
    #[command(visible_alias = "tokens")]
    Token {
        /// Without one: list
        #[command(subcommand)]
        command: Option<Token>,
    },
    /// Show objects: pods, services, endpoints, namespaces, nodes, fabric, blocks, peers, …
    Get(Get),
    /// Create or change objects from YAML or JSON
    Apply(Apply),
    /// What apply would change, and what that opens and closes; exit 1 if anything
    Diff(Diff),
    /// Remove objects
    Delete(Delete),
    /// Make a namespace or a service without a file
    Create {
        /// What
        #[command(subcommand)]
        command: Create,
    },
    /// All about one object
    #[command(visible_alias = "desc")]
    Describe(Describe),
    /// Is the fabric healthy, and what is not
    Status,
    /// Kernel features, ports, MTU, firewalls, routes of nodes
    Check(Check),
    /// Wait until every reachable node has a revision in its kernel
    Wait(Wait),
    /// Nodes
    #[command(visible_alias = "nodes")]
    Node {
        /// Without one: list
        #[command(subcommand)]
        command: Option<Node>,
    },
    /// Pods without an orchestrator
    #[command(visible_alias = "pods")]
    Pod {
        /// Without one: list
        #[command(subcommand)]
        command: Option<Box<Pod>>,
    },
    /// Services and their backends
    #[command(visible_aliases = ["svc", "services"])]
    Service {
        /// Without one: list
        #[command(subcommand)]
        command: Option<Service>,
    },
    /// Questions about network policies: who may reach whom, why, and tests beside them
    Policy {
        /// What
        #[command(subcommand)]
        command: Policy,
    },
    /// Addresses: use, owner, proof
    Ipam {
        /// Without one: show
        #[command(subcommand)]
        command: Option<Ipam>,
    },
    /// Real echo packets from a pod to a pod or an address
    Ping(Ping),
    /// The way of a packet: port security, service, policies of both ends, route; with --probe a real one
    Trace(Trace),
    /// What a pod, or a node, gets for a name, and from where
    Dns(Dns),
    /// What a pod was given when it was made: services as environment variables, resolv.conf
    Env(Env),
    /// What happens on nodes while you watch: packets that are dropped (--verdict dropped), questions about names (--dns)
    Flows(Flows),
    /// Contexts of this user
    #[command(visible_alias = "contexts")]
    Context {
        /// Without one: list
        #[command(subcommand)]
        command: Option<ContextCommand>,
    },
    /// A code (W2203), a kind or a field (fabric.spec.ranges), offline
    Explain(Explain),
    /// Completion script of a shell
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Versions of this program, the replicas and the nodes
    Version,
    /// Reference pages for the documentation
    #[command(hide = true)]
    Reference {
        /// errors or cli
        page: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_consistent() {
        tree().debug_assert();
    }

    #[test]
    fn a_noun_alone_lists() {
        for line in ["weft node", "weft pods", "weft token", "weft contexts", "weft ipam -o json"] {
            let words: Vec<std::ffi::OsString> = line.split(' ').map(Into::into).collect();
            assert!(Cli::read(&words).is_ok(), "{line}");
        }
    }
}
