//! Who asks: pods of this node by their addresses, and their search domains. Readers look without waiting.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use arc_swap::{ArcSwap, Guard};
use weft_model::PodName;
use weft_names::Asker;
use weft_proto::{
    convert::{ShapeError, Within, address_from_wire, address_to_wire, required},
    v1,
};

/// Pods of this node by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pods(BTreeMap<IpAddr, Pod>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pod {
    name: PodName,
    search: Vec<String>,
}

impl Pods {
    /// Takes up a change.
    pub(crate) fn change(&mut self, wire: v1::NamesPods) -> Result<(), ShapeError> {
        let mut came = Vec::with_capacity(wire.came.len());
        for pod in wire.came {
            let address = address_from_wire(&pod.address).within("came.address")?;
            came.push((address, Pod { name: required("came.pod", pod.pod)?, search: pod.search }));
        }
        let went = wire.went.iter().map(|address| address_from_wire(address).within("went"));
        let went = went.collect::<Result<Vec<_>, _>>()?;
        if wire.whole {
            self.0.clear();
        }
        went.iter().for_each(|address| {
            self.0.remove(address);
        });
        self.0.extend(came);
        Ok(())
    }

    /// All of them.
    pub(crate) fn to_wire(&self) -> v1::NamesPods {
        let one = |(address, pod): (&IpAddr, &Pod)| v1::NamesPod {
            address: address_to_wire(*address),
            pod: Some((&pod.name).into()),
            search: pod.search.clone(),
        };
        v1::NamesPods { whole: true, came: self.0.iter().map(one).collect(), went: Vec::new() }
    }

    fn askers(&self, domain: &str) -> HashMap<IpAddr, Asker> {
        let one = |(address, pod): (&IpAddr, &Pod)| {
            (*address, Asker::pod(*address, &pod.name, &pod.search, domain))
        };
        self.0.iter().map(one).collect()
    }
}

/// What readers look at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Askers(Arc<ArcSwap<HashMap<IpAddr, Asker>>>);

impl Askers {
    /// Replaces all.
    pub(crate) fn put(&self, pods: &Pods, domain: &str) {
        self.0.store(Arc::new(pods.askers(domain)));
    }

    /// All of them now; held for a batch.
    pub(crate) fn load(&self) -> Guard<Arc<HashMap<IpAddr, Asker>>> {
        self.0.load()
    }
}

/// Does something for whoever has an address; one that is no pod's is the node itself, or a pod whose news are under way.
pub(crate) fn with<T>(askers: &HashMap<IpAddr, Asker>, address: IpAddr, act: impl FnOnce(&Asker) -> T) -> T {
    match askers.get(&address) {
        Some(asker) => act(asker),
        None => act(&Asker::plain(address)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(address: &str, name: &str) -> v1::NamesPod {
        let name: PodName = name.parse().unwrap();
        v1::NamesPod {
            address: address_to_wire(address.parse().unwrap()),
            pod: Some((&name).into()),
            search: Vec::new(),
        }
    }

    #[test]
    fn pods_come_and_go_and_an_address_may_be_used_again_at_once() {
        let mut pods = Pods::default();
        let change = |whole, came: &[v1::NamesPod], went: &[&str]| v1::NamesPods {
            whole,
            came: came.to_vec(),
            went: went.iter().map(|address| address_to_wire(address.parse().unwrap())).collect(),
        };
        let names = |pods: &Pods| {
            pods.0
                .iter()
                .map(|(address, pod)| format!("{address}={}", pod.name))
                .collect::<Vec<_>>()
                .join(" ")
        };
        pods.change(change(true, &[pod("10.1.0.2", "shop/a"), pod("10.1.0.3", "shop/b")], &[])).unwrap();
        pods.change(change(false, &[pod("10.1.0.2", "shop/c")], &["10.1.0.2", "10.1.0.3"])).unwrap();
        assert_eq!(names(&pods), "10.1.0.2=shop/c", "what came wins over what went");
        let mut again = Pods::default();
        again.change(pods.to_wire()).unwrap();
        assert_eq!(again, pods);
        pods.change(change(true, &[pod("fd00::1", "shop/d")], &[])).unwrap();
        assert_eq!(names(&pods), "fd00::1=shop/d");
        let nameless = v1::NamesPod { pod: None, ..pod("10.1.0.9", "shop/x") };
        assert!(pods.change(change(false, &[nameless], &[])).is_err());
    }

    #[test]
    fn an_unknown_address_is_answered_like_the_node_itself() {
        let askers = Askers::default();
        let mut pods = Pods::default();
        pods.change(v1::NamesPods { whole: true, came: vec![pod("10.1.0.2", "shop/a")], went: vec![] })
            .unwrap();
        askers.put(&pods, "cluster.local");
        for address in ["10.1.0.2", "10.1.0.77"] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(with(&askers.load(), address, Asker::address), address);
        }
    }
}
