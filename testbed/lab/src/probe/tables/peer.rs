//! The layout of kube-proxy's nftables mode (KEP 3866), written by us: a verdict map from (address, protocol, port) to a chain
//! per service port, which picks a chain per endpoint, which translates. Loaded by the `nft` program, as kube-proxy does.

use std::fmt::Write as _;

use super::super::bench_node::nft;
use super::{Endpoints, PORT, Tables, address};
use crate::Result;

/// The tables.
pub(super) struct KubeProxy<'a> {
    endpoints: Endpoints<'a>,
}

/// Services in one transaction: more don't fit into the socket of an `nft` that may not enlarge it, as in the lab's user namespace.
const AT_ONCE: usize = 50;

/// What all services share.
const BASE: &str = "table ip kube-proxy {
  map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }
  chain services { ip daddr . meta l4proto . th dport vmap @service-ips; }
  chain nat-output { type nat hook output priority -100; policy accept; jump services; }
  chain nat-prerouting { type nat hook prerouting priority -100; policy accept; jump services; }
}
";

impl<'a> KubeProxy<'a> {
    pub(super) fn new(endpoints: Endpoints<'a>) -> Self {
        Self { endpoints }
    }

    /// Chains and the element of one service, both ports.
    fn service(&self, number: u32, text: &mut String) -> Result {
        let endpoints = (self.endpoints)(number);
        for port in [PORT, PORT + 1] {
            for (index, endpoint) in endpoints.iter().enumerate() {
                writeln!(text, "add chain ip kube-proxy endpoint-{number}-{port}-{index}")?;
                writeln!(
                    text,
                    "add rule ip kube-proxy endpoint-{number}-{port}-{index} meta l4proto tcp dnat to {endpoint}"
                )?;
            }
            writeln!(text, "add chain ip kube-proxy service-{number}-{port}")?;
            let picks: Vec<String> = (0..endpoints.len())
                .map(|index| format!("{index} : goto endpoint-{number}-{port}-{index}"))
                .collect();
            writeln!(
                text,
                "add rule ip kube-proxy service-{number}-{port} numgen random mod {} vmap {{ {} }}",
                endpoints.len(),
                picks.join(", ")
            )?;
            writeln!(
                text,
                "add element ip kube-proxy service-ips {{ {} . tcp . {port} : goto service-{number}-{port} }}",
                address(number)
            )?;
        }
        Ok(())
    }
}

impl Tables for KubeProxy<'_> {
    fn load(&mut self, count: u32) -> Result {
        nft(BASE)?;
        let numbers: Vec<u32> = (0..count).collect();
        numbers.chunks(AT_ONCE).try_for_each(|chunk| {
            let mut text = String::new();
            chunk.iter().try_for_each(|number| self.service(*number, &mut text))?;
            nft(&text)
        })
    }

    fn add(&mut self, number: u32) -> Result {
        let mut text = String::new();
        self.service(number, &mut text)?;
        nft(&text)
    }

    fn clear(&mut self) -> Result {
        nft("add table ip kube-proxy\ndelete table ip kube-proxy\n")
    }
}
