//! Requests to the routing subsystem: an object, flags, and words for errors. Pure: nothing is sent here.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's enums are open: what isn't asked for is skipped"
)]

mod address;
mod link;
mod neighbour;
mod route;
mod rule;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;

pub(crate) use link::{LinkChange, VethPair};
pub(crate) use route::RouteEntry;

use crate::error::Area;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) message: RouteNetlinkMessage,
    pub(crate) flags: u16,
    /// Verb and object, for errors: `add link weftbr0`.
    pub(crate) what: String,
}

/// What to do about an object of the same identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Refuse with EEXIST: it may be somebody else's.
    Refuse,
    /// Take its place: it is known to be ours.
    Replace,
}

impl Existing {
    const fn flags(self) -> u16 {
        match self {
            Self::Refuse => NLM_F_CREATE | NLM_F_EXCL,
            Self::Replace => NLM_F_CREATE | NLM_F_REPLACE,
        }
    }
}

impl Request {
    fn new(message: RouteNetlinkMessage, flags: u16, what: impl Into<String>) -> Self {
        Self { message, flags, what: what.into() }
    }

    /// Kind of object it is about.
    pub(crate) const fn area(&self) -> Area {
        use RouteNetlinkMessage as M;
        match self.message {
            M::NewLink(_)
            | M::DelLink(_)
            | M::GetLink(_)
            | M::SetLink(_)
            | M::NewAddress(_)
            | M::DelAddress(_)
            | M::GetAddress(_) => Area::Link,
            _ => Area::Route,
        }
    }
}
