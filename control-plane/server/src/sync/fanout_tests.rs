//! The fan-out: encoded once, in order, resumable, bounded.

use weft_model::{AddressRange, Epoch, RouteItem};

use super::*;

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

fn route(third: u64) -> ItemChange {
    let block: AddressRange = format!("10.0.{third}.0/24").parse().unwrap();
    ItemChange::Upsert(Item::Route(RouteItem { block, node: node("n1"), epoch: Epoch(third) }))
}

fn ready(follower: &Follower) -> Option<Result<Frame, Cut>> {
    let mut next = std::pin::pin!(follower.next());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match Future::poll(next.as_mut(), &mut context) {
        std::task::Poll::Ready(outcome) => Some(outcome),
        std::task::Poll::Pending => None,
    }
}

fn revisions(follower: &Follower) -> Vec<u64> {
    std::iter::from_fn(|| ready(follower)).map_while(Result::ok).map(|frame| frame.revision.0).collect()
}

#[test]
fn a_delta_is_encoded_once() {
    let fanout = Fanout::new(Revision(1));
    let followers: Vec<_> = (0..50).map(|i| fanout.follow(&node(&format!("n{i}")), None).0).collect();
    fanout.publish(Revision(2), &[route(2)]);
    let frames: Vec<Frame> = followers.iter().map(|f| ready(f).unwrap().unwrap()).collect();
    assert_eq!(fanout.counts(), Counts { followers: 50, encoded: 1, cut: 0 });
    let first = frames[0].bytes.as_ptr();
    assert!(frames.iter().all(|frame| frame.bytes.as_ptr() == first), "the very same bytes");
}

#[test]
fn followers_get_every_revision_once_and_in_order() {
    let fanout = Fanout::new(Revision(5));
    let (follower, begin) = fanout.follow(&node("n1"), None);
    assert!(matches!(begin, Begin::Snapshot));
    fanout.publish(Revision(6), &[route(6)]);
    fanout.advance(Revision(9));
    fanout.advance(Revision(9));
    fanout.publish(Revision(10), &[route(10)]);
    assert_eq!(revisions(&follower), [6, 9, 10]);
    assert_eq!(fanout.revision(), Revision(10));
}

#[test]
fn a_view_resumes_only_from_what_the_ring_still_holds() {
    let fanout = Fanout::new(Revision(5));
    for revision in 6..=8 {
        fanout.publish(Revision(revision), &[route(revision)]);
    }
    let resumed = |from| match fanout.follow(&node("n1"), Some(Revision(from))).1 {
        Begin::Resume(frames) => Some(frames.iter().map(|f| f.revision.0).collect::<Vec<_>>()),
        Begin::Snapshot => None,
    };
    assert_eq!(resumed(6), Some(vec![7, 8, 8]), "what follows, then in sync");
    assert_eq!(resumed(8), Some(vec![8]));
    assert_eq!(resumed(4), None, "before the ring");
    assert_eq!(resumed(9), None, "from a future that this replica doesn't know");
    fanout.reset(Revision(20));
    assert_eq!(resumed(8), None, "the state was replaced");
}

#[test]
fn a_slow_follower_is_cut_and_others_go_on() {
    let fanout = Fanout::new(Revision(0));
    let (slow, _) = fanout.follow(&node("slow"), None);
    let (fast, _) = fanout.follow(&node("fast"), None);
    let many: Vec<ItemChange> = (0..250).map(route).collect();
    let mut revision = 0;
    while fanout.counts().cut == 0 {
        revision += 1;
        fanout.publish(Revision(revision), &many);
        assert!(matches!(ready(&fast), Some(Ok(frame)) if frame.revision.0 == revision));
        assert!(revision < 10_000, "8 MiB are reached");
    }
    assert!(matches!(ready(&slow), Some(Err(Cut::Slow))));
    assert_eq!(fanout.counts().followers, 1);
}

#[test]
fn a_node_has_at_most_two_streams_and_a_removed_one_none() {
    let fanout = Fanout::new(Revision(0));
    let streams: Vec<_> = (0..3).map(|_| fanout.follow(&node("n1"), None).0).collect();
    assert!(matches!(ready(&streams[0]), Some(Err(Cut::Replaced))));
    assert!(ready(&streams[1]).is_none() && ready(&streams[2]).is_none());
    let ask = v1::WatchResponse { frame: None };
    assert!(fanout.send_to(&node("n1"), &ask).is_some() && fanout.send_to(&node("n2"), &ask).is_none());
    fanout.cut_node(&node("n1"));
    assert!(matches!(ready(&streams[2]), Some(Err(Cut::Removed))));
    assert!(!fanout.follows(&node("n1")));
}

#[test]
fn an_encoded_state_is_shared_at_its_revision_only() {
    let fanout = Fanout::new(Revision(5));
    let frames: Arc<[Bytes]> = vec![Bytes::from_static(b"whole")].into();
    fanout.keep_snapshot(Revision(4), &frames);
    assert!(fanout.snapshot().is_none(), "of an older revision");
    fanout.keep_snapshot(Revision(5), &frames);
    assert!(
        fanout.snapshot().is_some_and(|(shared, revision)| Arc::ptr_eq(&shared, &frames) && revision.0 == 5)
    );
    fanout.publish(Revision(6), &[route(6)]);
    assert!(fanout.snapshot().is_none(), "the state went on");
}
