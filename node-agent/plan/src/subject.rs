//! What every subject of reconciliation has in common: desired state by source, steps, an executor.
//!
//! Contract: level-triggered (always from the whole View), work proportional to the scope, unknown things are removed only
//! with [`Sweep::Allowed`], new before old, and an equal state gives no steps.

use std::{
    collections::BTreeSet,
    fmt::{self, Debug, Display},
};

use weft_model::{ItemKey, PodUid};
use weft_view::View;

use crate::Facts;

/// Which part of the desired state to compute anew.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// Everything: at start, when the fabric, this node's own peer or the host changed, and on the slow timer.
    All,
    /// What these items bear on. An item that is gone from the View is gone from the desired state.
    Items(&'a BTreeSet<ItemKey>),
    /// What these local pods bear on.
    Pods(&'a BTreeSet<PodUid>),
}

impl<'a> Scope<'a> {
    /// The narrowest scope for a set of changed items: the fabric's settings and the node's own peer bear on everything.
    pub fn of(items: &'a BTreeSet<ItemKey>, facts: &Facts) -> Self {
        let wide = items.contains(&ItemKey::Fabric) || items.contains(&ItemKey::Peer(facts.node.clone()));
        if wide { Self::All } else { Self::Items(items) }
    }
}

/// Where a wish comes from: the unit in which desired state is replaced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The fabric's settings together with what this host is.
    Node,
    /// One item of the View.
    Item(ItemKey),
    /// One pod of this node.
    Pod(PodUid),
}

/// Desired state: per source the complete list of what it wants; a source without wishes has an empty list.
pub type Wanted<K, V> = Vec<(Source, Vec<(K, V)>)>;

/// Whether things that nobody wants may be removed: only once the View is known to be complete (`InSync`) and has a fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// Add and change only.
    Forbidden,
    /// Remove what carries our mark and is not wanted.
    Allowed,
}

/// One key whose desired and actual values differ.
#[derive(Debug, PartialEq, Eq)]
pub struct Pending<'a, K, V> {
    /// The key.
    pub key: &'a K,
    /// What it should be; `None`: it should not exist.
    pub desired: Option<&'a V>,
    /// What it is as far as known; `None`: it does not exist.
    pub actual: Option<&'a V>,
}

/// One kind of kernel state that is kept as desired.
pub trait Subject {
    /// Name in logs and reports, lower case.
    const NAME: &'static str;
    /// Identity of one object, as the kernel has it.
    type Key: Ord + Clone + Debug + Display;
    /// Everything about the object that can be observed and is ours to decide.
    type Value: Eq + Clone + Debug;
    /// One change; its text says it to people.
    type Step: Clone + Debug + Display;

    /// What should be, for the given scope.
    fn desired(view: &View, facts: &Facts, scope: Scope<'_>) -> Wanted<Self::Key, Self::Value>;
    /// The changes that remove the differences, in an order that is safe at each point.
    fn steps(pending: &[Pending<'_, Self::Key, Self::Value>], sweep: Sweep) -> Vec<Self::Step>;
    /// What is known to be true once a step has been done.
    fn effects(step: &Self::Step) -> Vec<(Self::Key, Option<Self::Value>)>;
}

/// What exists: objects of a subject with their state.
pub type Seen<S> = Vec<(<S as Subject>::Key, <S as Subject>::Value)>;

/// A step that was refused; the others went on.
#[derive(Debug)]
pub struct Failure<E> {
    /// Place of the step in the list given to `execute`.
    pub step: usize,
    /// Why.
    pub error: E,
}

/// Reads and writes the kernel for a subject, without deciding anything.
pub trait Executor<S: Subject> {
    /// Its error.
    type Error: std::error::Error;

    /// What exists and carries our mark, and the state of those `wanted` keys that can bear no mark (settings).
    fn observe(&mut self, wanted: &[&S::Key]) -> Result<Seen<S>, Self::Error>;
    /// Does all steps that can be done; idempotent: adding what is there and removing what is gone is success.
    fn execute(&mut self, steps: &[S::Step]) -> Result<(), Vec<Failure<Self::Error>>>;
}

/// The step of subjects whose objects are independent of each other: one object changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<K, V> {
    /// Make it so.
    Put {
        /// The object.
        key: K,
        /// How it should be.
        value: V,
        /// How it is; `None`: it does not exist as ours.
        was: Option<V>,
    },
    /// Remove it.
    Delete {
        /// The object.
        key: K,
        /// How it is.
        was: V,
    },
}

impl<K, V> Step<K, V> {
    /// The object.
    pub const fn key(&self) -> &K {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } => key,
        }
    }
}

impl<K: Clone, V: Clone> Step<K, V> {
    /// What is true once it has been done.
    pub fn effects(&self) -> Vec<(K, Option<V>)> {
        match self {
            Self::Put { key, value, .. } => vec![(key.clone(), Some(value.clone()))],
            Self::Delete { key, .. } => vec![(key.clone(), None)],
        }
    }

    /// Steps for all differences: puts by rising `stage` of their key, then deletes by falling stage; `None` as a stage
    /// means that such an object is never deleted.
    pub fn ordered(
        pending: &[Pending<'_, K, V>],
        sweep: Sweep,
        put_stage: impl Fn(&K) -> u8,
        delete_stage: impl Fn(&K) -> Option<u8>,
    ) -> Vec<Self> {
        let mut puts = Vec::new();
        let mut deletes = Vec::new();
        for p in pending {
            match (p.desired, p.actual, sweep) {
                (Some(value), was, _) => puts.push((
                    put_stage(p.key),
                    Self::Put { key: p.key.clone(), value: value.clone(), was: was.cloned() },
                )),
                (None, Some(was), Sweep::Allowed) => {
                    if let Some(stage) = delete_stage(p.key) {
                        deletes.push((stage, Self::Delete { key: p.key.clone(), was: was.clone() }));
                    }
                }
                (None, Some(_), Sweep::Forbidden) | (None, None, _) => {}
            }
        }
        puts.sort_by_key(|(stage, _)| *stage);
        deletes.sort_by_key(|(stage, _)| *stage);
        puts.into_iter().chain(deletes).map(|(_, step)| step).collect()
    }
}

impl<K: Display, V: Display> Display for Step<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { key, value, was: None } => write!(f, "add {key}: {value}"),
            Self::Put { key, value, was: Some(was) } => write!(f, "change {key}: {was} -> {value}"),
            Self::Delete { key, was } => write!(f, "remove {key}: {was}"),
        }
    }
}
