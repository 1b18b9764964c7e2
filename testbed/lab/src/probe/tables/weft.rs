//! The product's tables, by the very code of the agent.

use anyhow::Context;
use weft_kernel::NftSocket;
use weft_model::{
    Conditions, EndpointItem, Item, ItemKey, Name, NamespaceName, NodeName, ObjectName, ObjectUid, Protocol,
    Revision, ServiceItem, ServicePortItem, ServiceType, TrafficPolicy,
};
use weft_plan::{Facts, Scope, Services, Sweep, remove_service_tables};
use weft_view::{Update, View};

use super::super::bench_node::{fabric, peer};
use super::{Endpoints, PORT, Tables, address};
use crate::Result;

/// The node, its View and its tables.
pub(super) struct Weft<'a> {
    endpoints: Endpoints<'a>,
    socket: NftSocket,
    services: Services,
    view: View,
    facts: Facts,
}

impl<'a> Weft<'a> {
    pub(super) fn new(endpoints: Endpoints<'a>) -> Result<Self> {
        let node = NodeName::new("bench")?;
        let facts = Facts::new(node.clone());
        let socket = NftSocket::open().context("open nf_tables")?;
        let view = View::restored(Revision(1), [Item::Fabric(fabric()?), Item::Peer(peer(node)?)]);
        Ok(Self { endpoints, socket, services: Services::new(), view, facts })
    }

    fn item(&self, number: u32) -> Result<ServiceItem> {
        let port = |name: &str, port| ServicePortItem {
            name: name.to_owned(),
            protocol: Protocol::Tcp,
            port,
            node_port: 0,
        };
        let endpoints = (self.endpoints)(number).into_iter().map(|endpoint| EndpointItem {
            address: endpoint.ip(),
            ports: vec![endpoint.port(), endpoint.port()].into(),
            conditions: Conditions { ready: Some(true), serving: Some(true), terminating: Some(false) },
            node: None,
            zone: Default::default(),
            hints: Default::default(),
            hostname: Default::default(),
            pod: None,
        });
        Ok(ServiceItem {
            name: ObjectName {
                namespace: NamespaceName::new("bench")?,
                name: Name::new(format!("s{number}"))?,
            },
            uid: ObjectUid([1; 16]),
            kind: ServiceType::ClusterIp,
            addresses: vec![address(number)],
            external_ips: Vec::new(),
            load_balancer: Vec::new(),
            external_name: String::new(),
            ports: vec![port("a", PORT), port("b", PORT + 1)],
            affinity: None,
            external_policy: TrafficPolicy::Cluster,
            internal_policy: TrafficPolicy::Cluster,
            health_check_node_port: 0,
            source_ranges: Vec::new(),
            endpoints: endpoints.collect(),
        })
    }

    fn commit(&mut self) -> Result {
        while let Some(transaction) = self.services.next(Sweep::Allowed) {
            self.socket.commit(&transaction.batch).context("commit")?;
            self.services.committed(transaction);
        }
        Ok(())
    }
}

impl Tables for Weft<'_> {
    fn load(&mut self, count: u32) -> Result {
        let upserts = (0..count).map(|n| self.item(n).map(Item::Service)).collect::<Result<_>>()?;
        self.view.fold(Update::Delta { revision: Revision(2), upserts, deletes: Vec::new() })?;
        self.services.want(&self.view, &self.facts, Scope::All);
        self.commit()
    }

    fn add(&mut self, number: u32) -> Result {
        let item = Item::Service(self.item(number)?);
        let touched: std::collections::BTreeSet<ItemKey> = [item.key()].into();
        let revision = self.view.revision().next();
        self.view.fold(Update::Delta { revision, upserts: vec![item], deletes: Vec::new() })?;
        self.services.want(&self.view, &self.facts, Scope::Items(&touched));
        self.commit()
    }

    fn clear(&mut self) -> Result {
        self.socket.commit(&remove_service_tables()).context("remove the tables")?;
        Ok(())
    }
}
