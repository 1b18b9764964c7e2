//! Why a command was refused: a variant per case that somebody treats differently, its code, its envelope.

mod service;

use std::{fmt, net::IpAddr};

use weft_errors::{self as codes, Code, Coded};
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

    /// Kind, namespace and name of the object; empty when there is none.
    fn object(&self) -> (String, String, String) {
        let named = |kind: &str, name: String| match name.split_once('/') {
            Some((namespace, name)) if in_namespace(kind) => {
                (kind.to_owned(), namespace.to_owned(), name.to_owned())
            }
            Some(_) | None => (kind.to_owned(), String::new(), name),
        };
        match self {
            Self::RangeMalformed { .. }
            | Self::RangeFamily { .. }
            | Self::RangeReserved { .. }
            | Self::RangeOverlap { .. }
            | Self::RouteOverlap { .. }
            | Self::HostInRange { .. }
            | Self::RangeTooSmall { .. }
            | Self::RangeMissing { .. } => named("fabric", "main".to_owned()),
            Self::RangeInUse { what, .. } => match what.strip_prefix("block ") {
                Some(block) => named("block", block.to_owned()),
                None => named("fabric", "main".to_owned()),
            },
            Self::BlocksExhausted { node, .. }
            | Self::MeshExhausted { node, .. }
            | Self::LeaseStale { node, .. }
            | Self::RoutedImpossible { node, .. }
            | Self::NodeRemoved { node } => named("node", node.to_string()),
            Self::NotOwn { pod, .. } => named("pod", pod.to_string()),
            Self::NotFound { kind, name }
            | Self::AlreadyExists { kind, name }
            | Self::Conflict { kind, name, .. }
            | Self::Immutable { kind, name, .. }
            | Self::Invalid { kind, name, .. }
            | Self::ReadOnlyKind { kind, name }
            | Self::TooLarge { kind, name, .. } => named(kind, name.clone()),
            Self::AddressTaken { claimant, .. } => match claimant.split_once(' ') {
                Some((kind, name)) => named(kind, name.to_owned()),
                None => named("node", claimant.clone()),
            },
            Self::Service(error) => {
                let (kind, name) = error.object();
                named(kind, name)
            }
            Self::Recorded(refusal) => refusal.object.clone(),
            Self::NotFounded
            | Self::AlreadyFounded
            | Self::StaleSequence { .. }
            | Self::TokenInvalid
            | Self::Corrupt { .. }
            | Self::OutOfOrder { .. } => Default::default(),
        }
    }

    /// Field path; empty when none is meant.
    fn field(&self) -> String {
        match self {
            Self::RangeMalformed { purpose, index, .. } => range_field(*purpose, *index),
            Self::RangeFamily { at, .. }
            | Self::RangeReserved { at, .. }
            | Self::RangeOverlap { at, .. }
            | Self::RouteOverlap { at, .. }
            | Self::HostInRange { at, .. }
            | Self::RangeTooSmall { at, .. } => at.field(),
            Self::RangeMissing { purpose, .. } => ranges_field(*purpose).to_owned(),
            Self::RangeInUse { field, .. } | Self::Immutable { field, .. } => (*field).to_owned(),
            Self::Invalid { field, .. } => field.clone(),
            Self::Service(error) => error.field().to_owned(),
            Self::Recorded(refusal) => refusal.field.clone(),
            Self::NotFounded
            | Self::AlreadyFounded
            | Self::BlocksExhausted { .. }
            | Self::MeshExhausted { .. }
            | Self::LeaseStale { .. }
            | Self::AddressTaken { .. }
            | Self::RoutedImpossible { .. }
            | Self::NotFound { .. }
            | Self::AlreadyExists { .. }
            | Self::Conflict { .. }
            | Self::ReadOnlyKind { .. }
            | Self::TooLarge { .. }
            | Self::StaleSequence { .. }
            | Self::TokenInvalid
            | Self::NodeRemoved { .. }
            | Self::NotOwn { .. }
            | Self::Corrupt { .. }
            | Self::OutOfOrder { .. } => String::new(),
        }
    }

    /// Why, outermost first.
    fn causes(&self) -> Vec<String> {
        let cause = if let Self::RangeMalformed { source, .. } = self {
            source.to_string()
        } else if let Self::RangeOverlap { other, .. } = self {
            format!("{} is {}", other.field(), other.range)
        } else if let Self::RouteOverlap { node, route, .. } = self {
            format!("node {node} has a route for {route}")
        } else if let Self::RoutedImpossible { why, .. } = self {
            why.clone()
        } else if let Self::Service(error) = self {
            return error.cause().into_iter().collect();
        } else if let Self::Recorded(refusal) = self {
            return refusal.cause.clone();
        } else {
            return Vec::new();
        };
        vec![cause]
    }
}

impl Coded for Error {
    fn code(&self) -> &'static Code {
        match self {
            Self::NotFounded => &codes::NOT_INITIALIZED,
            Self::AlreadyFounded => &codes::ALREADY_INITIALIZED,
            Self::RangeMalformed { .. } | Self::RangeFamily { .. } => &codes::RANGE_INVALID,
            Self::RangeReserved { .. } => &codes::RANGE_RESERVED,
            Self::RangeOverlap { .. } | Self::RouteOverlap { .. } | Self::HostInRange { .. } => {
                &codes::RANGE_OVERLAP
            }
            Self::RangeTooSmall { .. } => &codes::RANGE_TOO_SMALL,
            Self::RangeMissing { .. } => &codes::RANGE_MISSING,
            Self::RangeInUse { .. } => &codes::RANGE_IN_USE,
            Self::BlocksExhausted { .. } => &codes::BLOCKS_EXHAUSTED,
            Self::MeshExhausted { .. } => &codes::NODE_ADDRESSES_EXHAUSTED,
            Self::LeaseStale { .. } => &codes::LEASE_STALE,
            Self::AddressTaken { .. } => &codes::ADDRESS_TAKEN,
            Self::RoutedImpossible { .. } => &codes::ROUTED_IMPOSSIBLE,
            Self::NotFound { .. } => &codes::NOT_FOUND,
            Self::AlreadyExists { .. } => &codes::ALREADY_EXISTS,
            Self::Conflict { .. } => &codes::CONFLICT,
            Self::Immutable { .. } => &codes::IMMUTABLE,
            Self::Invalid { .. } => &codes::OBJECT_INVALID,
            Self::ReadOnlyKind { .. } => &codes::READ_ONLY_KIND,
            Self::TooLarge { .. } => &codes::TOO_LARGE,
            Self::StaleSequence { .. } => &codes::STALE_SEQUENCE,
            Self::TokenInvalid => &codes::TOKEN_INVALID,
            Self::NodeRemoved { .. } => &codes::NODE_REMOVED,
            Self::NotOwn { .. } => &codes::ROLE_DENIED,
            Self::Corrupt { .. } => &codes::STORE_CORRUPT,
            Self::OutOfOrder { .. } => &codes::INTERNAL,
            Self::Service(error) => error.code(),
            Self::Recorded(refusal) => {
                codes::ALL.iter().copied().find(|c| c.number == refusal.code).unwrap_or(&codes::INTERNAL)
            }
        }
    }

    fn envelope(&self) -> codes::Error {
        let mut error = codes::Error::new(self.code(), self.to_string()).field(self.field());
        let (kind, namespace, name) = self.object();
        if !kind.is_empty() {
            error = error.object(&kind, &namespace, name);
        }
        if self.code() == &codes::NOT_FOUND && self.field() == "metadata.namespace" {
            error = error.try_this("make it first", format!("weft create namespace {namespace}"));
        } else if self.code() == &codes::NOT_FOUND && !kind.is_empty() {
            let list =
                if kind == "token" { "weft token list".to_owned() } else { format!("weft get {kind}s") };
            error = error.try_this("list what there is", list);
        }
        self.causes().into_iter().fold(error, |error, cause| error.because(cause))
    }
}

/// Whether objects of a kind stand in namespaces, and were named so.
fn in_namespace(kind: &str) -> bool {
    matches!(kind, "service" | "endpointslice" | "podspec")
}

impl From<&Error> for Refusal {
    /// The refusal as it is stored beside the client's sequence.
    fn from(error: &Error) -> Self {
        Self {
            code: error.code().number,
            message: error.to_string(),
            object: error.object(),
            field: error.field(),
            cause: error.causes(),
        }
    }
}

impl From<Refusal> for Error {
    /// The stored refusal as an error again: with the same code and envelope as the first time.
    fn from(refusal: Refusal) -> Self {
        Self::Recorded(Box::new(refusal))
    }
}
