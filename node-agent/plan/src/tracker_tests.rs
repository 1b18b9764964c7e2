//! The laws of reconciliation, for every subject whose steps are single objects.

use proptest::prelude::*;
use weft_model::Families;
use weft_view::View;

use super::*;
use crate::{
    Link, Route, Step,
    world::{Event, delta, events, facts, pod},
};

/// Folds events with the narrowest scopes; returns the tracker and the world at the end.
fn folded<S: Subject>(events: Vec<Event>) -> (Tracker<S::Key, S::Value>, View, crate::Facts) {
    let (mut view, mut facts) = (View::default(), facts());
    let mut tracker = Tracker::new();
    for (revision, event) in (1..).zip(events) {
        match event {
            Event::Fabric(upserts, deletes) => {
                let touched = view.fold(delta(revision, upserts, deletes)).unwrap();
                let scope = Scope::of(&touched.keys, &facts);
                tracker.want(scope, S::desired(&view, &facts, scope));
            }
            Event::Pod(index, comes) => {
                let pod = pod(Families::Dual, index);
                let uids = BTreeSet::from([pod.uid]);
                match comes {
                    true => facts.pods.insert(pod.uid, pod),
                    false => facts.pods.remove(&pod.uid),
                };
                tracker.want(Scope::Pods(&uids), S::desired(&view, &facts, Scope::Pods(&uids)));
            }
        }
    }
    (tracker, view, facts)
}

fn check_laws<S, K, V>(before: Vec<Event>, after: Vec<Event>) -> Result<(), TestCaseError>
where
    S: Subject<Key = K, Value = V, Step = Step<K, V>>,
    K: Ord + Clone + std::fmt::Debug,
    V: Eq + Clone + std::fmt::Debug,
{
    let (mut tracker, view, facts) = folded::<S>(before.clone());
    let mut whole = Tracker::new();
    whole.want(Scope::All, S::desired(&view, &facts, Scope::All));
    prop_assert_eq!(&tracker, &whole, "folding scopes equals All");
    tracker.want(Scope::All, S::desired(&view, &facts, Scope::All));
    prop_assert_eq!(&tracker, &whole, "twice is once");

    // Everything that is wanted is made: nothing is left to do, whoever may sweep.
    for step in tracker.steps::<S>(Sweep::Allowed) {
        let is_new = matches!(step, Step::Put { was: None, .. });
        prop_assert!(is_new);
        S::effects(&step).into_iter().for_each(|(key, value)| tracker.noticed(key, value));
    }
    prop_assert!(tracker.steps::<S>(Sweep::Allowed).is_empty() && tracker.pending().is_empty());
    let made = tracker.actual().clone();
    tracker.observed(made.clone());
    prop_assert!(tracker.pending().is_empty(), "an equal observation gives no steps");

    // The world changes: new before old, and nothing goes without leave.
    let (mut changed, _, _) = folded::<S>(before.into_iter().chain(after).collect());
    changed.observed(made.clone());
    let steps = changed.steps::<S>(Sweep::Allowed);
    let deletes = steps.iter().position(|s| matches!(s, Step::Delete { .. })).unwrap_or(steps.len());
    let ordered = steps[deletes..].iter().all(|s| matches!(s, Step::Delete { .. }));
    prop_assert!(ordered, "new before old");
    let careful = changed.steps::<S>(Sweep::Forbidden);
    prop_assert_eq!(&careful[..], &steps[..deletes], "nothing is deleted before it may be");
    for step in &steps {
        if let Step::Delete { key, was } = step {
            prop_assert_eq!(made.get(key), Some(was), "only what was observed as ours goes");
            prop_assert!(changed.desired(key).is_none());
        }
        S::effects(step).into_iter().for_each(|(key, value)| changed.noticed(key, value));
    }
    prop_assert!(changed.steps::<S>(Sweep::Allowed).is_empty(), "nothing is pending after execute");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn routes_keep_the_laws(before in events(), after in events()) {
        check_laws::<Route, _, _>(before, after)?;
    }

    #[test]
    fn links_keep_the_laws(before in events(), after in events()) {
        check_laws::<Link, _, _>(before, after)?;
    }
}

#[test]
fn the_first_source_wins_and_the_next_takes_over() {
    let mut tracker: Tracker<u8, &str> = Tracker::new();
    let pod = |byte| Source::Pod(weft_model::PodUid([byte; 16]));
    let uids = BTreeSet::new();
    let scope = Scope::Pods(&uids);
    tracker.want(scope, vec![(pod(2), vec![(7, "second")]), (pod(1), vec![(7, "first"), (8, "own")])]);
    assert_eq!(tracker.desired(&7), Some(&"first"));
    tracker.want(scope, vec![(pod(1), vec![(8, "own")])]);
    assert_eq!((tracker.desired(&7), tracker.desired(&8)), (Some(&"second"), Some(&"own")));
    tracker.want(scope, vec![(pod(2), Vec::new())]);
    assert_eq!(tracker.desired(&7), None);
    tracker.want(Scope::All, Vec::new());
    assert_eq!((tracker.wanted().count(), tracker.pending().len()), (0, 0));
}
