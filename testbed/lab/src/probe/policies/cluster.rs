//! The cluster that policies are measured with: pods of ten namespaces, in each of them applications that stand in a ring. Every policy is
//! about one application: the next one may ask it, and it may ask the one before.

use std::net::{IpAddr, Ipv4Addr};

use weft_model::{
    AttachmentId, Identity, IdentityId, IdentityItem, Item, LabelSelector, Labels, NamespaceItem,
    NamespaceName, NodeName, PodItem, PodName, PodUid, PolicyItem, PolicyPeer, PolicyPort, PolicyRule,
    PolicySpec, PortMatch, Protocol, Revision,
};
use weft_plan::{Facts, LocalPod, pod_link_name, pod_mac};
use weft_policy::whole_identity;
use weft_view::View;

use super::super::bench_node::{fabric, peer};
use crate::Result;

/// Pods of the cluster; numbers from here on are free for more.
pub(super) const PODS: u32 = 10_000;
/// Of them on this node.
pub(super) const LOCAL: u32 = 1_000;
const NAMESPACES: u32 = 10;
/// The pod that is asked, and the one that asks: neighbours in the ring of the first namespace.
pub(super) const SERVER: u32 = 0;
pub(super) const CLIENT: u32 = NAMESPACES;
/// Where the server is asked for a connection, and for bytes.
pub(super) const PORTS: [u16; 2] = [9000, 9002];

/// Which pods are this node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    /// As many of each namespace: every policy matters here.
    Even,
    /// All of the first namespace.
    OneNamespace,
}

/// The cluster.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cluster {
    /// How many policies.
    pub(super) policies: u32,
    /// Which pods are this node's.
    pub(super) spread: Spread,
}

/// One application: the number of its namespace and its place in the ring.
pub(super) type App = (u32, u32);

impl Cluster {
    /// Applications of each namespace.
    fn apps(&self) -> u32 {
        (self.policies / NAMESPACES).max(1)
    }

    pub(super) fn app_of(&self, pod: u32) -> App {
        (pod % NAMESPACES, pod / NAMESPACES % self.apps())
    }

    /// The application that a policy is about.
    pub(super) const fn app_of_policy(policy: u32) -> App {
        (policy % NAMESPACES, policy / NAMESPACES)
    }

    /// Who may ask an application.
    pub(super) fn next(&self, (namespace, place): App) -> App {
        (namespace, (place + 1) % self.apps())
    }

    /// Whom it may ask.
    pub(super) fn previous(&self, (namespace, place): App) -> App {
        let apps = self.apps();
        (namespace, (place + apps - 1) % apps)
    }

    /// Whether some policy is about an application.
    pub(super) fn is_isolated(&self, (namespace, place): App) -> bool {
        place * NAMESPACES + namespace < self.policies
    }

    pub(super) fn is_local(&self, pod: u32) -> bool {
        match self.spread {
            Spread::Even => pod < LOCAL,
            Spread::OneNamespace => pod < PODS && pod.is_multiple_of(NAMESPACES),
        }
    }

    /// All pods of the cluster that are this node's.
    pub(super) fn local(&self) -> impl Iterator<Item = u32> {
        (0..PODS).filter(|pod| self.is_local(*pod))
    }

    /// What the control plane tells this node of everything.
    pub(super) fn view(&self, node: &NodeName) -> Result<View> {
        let mut items = vec![Item::Fabric(fabric()?), Item::Peer(peer(node.clone())?)];
        for number in 0..NAMESPACES {
            let name = namespace(number)?;
            items.push(Item::Namespace(NamespaceItem { name, labels: Labels::new() }));
            for place in 0..self.apps() {
                let (id, identity) = identity((number, place))?;
                items.push(Item::Identity(IdentityItem { id, identity }));
            }
        }
        for pod in 0..PODS {
            items.push(Item::Pod(self.pod(pod)?));
        }
        for policy in 0..self.policies {
            items.push(self.policy(policy)?);
        }
        Ok(View::restored(Revision(1), items))
    }

    /// What this node is.
    pub(super) fn facts(&self, node: NodeName) -> Result<Facts> {
        let mut facts = Facts::new(node);
        let local: Result<Vec<LocalPod>> = self.local().map(local_pod).collect();
        facts.pods = local?.into_iter().map(|pod| (pod.uid, pod)).collect();
        Ok(facts)
    }

    pub(super) fn pod(&self, pod: u32) -> Result<PodItem> {
        Ok(PodItem {
            name: pod_name(pod)?,
            addresses: vec![address(pod)],
            hostname: String::new(),
            subdomain: String::new(),
            identity: identity(self.app_of(pod))?.0,
        })
    }

    fn policy(&self, number: u32) -> Result<Item> {
        let app = Self::app_of_policy(number);
        let spec = self.spec(app);
        Ok(Item::Policy(PolicyItem { name: format!("{}/p{number}", namespace(app.0)?).parse()?, spec }))
    }

    /// What a policy says.
    pub(super) fn spec(&self, app: App) -> PolicySpec {
        let rule = |app: App| PolicyRule {
            peers: vec![PolicyPeer::Pods { namespaces: None, pods: Some(selector(app)) }],
            ports: PORTS.map(tcp).to_vec(),
        };
        PolicySpec {
            pods: selector(app),
            isolates_ingress: true,
            isolates_egress: true,
            ingress: vec![rule(self.next(app))],
            egress: vec![rule(self.previous(app))],
        }
    }
}

/// Whom the policy about all pods of the first namespace lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peers {
    /// One application.
    One,
    /// All of the namespace: each of its applications may ask each.
    All,
}

/// A policy about all pods of the first namespace: they may be asked at this port.
pub(super) fn wide(port: u16, peers: Peers) -> Result<Item> {
    let pods = match peers {
        Peers::One => Some(selector((0, 0))),
        Peers::All => None,
    };
    let peers = vec![PolicyPeer::Pods { namespaces: None, pods }];
    let spec = PolicySpec {
        isolates_ingress: true,
        ingress: vec![PolicyRule { peers, ports: vec![tcp(port)] }],
        ..PolicySpec::default()
    };
    Ok(Item::Policy(PolicyItem { name: format!("{}/wide", namespace(0)?).parse()?, spec }))
}

pub(super) const fn tcp(port: u16) -> PolicyPort {
    PolicyPort { protocol: Protocol::Tcp, port: PortMatch::Numbers(port, port) }
}

pub(super) fn labels((_, place): App) -> Labels {
    Labels::from([("app".to_owned(), format!("a{place}"))])
}

fn selector(app: App) -> LabelSelector {
    LabelSelector { labels: labels(app), expressions: Vec::new() }
}

fn identity(app: App) -> Result<(IdentityId, Identity)> {
    Ok(whole_identity(&namespace(app.0)?, &labels(app), &[]))
}

/// Namespace by its number.
pub(super) fn namespace(number: u32) -> Result<NamespaceName> {
    Ok(NamespaceName::new(format!("bench{number}"))?)
}

/// Namespace and name of a pod.
pub(super) fn pod_name(pod: u32) -> Result<PodName> {
    Ok(format!("{}/p{pod}", namespace(pod % NAMESPACES)?).parse()?)
}

/// Address of a pod.
pub(super) fn address(pod: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 128, 1, 0)) + pod).into()
}

/// A pod as its node knows it.
pub(super) fn local_pod(pod: u32) -> Result<LocalPod> {
    // Names of devices and their addresses are made of any part of it.
    let uid = PodUid((u128::from(pod + 1) * 0x0000_0001_0000_0001_0000_0001_0000_0001).to_be_bytes());
    Ok(LocalPod {
        uid,
        name: pod_name(pod)?,
        attachment: AttachmentId { container: format!("c{pod}"), interface: "eth0".to_owned() },
        link: pod_link_name(uid, 0),
        mac: pod_mac(uid),
        addresses: vec![address(pod)],
        mtu: 1440,
    })
}
