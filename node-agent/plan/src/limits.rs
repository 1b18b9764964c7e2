//! Sizes of sets that several tables of this node have: what outgrows one outgrows all.

/// Most device names of ours, and of uplinks.
pub(crate) const DEVICES: u32 = 64;
/// Most ranges of one family: a range counts as two elements.
pub(crate) const RANGES: u32 = 1024;
/// Most ranges of addresses that the policies of this node's pods tell apart, of one family: a range counts as two elements.
pub(crate) const BLOCKS: u32 = 32_768;
/// Most ranges of ports that they tell apart.
pub(crate) const PORT_CLASSES: u32 = 4096;
