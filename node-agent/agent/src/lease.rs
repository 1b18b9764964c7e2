//! Blocks: asks for one more before the last address is gone, and gives empty ones back, as [`Leasing`] says.
//!
//! A granted block counts only when the View shows it: there is one place where leases come from.

use std::{sync::Arc, time::Instant};

use tokio_util::sync::CancellationToken;
use weft_errors::{BLOCKS_EXHAUSTED, Error, INTERNAL, LEASE_STALE, RANGE_IN_USE};
use weft_ipam::{Leasing, Step};
use weft_model::{Block, BlockLease, Epoch, Family};
use weft_proto::v1;
use weft_rpc::{Channel, with_deadline};

use crate::{
    addresses::{Durability, Ticket},
    backoff::Backoff,
    clock,
    control::Mutations,
    limits,
    node::Node,
    publisher::pause,
};

/// Looks after the blocks of a node.
struct Keeper {
    node: Arc<Node>,
    channel: Channel,
    mutations: Mutations,
    leasing: Leasing,
    /// Blocks whose end isn't durable yet: nobody may hear of it before.
    unwritten: Option<Ticket>,
}

/// Looks after the blocks until the process stops.
pub(crate) async fn keep_blocks(
    node: Arc<Node>,
    channel: Channel,
    mutations: Mutations,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::new(limits::LEASE_EVERY, limits::RETRY_LONGEST);
    let mut keeper = Keeper { node, channel, mutations, leasing: Leasing::default(), unwritten: None };
    loop {
        let mut wait = limits::LEASE_EVERY;
        if keeper.node.is_connected() {
            match keeper.look().await {
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

impl Keeper {
    /// One look: every step is tried, the first failure is told.
    async fn look(&mut self) -> Result<(), Error> {
        let node = Arc::clone(&self.node);
        let Some(families) = node.view().fabric().map(|fabric| fabric.families.list()) else { return Ok(()) };
        self.retire(families).await?;
        let now = clock::uptime();
        let Some(shown) = node.shown() else { return Ok(()) };
        let steps = node.addresses.read(|ledger| self.leasing.steps(ledger, &shown, families, now));
        let mut outcome = Ok(());
        for step in steps {
            outcome = outcome.and(self.take(step).await);
        }
        outcome
    }

    /// Ends the use of blocks that can be done without, and waits until that is durable.
    async fn retire(&mut self, families: &[Family]) -> Result<(), Error> {
        let now = clock::uptime();
        let (retired, ticket) = self.node.addresses.change(Durability::Durable, |ledger| {
            let entries = Leasing::retire(ledger, families, now);
            (!entries.is_empty(), entries)
        });
        if retired {
            self.unwritten = Some(ticket);
        }
        let Some(ticket) = self.unwritten else { return Ok(()) };
        let (node, deadline) = (Arc::clone(&self.node), Instant::now() + limits::CALL_DEADLINE);
        let waited = tokio::task::spawn_blocking(move || node.addresses.wait(ticket, deadline)).await;
        waited
            .map_err(|error| Error::new(&INTERNAL, "the wait for the journal broke off").because(error))??;
        self.unwritten = None;
        Ok(())
    }

    async fn take(&mut self, step: Step) -> Result<(), Error> {
        match step {
            Step::Return { block, epoch } => {
                match give_back(&self.channel, &self.mutations, block, epoch).await {
                    Ok(()) => {
                        self.leasing.ended(block, epoch);
                        tracing::info!(%block, epoch = epoch.0, "gave a block back");
                        Ok(())
                    }
                    Err(error) => {
                        if error.registered() == &RANGE_IN_USE {
                            // The control plane knows a pod that isn't there any more.
                            self.node.publications.everything();
                        }
                        Err(error)
                    }
                }
            }
            Step::Ask(family) => {
                let lease = ask(&self.channel, &self.mutations, family).await?;
                self.leasing.granted(family, lease.revision);
                tracing::info!(block = %lease.block, epoch = lease.epoch.0, "got a block");
                Ok(())
            }
        }
    }
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
