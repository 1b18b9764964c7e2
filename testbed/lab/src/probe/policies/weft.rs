//! The product's tables, by the very code of the agent.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Context;
use weft_kernel::NftSocket;
use weft_model::{Item, ItemKey, NodeName};
use weft_plan::{Facts, Policies, Scope, Sweep};
use weft_view::{Update, View};

use super::cluster::{Cluster, Peers, local_pod, wide};
use super::{Spent, Tables};
use crate::Result;

/// The node: what it knows and what its kernel was given.
pub(super) struct Weft {
    cluster: Cluster,
    socket: NftSocket,
    policies: Policies,
    view: View,
    facts: Facts,
}

impl Weft {
    pub(super) fn new(cluster: Cluster) -> Result<Self> {
        let node = NodeName::new("bench")?;
        let socket = NftSocket::open().context("open nf_tables")?;
        let (view, facts) = (cluster.view(&node)?, cluster.facts(node)?);
        Ok(Self { cluster, socket, policies: Policies::new(), view, facts })
    }

    /// Follows one item, as the agent does with a delta.
    fn follow(&mut self, item: Item) -> Result<Spent> {
        let began = Instant::now();
        let touched: BTreeSet<ItemKey> = [item.key()].into();
        let revision = self.view.revision().next();
        self.view.fold(Update::Delta { revision, upserts: vec![item], deletes: Vec::new() })?;
        self.policies.want(&self.view, &self.facts, Scope::Items(&touched));
        let wanting = began.elapsed();
        let committed = self.commit()?;
        Ok(Spent { agent: committed.agent + wanting, ..committed })
    }

    fn commit(&mut self) -> Result<Spent> {
        let mut spent = Spent::default();
        loop {
            let began = Instant::now();
            let Some(transaction) = self.policies.next(Sweep::Allowed) else {
                spent.agent += began.elapsed();
                return Ok(spent);
            };
            spent.agent += began.elapsed();
            let began = Instant::now();
            self.socket.commit(&transaction.batch).context("commit")?;
            spent.kernel += began.elapsed();
            let began = Instant::now();
            self.policies.committed(transaction);
            spent.agent += began.elapsed();
        }
    }
}

impl Tables for Weft {
    fn load(&mut self) -> Result<Duration> {
        let began = Instant::now();
        self.policies.want(&self.view, &self.facts, Scope::All);
        self.commit()?;
        Ok(began.elapsed())
    }

    fn add(&mut self, pod: u32, is_local: bool) -> Result<Spent> {
        if is_local {
            let local = local_pod(pod)?;
            self.facts.pods.insert(local.uid, local);
        }
        let item = Item::Pod(self.cluster.pod(pod)?);
        self.follow(item)
    }

    fn change(&mut self, port: u16, peers: Peers) -> Result<Spent> {
        self.follow(wide(port, peers)?)
    }
}
