//! What this node's rules drop: the reasons, what comes with copies of dropped packets, and numbers that never go back.
//!
//! In: what the kernel's counters say. Out: packets dropped by reason, and by pod and direction. What a policy denies is counted in an
//! element of the pod, exactly; everything else by its rule alone. Not here: rules (`guard`, `policy`), reading the kernel (weft-kernel),
//! and why policies deny a packet (`explain`).

mod head;

use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

use weft_model::{Direction, Family, PodUid, ownership::NFT_TABLE};
use weft_nft::{DataType, Observed, Set, SetRef, TableFamily, TableRef, Value};

pub use head::PacketHead;

use crate::policy::rules;

/// Why a packet was dropped. A closed list: numbers, flows and people say the same words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// Something isolates the sender, and no rule lets it out.
    PolicyEgress,
    /// Something isolates the receiver, and no rule lets it in.
    PolicyIngress,
    /// A pod whose policies aren't known yet.
    UnknownPod,
    /// No table of policies judged it: somebody removed or changed them.
    Unjudged,
    /// A source that isn't the sender's own.
    Spoofed,
    /// A pod spoke to the control plane.
    ControlPlane,
    /// A pod asked for what is the machine's alone.
    Metadata,
    /// Something else than a question about names, or from somewhere else than this node, to its resolver.
    Resolver,
    /// It may not enter the fabric's routes.
    NotRoutable,
    /// It would have left the node without its tunnel.
    InClear,
    /// It isn't in `loadBalancerSourceRanges`.
    SourceRange,
}

impl DropReason {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::PolicyEgress,
        Self::PolicyIngress,
        Self::UnknownPod,
        Self::Unjudged,
        Self::Spoofed,
        Self::ControlPlane,
        Self::Metadata,
        Self::Resolver,
        Self::NotRoutable,
        Self::InClear,
        Self::SourceRange,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PolicyEgress => "policy-egress",
            Self::PolicyIngress => "policy-ingress",
            Self::UnknownPod => "unknown-pod",
            Self::Unjudged => "unjudged",
            Self::Spoofed => "spoofed",
            Self::ControlPlane => "control-plane",
            Self::Metadata => "metadata",
            Self::Resolver => "resolver",
            Self::NotRoutable => "not-routable",
            Self::InClear => "in-clear",
            Self::SourceRange => "source-range",
        }
    }

    /// The reason for what policies deny in a direction.
    pub const fn denied(direction: Direction) -> Self {
        match direction {
            Direction::Egress => Self::PolicyEgress,
            Direction::Ingress => Self::PolicyIngress,
        }
    }

    /// The direction in which policies denied; `None`: it wasn't a policy.
    pub const fn of_policy(self) -> Option<Direction> {
        match self {
            Self::PolicyEgress => Some(Direction::Egress),
            Self::PolicyIngress => Some(Direction::Ingress),
            Self::UnknownPod
            | Self::Unjudged
            | Self::Spoofed
            | Self::ControlPlane
            | Self::Metadata
            | Self::Resolver
            | Self::NotRoutable
            | Self::InClear
            | Self::SourceRange => None,
        }
    }

    /// Why a rule of ours with a counter and this comment counts; `None`: it drops nothing.
    fn of_rule(chain: &str, comment: &str) -> Option<Self> {
        Some(match comment {
            rules::DENIES if chain.starts_with(rules::EGRESS) => Self::PolicyEgress,
            rules::DENIES => Self::PolicyIngress,
            rules::UNKNOWN => Self::UnknownPod,
            "not judged by policy" => Self::Unjudged,
            "unknown port, foreign source, VLAN or other EtherType"
            | "ARP for an address that isn't the pod's"
            | "router advertisement"
            | "redirect"
            | "unknown port or foreign source"
            | "neighbour solicitation that lies"
            | "neighbour advertisement that lies"
            | "a pod's packet that went around the bridge"
            | "a source of the fabric that comes from outside"
            | "a source that no peer has" => Self::Spoofed,
            "a pod never speaks to the control plane" => Self::ControlPlane,
            "link-local and cloud metadata are the machine's own" => Self::Metadata,
            "each node answers its own pods alone"
            | "names and nothing else"
            | "answers stay on the node"
            | "longer than any question"
            | "a part of what is longer than any question"
            | "more connections than one pod may make" => Self::Resolver,
            "pods are routed, never bridged"
            | "not routable"
            | "not checked by port security"
            | "a pod's way is always the gateway"
            | "a mesh address is for the fabric alone" => Self::NotRoutable,
            "never in clear" | "to another node never in clear" => Self::InClear,
            "not in loadBalancerSourceRanges" => Self::SourceRange,
            _ => return None,
        })
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What comes with the copy of a dropped packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropLabel {
    /// Why it was dropped.
    pub reason: DropReason,
    /// Of a pod's two directions the one whose policies were asked; `None`: none were.
    pub direction: Option<Direction>,
    /// It went against the way of its connection.
    pub reply: bool,
}

impl DropLabel {
    /// Whether the pod that it was about has sent it.
    pub fn pod_sent(&self) -> bool {
        (self.direction == Some(Direction::Ingress)) == self.reply
    }
}

impl FromStr for DropLabel {
    type Err = ();

    /// Reads the prefix of a rule that logs.
    fn from_str(prefix: &str) -> Result<Self, ()> {
        let mut words = prefix.split(' ');
        let word = words.next().unwrap_or_default();
        let reason = DropReason::ALL.into_iter().find(|reason| reason.as_str() == word).ok_or(())?;
        let rest: Vec<&str> = words.collect();
        let named = [Direction::Egress, Direction::Ingress];
        let named = named.into_iter().find(|direction| rest.contains(&direction.to_string().as_str()));
        let direction = reason.of_policy().or(named);
        Ok(Self { reason, direction, reply: rest.contains(&"reply") })
    }
}

/// Where the kernel counts drops.
#[derive(Clone, Debug)]
pub struct DropCounters {
    /// Tables whose rules count.
    pub tables: Vec<TableRef>,
    /// Sets whose elements count.
    pub sets: Vec<SetRef>,
}

impl DropCounters {
    /// All of them, of both families.
    pub fn all() -> Self {
        let own = |family| TableRef { family, name: NFT_TABLE.to_owned() };
        let mut tables: Vec<_> =
            [TableFamily::Bridge, TableFamily::Inet, TableFamily::Ip, TableFamily::Ip6].map(own).to_vec();
        tables.extend([Family::V4, Family::V6].map(rules::table_ref));
        Self { tables, sets: sets().map(|(_, id, _)| id).collect() }
    }
}

/// Sets of denied packets by pod.
fn sets() -> impl Iterator<Item = (Direction, SetRef, Set)> {
    let families = [(Family::V4, DataType::Ipv4Addr), (Family::V6, DataType::Ipv6Addr)];
    families.into_iter().flat_map(|(family, address)| {
        [Direction::Ingress, Direction::Egress].map(|direction| {
            let name = rules::denied(direction).to_owned();
            let set = Set::exact(&name, &[address], 0);
            (direction, SetRef { table: rules::table_ref(family), name }, set)
        })
    })
}

/// Packets dropped, as the kernel counts them now: since its tables were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DropCounts {
    /// By reason; none is left out.
    pub reasons: BTreeMap<DropReason, u64>,
    /// What policies denied, by direction and address of the pod.
    pub pods: BTreeMap<(Direction, IpAddr), u64>,
}

impl DropCounts {
    /// Reads a dump of [`DropCounters`].
    pub fn read(observed: &Observed) -> Self {
        let mut reasons: BTreeMap<_, _> = DropReason::ALL.map(|reason| (reason, 0)).into();
        for (rule, counted) in observed.counting_rules() {
            if let Some(reason) = DropReason::of_rule(&rule.chain, &rule.comment) {
                *reasons.entry(reason).or_default() += counted.packets;
            }
        }
        let mut pods = BTreeMap::new();
        for (direction, id, set) in sets() {
            for (key, counted) in observed.counted_elements(&id, &set) {
                let address = match key.as_slice() {
                    [Value::V4(address)] => IpAddr::V4(*address),
                    [Value::V6(address)] => IpAddr::V6(*address),
                    _ => continue,
                };
                pods.insert((direction, address), counted.packets);
            }
        }
        Self { reasons, pods }
    }
}

/// Numbers that never go back while a pod lives, whatever becomes of the tables.
#[derive(Clone, Debug, Default)]
pub struct DropTally {
    reasons: BTreeMap<DropReason, Sum>,
    pods: BTreeMap<(Direction, IpAddr), (PodUid, Sum)>,
}

/// What a counter said last, and all that it ever said.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    last: u64,
    all: u64,
}

impl Sum {
    /// One that says less than before has begun anew.
    const fn take(&mut self, now: u64) {
        let more = if now >= self.last { now - self.last } else { now };
        (self.last, self.all) = (now, self.all.saturating_add(more));
    }
}

impl DropTally {
    /// Adds what was counted since the last time. Pods of this node by address: one that has another's address begins at nothing.
    pub fn take(&mut self, now: &DropCounts, pods: &BTreeMap<IpAddr, PodUid>) {
        for (reason, packets) in &now.reasons {
            self.reasons.entry(*reason).or_default().take(*packets);
        }
        self.pods.retain(|(_, address), (uid, _)| pods.get(address) == Some(uid));
        for direction in [Direction::Ingress, Direction::Egress] {
            for (address, uid) in pods {
                let key = (direction, *address);
                let packets = now.pods.get(&key).copied().unwrap_or(0);
                self.pods.entry(key).or_insert((*uid, Sum::default())).1.take(packets);
            }
        }
    }

    /// Packets dropped for a reason.
    pub fn of_reason(&self, reason: DropReason) -> u64 {
        self.reasons.get(&reason).map_or(0, |sum| sum.all)
    }

    /// Packets that policies denied to pods of this node, by direction and address.
    pub fn of_pods(&self) -> impl Iterator<Item = (Direction, IpAddr, u64)> {
        self.pods.iter().map(|((direction, address), (_, sum))| (*direction, *address, sum.all))
    }
}

#[cfg(test)]
mod tests {
    use weft_model::{NodeEgress, Overlay};
    use weft_nft::{Rule, Statement, Verdict};

    use super::*;
    use crate::Ruleset;

    /// All rules of our tables with their chains.
    fn all_rules() -> Vec<(String, Rule)> {
        let guards = [Overlay::Wireguard, Overlay::Routed].map(Ruleset::new);
        let mut tables: Vec<_> = guards.iter().flat_map(|guard| guard.tables().to_vec()).collect();
        tables.extend([Family::V4, Family::V6].map(|family| rules::table(family, NodeEgress::Policy)));
        let chains = tables.into_iter().flat_map(|table| table.chains);
        chains.flat_map(|chain| chain.rules.into_iter().map(move |rule| (chain.name.clone(), rule))).collect()
    }

    #[test]
    fn every_rule_that_counts_what_it_drops_has_a_reason() {
        let rules = all_rules();
        let counting = rules.iter().filter(|(_, rule)| rule.statements.contains(&Statement::Counter));
        let mut found = 0;
        for (chain, rule) in counting {
            let ends = matches!(
                rule.statements.last(),
                Some(Statement::Verdict(Verdict::Drop) | Statement::Reject(_))
            );
            assert!(ends, "{chain}: {rule}");
            assert!(DropReason::of_rule(chain, rule.comment).is_some(), "{chain}: {rule}");
            found += 1;
        }
        assert!(found > 30, "{found}");
    }

    #[test]
    fn every_prefix_is_read_and_what_is_told_is_dropped_by_the_next_rule() {
        let rules = all_rules();
        let mut found = 0;
        for (place, (chain, rule)) in rules.iter().enumerate() {
            let Some(Statement::Log { prefix, .. }) = rule.statements.last() else { continue };
            let label: DropLabel = prefix.parse().unwrap();
            let (next_chain, next) = &rules[place + 1];
            assert_eq!(next_chain, chain);
            assert_eq!(DropReason::of_rule(chain, next.comment), Some(label.reason), "{chain}: {rule}");
            if let Some(direction) = label.direction {
                assert!(chain.starts_with(&direction.to_string()), "{chain}: {rule}");
                assert_eq!(label.reply, chain.contains("reply"), "{chain}: {rule}");
            }
            found += 1;
        }
        assert!(found > 20, "{found}");
        for wrong in ["", "nothing", "policy"] {
            assert!(wrong.parse::<DropLabel>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_one_whose_policies_are_asked_has_sent_what_leaves_it() {
        let sent = |prefix: &str| prefix.parse::<DropLabel>().unwrap().pod_sent();
        assert_eq!(["policy-egress", "policy-ingress reply", "spoofed"].map(sent), [true; 3]);
        assert_eq!(["policy-ingress", "policy-egress reply", "unknown-pod ingress"].map(sent), [false; 3]);
    }

    #[test]
    fn numbers_go_on_where_a_table_begins_anew_and_end_with_the_pod() {
        let (address, mut tally) = ("10.1.1.1".parse().unwrap(), DropTally::default());
        let mut round = |reason: u64, pod: Option<u64>, uid: u8| {
            let key = (Direction::Egress, address);
            let counts = DropCounts {
                reasons: [(DropReason::Spoofed, reason)].into(),
                pods: pod.map(|packets| (key, packets)).into_iter().collect(),
            };
            tally.take(&counts, &[(address, PodUid([uid; 16]))].into());
            let of_pod = tally.of_pods().find(|(direction, ..)| *direction == Direction::Egress);
            (tally.of_reason(DropReason::Spoofed), of_pod.map(|(.., packets)| packets))
        };
        assert_eq!(
            round(3, Some(5), 1),
            (3, Some(5)),
            "what was counted before this process is told as well"
        );
        assert_eq!(round(4, Some(5), 1), (4, Some(5)));
        assert_eq!(round(1, None, 1), (5, Some(5)), "made anew, and not filled yet");
        assert_eq!(round(1, Some(2), 1), (5, Some(7)));
        assert_eq!(round(1, Some(2), 2), (5, Some(2)), "another pod with its address");
    }
}
