//! A leader that listens, with a log that is a map.

use std::sync::{Mutex, atomic::AtomicU64, atomic::Ordering::Relaxed};

use weft_model::{NodeUid, ReplicaId};

use super::*;
use crate::pulses::PulseBoard;

const GRACE: Duration = Duration::from_secs(5);

struct Fake {
    term: Option<Term>,
    board: PulseBoard,
    nodes: Mutex<Nodes>,
    revision: AtomicU64,
    asked: AtomicU64,
    written: AtomicU64,
}

impl Fake {
    fn new() -> Self {
        let known = Known { uid: NodeUid([1; 16]), silent: false };
        Self {
            term: Some(Term(1)),
            board: PulseBoard::new(ReplicaId(1)),
            nodes: Mutex::new(["n1", "n2", "n3"].map(|name| (node(name), known)).into()),
            revision: AtomicU64::new(1),
            asked: AtomicU64::new(0),
            written: AtomicU64::new(0),
        }
    }

    fn silent(&self) -> Vec<String> {
        let nodes = self.nodes.lock().unwrap();
        nodes.iter().filter(|(_, known)| known.silent).map(|(name, _)| name.to_string()).collect()
    }
}

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

impl Surroundings for Fake {
    fn leads(&self) -> Option<Term> {
        self.term
    }

    fn revision(&self) -> Revision {
        Revision(self.revision.load(Relaxed))
    }

    async fn nodes(&self) -> Result<(Nodes, Duration), Error> {
        self.asked.fetch_add(1, Relaxed);
        Ok((self.nodes.lock().unwrap().clone(), GRACE))
    }

    fn judge(&self, clocks: &mut Clocks, nodes: &Nodes, grace: Duration, now: Instant) -> Verdict {
        self.board.judge(clocks, nodes, grace, now)
    }

    fn pardon(&self, span: Duration) {
        self.board.pardon_silence(span);
    }

    async fn note(&self, marks: Vec<NodeSilence>) -> Result<(), Error> {
        self.written.fetch_add(1, Relaxed);
        self.revision.fetch_add(1, Relaxed);
        let mut nodes = self.nodes.lock().unwrap();
        for mark in marks {
            if let Some(known) = nodes.get_mut(&mark.node) {
                known.silent = mark.since.is_some();
            }
        }
        Ok(())
    }
}

/// Looks for so many milliseconds from `from` on, while these nodes speak each second; gives back when that ends.
async fn pass(watch: &mut Watch, fake: &Fake, from: Instant, ms: u64, speaking: &[&str]) -> Instant {
    for at in (0..ms).step_by(250) {
        let now = from + Duration::from_millis(at);
        if at % 1_000 == 0 {
            speaking.iter().for_each(|name| fake.board.present(&node(name), now));
        }
        watch.look(fake, now).await.unwrap();
    }
    from + Duration::from_millis(ms)
}

#[tokio::test]
async fn a_leader_writes_down_once_who_is_silent_and_once_who_is_back() {
    let (fake, mut watch) = (Fake::new(), Watch::default());
    let now = pass(&mut watch, &fake, Instant::now(), 3_000, &["n1", "n2", "n3"]).await;
    let now = pass(&mut watch, &fake, now, 4_000, &["n1", "n2"]).await;
    assert_eq!((fake.silent(), fake.asked.load(Relaxed)), (vec![], 1), "nothing changed, nothing is asked");
    let now = pass(&mut watch, &fake, now, 3_000, &["n1", "n2"]).await;
    assert_eq!((fake.silent(), fake.written.load(Relaxed)), (vec!["n3".to_owned()], 1));
    let now = pass(&mut watch, &fake, now, 2_000, &["n1", "n2", "n3"]).await;
    assert_eq!(fake.silent(), ["n3"], "it may have come back without its pods, and will say so");
    pass(&mut watch, &fake, now, 1_500, &["n1", "n2", "n3"]).await;
    assert_eq!((fake.silent(), fake.written.load(Relaxed)), (vec![], 2));
}

#[tokio::test]
async fn nobody_but_a_leader_writes_and_a_new_one_waits_for_the_whole_grace() {
    let (mut fake, mut watch) = (Fake::new(), Watch::default());
    fake.term = None;
    let now = pass(&mut watch, &fake, Instant::now(), 20_000, &["n1", "n2"]).await;
    assert_eq!(fake.asked.load(Relaxed), 0);
    fake.term = Some(Term(2));
    let now = pass(&mut watch, &fake, now, 4_750, &["n1", "n2"]).await;
    fake.term = Some(Term(4));
    let now = pass(&mut watch, &fake, now, 4_750, &["n1", "n2"]).await;
    assert_eq!(fake.silent(), Vec::<String>::new(), "it leads anew, though nobody saw it fall in between");
    pass(&mut watch, &fake, now, 500, &["n1", "n2"]).await;
    assert_eq!(fake.silent(), ["n3"]);
}

#[tokio::test]
async fn a_leader_that_stood_still_takes_nobody_for_silent() {
    let (fake, mut watch) = (Fake::new(), Watch::default());
    let now = pass(&mut watch, &fake, Instant::now(), 2_000, &["n1", "n2", "n3"]).await;
    let woken = now + Duration::from_secs(60);
    watch.looked = Some(now);
    watch.look(&fake, woken).await.unwrap();
    ["n1", "n2"].iter().for_each(|name| fake.board.present(&node(name), woken));
    pass(&mut watch, &fake, woken, 1_000, &["n1", "n2"]).await;
    assert_eq!((fake.silent(), watch.held.len()), (vec![], 0));
}
