//! Arguments of what concerns the cluster and who may use it: init, token, context.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use weft_model::{Families, Overlay, Role};

use super::value::token_life;

/// `weft init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Families: v4, v6, dual (IPv4 first) or dual6 (IPv6 first)
    #[arg(long, default_value = "dual")]
    pub(crate) family: Families,
    /// Pod range; once per range
    #[arg(long, value_name = "CIDR")]
    pub(crate) pods: Vec<String>,
    /// Service range; once per range
    #[arg(long, value_name = "CIDR")]
    pub(crate) services: Vec<String>,
    /// Node (mesh address) range; once per range
    #[arg(long, value_name = "CIDR")]
    pub(crate) nodes: Vec<String>,
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
        #[arg(long, default_value = "30m", value_parser = token_life, value_name = "TIME")]
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
