//! What can be typed.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use weft_model::{AddressRange, Families, Overlay, PodName, Role};

use crate::output::Format;

/// The pod network: admin command line.
#[derive(Debug, Parser)]
#[command(
    name = "weft",
    version,
    about = "Weft: the pod network, from the command line",
    max_term_width = 110,
    after_help = "Exit status: 0 done, 1 the answer is no, 2 wrong use, 3 refused, 4 not found, 5 not allowed, 6 unreachable, 7 timeout, 8 partial, 70 bug."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
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
    #[command(subcommand, visible_alias = "tokens")]
    Token(Token),
    /// Show objects: nodes, pods, blocks, members, fabric, peers, routes
    Get(Get),
    /// Create or change objects from YAML or JSON
    Apply(Apply),
    /// Remove an object
    Delete(Delete),
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
    #[command(subcommand, visible_alias = "nodes")]
    Node(Node),
    /// Pods without an orchestrator
    #[command(subcommand, visible_alias = "pods")]
    Pod(Pod),
    /// Addresses: use, owner, proof
    #[command(subcommand)]
    Ipam(Ipam),
    /// Real echo packets from a pod to a pod or an address
    Ping(Ping),
    /// Contexts of this user
    #[command(subcommand, visible_alias = "contexts")]
    Context(ContextCommand),
    /// A code (W2203) or all of them, offline
    Explain(Explain),
    /// Completion script of a shell
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Version of this program
    Version,
    /// Reference pages for the documentation
    #[command(hide = true)]
    Reference {
        /// errors or cli
        page: String,
    },
}

/// `weft init`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weft init\n  weft init --family dual --pods 10.0.0.0/14 --pods fd00:1::/48\n  weft init --dry-run"
)]
pub(crate) struct Init {
    /// Families: v4, v6, dual (IPv4 first) or dual6 (IPv6 first)
    #[arg(long, default_value = "dual")]
    pub(crate) family: Families,
    /// Pod range; once per family
    #[arg(long, value_name = "CIDR")]
    pub(crate) pods: Vec<AddressRange>,
    /// Service range; once per family
    #[arg(long, value_name = "CIDR")]
    pub(crate) services: Vec<AddressRange>,
    /// Node (mesh address) range; once per family
    #[arg(long, value_name = "CIDR")]
    pub(crate) nodes: Vec<AddressRange>,
    /// Between nodes: wireguard or routed
    #[arg(long, default_value = "wireguard")]
    pub(crate) overlay: Overlay,
    /// Domain of names in the cluster
    #[arg(long, default_value = "cluster.local")]
    pub(crate) domain: String,
    /// Address and port to serve on; default: the address of the default route, port 7443
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: Option<std::net::SocketAddr>,
    /// Name of this replica; default: the host's name
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Where the replica keeps its data
    #[arg(long, default_value = "/var/lib/weft", value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Make everything but start nothing
    #[arg(long)]
    pub(crate) no_start: bool,
    /// Check the ranges and say what would be made
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `weft token`.
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token and print the command that uses it
    Create {
        /// What its holder becomes: node, replica, admin or viewer
        #[arg(long, default_value = "node")]
        role: Role,
        /// How long it works: 1m to 24h
        #[arg(long, default_value = "30m", value_parser = duration, value_name = "TIME")]
        ttl: std::time::Duration,
    },
    /// Tokens that are stored, without their secrets
    List,
    /// Make a token useless
    Revoke {
        /// Public part of the token
        id: String,
    },
}

/// `weft get`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weft get pods -A -o wide\n  weft get pods -l app=web --expect 3\n  weft get nodes -o json"
)]
pub(crate) struct Get {
    /// nodes (no), pods (po), blocks, members, fabric (fab), peers, routes
    pub(crate) kind: String,
    /// Name of one object
    pub(crate) name: Option<String>,
    /// Label selector: app=web,tier!=db
    #[arg(short = 'l', long, default_value = "", value_name = "SELECTOR", hide_default_value = true)]
    pub(crate) selector: String,
    /// All namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Go on and print a row per change
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Exit 1 unless there are so many: 3, 1+ or 0
    #[arg(long, value_name = "N")]
    pub(crate) expect: Option<Expect>,
}

/// `--expect`: exactly, or at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// `3`
    Exactly(usize),
    /// `1+`
    AtLeast(usize),
}

impl Expect {
    /// Whether a count is as expected.
    pub(crate) const fn holds(self, count: usize) -> bool {
        match self {
            Self::Exactly(n) => count == n,
            Self::AtLeast(n) => count >= n,
        }
    }
}

impl std::str::FromStr for Expect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |_| format!("{text:?} isn't a number such as 3 or 1+");
        match text.strip_suffix('+') {
            Some(number) => number.parse().map(Self::AtLeast).map_err(bad),
            None => text.parse().map(Self::Exactly).map_err(bad),
        }
    }
}

/// `weft apply`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weft apply -f fabric.yaml\n  weft apply -f fabric.yaml --dry-run=server\n  cat fabric.yaml | weft apply -f - --wait"
)]
pub(crate) struct Apply {
    /// File, folder of files, or - for standard input
    #[arg(short, long, required = true, value_name = "FILE")]
    pub(crate) filename: Vec<PathBuf>,
    /// Validate on the leader, store nothing
    #[arg(long, value_name = "server", value_parser = ["server"])]
    pub(crate) dry_run: Option<String>,
    /// Return when every reachable node has it in its kernel
    #[arg(long)]
    pub(crate) wait: bool,
}

/// `weft delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Kind of the object
    pub(crate) kind: String,
    /// Its name
    pub(crate) name: String,
    /// Don't ask
    #[arg(long)]
    pub(crate) yes: bool,
}

/// `weft describe`.
#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// Kind of the object
    pub(crate) kind: String,
    /// Its name
    pub(crate) name: String,
}

/// `weft check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Only this node
    #[arg(long)]
    pub(crate) node: Option<String>,
}

/// `weft wait`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weft wait\n  weft wait --revision 4711 --timeout 5s\n  weft wait -o json"
)]
pub(crate) struct Wait {
    /// Revision; default: the present one
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub(crate) revision: u64,
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
    List,
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
#[command(
    after_help = "Examples:\n  weft ping web-0 db-0\n  weft ping shop/web-0 10.128.7.4 -c 10\n  weft ping web-0 db-0 --size 1372 --df"
)]
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

/// `weft context`.
#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// All contexts
    List,
    /// Choose the current one
    Use {
        /// Name of the context
        name: String,
    },
    /// The context in use
    Show,
    /// Join as a person: a token in, a certificate and a context out
    Add {
        /// Name of the new context
        name: String,
        /// Token of role admin or viewer
        #[arg(long)]
        token: String,
        /// Hash of the authority, sha256:…
        #[arg(long)]
        ca: String,
    },
    /// Forget a context and its key
    Remove {
        /// Name of the context
        name: String,
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
}

/// `weft explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A code such as W2203; without one all codes are listed
    pub(crate) code: Option<String>,
}

fn duration(text: &str) -> Result<std::time::Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 =
        number.parse().map_err(|_| format!("{text:?} isn't a time such as 500ms, 30s or 5m"))?;
    let ms = match unit {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("{text:?} isn't a time such as 500ms, 30s or 5m")),
    };
    number
        .checked_mul(ms)
        .map(std::time::Duration::from_millis)
        .ok_or_else(|| format!("{text:?} is too long"))
}

/// A pod's name on the command line: `NAMESPACE/NAME`, or a bare name in the chosen namespace.
pub(crate) fn pod_name(text: &str, namespace: &str) -> Result<PodName, weft_model::NameError> {
    if text.contains('/') { text.parse() } else { format!("{namespace}/{text}").parse() }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_tree_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_and_expectations_are_read() {
        assert_eq!(duration("500ms"), Ok(std::time::Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(std::time::Duration::from_secs(120)));
        assert!(duration("soon").is_err() && duration("3d").is_err());
        assert_eq!("1+".parse(), Ok(Expect::AtLeast(1)));
        assert!(Expect::Exactly(0).holds(0) && !Expect::Exactly(0).holds(1) && Expect::AtLeast(1).holds(5));
        assert!("x".parse::<Expect>().is_err());
    }
}
