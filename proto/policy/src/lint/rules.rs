//! One policy, rule by rule.

use std::collections::{BTreeMap, BTreeSet};

use weft_model::{
    AddressRange, Direction, Family, LabelOperator, LabelRequirement, LabelSelector, NamedPort, PolicyName,
    PolicyPeer, PolicyPort, PolicyRule, PolicySpec, PortMatch,
};

use super::{Dead, Warning};
use crate::{
    compile::ranges,
    peers::{Block, PodsOf, Source},
    profile::{Grant, Profile},
    world::{Party, World, WorldPod},
};

pub(super) fn lint(world: &World, policy: &PolicyName, spec: &PolicySpec) -> Vec<Warning> {
    let mut linter = Linter { world, policy, spec, warnings: Vec::new() };
    linter.pods();
    for (direction, name, rules) in
        [(Direction::Ingress, "ingress", &spec.ingress), (Direction::Egress, "egress", &spec.egress)]
    {
        let field = format!("spec.{name}");
        if spec.rules(direction).is_none() {
            if !rules.is_empty() {
                linter.dead(field, Dead::Type(direction));
            }
            continue;
        }
        for (index, rule) in rules.iter().enumerate() {
            linter.rule(direction, rule, &format!("{field}[{index}]"));
        }
        linter.shadows(direction, rules, &field);
    }
    linter.warnings
}

struct Linter<'a> {
    world: &'a World,
    policy: &'a PolicyName,
    spec: &'a PolicySpec,
    warnings: Vec<Warning>,
}

impl Linter<'_> {
    fn dead(&mut self, field: String, why: Dead) {
        self.warnings.push(Warning::NeverMatches { policy: self.policy.clone(), field, why });
    }

    fn selected(&self) -> impl Iterator<Item = &WorldPod> {
        let own = self.world.pods().filter(|(name, _)| name.namespace == self.policy.namespace);
        own.map(|(_, pod)| pod).filter(|pod| self.spec.pods.selects(&pod.labels))
    }

    fn pods(&mut self) {
        if contradicts(&self.spec.pods) {
            self.dead("spec.podSelector".to_owned(), Dead::Contradiction);
        } else if self.selected().next().is_none() {
            self.warnings.push(Warning::SelectsNothing { policy: self.policy.clone() });
        }
    }

    fn rule(&mut self, direction: Direction, rule: &PolicyRule, field: &str) {
        let list = match direction {
            Direction::Ingress => "from",
            Direction::Egress => "to",
        };
        for (index, peer) in rule.peers.iter().enumerate() {
            self.peer(peer, format!("{field}.{list}[{index}]"));
        }
        let blocks = |peer: &PolicyPeer| matches!(peer, PolicyPeer::Block { .. });
        let blocks_alone = !rule.peers.is_empty() && rule.peers.iter().all(blocks);
        for (index, port) in rule.ports.iter().enumerate() {
            let PortMatch::Name(name) = &port.port else { continue };
            let field = format!("{field}.ports[{index}]");
            if direction == Direction::Egress && blocks_alone {
                self.dead(field, Dead::NameToBlock);
            } else if !self.is_known(direction, rule, port, name) {
                self.warnings.push(Warning::PortNameUnknown {
                    policy: self.policy.clone(),
                    field,
                    name: name.clone(),
                    protocol: port.protocol,
                });
            }
        }
    }

    /// Whether a pod that could be the destination has a port of a name. Where there is no such pod at all, that is said
    /// elsewhere.
    fn is_known(&self, direction: Direction, rule: &PolicyRule, port: &PolicyPort, name: &str) -> bool {
        let has =
            |ports: &[NamedPort]| ports.iter().any(|one| one.name == name && one.protocol == port.protocol);
        match direction {
            Direction::Ingress => {
                let mut selected = self.selected().peekable();
                selected.peek().is_none() || selected.any(|pod| has(&pod.ports))
            }
            Direction::Egress => {
                let meant = |party: &Party<'_>| {
                    rule.peers.is_empty() || rule.peers.iter().any(|peer| self.means(peer, *party))
                };
                let mut meant = self.world.parties().filter(meant).peekable();
                meant.peek().is_none() || meant.any(|party| has(party.ports))
            }
        }
    }

    /// Whether a peer means a pod by selectors.
    fn means(&self, peer: &PolicyPeer, party: Party<'_>) -> bool {
        let PolicyPeer::Pods { namespaces, pods } = peer else { return false };
        let fits = match namespaces {
            None => *party.namespace == self.policy.namespace,
            Some(selector) => self.world.namespace_fits(selector, party.namespace),
        };
        fits && pods.as_ref().is_none_or(|selector| selector.selects(party.labels))
    }

    fn peer(&mut self, peer: &PolicyPeer, field: String) {
        match peer {
            PolicyPeer::Pods { namespaces, pods } => {
                if namespaces.iter().chain(pods).any(contradicts) {
                    return self.dead(field, Dead::Contradiction);
                }
                let some = self.world.parties().any(|party| self.means(peer, party));
                if !some {
                    let policy = self.policy.clone();
                    self.warnings.push(Warning::PeerSelectsNothing { policy, field });
                }
            }
            PolicyPeer::Block { range, except } => self.block(*range, except, field),
        }
    }

    fn block(&mut self, range: AddressRange, except: &[AddressRange], field: String) {
        let block = Block::new(range, except);
        if ranges(std::iter::once(&block)).is_empty() {
            return self.dead(field, Dead::EmptyBlock);
        }
        let has = |pod: &WorldPod| pod.addresses.iter().any(|one| Family::of(*one) == range.family());
        let (has, lacks): (Vec<_>, Vec<_>) = self.selected().partition(|pod| has(pod));
        if has.is_empty() && !lacks.is_empty() {
            return self.dead(field, Dead::Family(range.family()));
        }
        let inside = |pod: &WorldPod| {
            let mut inside = pod.addresses.iter().filter(|one| range.contains(**one));
            inside.any(|one| !except.iter().any(|hole| hole.contains(*one)))
        };
        let covered: Vec<_> =
            self.world.pods().filter(|(_, pod)| inside(pod)).map(|(name, _)| name).collect();
        if let Some(pod) = covered.first() {
            self.warnings.push(Warning::BlockCoversPods {
                policy: self.policy.clone(),
                field,
                count: covered.len(),
                pod: (*pod).clone(),
            });
        }
    }

    /// Rules of which another one allows all; of two that say the same the later one.
    fn shadows(&mut self, direction: Direction, rules: &[PolicyRule], field: &str) {
        let meanings: Vec<_> = rules.iter().map(|rule| self.meaning(direction, rule)).collect();
        for (index, meaning) in meanings.iter().enumerate() {
            let shadow = meanings.iter().enumerate().find(|(other, wider)| {
                let equal = || covers(meaning, wider) && *other > index;
                *other != index && covers(wider, meaning) && !equal()
            });
            if let Some((by, _)) = shadow {
                let field = format!("{field}[{index}]");
                self.warnings.push(Warning::Shadowed { policy: self.policy.clone(), field, by });
            }
        }
    }

    /// Whom a rule lets do what; names are kept as they are.
    fn meaning(&self, direction: Direction, rule: &PolicyRule) -> BTreeMap<Source, Grant> {
        let mut rule = rule.clone();
        let names: BTreeSet<_> = rule
            .ports
            .iter()
            .filter_map(|port| match &port.port {
                PortMatch::Name(name) => Some((port.protocol, name.clone())),
                PortMatch::Any | PortMatch::Numbers(..) => None,
            })
            .collect();
        let all = rule.ports.is_empty();
        rule.ports.retain(|port| !matches!(port.port, PortMatch::Name(_)));
        let mut meaning = BTreeMap::new();
        let mut sources: Vec<_> =
            rule.peers.iter().map(|peer| Source::of(peer, &self.policy.namespace)).collect();
        if sources.is_empty() {
            sources.push(Source::Anyone);
        }
        let bare = PolicyRule { peers: Vec::new(), ports: rule.ports };
        let fixed = match all || !bare.ports.is_empty() {
            true => Profile::of(direction, std::iter::once((&self.policy.namespace, &bare)), &[]).any(),
            false => Default::default(),
        };
        for source in sources {
            meaning.insert(source, Grant { fixed: fixed.clone(), names: names.clone() });
        }
        meaning
    }
}

/// Whether a rule with one meaning allows all that one with the other does.
fn covers(wider: &BTreeMap<Source, Grant>, narrower: &BTreeMap<Source, Grant>) -> bool {
    let (anyone, pods) = (Source::Anyone, Source::Pods(PodsOf::everywhere()));
    narrower.iter().all(|(source, grant)| {
        let more = [Some(source), Some(&anyone), Some(&pods).filter(|_| matches!(source, Source::Pods(_)))];
        more.into_iter().flatten().any(|source| wider.get(source).is_some_and(|more| more.covers(grant)))
    })
}

/// Whether no labels at all could fulfil a selector.
fn contradicts(selector: &LabelSelector) -> bool {
    let mut allowed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (key, value) in &selector.labels {
        allowed.insert(key, BTreeSet::from([value.as_str()]));
    }
    for wanted in selector.expressions.iter().filter(|wanted| wanted.operator == LabelOperator::In) {
        let values: BTreeSet<_> = wanted.values.iter().map(String::as_str).collect();
        allowed
            .entry(&wanted.key)
            .and_modify(|known| known.retain(|value| values.contains(value)))
            .or_insert(values);
    }
    let there = |allowed: &BTreeMap<&str, BTreeSet<&str>>, key: &str| {
        let exists = |one: &LabelRequirement| one.operator == LabelOperator::Exists && one.key == key;
        allowed.contains_key(key) || selector.expressions.iter().any(exists)
    };
    for wanted in &selector.expressions {
        match wanted.operator {
            LabelOperator::NotIn => {
                if let Some(known) = allowed.get_mut(wanted.key.as_str()) {
                    known.retain(|value| !wanted.values.contains(*value));
                }
            }
            LabelOperator::DoesNotExist if there(&allowed, &wanted.key) => return true,
            LabelOperator::DoesNotExist | LabelOperator::In | LabelOperator::Exists => {}
        }
    }
    allowed.values().any(BTreeSet::is_empty)
}
