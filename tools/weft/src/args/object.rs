//! Arguments of what concerns objects: get, apply, delete, describe, wait, explain.

use std::path::PathBuf;

use clap::Args;

use super::value::Expect;

/// `weft get`.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// pods (po), services (svc), endpoints (ep), endpointslices (eps), networkpolicies (netpol), namespaces (ns), lbpools,
    /// nodes (no), fabric (fab), blocks, members, peers, routes, owners, events
    pub(crate) kind: String,
    /// Name of one object
    pub(crate) name: Option<String>,
    /// Label selector: app=web,tier!=db
    #[arg(
        short = 'l',
        long,
        default_value = "",
        value_name = "SELECTOR",
        hide_default_value = true,
        conflicts_with = "name"
    )]
    pub(crate) selector: String,
    /// All namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Go on and print a row per change
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Exit 1 unless there are so many: 3, 1+ or 0
    #[arg(long, value_name = "N", conflicts_with = "watch")]
    pub(crate) expect: Option<Expect>,
}

/// `weft apply`.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// File, folder of files, or - for standard input
    #[arg(short, long, required = true, value_name = "FILE")]
    pub(crate) filename: Vec<PathBuf>,
    /// Validate on the leader, tell what would change for who reaches whom, store nothing
    #[arg(long, value_name = "server", value_parser = ["server"], num_args = 0..=1, require_equals = true, default_missing_value = "server")]
    pub(crate) dry_run: Option<String>,
    /// Return when every reachable node has it in its kernel
    #[arg(long)]
    pub(crate) wait: bool,
    /// Leave objects out whose kind isn't served, a line each; otherwise nothing is applied
    #[arg(long)]
    pub(crate) skip_unknown: bool,
}

/// `weft diff`.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// File, folder of files, or - for standard input
    #[arg(short, long, required = true, value_name = "FILE")]
    pub(crate) filename: Vec<PathBuf>,
    /// Leave objects out whose kind isn't served, a line each
    #[arg(long)]
    pub(crate) skip_unknown: bool,
}

/// `weft delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Kind of the objects
    #[arg(required_unless_present = "filename", requires = "name")]
    pub(crate) kind: Option<String>,
    /// Their names
    pub(crate) name: Vec<String>,
    /// Objects that a file, a folder of files or standard input (-) names
    #[arg(short, long, value_name = "FILE", conflicts_with = "kind")]
    pub(crate) filename: Vec<PathBuf>,
    /// Tell what would go, and what that opens and closes; delete nothing
    #[arg(long, value_name = "server", value_parser = ["server"], num_args = 0..=1, require_equals = true, default_missing_value = "server")]
    pub(crate) dry_run: Option<String>,
    /// What isn't there is no error
    #[arg(long)]
    pub(crate) ignore_not_found: bool,
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

/// `weft wait`.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Revision; default: the present one
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub(crate) revision: u64,
}

/// `weft explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A code such as W2203 or RangeOverlap, a kind, or a field such as fabric.spec.ranges; without one all codes are listed
    pub(crate) what: Option<String>,
}
