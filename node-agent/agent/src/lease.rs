//! Blocks: asks for one more before the last address is gone, and gives empty ones back.
//!
//! A granted block counts only when the View shows it: there is one place where leases come from.

use std::{collections::BTreeSet, sync::Arc};

use tokio_util::sync::CancellationToken;
use weft_errors::{BLOCKS_EXHAUSTED, Error, LEASE_STALE};
use weft_model::{Block, BlockLease, Epoch, Family};
use weft_proto::v1;
use weft_rpc::{Channel, with_deadline};

use crate::{
    addresses::Durability, backoff::Backoff, clock, control::Mutations, limits, node::Node, publisher::pause,
};

/// Looks after the blocks until the process stops.
pub(crate) async fn keep_blocks(
    node: Arc<Node>,
    channel: Channel,
    mutations: Mutations,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::new(limits::LEASE_EVERY, limits::RETRY_LONGEST);
    let mut granted = BTreeSet::new();
    loop {
        let mut wait = limits::LEASE_EVERY;
        if node.is_connected() {
            match look(&node, &channel, &mutations, &mut granted).await {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    if error.registered() == &BLOCKS_EXHAUSTED {
                        tracing::error!(%error, "no more pods fit on this node");
                    } else {
                        tracing::warn!(%error, "the blocks can't be looked after");
                    }
                    wait = backoff.next(clock::chance());
                }
            }
        }
        if pause(wait, &stop).await {
            return;
        }
    }
}

async fn look(
    node: &Node,
    channel: &Channel,
    mutations: &Mutations,
    granted: &mut BTreeSet<Block>,
) -> Result<(), Error> {
    let view = node.view();
    granted.retain(|block| !view.routes().contains_key(block));
    let Some(fabric) = view.fabric() else { return Ok(()) };
    for family in fabric.families.list() {
        let waits = granted.iter().any(|block| block.family() == *family);
        if !waits && node.addresses.read(|ledger| ledger.wants_block(*family)) {
            let lease = ask(channel, mutations, *family).await?;
            tracing::info!(block = %lease.block, epoch = lease.epoch.0, "got a block");
            granted.insert(lease.block);
        }
        let now = clock::uptime();
        node.addresses.change(Durability::WithNext, |ledger| {
            let surplus = ledger.surplus(*family, now);
            ((), surplus.and_then(|(block, _)| ledger.retire(block)).into_iter().collect())
        });
    }
    let retiring: Vec<_> = node.addresses.read(|ledger| ledger.retiring().collect());
    for (block, epoch) in retiring {
        give_back(channel, mutations, block, epoch).await?;
        tracing::info!(%block, epoch = epoch.0, "gave a block back");
        node.addresses
            .change(Durability::WithNext, |ledger| ((), ledger.returned(block).into_iter().collect()));
    }
    Ok(())
}

async fn ask(channel: &Channel, mutations: &Mutations, family: Family) -> Result<BlockLease, Error> {
    let request =
        v1::LeaseBlockRequest { mutation: Some(mutations.next()), family: v1::Family::from(family).into() };
    let call = || {
        let (mut client, request) = (channel.sync(), request.clone());
        async move { client.lease_block(with_deadline(request, limits::CALL_DEADLINE)).await }
    };
    let response = channel.retry(limits::CALL_DEADLINE, call).await?;
    weft_proto::convert::required("lease", response.lease).map_err(|e| weft_errors::Coded::envelope(&e))
}

/// A lease that isn't ours any more counts as given back.
async fn give_back(
    channel: &Channel,
    mutations: &Mutations,
    block: Block,
    epoch: Epoch,
) -> Result<(), Error> {
    let request = v1::ReturnBlockRequest {
        mutation: Some(mutations.next()),
        block: Some((&block).into()),
        epoch: epoch.0,
    };
    let call = || {
        let (mut client, request) = (channel.sync(), request.clone());
        async move { client.return_block(with_deadline(request, limits::CALL_DEADLINE)).await }
    };
    match channel.retry(limits::CALL_DEADLINE, call).await {
        Ok(_) => Ok(()),
        Err(error) if error.registered() == &LEASE_STALE => Ok(()),
        Err(error) => Err(error),
    }
}
