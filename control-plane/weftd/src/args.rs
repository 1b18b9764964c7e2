//! The command line as it was typed.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, Parser, Subcommand};
use weft_model::{AuthorityHash, Families, Overlay};
use weft_process::LogFormat;

/// The control-plane daemon of Weft.
#[derive(Debug, Parser)]
#[command(name = "weftd", version, arg_required_else_help = true)]
#[command(
    after_help = "Exit status: 0 done; 2 wrong use; 3 refused; 5 not allowed; 6 unreachable; 7 too late; 70 a bug."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a new cluster: its authority, its first replica, an admin's context. Starts nothing.
    Init(Init),
    /// Make a replica of an existing cluster, by a token of role replica. Starts nothing.
    Join(Join),
    /// Serve the replica of a data directory until SIGTERM.
    Run(Run),
}

impl Command {
    /// Form of what is printed.
    pub(crate) const fn format(&self) -> Format {
        match self {
            Self::Init(init) => init.output,
            Self::Join(join) => join.output,
            Self::Run(_) => Format::Text,
        }
    }
}

/// Form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("unknown format {text:?}: use text or json")),
        }
    }
}

/// `weftd init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Directory for the replica; must be new or empty.
    #[arg(long, value_name = "DIR", default_value = config_default_dir())]
    pub(crate) data_dir: PathBuf,
    /// Name of this machine as a replica.
    #[arg(long)]
    pub(crate) name: String,
    /// Where to serve; nodes and other replicas must reach it.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: SocketAddr,
    /// Families of the fabric and which comes first: v4, v6, dual or dual6.
    #[arg(long, default_value_t = Families::Dual)]
    pub(crate) family: Families,
    /// Range for pods; once per range.
    #[arg(long, value_name = "CIDR")]
    pub(crate) pods: Vec<String>,
    /// Range for services; once per range.
    #[arg(long, value_name = "CIDR")]
    pub(crate) services: Vec<String>,
    /// Range for nodes; once per range.
    #[arg(long, value_name = "CIDR")]
    pub(crate) nodes: Vec<String>,
    /// How packets travel between nodes: wireguard or routed.
    #[arg(long, default_value_t = Overlay::Wireguard)]
    pub(crate) overlay: Overlay,
    /// Domain of names in the cluster; cluster.local when absent.
    #[arg(long)]
    pub(crate) domain: Option<String>,
    /// File of contexts that gets the admin's; made when it isn't there.
    #[arg(long, value_name = "FILE", required_unless_present = "dry_run")]
    pub(crate) context_file: Option<PathBuf>,
    /// Name of the admin's context.
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) context_name: String,
    /// Check everything and print the ranges; make nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Form of the output: text or json.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

/// `weftd join`.
#[derive(Debug, Args)]
pub(crate) struct Join {
    /// Replicas of the cluster, separated by commas.
    #[arg(value_name = "IP:PORT", value_delimiter = ',', required = true)]
    pub(crate) endpoints: Vec<String>,
    /// Token of role replica, from `weft token create --role replica`.
    #[arg(long)]
    pub(crate) token: String,
    /// Hash of the cluster's authority, printed with the token.
    #[arg(long, value_name = "sha256:…")]
    pub(crate) ca: AuthorityHash,
    /// Directory for the replica; must be new or empty.
    #[arg(long, value_name = "DIR", default_value = config_default_dir())]
    pub(crate) data_dir: PathBuf,
    /// Name of this machine as a replica.
    #[arg(long)]
    pub(crate) name: String,
    /// Where to serve; nodes and other replicas must reach it.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: SocketAddr,
    /// How long to try.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = weft_process::parse_duration)]
    pub(crate) timeout: Duration,
    /// Form of the output: text or json.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

/// `weftd run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Directory of the replica.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Configuration file, instead of /etc/weft/weftd.toml.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Form of the log lines on standard error: text or json.
    #[arg(long)]
    pub(crate) log_format: Option<LogFormat>,
    /// Milliseconds between heartbeats of the leader.
    #[arg(long, value_name = "MS")]
    pub(crate) raft_heartbeat_ms: Option<u64>,
    /// Shortest time without a heartbeat after which a replica asks for votes; the longest is twice that.
    #[arg(long, value_name = "MS")]
    pub(crate) raft_election_ms: Option<u64>,
    /// Check the configuration, say every problem, and do nothing else.
    #[arg(long)]
    pub(crate) check_config: bool,
    /// Print the configuration, each value with its source, and do nothing else.
    #[arg(long)]
    pub(crate) print_config: bool,
}

const fn config_default_dir() -> &'static str {
    crate::config::DATA_DIR
}
