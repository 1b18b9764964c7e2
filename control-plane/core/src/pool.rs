//! What is free: blocks of the pod ranges, mesh addresses of the node ranges.
//!
//! For each range the lowest position that isn't taken is known, so that granting doesn't search from the start.
//! A position is a number of blocks, or of addresses, from the start of the range. The values depend on the
//! stored rows alone, not on the way that led to them.

use std::{collections::BTreeMap, net::IpAddr};

use weft_model::{AddressRange, Block, Fabric, Family};

/// Lowest position of each range that isn't taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lowest(BTreeMap<AddressRange, u128>);

impl Lowest {
    /// The lowest free position of a range; 0 for a range that isn't known.
    pub(crate) fn of(&self, range: AddressRange) -> u128 {
        self.0.get(&range).copied().unwrap_or(0)
    }

    /// Begins anew with a list of ranges; `taken` says whether a position of a range is taken.
    pub(crate) fn follow(&mut self, ranges: &[AddressRange], taken: impl Fn(AddressRange, u128) -> bool) {
        let lowest = |range: &AddressRange| (*range, first_free(0, |position| taken(*range, position)));
        self.0 = ranges.iter().map(lowest).collect();
    }

    /// A position has been taken or freed.
    pub(crate) fn settle(&mut self, range: AddressRange, position: u128, taken: impl Fn(u128) -> bool) {
        let Some(lowest) = self.0.get_mut(&range) else { return };
        if !taken(position) {
            *lowest = (*lowest).min(position);
        } else if position == *lowest {
            *lowest = first_free(position, taken);
        }
    }
}

fn first_free(from: u128, taken: impl Fn(u128) -> bool) -> u128 {
    let mut position = from;
    while taken(position) {
        position += 1;
    }
    position
}

/// Prefix length of the blocks of a family: as the fabric says for IPv4, 64 for IPv6.
pub(crate) const fn block_prefix(fabric: &Fabric, family: Family) -> u8 {
    match family {
        Family::V4 => fabric.block_prefix_v4,
        Family::V6 => 64,
    }
}

/// The block that holds an address, if the address lies in a pod range.
pub(crate) fn block_of(fabric: &Fabric, address: IpAddr) -> Option<Block> {
    let family = Family::of(address);
    let prefix = block_prefix(fabric, family);
    let range = fabric.ranges.pods.iter().find(|range| range.contains(address))?;
    range.subrange(prefix, range.index_of(address)? >> (family.bits() - prefix))
}

/// The pod range of a block and the block's position in it.
pub(crate) fn block_position(fabric: &Fabric, block: Block) -> Option<(AddressRange, u128)> {
    let range = *fabric.ranges.pods.iter().find(|range| range.covers(block))?;
    let shift = block.family().bits() - block.prefix();
    let offset = range.index_of(block.first())?;
    Some((range, if shift == 128 { 0 } else { offset >> shift }))
}

/// The mesh address at a position of a node range: position 0 is the range's second address, because the first
/// one names the network (IPv4) or its routers (RFC 4291 section 2.6.1); the last one of IPv4 is broadcast.
pub(crate) fn mesh_address(range: AddressRange, position: u128) -> Option<IpAddr> {
    let address = range.nth(position.checked_add(1)?)?;
    (range.family() == Family::V6 || address != range.last()).then_some(address)
}

/// The node range of a mesh address and its position there.
pub(crate) fn mesh_position(fabric: &Fabric, address: IpAddr) -> Option<(AddressRange, u128)> {
    let range = *fabric.ranges.nodes.iter().find(|range| range.contains(address))?;
    let position = range.index_of(address)?.checked_sub(1)?;
    (mesh_address(range, position) == Some(address)).then_some((range, position))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_position_follows_what_is_taken_and_freed() {
        let range: AddressRange = "10.0.0.0/24".parse().unwrap();
        let mut taken = vec![0, 1, 3];
        let mut lowest = Lowest::default();
        lowest.follow(&[range], |_, p| taken.contains(&p));
        assert_eq!(lowest.of(range), 2);
        taken.push(2);
        lowest.settle(range, 2, |p| taken.contains(&p));
        assert_eq!(lowest.of(range), 4, "3 was taken already");
        taken.retain(|p| *p != 1);
        lowest.settle(range, 1, |p| taken.contains(&p));
        assert_eq!(lowest.of(range), 1);
        lowest.follow(&[], |_, _| true);
        assert_eq!(lowest, Lowest::default());
    }

    #[test]
    fn mesh_addresses_leave_out_network_and_broadcast() {
        let v4: AddressRange = "10.0.0.0/30".parse().unwrap();
        assert_eq!(mesh_address(v4, 0), Some("10.0.0.1".parse().unwrap()));
        assert_eq!(mesh_address(v4, 1), Some("10.0.0.2".parse().unwrap()));
        assert_eq!(mesh_address(v4, 2), None, "broadcast");
        let v6: AddressRange = "fd00::/126".parse().unwrap();
        assert_eq!(mesh_address(v6, 2), Some("fd00::3".parse().unwrap()));
        assert_eq!(mesh_address(v6, 3), None);
    }
}
