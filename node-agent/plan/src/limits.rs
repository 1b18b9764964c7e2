//! Sizes of sets that several tables of this node have: what outgrows one outgrows all.

/// Most device names of ours, and of uplinks.
pub(crate) const DEVICES: u32 = 64;
/// Most ranges of one family: a range counts as two elements.
pub(crate) const RANGES: u32 = 1024;
