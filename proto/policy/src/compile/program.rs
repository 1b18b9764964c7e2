//! Programs: profiles as elements of the tables.

use std::collections::BTreeMap;

use weft_model::{Family, IdentityId};

use super::Compiler;
use crate::{
    error::Part,
    index::SelectorId,
    limits::{PROFILE_BLOCKS, PROFILE_PEERS},
    peers::{Block, PodsOf, Source},
    ports::PortSet,
    profile::{Grant, Profile, ProfileId},
    table::{BlockClass, Key},
};

/// A profile in use.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// Local identities that have it, each direction by itself.
    users: usize,
    any: PortSet,
    pods: PortSet,
    selectors: BTreeMap<SelectorId, Grant>,
    blocks: Vec<(Block, PortSet)>,
    /// Identities it lists in the tables.
    listed: usize,
    /// What is too large of it, and how large that is: the program is empty, its pods closed.
    pub(super) refused: Option<(Part, usize)>,
}

impl Program {
    pub(super) fn has_blocks(&self, family: Family) -> bool {
        self.blocks.iter().any(|(block, _)| block.range.family() == family)
    }
}

impl Compiler {
    /// One more local identity has a profile; `None` is the open one.
    pub(super) fn acquire(&mut self, profile: Option<Profile>) -> ProfileId {
        let Some(profile) = profile else { return ProfileId::OPEN };
        let id = profile.id();
        if let Some(program) = self.programs.get_mut(&id) {
            program.users += 1;
            return id;
        }
        let mut program = Program {
            users: 1,
            any: profile.any(),
            pods: profile.pods(),
            selectors: BTreeMap::new(),
            blocks: Vec::new(),
            listed: 0,
            refused: profile.too_large(),
        };
        if program.refused.is_none() {
            for (source, grant) in &profile.grants {
                match source {
                    Source::Block(block) => {
                        self.blocks.use_block(block);
                        program.blocks.push((block.clone(), grant.fixed.clone()));
                    }
                    // Numbers for everybody are the defaults; names are looked up pod by pod.
                    Source::Anyone if grant.names.is_empty() => {}
                    Source::Anyone => {
                        let selector = self.use_selector(&PodsOf::everywhere(), id);
                        let known = program.selectors.entry(selector).or_default();
                        known.names.extend(grant.names.iter().cloned());
                    }
                    Source::Pods(pods) if *pods == PodsOf::everywhere() && grant.names.is_empty() => {}
                    Source::Pods(pods) => {
                        let selector = self.use_selector(pods, id);
                        let known = program.selectors.entry(selector).or_default();
                        known.fixed.unite(&grant.fixed);
                        known.names.extend(grant.names.iter().cloned());
                    }
                }
            }
        }
        self.programs.insert(id, program);
        self.dirty.programs.insert(id);
        id
    }

    /// One less.
    pub(super) fn release(&mut self, id: ProfileId) {
        let Some(program) = self.programs.get_mut(&id) else { return };
        program.users -= 1;
        if program.users > 0 {
            return;
        }
        if let Some(program) = self.programs.remove(&id) {
            self.clear(id);
            program.selectors.keys().for_each(|selector| self.drop_selector(*selector, id));
            program.blocks.iter().for_each(|(block, _)| self.blocks.drop_block(block));
        }
    }

    /// Takes a profile out of the tables.
    fn clear(&mut self, id: ProfileId) {
        let keys = [Key::peers(id), Key::block_peers(id)].into_iter();
        let keys = keys.flat_map(|keys| self.tables().range(keys).map(|(key, _)| *key).collect::<Vec<_>>());
        let mut keys: Vec<Key> = keys.collect();
        keys.extend([Key::DefaultAny(id), Key::DefaultPod(id)]);
        keys.into_iter().for_each(|key| self.point(key, None));
    }

    /// Brings programs that have changed into the tables.
    pub(super) fn settle_programs(&mut self) {
        for (id, identity) in std::mem::take(&mut self.dirty.peers) {
            let Some(program) = self.programs.get(&id) else { continue };
            if program.refused.is_some() {
                self.dirty.programs.insert(id);
            }
            if self.dirty.programs.contains(&id) {
                continue;
            }
            let listed = self.listed(program, identity);
            let key = Key::Peer(id, identity);
            let (before, after) = (self.tables().get(&key).is_some(), listed.is_some());
            self.point(key, listed.as_ref());
            if let Some(program) = self.programs.get_mut(&id) {
                program.listed = program.listed + usize::from(after) - usize::from(before);
                if program.listed > PROFILE_PEERS {
                    self.dirty.programs.insert(id);
                }
            }
        }
        for id in std::mem::take(&mut self.dirty.programs) {
            self.render(id);
        }
    }

    /// What an identity may by a program, if that is more than every pod may.
    fn listed(&self, program: &Program, identity: IdentityId) -> Option<PortSet> {
        let known = self.identities.get(identity)?;
        let mut set = program.pods.clone();
        for selector in &known.selectors {
            if let Some(grant) = program.selectors.get(selector) {
                grant.towards(&known.identity.ports, &mut set);
            }
        }
        (set != program.pods).then_some(set)
    }

    /// A whole program.
    fn render(&mut self, id: ProfileId) {
        let Some(program) = self.programs.get(&id) else { return };
        if matches!(program.refused, Some((Part::Parts | Part::Overlaps, _))) {
            return;
        }
        let peers = self.all_listed(program);
        let blocks = self.blocks_listed(program);
        let refused = if peers.len() > PROFILE_PEERS {
            Some((Part::Identities, peers.len()))
        } else if blocks.len() > PROFILE_BLOCKS {
            Some((Part::Addresses, blocks.len()))
        } else {
            None
        };
        let (any, pods) = (program.any.clone(), program.pods.clone());
        if let Some(program) = self.programs.get_mut(&id) {
            program.refused = refused;
            program.listed = if refused.is_none() { peers.len() } else { 0 };
        }
        if refused.is_some() {
            self.clear(id);
            return;
        }
        let mut wanted: BTreeMap<Key, PortSet> = BTreeMap::new();
        wanted.extend(peers.into_iter().map(|(identity, set)| (Key::Peer(id, identity), set)));
        wanted.extend(blocks.into_iter().map(|(class, set)| (Key::BlockPeer(id, class), set)));
        for keys in [Key::peers(id), Key::block_peers(id)] {
            let known: Vec<Key> = self.tables().range(keys).map(|(key, _)| *key).collect();
            let gone = known.into_iter().filter(|key| !wanted.contains_key(key)).collect::<Vec<_>>();
            gone.into_iter().for_each(|key| self.point(key, None));
        }
        for (key, set) in [(Key::DefaultAny(id), any), (Key::DefaultPod(id), pods)] {
            self.point(key, Some(&set).filter(|set| !set.is_empty()));
        }
        wanted.iter().for_each(|(key, set)| self.point(*key, Some(set)));
    }

    /// Every identity that a program lists.
    fn all_listed(&self, program: &Program) -> BTreeMap<IdentityId, PortSet> {
        let mut listed: BTreeMap<IdentityId, PortSet> = BTreeMap::new();
        for (selector, grant) in &program.selectors {
            for identity in self.selectors.included(*selector) {
                let Some(known) = self.identities.get(identity) else { continue };
                let set = listed.entry(identity).or_insert_with(|| program.pods.clone());
                grant.towards(&known.identity.ports, set);
            }
        }
        listed.retain(|_, set| *set != program.pods);
        listed
    }

    /// Every class of addresses that a program lists.
    fn blocks_listed(&self, program: &Program) -> BTreeMap<BlockClass, PortSet> {
        let mut listed: BTreeMap<BlockClass, PortSet> = BTreeMap::new();
        for (block, set) in &program.blocks {
            for class in self.blocks.classes(block) {
                listed.entry(*class).or_default().unite(set);
            }
        }
        listed.retain(|_, set| !program.any.covers(set));
        listed
    }
}
