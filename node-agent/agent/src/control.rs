//! The way to the control plane: one channel over all replicas, and mutations that are applied once.

use std::sync::atomic::{AtomicU64, Ordering};

use weft_errors::{Coded, Error};
use weft_model::ClientId;
use weft_proto::v1;
use weft_rpc::{Channel, ChannelOptions, SharedIdentity, Trust};

use crate::clock;

/// Opens the channel; connects with the first call.
pub(crate) fn open(endpoints: Vec<String>, identity: &SharedIdentity) -> Result<Channel, Error> {
    let authority = identity.current().authority().to_vec();
    let options = ChannelOptions {
        endpoints,
        trust: Trust::Authority(authority),
        identity: Some(identity.clone()),
        replica: None,
    };
    Channel::new(options).map_err(|e| e.envelope())
}

/// Numbers the mutations of one task. Each task has its own: the control plane refuses an older number than the last,
/// and two tasks of one client could overtake each other.
#[derive(Debug)]
pub(crate) struct Mutations {
    client: ClientId,
    last: AtomicU64,
}

impl Mutations {
    /// A new client.
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self { client: ClientId(clock::random()?), last: AtomicU64::new(0) })
    }

    /// The id of a new mutation; a repetition of it carries the same one.
    pub(crate) fn next(&self) -> v1::MutationId {
        let sequence = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        v1::MutationId { client: self.client.0.to_vec().into(), sequence }
    }
}
