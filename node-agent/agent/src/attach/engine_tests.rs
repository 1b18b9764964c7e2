//! What attaching and detaching leave behind, without a kernel: the ledger and what is published.

use std::{thread, time::Duration};

use weft_ipam::Uptime;
use weft_model::Families;

use super::*;
use crate::fixture::node;

/// An engine whose journal nobody writes and whose loops don't run.
fn engine(directory: &tempfile::TempDir) -> Engine {
    let folder = |name| directory.path().join(name);
    Engine::new(Arc::new(node(directory)), Notes::new(folder("pods")), Setups::new(folder("setup")))
}

fn new_pod() -> NewPod {
    NewPod {
        attachment: AttachmentId { container: "c1".to_owned(), interface: "eth0".to_owned() },
        pod: "shop/web".parse().unwrap(),
        labels: Labels::new(),
        netns: "/run/netns/none".to_owned(),
        origin: Origin::Weft,
        wanted: Vec::new(),
        forbidden_netns: None,
        probes: Probes::default(),
        unique: false,
    }
}

fn held(engine: &Engine) -> usize {
    engine.node.addresses.read(|ledger| ledger.holdings().count())
}

#[test]
fn an_address_whose_journal_entry_comes_too_late_is_free_again() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&directory);
    let error = engine.allocate(new_pod(), Instant::now()).unwrap_err();
    assert_eq!(error.registered(), &weft_errors::DEADLINE);
    assert_eq!(held(&engine), 0, "the same ADD can be tried again");
}

#[test]
fn a_complete_publication_beside_a_removal_ends_without_the_pod() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&directory);
    let node = engine.node();
    let attachment = new_pod().attachment;
    let uid = PodUid([7; 16]);
    node.addresses.change(Durability::WithNext, |ledger| {
        let request = Request {
            attachment: attachment.clone(),
            uid,
            pod: "shop/web".parse().unwrap(),
            labels: Labels::new(),
            netns: String::new(),
            link: "wv00000007".to_owned(),
            mac: pod_mac(uid),
            mtu: 1440,
            origin: Origin::Weft,
            created: clock::wall(),
            families: Families::V4,
            wanted: Vec::new(),
            avoid: Default::default(),
        };
        let (holding, entry) = ledger.allocate(request, Uptime::default()).unwrap();
        node.put_pod(local_pod(&holding));
        ((), [Some(entry), ledger.confirm(&attachment)].into_iter().flatten().collect())
    });
    let batches = thread::scope(|scope| {
        let removing = scope.spawn(|| {
            let soon = Instant::now() + Duration::from_secs(5);
            let held = engine.lock("c1", soon).unwrap();
            // Nobody writes the journal: the release itself is what counts here.
            engine.remove(&held, &attachment, Instant::now() + Duration::from_millis(200))
        });
        let going = || (!node.facts().pods.contains_key(&uid)).then_some(());
        weft_process::wait::until_blocking(Duration::from_secs(5), "the removal", going).unwrap();
        // The removal goes on up to the ledger, which is held here; meanwhile everything is published.
        let complete = node.addresses.read(|ledger| {
            node.inboxes.stop();
            let never =
                weft_process::wait::until_blocking(Duration::from_millis(50), "nothing", || None::<()>);
            assert!(never.is_err());
            let all = || ledger.holdings().map(|h| published(node, h)).collect();
            node.publications.take(all).unwrap()
        });
        assert!(removing.join().unwrap().is_err(), "nobody writes the journal");
        [complete, node.publications.take(Vec::new).unwrap_or_default()]
    });
    assert!(batches[0].complete && batches[0].upserts.len() == 1, "{batches:?}");
    assert_eq!(batches[1].deletes, [uid], "what was published anew is taken back");
}
