//! Leases on blocks: granted one at a time, given back when nothing lies in them.
//!
//! Invariant: a block has one holder and one epoch; each grant has a higher epoch than all before.

use weft_model::{
    Answer, Block, BlockLease, Epoch, Fabric, Family, FreedBlock, Key, NodeName, NodeUid, Object, Record,
    RecordKey,
};

use crate::{Error, admit, edit::Edit, limits};

/// A node wants one more block.
pub(crate) fn lease(
    edit: &mut Edit<'_>,
    name: &NodeName,
    uid: NodeUid,
    family: Family,
) -> Result<Answer, Error> {
    let state = edit.state();
    state.active_node(name, uid)?;
    let fabric = state.fabric().cloned().ok_or(Error::NotFounded)?;
    admit::check_family(&fabric, family)?;
    let held = state.node_leases(name).filter(|lease| lease.block.family() == family).count();
    if held >= limits::MAX_BLOCKS_PER_NODE {
        let limit = limits::MAX_BLOCKS_PER_NODE;
        return Err(Error::TooLarge {
            kind: "node",
            name: name.to_string(),
            what: "blocks of a family",
            limit,
        });
    }
    grant(edit, &fabric, name, family).map(Answer::Lease)
}

/// Grants the next free block of a family.
pub(crate) fn grant(
    edit: &mut Edit<'_>,
    fabric: &Fabric,
    name: &NodeName,
    family: Family,
) -> Result<BlockLease, Error> {
    let block = edit
        .state()
        .free_block(fabric, family)
        .ok_or_else(|| Error::BlocksExhausted { node: name.clone(), family })?;
    let meta = edit.meta();
    meta.last_epoch = meta.last_epoch.next();
    let epoch = meta.last_epoch;
    let (granted, revision) = (edit.time(), edit.revision());
    let lease = BlockLease { block, node: name.clone(), epoch, granted, revision };
    edit.put_object(Object::Lease(lease.clone()));
    // After the lease is there: the block is taken all the time.
    edit.delete(&RecordKey::Freed(block));
    Ok(lease)
}

/// A node gives a block back.
pub(crate) fn give_back(
    edit: &mut Edit<'_>,
    name: &NodeName,
    uid: NodeUid,
    block: Block,
    epoch: Epoch,
) -> Result<Answer, Error> {
    let state = edit.state();
    state.active_node(name, uid)?;
    let held = state.leases().get(&block).filter(|lease| lease.node == *name && lease.epoch == epoch);
    let lease = held.cloned().ok_or_else(|| Error::stale_block(name, block, epoch))?;
    let mut inside = state.index.addresses.range(block.first()..=block.last());
    if let Some((_, uid)) = inside.next() {
        let pod = state.pods().get(uid).map_or_else(|| uid.to_string(), |pod| pod.name.to_string());
        let (what, holder) = (format!("block {block}"), format!("pod {pod}"));
        return Err(Error::RangeInUse { what, field: "", holder });
    }
    free(edit, &lease);
    Ok(Answer::Done)
}

/// Ends a lease; the block goes to the end of the queue of freed ones.
pub(crate) fn free(edit: &mut Edit<'_>, lease: &BlockLease) {
    let revision = edit.revision();
    edit.put(Record::Freed(FreedBlock { block: lease.block, epoch: lease.epoch, revision }));
    edit.delete_object(Key::Lease(lease.block));
}
