//! Pods on their way to the control plane: merged, in batches, complete after each reconnection.
//!
//! A node never waits for a publication: what can't be sent now is sent whole later.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use tokio::sync::Notify;
use weft_model::{Pod, PodUid};

use crate::limits;

/// One publication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Whether `upserts` is everything.
    pub(crate) complete: bool,
    /// Pods that came or changed.
    pub(crate) upserts: Vec<Pod>,
    /// Pods that went.
    pub(crate) deletes: Vec<PodUid>,
    /// Addresses of which it says that their pods went, with those pods.
    pub(crate) frees: Vec<(IpAddr, PodUid)>,
}

impl Batch {
    /// Whether it says something of a pod.
    pub(crate) fn tells_of(&self, uid: PodUid) -> bool {
        self.upserts.iter().any(|pod| pod.uid == uid) || self.deletes.contains(&uid)
    }
}

/// What waits to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pending {
    complete: bool,
    upserts: BTreeMap<PodUid, Pod>,
    deletes: BTreeSet<PodUid>,
    /// Addresses whose pods went, as no replica has heard yet: others may still send to them.
    untold: BTreeMap<IpAddr, PodUid>,
    /// Everything was said once in this life of the process: until then replicas may take any free address for a pod's.
    begun: bool,
}

impl Default for Pending {
    /// At first everything is to be said.
    fn default() -> Self {
        Self {
            complete: true,
            upserts: BTreeMap::new(),
            deletes: BTreeSet::new(),
            untold: BTreeMap::new(),
            begun: false,
        }
    }
}

impl Pending {
    fn put(&mut self, pod: Pod) {
        if !self.complete {
            self.deletes.remove(&pod.uid);
            self.upserts.insert(pod.uid, pod);
            self.bound();
        }
    }

    fn remove(&mut self, uid: PodUid, addresses: &[IpAddr]) {
        self.untold.extend(addresses.iter().map(|address| (*address, uid)));
        if !self.complete {
            self.upserts.remove(&uid);
            self.deletes.insert(uid);
            self.bound();
        }
    }

    fn everything(&mut self) {
        self.complete = true;
        self.upserts.clear();
        self.deletes.clear();
    }

    /// A replica has taken a publication.
    fn told(&mut self, batch: &Batch) {
        self.begun |= batch.complete;
        for (address, uid) in &batch.frees {
            if self.untold.get(address) == Some(uid) {
                self.untold.remove(address);
            }
        }
    }

    /// Too many single changes are said as "everything".
    fn bound(&mut self) {
        if self.upserts.len() + self.deletes.len() > limits::PUBLISH_WAITING {
            self.everything();
        }
    }

    /// The next publication; `all` gives every pod of the node.
    fn take(&mut self, all: impl FnOnce() -> Vec<Pod>) -> Option<Batch> {
        if self.complete {
            self.complete = false;
            // Each was released before it came here, so it isn't among all.
            let frees = self.untold.iter().map(|(address, uid)| (*address, *uid)).collect();
            return Some(Batch { complete: true, upserts: all(), deletes: Vec::new(), frees });
        }
        let mut batch = Batch::default();
        while batch.deletes.len() < limits::PUBLISH_BATCH
            && let Some(uid) = self.deletes.pop_first()
        {
            batch.deletes.push(uid);
        }
        while batch.upserts.len() < limits::PUBLISH_BATCH
            && let Some((_, pod)) = self.upserts.pop_first()
        {
            batch.upserts.push(pod);
        }
        let is_said = |(_, uid): &(&IpAddr, &PodUid)| batch.deletes.contains(*uid);
        let frees = self.untold.iter().filter(is_said).map(|(address, uid)| (*address, *uid)).collect();
        batch.frees = frees;
        let empty = batch.upserts.is_empty() && batch.deletes.is_empty();
        (!empty).then_some(batch)
    }
}

/// The queue between attachments and the publisher.
#[derive(Debug, Default)]
pub(crate) struct Publications {
    pending: Mutex<Pending>,
    wake: Notify,
}

impl Publications {
    /// A pod came or changed.
    pub(crate) fn put(&self, pod: Pod) {
        self.change(|pending| pending.put(pod));
    }

    /// A pod went, and its addresses are free.
    pub(crate) fn remove(&self, uid: PodUid, addresses: &[IpAddr]) {
        self.change(|pending| pending.remove(uid, addresses));
    }

    /// A replica has taken a publication.
    pub(crate) fn told(&self, batch: &Batch) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).told(batch);
    }

    /// Free addresses that others may still take for those of pods that went; `resting` gives all that were released.
    pub(crate) fn untold(&self, resting: impl FnOnce() -> BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.begun { pending.untold.keys().copied().collect() } else { resting() }
    }

    /// The other side may know anything: all is said again.
    pub(crate) fn everything(&self) {
        self.change(Pending::everything);
    }

    /// The next publication, if there is one.
    pub(crate) fn take(&self, all: impl FnOnce() -> Vec<Pod>) -> Option<Batch> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).take(all)
    }

    /// Waits until there may be something.
    pub(crate) async fn changed(&self) {
        self.wake.notified().await;
    }

    fn change(&self, act: impl FnOnce(&mut Pending)) {
        act(&mut self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_one();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use weft_model::{AttachmentId, NodeName, PodPhase, Revision, WallTime};

    use super::*;

    pub(crate) fn uid(n: u16) -> PodUid {
        PodUid(u128::from(n).to_be_bytes())
    }

    pub(crate) fn pod(n: u16) -> Pod {
        Pod {
            uid: uid(n),
            name: format!("shop/web-{n}").parse().unwrap(),
            labels: BTreeMap::new(),
            node: NodeName::new("n1").unwrap(),
            attachment: AttachmentId { container: "c".to_owned(), interface: "eth0".to_owned() },
            addresses: Vec::new(),
            ports: Vec::new(),
            phase: PodPhase::Active,
            ready: true,
            terminating: false,
            created: WallTime(0),
            revision: Revision(0),
        }
    }

    /// `complete` and the numbers of upserts and deletes.
    fn take(pending: &mut Pending, all: &[u16]) -> Option<(bool, Vec<u16>, Vec<u16>)> {
        let number = |uid: &PodUid| u16::from_be_bytes([uid.0[14], uid.0[15]]);
        let batch = pending.take(|| all.iter().map(|n| pod(*n)).collect())?;
        let upserts = batch.upserts.iter().map(|pod| number(&pod.uid)).collect();
        Some((batch.complete, upserts, batch.deletes.iter().map(number).collect()))
    }

    #[test]
    fn the_first_publication_is_everything_and_then_only_changes_follow() {
        let mut pending = Pending::default();
        pending.put(pod(9));
        assert_eq!(take(&mut pending, &[1, 9]), Some((true, vec![1, 9], vec![])));
        assert_eq!(take(&mut pending, &[1, 9]), None);
        pending.put(pod(2));
        pending.put(pod(3));
        pending.remove(uid(3), &[]);
        pending.remove(uid(1), &[]);
        pending.put(pod(1));
        assert_eq!(take(&mut pending, &[]), Some((false, vec![1, 2], vec![3])));
        pending.put(pod(4));
        pending.everything();
        assert_eq!(take(&mut pending, &[4]), Some((true, vec![4], vec![])));
    }

    #[test]
    fn a_flood_is_cut_into_batches_and_too_much_becomes_everything() {
        let mut pending = Pending::default();
        take(&mut pending, &[]);
        (0..300).for_each(|n| pending.put(pod(n)));
        let sizes: Vec<_> =
            std::iter::from_fn(|| take(&mut pending, &[])).map(|(_, upserts, _)| upserts.len()).collect();
        assert_eq!(sizes, [256, 44]);
        (0..=4096).for_each(|n| pending.remove(uid(n), &[]));
        assert_eq!(take(&mut pending, &[7]), Some((true, vec![7], vec![])));
    }

    #[test]
    fn an_address_is_untold_until_a_replica_has_taken_what_says_that_its_pod_went() {
        let address = |n: u8| IpAddr::from([10, 1, 0, n]);
        let publications = Publications::default();
        let untold = || -> Vec<u8> {
            let of = |address: IpAddr| address.to_string().rsplit('.').next().unwrap().parse().unwrap();
            publications.untold(|| [address(8), address(9)].into()).into_iter().map(of).collect()
        };
        let take = || publications.take(|| vec![pod(7)]).unwrap();
        assert_eq!(untold(), [8, 9], "at first all that rest");
        publications.remove(uid(1), &[address(1)]);
        let everything = take();
        publications.remove(uid(2), &[address(2)]);
        publications.told(&everything);
        assert_eq!(untold(), [2], "it went after everything was said");
        let change = take();
        assert_eq!(change.deletes, [uid(2)]);
        // It didn't get through: all is said again.
        publications.everything();
        assert_eq!(untold(), [2]);
        publications.told(&take());
        assert_eq!(untold(), [] as [u8; 0]);
        // Another pod had the address meanwhile, and went too.
        publications.remove(uid(3), &[address(3)]);
        let first = take();
        publications.remove(uid(4), &[address(3)]);
        publications.told(&first);
        assert_eq!(untold(), [3]);
        publications.told(&take());
        assert_eq!(untold(), [] as [u8; 0]);
    }
}
