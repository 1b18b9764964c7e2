//! What network policy has dropped on some nodes, by direction and address of the pod whose policies said so.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::IpAddr;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use weft_kernel::NftSocket;
use weft_model::Direction;
use weft_plan::{DropCounters, DropCounts};

/// Whose packets, and how many.
pub(super) type Dropped = BTreeMap<(Direction, IpAddr), u64>;

/// A socket per node.
pub(super) struct Counters {
    sockets: Vec<NftSocket>,
    what: DropCounters,
}

impl Counters {
    /// Opens a socket in each namespace; the calling thread stays in the last one.
    pub(super) fn open(nodes: &[File]) -> Result<Self> {
        let open = |node: &File| -> Result<NftSocket> {
            setns(node, CloneFlags::CLONE_NEWNET).context("enter a node's network namespace")?;
            NftSocket::open().context("open nf_tables")
        };
        Ok(Self { sockets: nodes.iter().map(open).collect::<Result<_>>()?, what: DropCounters::all() })
    }

    /// What was dropped so far.
    pub(super) fn read(&mut self) -> Result<Dropped> {
        let mut all = Dropped::new();
        for socket in &mut self.sockets {
            let seen = socket.counts(&self.what.tables, &self.what.sets).context("read counters")?;
            for (whose, packets) in DropCounts::read(&seen).pods {
                *all.entry(whose).or_default() += packets;
            }
        }
        Ok(all)
    }
}

/// What came since, without what stayed as it was.
pub(super) fn since(before: &Dropped, after: &Dropped) -> Dropped {
    let came = after
        .iter()
        .map(|(whose, packets)| (*whose, packets.saturating_sub(before.get(whose).copied().unwrap_or(0))));
    came.filter(|(_, packets)| *packets > 0).collect()
}
