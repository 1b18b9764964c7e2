//! Numbers of `linux/netlink.h`, `linux/netfilter/nfnetlink.h` and `linux/netfilter/nf_tables.h`, by their names there.

/// Length of `struct nlmsghdr`.
pub(crate) const MESSAGE_HEADER: usize = 16;
/// Length of `struct nfgenmsg`.
pub(crate) const GENERIC_HEADER: usize = 4;
/// `NFNL_SUBSYS_NFTABLES`.
pub(crate) const SUBSYSTEM: u16 = 10;

pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLMSG_DONE: u16 = 3;
pub(crate) const BATCH_BEGIN: u16 = 0x10;
pub(crate) const BATCH_END: u16 = 0x11;

pub(crate) const F_REQUEST: u16 = 0x1;
pub(crate) const F_ACK: u16 = 0x4;
pub(crate) const F_DUMP_INTERRUPTED: u16 = 0x10;
pub(crate) const F_CAPPED: u16 = 0x100;
pub(crate) const F_ACK_TLVS: u16 = 0x200;
pub(crate) const F_DUMP: u16 = 0x300;
pub(crate) const F_CREATE: u16 = 0x400;
pub(crate) const F_APPEND: u16 = 0x800;

/// Messages of nf_tables (`enum nf_tables_msg_types`), without the subsystem.
pub(crate) mod msg {
    pub(crate) const NEWTABLE: u8 = 0;
    pub(crate) const GETTABLE: u8 = 1;
    pub(crate) const DELTABLE: u8 = 2;
    pub(crate) const NEWCHAIN: u8 = 3;
    pub(crate) const GETCHAIN: u8 = 4;
    pub(crate) const DELCHAIN: u8 = 5;
    pub(crate) const NEWRULE: u8 = 6;
    pub(crate) const GETRULE: u8 = 7;
    pub(crate) const DELRULE: u8 = 8;
    pub(crate) const NEWSET: u8 = 9;
    pub(crate) const GETSET: u8 = 10;
    pub(crate) const DELSET: u8 = 11;
    pub(crate) const NEWSETELEM: u8 = 12;
    pub(crate) const GETSETELEM: u8 = 13;
    pub(crate) const DELSETELEM: u8 = 14;
    pub(crate) const NEWGEN: u8 = 15;
    pub(crate) const GETGEN: u8 = 16;
}

/// `NFT_CHAIN_BINDING`: the chain belongs to a rule.
pub(crate) const CHAIN_BOUND: u32 = 0x4;
/// `NFT_TABLE_F_DORMANT`: none of its chains sees a packet.
pub(crate) const TABLE_DORMANT: u32 = 0x1;

/// Flags of sets (`enum nft_set_flags`).
pub(crate) mod set {
    pub(crate) const ANONYMOUS: u32 = 0x1;
    pub(crate) const INTERVAL: u32 = 0x4;
    pub(crate) const MAP: u32 = 0x8;
    pub(crate) const TIMEOUT: u32 = 0x10;
    pub(crate) const DYNAMIC: u32 = 0x20;
    pub(crate) const CONCAT: u32 = 0x80;
    /// `NFT_SET_EXPR`: elements have expressions.
    pub(crate) const EXPRESSIONS: u32 = 0x100;
    /// `NFT_DATA_VERDICT`: the data type of verdict maps.
    pub(crate) const DATA_VERDICT: u32 = 0xffff_ff00;
}
