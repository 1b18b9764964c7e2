//! Why a command was refused: a variant per case that somebody treats differently, its code, its envelope.

mod service;
mod told;

use std::{fmt, net::IpAddr};

use weft_model::{
    AddressRange, Block, ClientId, Families, Family, LogIndex, NodeName, PodUid, Purpose, RangeError,
    Refusal, Revision, Sequence,
};

pub use service::ServiceError;

/// A range of the fabric and where it stands in the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeAt {
    /// What it is for.
    pub purpose: Purpose,
    /// Its place in the list of its purpose, from 0.
    pub index: usize,
    /// The range.
    pub range: AddressRange,
}

impl RangeAt {
    /// Field path within the Fabric: `spec.ranges.pods[0]`.
    pub fn field(&self) -> String {
        range_field(self.purpose, self.index)
    }
}

impl fmt::Display for RangeAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} range {}", self.purpose, self.range)
    }
}

/// Field path of the ranges of one purpose: `spec.ranges.pods`.
pub(crate) const fn ranges_field(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Pods => "spec.ranges.pods",
        Purpose::Services => "spec.ranges.services",
        Purpose::Nodes => "spec.ranges.nodes",
        Purpose::LoadBalancers => "spec.ranges.loadBalancers",
    }
}

fn range_field(purpose: Purpose, index: usize) -> String {
    format!("{}[{index}]", ranges_field(purpose))
}

/// Why a command, or what a person wrote, was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No cluster has been founded in this log yet.
    #[error("the cluster hasn't been founded yet")]
    NotFounded,
    /// A second `Found` came.
    #[error("the cluster has been founded already")]
    AlreadyFounded,
    /// A text isn't a range.
    #[error("the {purpose} range is malformed")]
    RangeMalformed {
        /// What it should be for.
        purpose: Purpose,
        /// Place in its list.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: RangeError,
    },
    /// A range is of a family that the fabric lacks.
    #[error("{at} is {}, which a fabric of families {families} lacks", at.range.family())]
    RangeFamily {
        /// The range.
        at: RangeAt,
        /// What the fabric has.
        families: Families,
    },
    /// A range touches one that is reserved.
    #[error("{at} touches {reserved}, which is reserved ({name})")]
    RangeReserved {
        /// The range.
        at: RangeAt,
        /// The reserved one.
        reserved: AddressRange,
        /// What that is for.
        name: &'static str,
    },
    /// Two ranges of the fabric overlap.
    #[error("{at} overlaps {other}")]
    RangeOverlap {
        /// The later one.
        at: RangeAt,
        /// The earlier one.
        other: RangeAt,
    },
    /// A range overlaps a route of a node's machine.
    #[error("{at} overlaps a route that node {node} already has")]
    RouteOverlap {
        /// The range.
        at: RangeAt,
        /// The node.
        node: NodeName,
        /// Its route.
        route: AddressRange,
    },
    /// A range holds an address of a machine on the underlay.
    #[error("{at} holds {address}, an underlay address of {holder}")]
    HostInRange {
        /// The range.
        at: RangeAt,
        /// The machine's address.
        address: IpAddr,
        /// Whose it is: `node n1`, `replica cp-1`.
        holder: String,
    },
    /// A range can't hold what it must.
    #[error("{at} is too small: {need}")]
    RangeTooSmall {
        /// The range.
        at: RangeAt,
        /// What it must hold, with the longest prefix that does.
        need: String,
    },
    /// A family has no range for a purpose.
    #[error("the fabric has no {family} {purpose} range")]
    RangeMissing {
        /// The purpose.
        purpose: Purpose,
        /// The family.
        family: Family,
    },
    /// A range, or block, that is in use can't go.
    #[error("{what} is in use by {holder}")]
    RangeInUse {
        /// `pod range 10.0.0.0/16`, `block 10.0.1.0/24`.
        what: String,
        /// Field path, where the range was written by people.
        field: &'static str,
        /// Who uses it: `node n1`, `pod shop/web`.
        holder: String,
    },
    /// All blocks of a family are leased.
    #[error("no {family} block is free for node {node}")]
    BlocksExhausted {
        /// Who asked.
        node: NodeName,
        /// The family.
        family: Family,
    },
    /// All mesh addresses of a family are given out.
    #[error("no {family} mesh address is free for node {node}")]
    MeshExhausted {
        /// Who asked.
        node: NodeName,
        /// The family.
        family: Family,
    },
    /// A node named a lease that isn't its own.
    #[error("node {node} doesn't hold a lease on {what}")]
    LeaseStale {
        /// Who asked.
        node: NodeName,
        /// The block with its epoch, or the pod and its address.
        what: String,
    },
    /// An address, or a key, is held by another.
    #[error("{address} of {claimant} is already held by {holder}")]
    AddressTaken {
        /// The address.
        address: IpAddr,
        /// Who wants it: `node n2`, `pod shop/web`.
        claimant: String,
        /// Who has it.
        holder: String,
    },
    /// Mode routed can't include this node.
    #[error("mode routed can't include node {node}")]
    RoutedImpossible {
        /// The node.
        node: NodeName,
        /// Why not.
        why: String,
    },
    /// There is no such object.
    #[error("there is no {kind} {name}")]
    NotFound {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// People wrote a node that never joined.
    #[error("node {node} doesn't exist; nodes join, they aren't written")]
    NotJoined {
        /// The node.
        node: NodeName,
    },
    /// A name is taken.
    #[error("{kind} {name} exists already")]
    AlreadyExists {
        /// Kind of the object.
        kind: &'static str,
        /// The taken name.
        name: String,
    },
    /// The object isn't at the revision that the change was made from.
    #[error("{kind} {name} was changed in between: it is at revision {stored}, not {given}")]
    Conflict {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The revision that the writer saw.
        given: Revision,
        /// The revision that is stored.
        stored: Revision,
    },
    /// A field can't be changed any more.
    #[error("{field} of {kind} {name} can't be changed from {was} to {wanted}")]
    Immutable {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The field.
        field: &'static str,
        /// What it is.
        was: String,
        /// What was asked for.
        wanted: String,
    },
    /// A field has a value that its kind doesn't allow.
    #[error("{kind} {name} isn't valid: {why}")]
    Invalid {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The field.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// People can't write this kind.
    #[error("{kind} {name} can't be written by people")]
    ReadOnlyKind {
        /// The kind.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// More than allowed.
    #[error("{kind} {name} has more than {limit} {what}")]
    TooLarge {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What there is too much of.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// A client sent an older sequence number than before.
    #[error("sequence {given} of client {client} is older than its last, {last}")]
    StaleSequence {
        /// The client.
        client: ClientId,
        /// What came.
        given: Sequence,
        /// What came before.
        last: Sequence,
    },
    /// A token is unknown, used, revoked, expired or of another role: deliberately not said which.
    #[error("the join token isn't valid")]
    TokenInvalid,
    /// The membership has ended.
    #[error("node {node} was removed, or joined again under a new identity")]
    NodeRemoved {
        /// The node.
        node: NodeName,
    },
    /// A node touched a pod of another node.
    #[error("node {node} may not change pod {pod}, which another node holds")]
    NotOwn {
        /// Who asked.
        node: NodeName,
        /// The pod.
        pod: PodUid,
    },
    /// Stored rows contradict each other.
    #[error("the stored state contradicts itself at {key}: {why}")]
    Corrupt {
        /// Key of the row.
        key: String,
        /// In what way.
        why: String,
    },
    /// An entry came twice to `apply`: the driver's mistake.
    #[error("log entry {index} comes after {applied} has been applied")]
    OutOfOrder {
        /// The entry.
        index: LogIndex,
        /// What has been applied.
        applied: LogIndex,
    },
    /// Something about services.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// A refusal as it was stored when the command was applied first.
    #[error("{}", .0.message)]
    Recorded(Box<Refusal>),
}

impl Error {
    pub(crate) fn invalid(
        kind: &'static str,
        name: impl fmt::Display,
        field: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self::Invalid { kind, name: name.to_string(), field: field.into(), why: why.into() }
    }

    pub(crate) fn corrupt(key: impl fmt::Display, why: impl Into<String>) -> Self {
        Self::Corrupt { key: key.to_string(), why: why.into() }
    }

    pub(crate) fn stale_block(node: &NodeName, block: Block, epoch: impl fmt::Display) -> Self {
        Self::LeaseStale { node: node.clone(), what: format!("block {block} of epoch {epoch}") }
    }
}
