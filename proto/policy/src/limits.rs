//! Bounds of what a node compiles; beyond one the pods concerned are closed, and an error says so with numbers.

/// Most parts (peers, exceptions, ranges and names of ports) of one profile.
pub const PROFILE_PARTS: usize = 8192;
/// Most pairs of a piece, into which the blocks or wide ranges of ports of one profile cut the numbers, and one of those it
/// lies in: what ranges that overlap cost.
pub const PROFILE_OVERLAPS: usize = 1 << 16;
/// The same for all profiles of a node: of the addresses of one family, and of all ports.
pub const NODE_OVERLAPS: usize = 1 << 21;
/// Most identities that one profile lists.
pub const PROFILE_PEERS: usize = 32_768;
/// Most classes of addresses that one profile lists.
pub const PROFILE_BLOCKS: usize = 8192;
/// Most elements of all tables of a node.
pub const NODE_ELEMENTS: usize = 1 << 20;
/// Ranges of at most so many ports stand in the tables port by port.
pub const PORTS_ONE_BY_ONE: u16 = 16;
