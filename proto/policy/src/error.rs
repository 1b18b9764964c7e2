//! What is too large to be compiled.

use std::fmt;

use weft_errors::{Code, Coded, POLICY_TOO_LARGE};
use weft_model::PolicyName;

use crate::limits::{
    NODE_ELEMENTS, NODE_OVERLAPS, PROFILE_BLOCKS, PROFILE_OVERLAPS, PROFILE_PARTS, PROFILE_PEERS,
};

/// What of a profile is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Peers, exceptions, ranges and names of ports together.
    Parts,
    /// How much its blocks, or its wide ranges of ports, overlap.
    Overlaps,
    /// Identities that its selectors include.
    Identities,
    /// Classes of addresses that its blocks cover.
    Addresses,
}

impl Part {
    /// The bound.
    pub const fn limit(self) -> usize {
        match self {
            Self::Parts => PROFILE_PARTS,
            Self::Overlaps => PROFILE_OVERLAPS,
            Self::Identities => PROFILE_PEERS,
            Self::Addresses => PROFILE_BLOCKS,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parts => "peers, exceptions and ports",
            Self::Overlaps => "overlaps of blocks or port ranges",
            Self::Identities => "different pods as peers",
            Self::Addresses => "different sets of addresses as peers",
        })
    }
}

pub(crate) fn names(policies: &[PolicyName]) -> String {
    policies.iter().map(PolicyName::to_string).collect::<Vec<_>>().join(", ")
}

/// Why pods are closed though a policy would let something pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Policies together have too many parts; the pods they select are closed in that direction.
    #[error("{}: {count} {part} together, more than {}: the pods they select are closed", names(policies), part.limit())]
    ProfileTooLarge {
        /// The policies, in order of name.
        policies: Vec<PolicyName>,
        /// What there is too much of.
        part: Part,
        /// How much of it.
        count: usize,
    },
    /// Blocks, or wide ranges of ports, of all policies that count on a node overlap too much: none of them lets anything pass.
    #[error(
        "{what} of policies overlap {count} times, more than {NODE_OVERLAPS}: nothing passes by them on this node"
    )]
    OverlapsTooLarge {
        /// Blocks of a family, or ranges of ports.
        what: &'static str,
        /// How often.
        count: usize,
    },
    /// The node's tables are too large altogether.
    #[error("the tables have {count} elements, more than {NODE_ELEMENTS}; {size} of them are in {map}")]
    TablesTooLarge {
        /// Elements of all tables.
        count: usize,
        /// The largest map.
        map: &'static str,
        /// Its elements.
        size: usize,
    },
}

impl Coded for Error {
    fn code(&self) -> &'static Code {
        match self {
            Self::ProfileTooLarge { .. } | Self::OverlapsTooLarge { .. } | Self::TablesTooLarge { .. } => {
                &POLICY_TOO_LARGE
            }
        }
    }

    fn envelope(&self) -> weft_errors::Error {
        let error = weft_errors::Error::new(self.code(), self.to_string());
        match self {
            Self::ProfileTooLarge { policies, .. } => match policies.first() {
                Some(first) => error.object("networkpolicy", first.namespace.as_str(), &first.name),
                None => error,
            },
            Self::OverlapsTooLarge { .. } | Self::TablesTooLarge { .. } => error,
        }
    }
}
