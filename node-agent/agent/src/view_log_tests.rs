//! What is there after a crash, whenever it comes.

use proptest::prelude::*;
use weft_model::{Epoch, Item, NodeName, RouteItem};
use weft_proto::convert::snapshot_part;

use super::*;
use crate::view_file;

fn route(n: u64) -> Item {
    Item::Route(RouteItem {
        block: format!("10.0.{n}.0/24").parse().unwrap(),
        node: NodeName::new("n1").unwrap(),
        epoch: Epoch(n),
    })
}

/// An agent's View in memory and on disk.
struct Agent {
    paths: Paths,
    log: ViewLog,
    view: View,
    /// A View that waits to be written.
    saving: Option<Arc<View>>,
}

impl Agent {
    /// As `weft-agent run` begins.
    fn start(paths: Paths) -> Self {
        let mut view = view_file::load(&paths.view()).unwrap();
        if replay(&paths, &mut view) {
            view_file::save(&paths.view(), &view).unwrap();
        }
        let log = ViewLog::begin(&paths, view.revision());
        Self { paths, log, view, saving: None }
    }

    fn hear(&mut self, frames: &[WatchResponse]) {
        let (mut records, mut view) = (Records::default(), self.view.clone());
        for frame in frames {
            records.take(frame);
            let update = match Frame::try_from(frame.clone()).unwrap() {
                Frame::Snapshot { revision, first, last, items } => {
                    Update::SnapshotPart { revision, first, last, items }
                }
                Frame::InSync(revision) => Update::InSync { revision },
                Frame::Delta { revision, upserts, deletes } => Update::Delta { revision, upserts, deletes },
                Frame::Ask(_) => continue,
            };
            view.fold(update).unwrap();
        }
        self.log.record(&records, || self.view = view);
    }

    fn save_begins(&mut self) {
        self.saving = Some(self.log.turn(|| Arc::new(self.view.clone())));
    }

    fn save_ends(&mut self) {
        if let Some(view) = self.saving.take() {
            view_file::save(&self.paths.view(), &view).unwrap();
            self.log.forget_before();
        }
    }

    fn known(&self) -> (Revision, Vec<Item>) {
        (self.view.revision(), self.view.items().collect())
    }
}

fn place() -> (tempfile::TempDir, Paths) {
    let place = tempfile::tempdir().unwrap();
    let paths = Paths { state: place.path().to_owned(), ..Paths::default() };
    (place, paths)
}

fn delta(revision: u64) -> WatchResponse {
    let gone = [route(revision.saturating_sub(3)).key()];
    delta_frame(Revision(revision), &[route(revision)], if revision > 3 { &gone[..] } else { &[] })
}

#[derive(Clone, Debug)]
enum Step {
    Delta,
    InSync,
    Burst,
    SaveBegins,
    SaveEnds,
    Crash,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_agent_that_is_killed_begins_with_all_that_it_knew(steps in prop::collection::vec(prop_oneof![
        4 => Just(Step::Delta),
        1 => Just(Step::InSync),
        2 => Just(Step::Burst),
        2 => Just(Step::SaveBegins),
        2 => Just(Step::SaveEnds),
        2 => Just(Step::Crash),
    ], 1..40)) {
        let (_place, paths) = place();
        let (mut agent, mut revision) = (Agent::start(paths.clone()), 0);
        let mut following = || { revision += 1; revision };
        for step in steps {
            match step {
                Step::Delta => agent.hear(&[delta(following())]),
                Step::InSync => agent.hear(&[in_sync_frame(Revision(following()))]),
                Step::Burst => agent.hear(&[delta(following()), delta(following()), in_sync_frame(Revision(following()))]),
                Step::SaveBegins => if agent.saving.is_none() { agent.save_begins() },
                Step::SaveEnds => agent.save_ends(),
                Step::Crash => {
                    let known = agent.known();
                    agent = Agent::start(paths.clone());
                    prop_assert_eq!(agent.known(), known);
                    prop_assert!(!agent.view.is_in_sync());
                }
            }
        }
    }
}

#[test]
fn writings_that_fail_one_after_the_other_lose_nothing() {
    let (_place, paths) = place();
    let mut agent = Agent::start(paths.clone());
    for revision in 1..=6 {
        agent.hear(&[delta(revision)]);
        agent.save_begins();
        agent.saving = None;
    }
    let known = agent.known();
    agent = Agent::start(paths.clone());
    assert_eq!(agent.known(), known);
    agent.hear(&[delta(7)]);
    agent.save_begins();
    agent.save_ends();
    agent.hear(&[delta(8)]);
    let known = agent.known();
    assert_eq!(Agent::start(paths).known(), known);
}

#[test]
fn after_a_snapshot_nothing_is_added_to_what_was_before_it() {
    let (_place, paths) = place();
    let mut agent = Agent::start(paths.clone());
    agent.hear(&[delta(1)]);
    let before = agent.known();
    agent.hear(&[snapshot_part(Revision(5), true, true, &[route(9)]), delta(6)]);
    agent.hear(&[delta(7)]);
    assert_eq!(Agent::start(paths.clone()).known(), before, "the log ends before the snapshot");

    let mut agent = Agent::start(paths.clone());
    agent.hear(&[snapshot_part(Revision(5), true, true, &[route(9)]), delta(6)]);
    agent.save_begins();
    agent.hear(&[delta(7)]);
    assert_eq!(
        Agent::start(paths.clone()).known(),
        before,
        "what follows waits for the View that is being written"
    );
    let mut agent = Agent::start(paths.clone());
    agent.hear(&[snapshot_part(Revision(5), true, true, &[route(9)]), delta(6)]);
    agent.save_begins();
    agent.hear(&[delta(7)]);
    agent.save_ends();
    assert_eq!(Agent::start(paths).known(), agent.known());
}

#[test]
fn a_log_that_is_cut_or_damaged_counts_as_far_as_it_is_whole() {
    let (_place, paths) = place();
    let mut agent = Agent::start(paths.clone());
    let mut known = vec![agent.known()];
    let mut ends = vec![std::fs::metadata(&paths.view_logs()[0]).unwrap().len()];
    for revision in 1..4 {
        agent.hear(&[delta(revision)]);
        known.push(agent.known());
        ends.push(std::fs::metadata(&paths.view_logs()[0]).unwrap().len());
    }
    let whole = std::fs::read(&paths.view_logs()[0]).unwrap();
    for length in 0..=whole.len() {
        std::fs::write(&paths.view_logs()[0], &whole[..length]).unwrap();
        let mut view = View::default();
        replay(&paths, &mut view);
        let records = ends.iter().filter(|end| usize::try_from(**end).unwrap() <= length).count();
        assert_eq!(view.revision(), known[records.saturating_sub(1)].0, "{length} bytes");
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        std::fs::write(&paths.view_logs()[0], &damaged).unwrap();
        let mut view = View::default();
        replay(&paths, &mut view);
        let records = ends.iter().filter(|end| usize::try_from(**end).unwrap() <= at).count();
        assert_eq!(view.revision(), known[records.saturating_sub(1)].0, "byte {at}");
    }
}

#[test]
fn a_log_that_cant_be_written_costs_no_view_and_is_told_by_nothing_worse() {
    let (place, paths) = place();
    let paths = Paths { state: place.path().join("missing"), ..paths };
    let log = ViewLog::begin(&paths, Revision(0));
    let mut records = Records::default();
    records.take(&delta(1));
    assert!(log.record(&records, || true), "what comes is made known");
    assert!(!replay(&paths, &mut View::default()));
}
