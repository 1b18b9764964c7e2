//! The nouns of Weft: ids, names, ranges, the kinds people write and the items nodes need.
//!
//! Nothing here decides anything over more than one object; that is the work of the pure crates above.
//! Wire shapes live in `weft-proto`, text in `weft-yaml`.

mod command;
mod family;
mod holder;
mod id;
mod item;
mod kind;
mod label;
mod name;
pub mod ownership;
mod range;
mod secret;

pub use command::{
    Action, Answer, ClientRecord, Command, FreedBlock, Meta, NodeFacts, PodReport, Record, RecordKey,
    Refusal, Role, Stamp, Token, Written,
};
pub use family::{Dual, Families, Family};
pub use holder::{AuthorityHash, Holder, Part};
pub use id::{
    ClientId, ClusterId, Epoch, LogIndex, NodeUid, PodUid, ReplicaId, Revision, Sequence, Term, WallTime,
};
pub use item::{FabricItem, Item, ItemKey, PeerItem, RouteItem};
pub use kind::{
    Block, BlockLease, Fabric, FabricRanges, Key, Kind, Labels, Member, MemberRole, NamedPort, Node,
    NodeState, Object, Overlay, Pod, PodPhase, Protocol, WireguardKey,
};
pub use label::{LabelError, MAX_LABELS, check_label};
pub use name::{AttachmentId, Name, NameError, NamespaceName, NodeName, PodName, ReplicaName};
pub use range::{AddressRange, Purpose, RangeError};
pub use secret::Secret;
