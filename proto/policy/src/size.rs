//! Whether nodes can hold what policies say, known before a node has it: of each set of policies that some pod has together, and
//! of all together as far as that can be told without knowing which node has which pod.
//!
//! Bounds of a node's tables as a whole depend on its pods; nodes tell when they meet them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use weft_errors::{Code, Coded, POLICY_TOO_LARGE};
use weft_model::{
    Direction, Family, NamedPort, NamespaceName, PodName, PolicyName, PolicyPeer, PolicyRule, PolicySpec,
};

use crate::{
    compile::{ranges, wide},
    error::{Part, names},
    limits::{NODE_OVERLAPS, PROFILE_PARTS},
    peers::Block,
    ports::{PROTOCOLS, PortSet},
    profile::Profile,
    split::weight,
    world::{World, WorldPod},
};

/// Policies that no node can hold together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oversized {
    /// The policies, in order of name; all of the world where none are named.
    pub policies: Vec<PolicyName>,
    /// What there is too much of.
    pub part: Part,
    /// How much.
    pub count: usize,
    /// How much there may be.
    pub limit: usize,
    /// The direction of the pods; `None`: of the policies as a whole.
    pub direction: Option<Direction>,
    /// Pods that have them together.
    pub pods: usize,
    /// One of them; `None`: no pod does, but the policy alone is too large.
    pub pod: Option<PodName>,
}

impl fmt::Display for Oversized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.policies.len() {
            0 => f.write_str("all policies together")?,
            _ => f.write_str(&names(&self.policies))?,
        }
        write!(f, ": {} {}, more than the {} that a node holds", self.count, self.part, self.limit)?;
        let (Some(pod), Some(direction)) = (&self.pod, self.direction) else { return Ok(()) };
        let direction = match direction {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        };
        write!(f, "; for {direction} of {} such as {pod}", if self.pods == 1 { "a pod" } else { "pods" })
    }
}

impl std::error::Error for Oversized {}

impl Coded for Oversized {
    fn code(&self) -> &'static Code {
        &POLICY_TOO_LARGE
    }

    fn envelope(&self) -> weft_errors::Error {
        let error = weft_errors::Error::new(self.code(), self.to_string());
        match self.policies.first() {
            Some(first) => error.object("networkpolicy", first.namespace.as_str(), &first.name),
            None => error,
        }
    }
}

/// Pods that have the same policies in a direction, and the same named ports if those count.
type Alike<'a> = (Direction, Vec<&'a PolicyName>, &'a [NamedPort]);

impl World {
    /// What of a namespace's policies no node can hold: of single ones, and of those that pods have together.
    pub fn oversized_in(&self, namespace: &NamespaceName) -> Vec<Oversized> {
        let own: Vec<_> = self.policies.iter().filter(|(name, _)| name.namespace == *namespace).collect();
        let mut found: Vec<_> = own.iter().filter_map(|(name, spec)| Oversized::alone(name, spec)).collect();
        // Mostly all of a namespace together is small.
        if own.iter().map(|(_, spec)| parts(spec)).sum::<usize>() <= PROFILE_PARTS && !overlaps(&own) {
            return found;
        }
        let mut seen: BTreeMap<Alike<'_>, (usize, &PodName)> = BTreeMap::new();
        for (name, pod) in self.pods.iter().filter(|(name, _)| name.namespace == *namespace) {
            for direction in [Direction::Ingress, Direction::Egress] {
                let policies: Vec<_> = self.isolating(direction, name, pod).map(|(name, _)| name).collect();
                if policies.len() > 1 {
                    seen.entry((direction, policies, &pod.ports)).or_insert((0, name)).0 += 1;
                }
            }
        }
        for ((direction, policies, ports), (pods, pod)) in seen {
            let rules = policies.iter().filter_map(|name| self.policies.get(*name)?.rules(direction));
            if let Some((part, count)) = too_large(direction, namespace, rules, ports) {
                let policies = policies.into_iter().cloned().collect();
                let (direction, pod) = (Some(direction), Some(pod.clone()));
                found.push(Oversized { policies, part, count, limit: part.limit(), direction, pods, pod });
            }
        }
        found
    }

    /// What no node can hold of the policies that isolate a pod.
    pub fn oversized_for(&self, name: &PodName, pod: &WorldPod) -> Vec<Oversized> {
        let of = |direction| {
            let isolating: Vec<_> = self.isolating(direction, name, pod).collect();
            let rules = isolating.iter().map(|(_, rules)| *rules);
            let (part, count) = too_large(direction, &name.namespace, rules, &pod.ports)?;
            let policies = isolating.iter().map(|(name, _)| (*name).clone()).collect();
            let (direction, pod) = (Some(direction), Some(name.clone()));
            Some(Oversized { policies, part, count, limit: part.limit(), direction, pods: 1, pod })
        };
        [Direction::Ingress, Direction::Egress].into_iter().filter_map(of).collect()
    }

    /// Blocks, or wide ranges of ports, of all policies that overlap more than any node holds. A node has only those of its own
    /// pods, so this may be said of what each node could hold.
    pub fn overlapping(&self) -> Vec<Oversized> {
        let all: Vec<_> = self.policies.iter().collect();
        overlap(&all)
            .into_iter()
            .filter(|count| *count > NODE_OVERLAPS)
            .map(|count| Oversized {
                policies: Vec::new(),
                part: Part::Overlaps,
                count,
                limit: NODE_OVERLAPS,
                direction: None,
                pods: 0,
                pod: None,
            })
            .collect()
    }

    /// All of it: of each namespace that has policies, and of all together.
    pub fn oversized(&self) -> Vec<Oversized> {
        let spaces: BTreeSet<_> = self.policies.keys().map(|name| &name.namespace).collect();
        spaces.into_iter().flat_map(|space| self.oversized_in(space)).chain(self.overlapping()).collect()
    }
}

impl Oversized {
    /// Whether a policy is too large by itself, selects it a pod or not.
    pub fn alone(name: &PolicyName, spec: &PolicySpec) -> Option<Self> {
        let of = |direction| {
            let rules = spec.rules(direction).into_iter();
            too_large(direction, &name.namespace, rules, &[])
        };
        let (part, count) = [Direction::Ingress, Direction::Egress].into_iter().find_map(of)?;
        let policies = vec![name.clone()];
        Some(Self { policies, part, count, limit: part.limit(), direction: None, pods: 0, pod: None })
    }
}

fn too_large<'a>(
    direction: Direction,
    namespace: &NamespaceName,
    rules: impl Iterator<Item = &'a [PolicyRule]>,
    ports: &[NamedPort],
) -> Option<(Part, usize)> {
    let rules = rules.flatten().map(|rule| (namespace, rule));
    Profile::of(direction, rules, ports).too_large()
}

/// At least as many parts as a policy adds to any profile.
fn parts(spec: &PolicySpec) -> usize {
    let peer = |peer: &PolicyPeer| match peer {
        PolicyPeer::Pods { .. } => 1,
        PolicyPeer::Block { except, .. } => 1 + except.len(),
    };
    let rule = |rule: &PolicyRule| {
        // Each peer has the rule's ports; without a list of them it has everything.
        let peers: usize = rule.peers.iter().map(peer).sum::<usize>().max(1);
        peers + rule.peers.len().max(1) * rule.ports.len()
    };
    spec.ingress.iter().chain(&spec.egress).map(rule).sum()
}

/// Whether the blocks or ranges of policies could overlap too much for one profile.
fn overlaps(policies: &[(&PolicyName, &std::sync::Arc<PolicySpec>)]) -> bool {
    overlap(policies).into_iter().sum::<usize>() > Part::Overlaps.limit()
}

/// How much the blocks of each family, and the wide ranges of ports of all protocols, overlap.
fn overlap(policies: &[(&PolicyName, &std::sync::Arc<PolicySpec>)]) -> [usize; 3] {
    let (mut blocks, mut wides): (BTreeSet<Block>, BTreeSet<(usize, u16, u16)>) = Default::default();
    for (_, spec) in policies {
        for direction in [Direction::Ingress, Direction::Egress] {
            for rule in spec.rules(direction).unwrap_or_default() {
                blocks.extend(rule.peers.iter().filter_map(|peer| match peer {
                    PolicyPeer::Block { range, except } => Some(Block::new(*range, except)),
                    PolicyPeer::Pods { .. } => None,
                }));
                let mut set = PortSet::default();
                rule.ports.iter().for_each(|port| {
                    if let weft_model::PortMatch::Numbers(first, last) = port.port {
                        set.add(port.protocol, first, last);
                    }
                });
                for (index, protocol) in PROTOCOLS.into_iter().enumerate() {
                    wides.extend(wide(&set, protocol).map(|(first, last)| (index, first, last)));
                }
            }
        }
    }
    let [v4, v6] = [Family::V4, Family::V6]
        .map(|family| weight(&ranges(blocks.iter().filter(|block| block.range.family() == family))));
    let ports = (0..PROTOCOLS.len()).map(|index| {
        let own = wides.iter().filter(|(of, ..)| *of == index);
        weight(&own.map(|(_, first, last)| ((*first).into(), (*last).into(), 0)).collect::<Vec<_>>())
    });
    [v4, v6, ports.sum()]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weft_model::AddressRange;

    use super::*;
    use crate::fixture::{policy, world};

    fn blocks(from: u32, count: u32) -> PolicyRule {
        let range = |number: u32| -> AddressRange {
            AddressRange::new(format!("10.{}.{}.0/24", number / 256, number % 256).parse().unwrap()).unwrap()
        };
        let peers =
            (from..from + count).map(|number| PolicyPeer::Block { range: range(number), except: vec![] });
        PolicyRule { peers: peers.collect(), ports: Vec::new() }
    }

    fn with(world: &mut World, name: &str, selector: &str, from: u32, count: u32) {
        let (name, spec) = policy(&format!("{name} {selector}: in none"));
        let spec = PolicySpec { ingress: vec![blocks(from, count)], ..(*spec).clone() };
        world.put_policy(name, Arc::new(spec));
    }

    fn shop() -> World {
        world(
            "ns shop team=a
             pod shop/web-0 app=web n1 10.0.0.1
             pod shop/web-1 app=web n1 10.0.0.2
             pod shop/db app=db n1 10.0.0.4",
        )
    }

    fn told(found: &[Oversized]) -> Vec<String> {
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_pods_have_together_is_bounded() {
        let mut world = shop();
        with(&mut world, "shop/a", "app=web", 0, 5000);
        with(&mut world, "shop/b", "app=db", 5000, 5000);
        assert_eq!(told(&world.oversized()), [""; 0], "large, but no pod has both");
        with(&mut world, "shop/c", "app=web", 5000, 4000);
        let expected = "shop/a, shop/c: 9000 peers, exceptions and ports, more than the 8192 that a node holds; for ingress of \
                        pods such as shop/web-0";
        assert_eq!(told(&world.oversized()), [expected]);
        let pod = |name: &str| {
            let name: PodName = name.parse().unwrap();
            let pod = world.pod(&name).unwrap();
            world.oversized_for(&name, pod).len()
        };
        assert_eq!((pod("shop/web-1"), pod("shop/db")), (1, 0));
        assert_eq!(world.oversized()[0].pods, 2);
    }

    #[test]
    fn one_policy_is_bounded_whether_it_selects_anybody_or_not() {
        let mut world = shop();
        with(&mut world, "shop/none", "app=none", 0, 8192);
        assert_eq!(told(&world.oversized()), [""; 0]);
        with(&mut world, "shop/none", "app=none", 0, 8193);
        let expected = "shop/none: 8193 peers, exceptions and ports, more than the 8192 that a node holds";
        assert_eq!(told(&world.oversized()), [expected]);
        assert_eq!(world.oversized()[0].code().to_string(), "W6001");
    }

    #[test]
    fn blocks_of_all_policies_may_overlap_so_much_and_no_more() {
        let mut world = shop();
        with(&mut world, "shop/apart", "app=web", 0, 3000);
        assert_eq!(told(&world.overlapping()), [""; 0], "none lies in another");
        // Each of many wide blocks lies in all that are wider, with its own exceptions.
        let all: AddressRange = AddressRange::new("0.0.0.0/0".parse().unwrap()).unwrap();
        let wide = (0..1500_u32).map(|number| {
            let hole =
                AddressRange::new(format!("10.{}.{}.0/24", number / 256, number % 256).parse().unwrap());
            PolicyPeer::Block { range: all, except: vec![hole.unwrap()] }
        });
        let (name, spec) = policy("shop/wide app=web: in none");
        let rule = PolicyRule { peers: wide.collect(), ports: Vec::new() };
        world.put_policy(name, Arc::new(PolicySpec { ingress: vec![rule], ..(*spec).clone() }));
        let found = told(&world.overlapping());
        assert!(
            found.len() == 1 && found[0].starts_with("all policies together: 4504500 overlaps"),
            "{found:?}"
        );
    }
}
