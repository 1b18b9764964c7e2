//! The loops of the agent by name, and which of them hears of what.

use tokio::sync::Notify;
use weft_model::{ItemKey, NodeName, Revision};
use weft_view::Touched;

use crate::inbox::{Inbox, Wish};

/// The loops that work in the kernel.
#[derive(Debug, Default)]
pub(crate) struct Inboxes {
    /// Bridge, ports, neighbours, settings.
    pub(crate) links: Inbox,
    /// Routes and rules.
    pub(crate) routes: Inbox,
    /// WireGuard.
    pub(crate) mesh: Inbox,
    /// nf_tables.
    pub(crate) nft: Inbox,
    /// Services.
    pub(crate) services: Inbox,
    /// Network policy.
    pub(crate) policies: Inbox,
    /// Names: the DNS process.
    pub(crate) dns: Inbox,
    /// Flows of pods that are gone.
    pub(crate) flows: Inbox,
    /// Load-balancer addresses.
    pub(crate) announce: Inbox,
    /// What the host is.
    pub(crate) host: Inbox,
    /// Path MTU.
    pub(crate) path_mtu: Inbox,
    /// Dead links wait to be deleted.
    pub(crate) reap: Inbox,
    /// Pods that are gone without a DEL.
    pub(crate) collect: Inbox,
    /// DELs that a plugin kept.
    pub(crate) spool: Inbox,
}

impl Inboxes {
    /// Items of the View changed, up to this revision. Says whether everything has to be looked at: the fabric, or what the others are told of
    /// this node, is another one.
    pub(crate) fn tell_of_items(&self, this_node: &NodeName, upto: Revision, touched: &Touched) -> bool {
        let wide = touched.keys.iter().any(|key| match key {
            ItemKey::Fabric => true,
            ItemKey::Peer(node) => node == this_node,
            ItemKey::Route(_)
            | ItemKey::Service(_)
            | ItemKey::Probe(_)
            | ItemKey::Owner(_)
            | ItemKey::Pod(_)
            | ItemKey::Setup(_)
            | ItemKey::Policy(_)
            | ItemKey::Namespace(_)
            | ItemKey::Identity(_) => false,
        });
        for inbox in self.subjects() {
            inbox.poke(Wish { all: wide, items: touched.keys.clone(), upto, ..Wish::default() });
        }
        if any(touched, |key| matches!(key, ItemKey::Peer(_))) {
            self.path_mtu.poke(Wish { items: touched.keys.clone(), ..Wish::default() });
        }
        if touched.became_in_sync || any(touched, |key| matches!(key, ItemKey::Owner(_))) {
            self.announce.poke(Wish::all());
        }
        if wide {
            self.host.poke(Wish::observe());
        }
        wide
    }

    /// The host is another one.
    pub(crate) fn tell_of_facts(&self) {
        self.announce.poke(Wish::all());
        for inbox in self.subjects() {
            inbox.poke(Wish::all());
        }
    }

    /// The loops of subjects (weft-plan), and names: whatever changes in View or facts may concern them.
    fn subjects(&self) -> [&Inbox; 7] {
        [&self.links, &self.routes, &self.mesh, &self.nft, &self.services, &self.policies, &self.dns]
    }

    /// Ends every loop.
    pub(crate) fn stop(&self) {
        let others =
            [&self.announce, &self.flows, &self.host, &self.path_mtu, &self.reap, &self.collect, &self.spool];
        self.subjects().into_iter().chain(others).for_each(Inbox::stop);
    }
}

/// Tasks that wait for something else than a loop's work. Each has one waiter; a wake that comes early isn't lost.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    /// Pods came, went, or are asked in another way.
    pub(crate) readiness: Notify,
    /// Ports that this node serves may be others.
    pub(crate) ports: Notify,
    /// A pod is about to end.
    pub(crate) drain: Notify,
    /// Load balancers, or who owns their addresses, may be others.
    pub(crate) pulse: Notify,
}

impl Wakes {
    /// Items of the View changed; `wide`: everything has to be looked at.
    pub(crate) fn tell_of_items(&self, wide: bool, touched: &Touched) {
        if any(touched, |key| matches!(key, ItemKey::Probe(_))) {
            self.readiness.notify_one();
        }
        if wide || any(touched, |key| matches!(key, ItemKey::Service(_))) {
            self.ports.notify_one();
        }
        let balances = |key: &ItemKey| matches!(key, ItemKey::Service(_) | ItemKey::Owner(_));
        if touched.became_in_sync || any(touched, balances) {
            self.pulse.notify_one();
        }
    }
}

fn any(touched: &Touched, of: impl Fn(&ItemKey) -> bool) -> bool {
    touched.keys.iter().any(of)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::inbox::Work;

    fn name(text: &str) -> NodeName {
        text.parse().unwrap()
    }

    /// Which inboxes hear of a key: subjects, path MTU, announcing, host.
    fn check(key: ItemKey, wide: bool, heard: [bool; 4]) {
        let inboxes = Inboxes::default();
        let touched = Touched { keys: [key.clone()].into(), became_in_sync: false };
        assert_eq!(inboxes.tell_of_items(&name("n1"), Revision(7), &touched), wide, "{key:?}");
        let work = |inbox: &Inbox| match inbox.take(Instant::now()) {
            Work::Wish(wish, _) => Some(wish),
            Work::Nothing | Work::Stop => None,
        };
        let subjects = inboxes.subjects().map(work);
        assert!(
            subjects
                .iter()
                .flatten()
                .all(|wish| wish.all == wide && wish.items.contains(&key) && wish.upto == Revision(7))
        );
        let others = [&inboxes.path_mtu, &inboxes.announce, &inboxes.host].map(|inbox| work(inbox).is_some());
        let all = subjects.iter().all(Option::is_some);
        assert_eq!([all, others[0], others[1], others[2]], heard, "{key:?}");
    }

    #[test]
    fn every_subject_hears_of_every_item_and_the_others_of_their_own() {
        check(ItemKey::Fabric, true, [true, false, false, true]);
        check(ItemKey::Peer(name("n1")), true, [true, true, false, true]);
        check(ItemKey::Peer(name("n2")), false, [true, true, false, false]);
        check(ItemKey::Service("shop/web".parse().unwrap()), false, [true, false, false, false]);
        check(ItemKey::Owner([192, 0, 2, 1].into()), false, [true, false, true, false]);
    }

    #[tokio::test]
    async fn signs_of_life_hear_at_once_of_owners_and_of_services() {
        for (key, heard) in [
            (ItemKey::Owner([192, 0, 2, 1].into()), true),
            (ItemKey::Service("shop/web".parse().unwrap()), true),
            (ItemKey::Peer(name("n2")), false),
        ] {
            let wakes = Wakes::default();
            wakes.tell_of_items(false, &Touched { keys: [key.clone()].into(), became_in_sync: false });
            let woken = futures_util::FutureExt::now_or_never(wakes.pulse.notified()).is_some();
            assert_eq!(woken, heard, "{key:?}");
        }
    }
}
