//! Load-balancer addresses on the link: who answers, and how soon another does when the owner is killed, frozen or cut off.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::capture::decode;
use crate::capture::pcapng::Record;
use crate::checks::{HTTP, SERVERS, UDP, eventually, works};
use crate::fabric::{Pod, READY, on};
use crate::wait::{pass, until};
use crate::{Fabric, Result};

/// Owners of addresses carry this label; the backend is on another node, so that it survives every owner.
pub(super) const EDGES: [&str; 2] = ["n1", "n2"];
/// The node of the backend.
pub(super) const INSIDE: &str = "n3";
/// How often a check is run on a machine that is too busy for it.
const TRIES: usize = 4;
/// What an address may be away for on a machine that does much else. What it should be stands in the documents.
pub(super) const BOUND: u64 = 2_000;
/// How long is looked before a fault, and after what came of it: whoever answers wrongly does so then.
const AROUND: Duration = Duration::from_millis(400);
/// A fault that moves nothing is looked at for so long.
const LOOK: Duration = Duration::from_millis(1_500);
/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// There is no leader for so long.
const LEADERLESS: Duration = Duration::from_secs(2);
/// A move is decided within this on any machine.
const MOVED: Duration = Duration::from_secs(10);

/// A pool on the link, services in front of a backend, seen from a machine outside.
pub struct Balanced<'a> {
    pub(super) fabric: &'a Fabric,
    pub(super) backend: Pod,
    pub(super) addresses: Vec<IpAddr>,
}

/// Who answers for an address.
pub(super) struct Owner {
    pub(super) node: String,
    successor: Option<String>,
    pub(super) epoch: u64,
}

impl<'a> Balanced<'a> {
    /// On topology `balancers`: one machine outside, two nodes that may own, one with the backend.
    pub fn set(fabric: &'a Fabric) -> Result<Self> {
        let backend = fabric.labelled_pod(INSIDE, "balanced", &[("balanced", "yes")], &SERVERS)?;
        let mut text: Vec<String> = EDGES.iter().map(|node| label(node, "yes")).collect();
        let family = fabric.topology().family;
        let ranges = [(family.has_v4(), "192.168.66.224/28"), (family.has_v6(), "fd66:66::e0/124")];
        let ranges: Vec<&str> = ranges.iter().filter(|(has, _)| *has).map(|(_, range)| *range).collect();
        text.push(format!(
            "apiVersion: weft.io/v1\nkind: LoadBalancerPool\nmetadata: {{name: link}}\nspec:\n  ranges: [{}]\n  \
             nodeSelector: {{edge: \"yes\"}}\n",
            ranges.iter().map(|range| format!("\"{range}\"")).collect::<Vec<_>>().join(", ")
        ));
        text.push(service("front", "", ""));
        fabric.apply(&text.join("---\n"))?;
        let mut balanced = Self { fabric, backend, addresses: Vec::new() };
        balanced.addresses = balanced.addresses_of("front")?;
        ensure!(balanced.addresses.len() == ranges.len(), "{:?} of {ranges:?}", balanced.addresses);
        balanced.settled()?;
        Ok(balanced)
    }

    /// Takes everything away.
    pub fn strike(self) -> Result {
        let fabric = self.fabric;
        for object in [["service", "front"], ["loadbalancerpool", "link"]] {
            fabric.weft(&["delete", object[0], object[1]])?.success("weft delete")?;
        }
        fabric.apply(&EDGES.map(|node| label(node, "no")).join("---\n"))?;
        fabric.detach(&self.backend)
    }

    /// Runs a check that silences a node `silences` times. When it fails and the control plane has heard nothing of more nodes than
    /// that for 150 ms, this machine was too busy for what a fabric's machines have of their own: then it is run again.
    pub fn prove(&self, silences: usize, check: fn(&Self) -> Result<String>) -> Result<String> {
        let mut attempt = 1;
        loop {
            let before = self.silences()?;
            let seen = check(self);
            let heard = self.silences()?.saturating_sub(before);
            if seen.is_ok() || heard <= silences || attempt == TRIES {
                return seen.with_context(|| {
                    format!("{heard} nodes fell silent, {silences} should; attempt {attempt}")
                });
            }
            let mut stderr = std::io::stderr();
            drop(writeln!(
                stderr,
                "attempt {attempt} failed while {heard} nodes fell silent instead of {silences}; again"
            ));
            attempt += 1;
            self.fabric.heal()?;
            self.fabric.nodes()?.iter().try_for_each(|node| {
                self.fabric.release(node, "agent")?;
                self.fabric.client().ready(node, "agent", READY)
            })?;
            self.fabric.settle_all()?;
            self.settled()?;
        }
    }

    /// How often nodes gave no sign of life any more, as the replicas' logs tell.
    fn silences(&self) -> Result<usize> {
        let layout = self.fabric.client().layout();
        let mut sum = 0;
        for number in 1..=self.fabric.topology().control_planes.count {
            let text = std::fs::read_to_string(layout.log(&format!("cp-{number}"), "weftd"))?;
            sum += text.matches("gives no sign of life any more").count();
        }
        Ok(sum)
    }

    /// Addresses that a service was given.
    pub(super) fn addresses_of(&self, name: &str) -> Result<Vec<IpAddr>> {
        let service = self.fabric.weft_json(&["get", "service", name])?;
        let given = service["status"]["loadBalancer"]["ingress"].as_array().cloned().unwrap_or_default();
        let all: Vec<IpAddr> = given.iter().filter_map(|one| one["ip"].as_str()?.parse().ok()).collect();
        ensure!(!all.is_empty(), "no address in {service}");
        Ok(all)
    }

    pub(super) fn owner(&self, address: IpAddr) -> Result<Owner> {
        let owner = self.fabric.weft_json(&["get", "owner", &address.to_string()])?;
        let status = &owner["status"];
        Ok(Owner {
            node: status["node"].as_str().with_context(|| format!("no node in {owner}"))?.to_owned(),
            successor: status["successor"].as_str().map(str::to_owned),
            epoch: status["epoch"].as_u64().with_context(|| format!("no epoch in {owner}"))?,
        })
    }

    /// Waits until each address has an owner and a successor, and answers outside.
    pub(super) fn settled(&self) -> Result {
        for address in &self.addresses {
            eventually(Duration::from_secs(15), || {
                let owner = self.owner(*address)?;
                ensure!(owner.successor.is_some(), "{} has no successor", owner.node);
                self.answers(*address)
            })
            .with_context(|| format!("{address} isn't served"))?;
        }
        Ok(())
    }

    fn answers(&self, address: IpAddr) -> Result {
        let outside = on(&self.fabric.outside());
        works(self.fabric, &outside, &["udp", &address.to_string(), UDP, "--within", "500"]).map(drop)
    }

    pub(super) fn mac(&self, node: &str) -> Result<[u8; 6]> {
        let text =
            self.fabric.on(on(node), &["cat", "/sys/class/net/eth0/address"])?.success("read a MAC")?;
        let bytes: Vec<u8> =
            text.trim().split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
        bytes.try_into().map_err(|_| anyhow::anyhow!("{text:?} is no MAC"))
    }

    /// Asks 200 times a second from outside while `disturb` happens to the owner of the first address: what was seen until the
    /// address has moved.
    pub(super) fn gap(&self, disturb: impl FnOnce(&Owner) -> Result) -> Result<Gap> {
        // A successor that was silent for a moment, on a busy machine, has to be back.
        let first = *self.addresses.first().context("no address")?;
        eventually(Duration::from_secs(15), || {
            let owner = self.owner(first)?;
            ensure!(owner.successor.is_some(), "{} has no successor", owner.node);
            Ok(())
        })?;
        self.seen(disturb, |before, address| {
            // Where it doesn't move, that is told by `Gap::moved`, with what was seen.
            until(MOVED, LOOK_AGAIN, || {
                (self.owner(address).ok()?.epoch != before.epoch && self.answers(address).is_ok())
                    .then_some(())
            });
            pass(AROUND);
        })
    }

    /// As [`Balanced::gap`], where the address should stay.
    pub(super) fn stays(&self, disturb: impl FnOnce(&Owner) -> Result) -> Result<Gap> {
        self.seen(disturb, |_, _| pass(LOOK))
    }

    fn seen(&self, disturb: impl FnOnce(&Owner) -> Result, look: impl FnOnce(&Owner, IpAddr)) -> Result<Gap> {
        let address = *self.addresses.first().context("no address")?;
        let before = self.owner(address)?;
        let outside = self.fabric.outside();
        let capture = self.fabric.capture(on(&outside), "eth0", &format!("owner-{}", before.epoch))?;
        let asked = self.fabric.background(on(&outside), &["gaps", &address.to_string(), UDP], &[])?;
        pass(AROUND);
        disturb(&before)?;
        look(&before, address);
        let seen = asked.stop()?;
        let gap = seen["longest_gap_ms"].as_u64().context("no gap")?;
        ensure!(gap <= BOUND, "{address} was away for {gap} ms: {seen}");
        let after = self.owner(address)?;
        let frames = capture.frames()?;
        Ok(Gap { ms: gap, address, before, after, frames })
    }
}

/// What came of a disturbance.
pub(super) struct Gap {
    pub(super) ms: u64,
    pub(super) address: IpAddr,
    pub(super) before: Owner,
    pub(super) after: Owner,
    pub(super) frames: Vec<Record>,
}

impl Gap {
    /// It moved to the successor.
    pub(super) fn moved(&self) -> Result {
        let Owner { node, successor, epoch } = &self.before;
        let right = successor.as_ref() == Some(&self.after.node) && self.after.epoch > *epoch;
        ensure!(right, "{} moved from {node} to {} instead of {successor:?}", self.address, self.after.node);
        Ok(())
    }

    /// Whoever says where the address is, from 100 ms after the first word of the new owner on, is the new owner.
    pub(super) fn alone(&self, balanced: &Balanced<'_>, old: [u8; 6]) -> Result<usize> {
        let new = balanced.mac(&self.after.node)?;
        let said: Vec<(Duration, [u8; 6])> =
            self.frames.iter().filter_map(|frame| Some((frame.at, says(frame, self.address)?))).collect();
        let first = said.iter().find(|(_, mac)| *mac == new).context("the new owner said nothing")?.0;
        let limit = first + Duration::from_millis(100);
        let wrong = said.iter().filter(|(at, mac)| *at > limit && *mac == old).count();
        ensure!(
            wrong == 0,
            "{wrong} answers of the old owner later than 100 ms after the first of the new one"
        );
        Ok(said.len())
    }
}

/// The machine that a frame says an address is at.
pub(super) fn says(frame: &Record, address: IpAddr) -> Option<[u8; 6]> {
    let bytes = &frame.bytes;
    let decoded = decode::frame(bytes)?;
    let about = match address {
        IpAddr::V4(address) => {
            decoded.ethertype == decode::ARP && bytes.get(28..32)? == address.octets().as_slice()
        }
        IpAddr::V6(address) => {
            // A neighbour advertisement and its target (RFC 4861 section 4.4).
            decoded.ethertype == decode::IPV6
                && bytes.get(20) == Some(&decode::ICMPV6)
                && bytes.get(54) == Some(&136)
                && bytes.get(62..78)? == address.octets().as_slice()
        }
    };
    about.then(|| bytes.get(6..12)?.try_into().ok()).flatten()
}

fn label(node: &str, edge: &str) -> String {
    format!("apiVersion: weft.io/v1\nkind: Node\nmetadata: {{name: {node}, labels: {{edge: \"{edge}\"}}}}\n")
}

pub(super) fn service(name: &str, annotations: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\nspec:\n  type: LoadBalancer\n  \
         ipFamilyPolicy: PreferDualStack\n  selector: {{balanced: \"yes\"}}\n{more}  ports:\n  - {{name: http, port: {HTTP}}}\n  \
         - {{name: udp, port: {UDP}, protocol: UDP}}\n"
    )
}

/// The owner's machine loses its power; it comes back and the address stays; then the other one does, and the address is back.
pub fn owner_killed(balanced: &Balanced<'_>) -> Result<String> {
    let fabric = balanced.fabric;
    let mut gaps = Vec::new();
    let mut owners = Vec::new();
    for _ in 0..2 {
        let gap = balanced.gap(|owner| fabric.fail(&format!("kill-node {}", owner.node)))?;
        gap.moved()?;
        gaps.push(gap.ms);
        owners.push(gap.before.node.clone());
        fabric.heal()?;
        fabric.client().ready(&gap.before.node, "agent", READY)?;
        balanced.settled()?;
        let stays = balanced.owner(gap.address)?;
        ensure!(stays.epoch == gap.after.epoch, "the address moved back by itself");
        owners.push(gap.after.node);
    }
    ensure!(owners.first() == owners.last(), "it isn't back: {owners:?}");
    Ok(format!(
        "{} lost its power: away for {} ms; then the next one: {} ms, and it is back",
        owners[0], gaps[0], gaps[1]
    ))
}

/// The owner's processes are stopped: its kernel would go on answering. When they go on, nothing of it is heard.
pub fn owner_frozen(balanced: &Balanced<'_>) -> Result<String> {
    let fabric = balanced.fabric;
    let old = balanced.mac(&balanced.owner(balanced.addresses[0])?.node)?;
    let gap = balanced.gap(|owner| fabric.fail(&format!("pause {}", owner.node)))?;
    gap.moved()?;
    gap.alone(balanced, old)?;
    let thawed = balanced.stays(|_| fabric.heal())?;
    ensure!(thawed.after.epoch == gap.after.epoch, "it moved when the old owner went on");
    fabric.client().ready(&gap.before.node, "agent", READY)?;
    let wrong = thawed.frames.iter().filter(|frame| says(frame, gap.address) == Some(old)).count();
    ensure!(wrong == 0, "the thawed owner said {wrong} times that it has the address");
    balanced.settled()?;
    Ok(format!(
        "{} frozen: away for {} ms, nothing of it later than 100 ms after {}'s first word; going on: {} ms",
        gap.before.node, gap.ms, gap.after.node, thawed.ms
    ))
}

/// The owner's agent is killed and doesn't come back at once: nobody said that it would come back, so the address moves, and its next agent claims nothing.
pub fn agent_killed(balanced: &Balanced<'_>) -> Result<String> {
    let fabric = balanced.fabric;
    // An agent that is back within 150 ms was never away, hence this one is held down.
    let gap = balanced.gap(|owner| fabric.hold(&owner.node, "agent"))?;
    fabric.release(&gap.before.node, "agent")?;
    fabric.client().ready(&gap.before.node, "agent", READY)?;
    gap.moved()?;
    gap.alone(balanced, balanced.mac(&gap.before.node)?)?;
    balanced.settled()?;
    Ok(format!(
        "agent of {} killed: away for {} ms, {} answers alone",
        gap.before.node, gap.ms, gap.after.node
    ))
}

/// The owner is cut off from the replicas but not from the link: only one answers.
pub fn owner_cut_from_replicas(balanced: &Balanced<'_>) -> Result<String> {
    let fabric = balanced.fabric;
    let replicas = fabric.replicas()?.join(",");
    let old = balanced.mac(&balanced.owner(balanced.addresses[0])?.node)?;
    let gap = balanced.gap(|owner| {
        fabric.fail(&format!("partition {}|{replicas}", owner.node))?;
        // Whoever asks anew hears of one machine alone.
        ask_anew(balanced)
    })?;
    gap.moved()?;
    let said = gap.alone(balanced, old)?;
    fabric.heal()?;
    balanced.settled()?;
    Ok(format!(
        "{} cut off from the replicas: away for {} ms, {said} words about the address, none of the old owner later than 100 ms after {}'s first",
        gap.before.node, gap.ms, gap.after.node
    ))
}

/// Outside forgets again and again where the address is.
pub(super) fn ask_anew(balanced: &Balanced<'_>) -> Result {
    let outside = on(&balanced.fabric.outside());
    let address = balanced.addresses[0].to_string();
    for _ in 0..20 {
        balanced
            .fabric
            .on(outside.clone(), &["ip", "neigh", "flush", "to", &address])?
            .success("ip neigh flush")?;
        pass(Duration::from_millis(40));
    }
    Ok(())
}

/// Without a leader the owner goes on, and its agent's restart doesn't matter.
pub fn without_a_leader(balanced: &Balanced<'_>) -> Result<String> {
    let fabric = balanced.fabric;
    let replicas = fabric.replicas()?;
    let address = balanced.addresses[0];
    let before = balanced.owner(address)?;
    let asked = fabric.background(on(&fabric.outside()), &["gaps", &address.to_string(), UDP], &[])?;
    pass(AROUND);
    for replica in &replicas {
        fabric.fail(&format!("kill-replica {replica}"))?;
    }
    pass(LEADERLESS);
    ask_anew(balanced)?;
    let seen = asked.stop()?;
    fabric.heal()?;
    for replica in &replicas {
        fabric.client().ready(replica, "weftd", READY)?;
    }
    balanced.settled()?;
    let gap = seen["longest_gap_ms"].as_u64().context("no gap")?;
    ensure!(gap <= 300, "the address was away for {gap} ms while no replica was there: {seen}");
    let after = balanced.owner(address)?;
    ensure!(after.epoch == before.epoch, "it moved when the replicas came back");
    Ok(format!(
        "all replicas dead for {} s: {} goes on, longest silence {gap} ms",
        LEADERLESS.as_secs_f32(),
        before.node
    ))
}

/// An agent that is told to start anew says so: its address stays, and answers meanwhile.
pub fn agent_restarted(balanced: &Balanced<'_>) -> Result<String> {
    let fabric = balanced.fabric;
    let gap = balanced.stays(|owner| {
        fabric.on(on(&owner.node), &["pkill", "-TERM", "-f", "weft-agent run"])?.success("stop the agent")?;
        ask_anew(balanced)
    })?;
    ensure!(gap.before.epoch == gap.after.epoch, "the address moved to {}", gap.after.node);
    fabric.client().ready(&gap.before.node, "agent", READY)?;
    ensure!(gap.ms <= 300, "the address was away for {} ms while its agent started anew", gap.ms);
    Ok(format!(
        "agent of {} told to start anew: the address stays, longest silence {} ms",
        gap.before.node, gap.ms
    ))
}
