//! The whole task against sockets of this machine: verdicts, their publication, and what a new start keeps.

use std::net::{IpAddr, Ipv4Addr};

use tokio::net::TcpListener;
use weft_ipam::{Entry, Serving};
use weft_model::{AttachmentId, Item, ItemKey, ProbeHandler, ProbeItem, Revision, WallTime};
use weft_view::Update;

use super::*;
use crate::{addresses::Addresses, fixture};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn probe(port: u16, failure_threshold: u32) -> Probe {
    Probe {
        handler: ProbeHandler::Tcp { port },
        initial_delay_ms: 0,
        period_ms: 100,
        timeout_ms: 100,
        success_threshold: 1,
        failure_threshold,
    }
}

/// A node that holds one pod at this machine's own address, probed as said when it was made.
fn node_with(directory: &tempfile::TempDir, probes: Probes) -> Arc<Node> {
    let node = fixture::node(directory);
    let serving = Serving { probes: Box::new(probes), ..Serving::default() };
    let holding = Holding { addresses: vec![HERE], serving, created: clock::wall(), ..fixture::holding() };
    hold(&node.addresses, &holding);
    Arc::new(node)
}

fn hold(addresses: &Addresses, holding: &Holding) {
    let (entries, _): (Vec<Entry>, _) = addresses.change(Durability::WithNext, |ledger| {
        let entries = ledger.adopt(holding);
        (entries.clone(), entries)
    });
    assert!(!entries.is_empty());
}

/// Waits until the pod is published with this readiness; how long that took.
async fn published_as(node: &Node, ready: bool) -> Duration {
    let began = Instant::now();
    loop {
        let said = node.publications.take(Vec::new);
        if said.is_some_and(|batch| batch.upserts.iter().any(|pod| pod.ready == ready)) {
            return began.elapsed();
        }
        assert!(began.elapsed() < Duration::from_secs(10), "never published with ready={ready}");
        // A wake that came before is kept.
        let _again = tokio::time::timeout(Duration::from_secs(1), node.publications.changed()).await;
    }
}

fn is_ready_now(node: &Node) -> bool {
    node.pods()[0].ready
}

#[tokio::test]
async fn a_pod_is_ready_while_it_answers_and_that_is_published() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let node = node_with(&directory, Probes { readiness: Some(probe(port, 2)), startup: None });
    node.publications.take(Vec::new);
    assert!(!is_ready_now(&node), "it hasn't answered yet");
    let stop = CancellationToken::new();
    let task = tokio::spawn(watch_pods(Arc::clone(&node), stop.clone()));
    let took = published_as(&node, true).await;
    assert!(took < Duration::from_millis(500), "{took:?}");
    assert!(is_ready_now(&node));
    drop(listener);
    published_as(&node, false).await;
    let _listener = TcpListener::bind((HERE, port)).await.unwrap();
    published_as(&node, true).await;
    stop.cancel();
    task.await.unwrap();
    // What is known is kept: the next start of the agent begins with it.
    assert!(is_ready_now(&node));
}

#[tokio::test]
async fn what_people_write_wins_and_its_end_makes_the_pod_ready() {
    let directory = tempfile::tempdir().unwrap();
    let node = node_with(&directory, Probes::default());
    node.publications.take(Vec::new);
    assert!(is_ready_now(&node), "nobody asks it");
    let stop = CancellationToken::new();
    let task = tokio::spawn(watch_pods(Arc::clone(&node), stop.clone()));
    let item = ProbeItem { pod: "shop/web".parse().unwrap(), readiness: Some(probe(1, 1)), startup: None };
    let mut view = View::clone(&node.view());
    let update =
        |revision, upserts, deletes| Update::Delta { revision: Revision(revision), upserts, deletes };
    let touched = view.fold(update(2, vec![Item::Probe(item.clone())], vec![])).unwrap();
    node.adopt(view.clone(), &touched);
    published_as(&node, false).await;
    let touched = view.fold(update(3, vec![], vec![ItemKey::Probe(item.pod)])).unwrap();
    node.adopt(view, &touched);
    published_as(&node, true).await;
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn pods_that_never_answer_keep_no_others_from_being_asked() {
    let directory = tempfile::tempdir().unwrap();
    let node = fixture::node(&directory);
    // The pods' addresses are all of this machine's 127.0.0.0/8. Nobody accepts.
    let listen = || std::net::TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let (silent, answering) = (listen(), listen());
    let port = silent.local_addr().unwrap().port();
    let handler = ProbeHandler::Http {
        port,
        path: "/".to_owned(),
        tls: false,
        host: String::new(),
        headers: Vec::new(),
    };
    let patient = Probe { handler, timeout_ms: 3_600_000, ..probe(port, 1) };
    let good = probe(answering.local_addr().unwrap().port(), 1);
    for number in 0..=250_u8 {
        let asked = if number == 250 { good.clone() } else { patient.clone() };
        let probes = Probes { readiness: Some(asked), startup: None };
        let serving = Serving { probes: Box::new(probes), ..Serving::default() };
        let attachment = AttachmentId { container: format!("c{number}"), interface: "eth0".to_owned() };
        let addresses = vec![IpAddr::from([127, 0, 1, number])];
        let (uid, pod) = (PodUid([number; 16]), format!("shop/p{number}").parse().unwrap());
        // All are due at once; the last one's turn comes last.
        let created = WallTime(1_000 + u64::from(number));
        let holding = Holding { attachment, addresses, uid, pod, serving, created, ..fixture::holding() };
        hold(&node.addresses, &holding);
    }
    let node = Arc::new(node);
    node.publications.take(Vec::new);
    let stop = CancellationToken::new();
    let task = tokio::spawn(watch_pods(Arc::clone(&node), stop.clone()));
    published_as(&node, true).await;
    stop.cancel();
    task.await.unwrap();
    drop((silent, answering));
}
