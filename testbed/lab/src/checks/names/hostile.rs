//! A hostile pod next to another one on the same node: that one is answered as if it were alone.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{WEB, WEB_SERVICE, ask, data, forward_to, servers};
use crate::checks::{Cast, same_family};
use crate::fabric::{Background, on};
use crate::probe::names::ADDRESS_4;
use crate::wait::pass;
use crate::{Fabric, Result};

/// What the hostile pod does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Asks for random names, of the cluster and outside.
    Random,
    /// The same with the other pod's address as the sender.
    Spoofed,
    /// Asks what is longer than any question, over UDP and TCP.
    Oversized,
    /// Opens TCP connections by the thousand and never answers the server's part of it.
    HalfOpen,
    /// Opens TCP connections by the thousand and says one octet in each.
    Idle,
}

/// Questions of the other pod per second.
const RATE: &str = "1000";
/// Nothing of the hostile pod's is left of the last attack after this.
const QUIET: Duration = Duration::from_millis(300);
/// In the hostile pod: it hears nothing of what a server of names says over TCP.
const DEAF: &str = "add table inet deaf; add chain inet deaf in { type filter hook input priority 0; }; \
                    add rule inet deaf in tcp sport 53 drop";

impl Attack {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Random, Self::Spoofed, Self::Oversized, Self::HalfOpen, Self::Idle];

    /// How it is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Random => "random names",
            Self::Spoofed => "spoofed sources",
            Self::Oversized => "oversized queries",
            Self::HalfOpen => "half-open connections",
            Self::Idle => "idle connections",
        }
    }

    /// What the probe is told: how, and how many times a second.
    const fn how(self) -> [&'static str; 4] {
        match self {
            Self::Random | Self::Spoofed => ["--how", "random", "--rate", "20000"],
            Self::Oversized => ["--how", "oversized", "--rate", "5000"],
            Self::HalfOpen | Self::Idle => ["--how", "half-open", "--rate", "4000"],
        }
    }

    /// Begins; ends with [`Attack::end`].
    fn begin(self, fabric: &Fabric, cast: &Cast, server: IpAddr) -> Result<Background> {
        let (text, hostile) = (server.to_string(), cast.b.place());
        let victim = same_family(&cast.a, server)?.to_string();
        let mut arguments = vec!["dns-flood", text.as_str()];
        arguments.extend(self.how());
        match self {
            Self::Spoofed => {
                fabric
                    .on(hostile.clone(), &["ip", "address", "add", &victim, "dev", "eth0", "nodad"])?
                    .success("ip address")?;
                arguments.extend(["--from", victim.as_str()]);
            }
            Self::HalfOpen => {
                fabric.on(hostile.clone(), &["nft", DEAF])?.success("nft")?;
            }
            Self::Random | Self::Oversized | Self::Idle => {}
        }
        fabric.background(hostile, &arguments, &[])
    }

    /// What the hostile pod says that it has done.
    fn end(self, fabric: &Fabric, cast: &Cast, server: IpAddr, attack: Background) -> Result<Value> {
        let (seen, hostile) = (attack.stop()?, cast.b.place());
        match self {
            Self::Spoofed => {
                let victim = same_family(&cast.a, server)?;
                let whole = format!("{victim}/{}", if victim.is_ipv4() { 32 } else { 128 });
                fabric
                    .on(hostile, &["ip", "address", "del", &whole, "dev", "eth0"])?
                    .success("ip address")?;
            }
            Self::HalfOpen => {
                fabric.on(hostile, &["nft", "delete table inet deaf"])?.success("nft")?;
            }
            Self::Random | Self::Oversized | Self::Idle => {}
        }
        ensure!(
            seen["ok"] == true && seen["sent"].as_u64() > Some(500),
            "{}: that was no attack: {seen}",
            self.name()
        );
        Ok(seen)
    }
}

/// The other pod's questions for a while.
fn load(fabric: &Fabric, cast: &Cast, server: IpAddr, span: Duration) -> Result<Value> {
    let text = server.to_string();
    let load = fabric.background(cast.a.place(), &["dns-load", &text, WEB, "--rate", RATE], &[])?;
    pass(span);
    load.stop()
}

/// Under each attack the other pod loses no question, over UDP and TCP, about the fabric and outside.
pub fn attacked(fabric: &Fabric, cast: &Cast, span: Duration) -> Result<String> {
    fabric.apply(WEB_SERVICE)?;
    let (outside, server) = (fabric.outside(), servers(fabric)?[0]);
    let upstream = fabric.background(on(&outside), &["serve", "names:53"], &[])?;
    forward_to(fabric, &fabric.machine(&outside)?.addresses())?;
    let mut told = Vec::new();
    for (number, attack) in Attack::ALL.into_iter().enumerate() {
        let hostile = attack.begin(fabric, cast, server)?;
        let seen = std::thread::scope(|scope| {
            let load = scope.spawn(|| load(fabric, cast, server, span));
            let asked = others(fabric, cast, server, number);
            asked.and(load.join().unwrap_or_else(|_| anyhow::bail!("the load panicked")))
        });
        let did = attack.end(fabric, cast, server, hostile)?;
        let seen = seen.with_context(|| format!("{}: {did}", attack.name()))?;
        let all = seen["lost"] == 0 && seen["wrong"] == 0 && seen["sent"].as_u64() > Some(100);
        ensure!(all, "{}: {did}; another pod lost questions: {seen}", attack.name());
        told.push(format!("{} {}", did["sent"], attack.name()));
        pass(QUIET);
    }
    let restarts = fabric.service(cast.a.node(), "dns")?.restarts;
    upstream.stop()?;
    forward_to(fabric, &[])?;
    fabric.erase(WEB_SERVICE)?;
    ensure!(restarts == fabric.service(cast.a.node(), "dns")?.restarts);
    Ok(format!("a hostile pod: {}; another pod of its node lost no question", told.join(", ")))
}

/// Over TCP, and for a name outside that nobody has asked for before.
fn others(fabric: &Fabric, cast: &Cast, server: IpAddr, number: usize) -> Result {
    let by_tcp = ask(fabric, &cast.a.place(), server, &[WEB, "--tcp", "3"])?;
    ensure!(by_tcp["ok"] == true, "over TCP: {by_tcp}");
    let foreign = format!("hostile-{number}.example.test");
    let seen = ask(fabric, &cast.a.place(), server, &[&foreign, "--within", "5000"])?;
    ensure!(data(&seen, "A") == [ADDRESS_4.to_string()], "a name outside: {seen}");
    Ok(())
}

/// What stands beside the pod that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Nothing.
    Nobody,
    /// An attack at the server of names.
    Names(Attack),
    /// The same at a server of nothing on the same node: what is left is the attack's own part, and the kernel's.
    Sink(Attack),
}

/// Answers of a pod: the slowest of a hundred, microseconds; and what was lost.
pub(crate) struct Part {
    pub(crate) beside: Beside,
    pub(crate) p99: f64,
    pub(crate) lost: f64,
}

/// A server of nothing at the node's own address: by the way that questions for names take, also beside connection tracking.
struct Sink {
    address: IpAddr,
    server: Background,
}

impl Sink {
    fn start(fabric: &Fabric, node: &str, server: IpAddr) -> Result<Self> {
        let addresses = fabric.machine(node)?.addresses();
        let address = addresses.into_iter().find(|own| own.is_ipv4() == server.is_ipv4());
        let address = address.context("the node has no address of that family")?;
        let family = if address.is_ipv4() { "ip" } else { "ip6" };
        let rules = format!(
            "add table inet sink; add chain inet sink in {{ type filter hook prerouting priority -300; }}; \
             add chain inet sink out {{ type filter hook output priority -300; }}; \
             add rule inet sink in {family} daddr {address} meta l4proto {{ tcp, udp }} th dport 53 notrack; \
             add rule inet sink out {family} saddr {address} meta l4proto {{ tcp, udp }} th sport 53 notrack"
        );
        fabric.on(on(node), &["nft", &rules])?.success("nft")?;
        let at = SocketAddr::new(address, 53).to_string();
        Ok(Self { address, server: fabric.background(on(node), &["sink", &at], &[])? })
    }

    fn stop(self, fabric: &Fabric, node: &str) -> Result {
        self.server.stop()?;
        fabric.on(on(node), &["nft", "delete table inet sink"])?.success("nft").map(drop)
    }
}

/// So many rounds. In each, for every attack: alone, beside it, and beside its control; the last two change places from round to round.
pub(crate) fn rounds(fabric: &Fabric, cast: &Cast, count: usize, span: Duration) -> Result<Vec<Part>> {
    fabric.apply(WEB_SERVICE)?;
    let (outside, server) = (fabric.outside(), servers(fabric)?[0]);
    let upstream = fabric.background(on(&outside), &["serve", "names:53"], &[])?;
    forward_to(fabric, &fabric.machine(&outside)?.addresses())?;
    let node = cast.a.node();
    let sink = Sink::start(fabric, node, server)?;
    let measured = |beside: Beside| -> Result<Part> {
        let hostile = match beside {
            Beside::Nobody => None,
            Beside::Names(attack) => Some((attack, server)),
            Beside::Sink(attack) => Some((attack, sink.address)),
        };
        let begin = |(attack, to): (Attack, IpAddr)| {
            Ok::<_, anyhow::Error>((attack, to, attack.begin(fabric, cast, to)?))
        };
        let hostile = hostile.map(begin).transpose()?;
        let seen = load(fabric, cast, server, span);
        if let Some((attack, to, job)) = hostile {
            attack.end(fabric, cast, to, job)?;
        }
        pass(QUIET);
        let seen = seen?;
        let number = |key: &str| seen[key].as_f64().with_context(|| format!("no {key} in {seen}"));
        Ok(Part { beside, p99: number("p99_us")?, lost: number("lost")? })
    };
    let mut all = Vec::new();
    for round in 0..count {
        for attack in Attack::ALL {
            let mut parts = [Beside::Names(attack), Beside::Sink(attack)];
            if round % 2 == 1 {
                parts.reverse();
            }
            all.push(measured(Beside::Nobody)?);
            for beside in parts {
                all.push(measured(beside)?);
            }
        }
    }
    sink.stop(fabric, node)?;
    upstream.stop()?;
    forward_to(fabric, &[])?;
    fabric.erase(WEB_SERVICE)?;
    Ok(all)
}
