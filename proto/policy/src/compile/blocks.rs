//! Blocks of profiles in use, and the classes into which they cut the addresses.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use weft_model::Family;

use super::Compiler;
use crate::{
    groups::family_index,
    hash::Content,
    limits::NODE_OVERLAPS,
    peers::Block,
    split::{Range, split, weight},
    table::{BlockClass, Key},
};

#[derive(Clone, Debug)]
struct Used {
    /// Number of its content.
    number: u64,
    /// Profiles that have it.
    users: usize,
    /// Classes of addresses in it.
    classes: Vec<BlockClass>,
}

/// All blocks.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
    all: BTreeMap<Block, Used>,
    /// Families of which a block has come or gone.
    dirty: BTreeSet<Family>,
    /// By family: how much ranges overlap, where that is too much.
    pub(super) refused: [Option<usize>; 2],
}

impl Blocks {
    /// A profile has a block from now on.
    pub(super) fn use_block(&mut self, block: &Block) {
        if let Some(used) = self.all.get_mut(block) {
            used.users += 1;
            return;
        }
        let mut content = Content::of("weft block 1");
        block.feed(&mut content);
        let used = Used { number: content.finish(), users: 1, classes: Vec::new() };
        self.dirty.insert(block.range.family());
        self.all.insert(block.clone(), used);
    }

    /// A profile no longer has it.
    pub(super) fn drop_block(&mut self, block: &Block) {
        if let Some(used) = self.all.get_mut(block) {
            used.users -= 1;
            if used.users == 0 {
                self.dirty.insert(block.range.family());
                self.all.remove(block);
            }
        }
    }

    /// Classes of addresses in a block.
    pub(super) fn classes(&self, block: &Block) -> &[BlockClass] {
        self.all.get(block).map_or(&[], |used| &used.classes)
    }
}

pub(crate) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address of a family with a number; `None` where the number is too large.
pub(crate) fn address(family: Family, number: u128) -> Option<IpAddr> {
    Some(match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).ok()?)),
        Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(number)),
    })
}

/// Ranges of blocks of one family, without their exceptions; the marks are the blocks' places.
pub(crate) fn ranges<'a>(blocks: impl Iterator<Item = &'a Block>) -> Vec<Range> {
    let mut ranges = Vec::new();
    for (block, mark) in blocks.zip(0..) {
        let mut from = Some(number(block.range.first()));
        for hole in &block.except {
            if let (Some(first), Some(last)) = (from, number(hole.first()).checked_sub(1))
                && first <= last
            {
                ranges.push((first, last, mark));
            }
            from = number(hole.last()).checked_add(1);
        }
        let last = number(block.range.last());
        ranges.extend(from.filter(|first| *first <= last).map(|first| (first, last, mark)));
    }
    ranges
}

impl Compiler {
    /// Cuts the addresses of families whose blocks have changed, and notes the profiles that have blocks there.
    pub(super) fn settle_blocks(&mut self) {
        for family in std::mem::take(&mut self.blocks.dirty) {
            let mut of_family: Vec<(&Block, &mut Used)> =
                self.blocks.all.iter_mut().filter(|(block, _)| block.range.family() == family).collect();
            let ranges = ranges(of_family.iter().map(|(block, _)| *block));
            let weight = weight(&ranges);
            // Beyond the bound no block of the family lets anything pass.
            let refused = weight > NODE_OVERLAPS;
            let pieces = if refused { Vec::new() } else { split(&ranges) };
            self.blocks.refused[family_index(family)] = refused.then_some(weight);
            let mut wanted = BTreeMap::new();
            let mut classes: BTreeMap<BlockClass, Vec<u32>> = BTreeMap::new();
            for (first, last, marks) in pieces {
                let mut content = Content::of("weft block class 1");
                content.length(marks.len());
                marks.iter().for_each(|mark| content.number(of_family[*mark as usize].1.number));
                let class = BlockClass(content.finish());
                if let (Some(first), Some(last)) = (address(family, first), address(family, last)) {
                    wanted.insert(Key::Block(first, last), class.0);
                }
                classes.entry(class).or_insert(marks);
            }
            of_family.iter_mut().for_each(|(_, used)| used.classes.clear());
            for (class, marks) in classes {
                marks.iter().for_each(|mark| of_family[*mark as usize].1.classes.push(class));
            }
            let end = address(family, if family == Family::V4 { u32::MAX.into() } else { u128::MAX });
            if let Some(end) = end {
                self.recorder.replace(Key::blocks_to(end), &wanted);
            }
            let concerned = self.programs.iter().filter(|(_, program)| program.has_blocks(family));
            self.dirty.programs.extend(concerned.map(|(id, _)| *id));
        }
    }
}
