//! A layout as iptables and those who came from it have: for each policy and direction a set of the pods it is about, a set of those
//! they may talk to, a rule that leads to its chain, and a rule there. What lives already is let through first. Written by us, loaded by
//! the `nft` program.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::super::bench_node::nft;
use super::cluster::{App, Cluster, PODS, PORTS, Peers, address};
use super::{Spent, Tables};
use crate::Result;

/// The tables.
pub(super) struct Chains {
    cluster: Cluster,
    is_wide: bool,
}

/// Policies in one transaction: more don't fit into the socket of an `nft` that may not enlarge it, as in the lab's user namespace.
const AT_ONCE: usize = 50;

/// What all policies share.
const BASE: &str = "table ip chains {
  set isolated_in { type ipv4_addr; }
  set isolated_out { type ipv4_addr; }
  chain closed_in { ip daddr @isolated_in drop; }
  chain closed_out { ip saddr @isolated_out drop; }
  chain policies_in { }
  chain policies_out { }
  chain egress {
    type filter hook forward priority filter - 1; policy accept;
    ct state established,related accept
    jump policies_out
    jump closed_out
  }
  chain ingress {
    type filter hook forward priority filter; policy accept;
    ct state established,related accept
    jump policies_in
    jump closed_in
  }
}
";

/// How a direction is called, who is asked of, and who else.
const SIDES: [(&str, &str, &str); 2] = [("in", "daddr", "saddr"), ("out", "saddr", "daddr")];

impl Chains {
    pub(super) const fn new(cluster: Cluster) -> Self {
        Self { cluster, is_wide: false }
    }

    /// Sets, chains and rules of one policy.
    fn policy(&self, number: u32, pods: &BTreeMap<App, Vec<u32>>, text: &mut String) -> Result {
        let app = Cluster::app_of_policy(number);
        let of = |app: App| pods.get(&app).map_or(&[][..], Vec::as_slice);
        let own: Vec<u32> = of(app).iter().copied().filter(|pod| self.cluster.is_local(*pod)).collect();
        for (side, own_field, other_field) in SIDES {
            let other = of(self.other(side, app));
            for (name, members) in [("own", own.as_slice()), ("other", other)] {
                writeln!(text, "add set ip chains {name}_{side}_{number} {{ type ipv4_addr; }}")?;
                if !members.is_empty() {
                    writeln!(text, "add element ip chains {name}_{side}_{number} {{ {} }}", listed(members))?;
                }
            }
            let [first, second] = PORTS;
            writeln!(
                text,
                "add chain ip chains {side}_{number}\n\
                 add rule ip chains {side}_{number} ip {other_field} @other_{side}_{number} tcp dport {{ {first}, {second} }} accept\n\
                 add rule ip chains policies_{side} ip {own_field} @own_{side}_{number} jump {side}_{number}"
            )?;
            if !own.is_empty() {
                writeln!(text, "add element ip chains isolated_{side} {{ {} }}", listed(&own))?;
            }
        }
        Ok(())
    }

    fn other(&self, side: &str, app: App) -> App {
        if side == "in" { self.cluster.next(app) } else { self.cluster.previous(app) }
    }
}

fn listed(pods: &[u32]) -> String {
    pods.iter().map(|pod| address(*pod).to_string()).collect::<Vec<_>>().join(", ")
}

/// The number of the policy about an application.
const fn policy_of((namespace, place): App) -> u32 {
    place * 10 + namespace
}

impl Tables for Chains {
    fn load(&mut self) -> Result<Duration> {
        let began = Instant::now();
        nft(BASE)?;
        let mut pods: BTreeMap<App, Vec<u32>> = BTreeMap::new();
        (0..PODS).for_each(|pod| pods.entry(self.cluster.app_of(pod)).or_default().push(pod));
        let numbers: Vec<u32> = (0..self.cluster.policies).collect();
        numbers.chunks(AT_ONCE).try_for_each(|chunk| {
            let mut text = String::new();
            chunk.iter().try_for_each(|number| self.policy(*number, &pods, &mut text))?;
            nft(&text)
        })?;
        Ok(began.elapsed())
    }

    fn add(&mut self, pod: u32, is_local: bool) -> Result<Spent> {
        let began = Instant::now();
        let (mut text, app) = (String::new(), self.cluster.app_of(pod));
        for (side, ..) in SIDES {
            // Who lets this application in, and whom it may ask: the neighbours on either side of the ring.
            let asked = if side == "in" { self.cluster.previous(app) } else { self.cluster.next(app) };
            if self.cluster.is_isolated(asked) {
                writeln!(
                    text,
                    "add element ip chains other_{side}_{} {{ {} }}",
                    policy_of(asked),
                    address(pod)
                )?;
            }
            if is_local && self.cluster.is_isolated(app) {
                writeln!(text, "add element ip chains own_{side}_{} {{ {} }}", policy_of(app), address(pod))?;
                writeln!(text, "add element ip chains isolated_{side} {{ {} }}", address(pod))?;
            }
        }
        let agent = began.elapsed();
        let began = Instant::now();
        nft(&text)?;
        Ok(Spent { agent, kernel: began.elapsed() })
    }

    fn change(&mut self, port: u16, peers: Peers) -> Result<Spent> {
        let began = Instant::now();
        let mut text = String::new();
        if self.is_wide {
            writeln!(text, "flush chain ip chains wide")?;
        } else {
            let own: Vec<u32> = self.cluster.local().filter(|pod| self.cluster.app_of(*pod).0 == 0).collect();
            let is_peer = |app: App| match peers {
                Peers::One => app == (0, 0),
                Peers::All => app.0 == 0,
            };
            let other: Vec<u32> = (0..PODS).filter(|pod| is_peer(self.cluster.app_of(*pod))).collect();
            for (name, members) in [("own_wide", &own), ("other_wide", &other)] {
                writeln!(text, "add set ip chains {name} {{ type ipv4_addr; }}")?;
                writeln!(text, "add element ip chains {name} {{ {} }}", listed(members))?;
            }
            writeln!(
                text,
                "add chain ip chains wide\nadd rule ip chains policies_in ip daddr @own_wide jump wide"
            )?;
            writeln!(text, "add element ip chains isolated_in {{ {} }}", listed(&own))?;
        }
        writeln!(text, "add rule ip chains wide ip saddr @other_wide tcp dport {port} accept")?;
        let agent = began.elapsed();
        let began = Instant::now();
        nft(&text)?;
        self.is_wide = true;
        Ok(Spent { agent, kernel: began.elapsed() })
    }
}
