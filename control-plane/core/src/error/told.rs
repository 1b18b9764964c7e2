//! What an error tells: its code, object, field and causes; the same as it is stored.

use weft_errors::{self as codes, Code, Coded};
use weft_model::{Refusal, plural};

use super::{Error, range_field, ranges_field};

impl Error {
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
            | Self::NotJoined { node }
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
            | Self::NotJoined { .. }
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
            Self::NotFound { .. } | Self::NotJoined { .. } => &codes::NOT_FOUND,
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
        } else if matches!(self, Self::NotJoined { .. }) {
            error = error.try_this("make a join token", "weft token create");
        } else if self.code() == &codes::NOT_FOUND && !kind.is_empty() {
            let list = if kind == "token" {
                "weft token list".to_owned()
            } else {
                format!("weft get {}", plural(&kind))
            };
            error = error.try_this("list what there is", list);
        }
        self.causes().into_iter().fold(error, |error, cause| error.because(cause))
    }
}

/// Whether objects of a kind stand in namespaces, and were named so.
fn in_namespace(kind: &str) -> bool {
    matches!(kind, "service" | "endpointslice" | "podspec" | "networkpolicy")
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
