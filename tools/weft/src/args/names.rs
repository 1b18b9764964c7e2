//! Arguments of `weft env`, `weft dns` and `weft flows`, and of `weft pod add` those about names.

use std::{net::IpAddr, time::Duration};

use clap::Args;
use weft_model::DnsPolicy;

use super::value::duration;

/// `weft env`.
#[derive(Debug, Args)]
pub(crate) struct Env {
    /// Pod, NAMESPACE/NAME
    pub(crate) pod: String,
    /// As a shell reads it: export NAME='VALUE'
    #[arg(long, conflicts_with = "resolv_conf")]
    pub(crate) export: bool,
    /// The pod's resolv.conf instead
    #[arg(long)]
    pub(crate) resolv_conf: bool,
}

/// How a new pod asks for names, and by which it is found: what a file would say of it.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PodNames {
    /// Whom it asks: ClusterFirst, ClusterFirstWithHostNet, Default or None
    #[arg(long, value_name = "POLICY")]
    pub(crate) dns_policy: Option<DnsPolicy>,
    /// Servers, behind those of the policy; several with commas
    #[arg(long = "nameserver", value_name = "IP", value_delimiter = ',')]
    pub(crate) nameservers: Vec<IpAddr>,
    /// Search domains, behind those of the policy; several with commas
    #[arg(long = "search", value_name = "DOMAIN", value_delimiter = ',')]
    pub(crate) searches: Vec<String>,
    /// Options of its resolv.conf, such as ndots:2; several with commas
    #[arg(long = "dns-option", value_name = "NAME[:VALUE]", value_delimiter = ',')]
    pub(crate) options: Vec<String>,
    /// Name within --subdomain
    #[arg(long)]
    pub(crate) hostname: Option<String>,
    /// Headless service of its namespace that it is found below: HOSTNAME.SUBDOMAIN
    #[arg(long)]
    pub(crate) subdomain: Option<String>,
    /// Without the services of its namespace as environment variables
    #[arg(long)]
    pub(crate) no_service_links: bool,
}

/// Types that can be asked for.
const TYPES: [&str; 10] = ["A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT", "ANY"];

/// `weft dns`.
#[derive(Debug, Args)]
pub(crate) struct Dns {
    /// Name as a program would say it, with a dot at its end if it is whole; an address asks for the name behind it
    pub(crate) name: String,
    /// Pod that asks, NAMESPACE/NAME; default: the node that this command runs on
    #[arg(long, value_name = "POD", conflicts_with = "node")]
    pub(crate) from: Option<String>,
    /// Node that asks for itself
    #[arg(long)]
    pub(crate) node: Option<String>,
    /// Type of the records, several with commas; default: A and AAAA, of an address PTR
    #[arg(short = 't', long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = record_type)]
    pub(crate) types: Vec<String>,
}

/// `weft flows`.
#[derive(Debug, Args)]
pub(crate) struct Flows {
    /// Until interrupted; what happened before isn't kept anywhere
    #[arg(short = 'w', long)]
    pub(crate) watch: bool,
    /// For so long instead
    #[arg(long = "for", value_name = "TIME", value_parser = duration, conflicts_with = "watch")]
    pub(crate) time: Option<Duration>,
    /// Questions about names, and what became of them
    #[arg(long)]
    pub(crate) dns: bool,
    /// Packets with this verdict: those that were dropped, with who isolates the pod and what would allow them
    #[arg(long, value_enum, conflicts_with = "dns")]
    pub(crate) verdict: Option<FlowVerdict>,
    /// Of one pod, NAMESPACE/NAME
    #[arg(long, value_name = "POD", conflicts_with = "node")]
    pub(crate) pod: Option<String>,
    /// Of one node; default: all nodes in reach
    #[arg(long)]
    pub(crate) node: Option<String>,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FlowVerdict {
    /// It ended here.
    Dropped,
}

fn record_type(text: &str) -> Result<String, String> {
    let upper = text.to_ascii_uppercase();
    if TYPES.contains(&upper.as_str()) {
        return Ok(upper);
    }
    Err(format!("{text:?} is none of {}", TYPES.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_typed_in_any_case() {
        assert_eq!(record_type("srv"), Ok("SRV".to_owned()));
        assert_eq!(record_type("AAAA"), Ok("AAAA".to_owned()));
        assert!(record_type("A6").unwrap_err().contains("AAAA"));
    }
}
