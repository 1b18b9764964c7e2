//! Arguments of `weft policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use weft_policy::Transport;

use super::trace::{Destination, destination};

/// What the answer is about.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Whereof {
    /// Policies, namespaces and pods of these files alone, without a cluster; pods get addresses of their own
    #[arg(long = "world", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// `weft policy`.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Who may reach whom: A everything, p some, - nothing; by namespace, or by a label within -n
    Matrix {
        /// For this port alone: 8080/tcp, 53/udp, icmp
        #[arg(long, value_name = "PORT")]
        port: Option<Transport>,
        /// Pods of the chosen namespace by the value of this label
        #[arg(long, value_name = "KEY")]
        label: Option<String>,
        /// Of what
        #[command(flatten)]
        whereof: Whereof,
    },
    /// The rule that decides about one connection; exit 1 when it is denied
    Why {
        /// Who begins: NAMESPACE/NAME of a pod, node/NAME, or an address
        from: String,
        /// Whom it is for: the same, or a service (svc/NAMESPACE/NAME, NAME.NAMESPACE), and :PORT, with /udp or /sctp; without: an echo
        #[arg(value_parser = destination)]
        to: Destination,
        /// Of what
        #[command(flatten)]
        whereof: Whereof,
    },
    /// Policies that probably don't say what was meant; exit 1 when there are any
    Lint {
        /// Of what
        #[command(flatten)]
        whereof: Whereof,
    },
    /// Expectations beside policies: - {from: pod/shop/web-0, to: namespace/db, port: 5432/tcp, expect: deny}; exit 1 when one fails
    Test {
        /// File of cases, or - for standard input
        #[arg(short, long, required = true, value_name = "FILE")]
        filename: Vec<PathBuf>,
        /// Of what
        #[command(flatten)]
        whereof: Whereof,
    },
}
