//! Planted bugs, for tests of the tests: each must be found by the differential test.

use std::cell::Cell;

/// One bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// `except` of a block is ignored.
    ExceptIsForgotten,
    /// Rules count whatever `policyTypes` says.
    RulesIsolate,
    /// The last port of a range isn't in it.
    EndPortIsOutside,
    /// A named port is looked up on the source.
    NameOfTheSource,
    /// `NotIn` doesn't match what lacks the key.
    NotInNeedsTheKey,
    /// A pod selector alone means pods of every namespace.
    OwnNamespaceIsAny,
    /// Only the first policy that selects a pod counts.
    FirstPolicyOnly,
    /// Blocks don't match pods.
    BlocksSkipPods,
    /// Whoever isn't known counts as a pod.
    StrangersArePods,
    /// A rule without ports means all ports, and nothing else.
    AllIsPorts,
    /// An identity that goes stays listed with the profiles.
    IdentityStays,
    /// Labels of a namespace that change make no difference.
    NamespaceIsOnce,
}

/// All of them.
pub(crate) const ALL: [Mutant; 12] = [
    Mutant::ExceptIsForgotten,
    Mutant::RulesIsolate,
    Mutant::EndPortIsOutside,
    Mutant::NameOfTheSource,
    Mutant::NotInNeedsTheKey,
    Mutant::OwnNamespaceIsAny,
    Mutant::FirstPolicyOnly,
    Mutant::BlocksSkipPods,
    Mutant::StrangersArePods,
    Mutant::AllIsPorts,
    Mutant::IdentityStays,
    Mutant::NamespaceIsOnce,
];

thread_local! {
    static PLANTED: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Whether a bug is planted in this thread.
pub(crate) fn is(mutant: Mutant) -> bool {
    PLANTED.get() == Some(mutant)
}

/// Plants a bug, or none.
pub(crate) fn plant(mutant: Option<Mutant>) {
    PLANTED.set(mutant);
}
