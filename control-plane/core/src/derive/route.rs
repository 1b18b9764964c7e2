//! A leased block and its holder.

use weft_model::{Block, RouteItem};

use crate::State;

/// The route of a leased block; `None` for others.
pub(crate) fn derive(state: &State, block: Block) -> Option<RouteItem> {
    let lease = state.leases().get(&block)?;
    Some(RouteItem { block, node: lease.node.clone(), epoch: lease.epoch })
}
