//! State of each subsystem: well or not, since when, and up to which revision.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use tokio::sync::watch;
use weft_errors::Error;
use weft_model::{Revision, WallTime};

/// Parts of the agent that bring something into the kernel or the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subsystem {
    /// Bridge, ports, addresses, settings.
    Links,
    /// WireGuard devices and peers.
    Mesh,
    /// Routes and rules.
    Routes,
    /// Rules and sets of nf_tables.
    Nft,
    /// Services: their maps in nf_tables, and connection tracking.
    Services,
    /// Network policy: its tables in nf_tables.
    Policy,
    /// Names: the DNS process.
    Dns,
    /// The CNI server and the journal.
    Cni,
    /// Publication of pods.
    Publish,
    /// Publication of what this node is: its addresses, its key.
    Facts,
}

impl Subsystem {
    /// Those whose revision counts for "it is in the kernel".
    pub(crate) const KERNEL: [Self; 6] =
        [Self::Links, Self::Mesh, Self::Routes, Self::Nft, Self::Services, Self::Policy];

    /// Those that services need.
    pub(crate) const SERVICES: [Self; 2] = [Self::Nft, Self::Services];

    /// Name in reports.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Links => "links",
            Self::Mesh => "mesh",
            Self::Routes => "routes",
            Self::Nft => "nft",
            Self::Services => "services",
            Self::Policy => "policy",
            Self::Dns => "dns",
            Self::Cni => "cni",
            Self::Publish => "publish",
            Self::Facts => "facts",
        }
    }
}

/// How one subsystem is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// What is wrong; `None`: nothing.
    pub(crate) error: Option<Error>,
    /// Since when.
    pub(crate) since: WallTime,
    /// Revision that it has applied; `None`: it has never brought anything to its end.
    pub(crate) applied: Option<Revision>,
}

/// All of them. Clones of the receiver hear of each change.
#[derive(Debug)]
pub(crate) struct States {
    all: Mutex<BTreeMap<Subsystem, State>>,
    changes: watch::Sender<u64>,
}

impl States {
    /// Nothing is known yet.
    pub(crate) fn new() -> Self {
        Self { all: Mutex::default(), changes: watch::Sender::new(0) }
    }

    /// A subsystem has applied a revision without an error.
    pub(crate) fn well(&self, subsystem: Subsystem, applied: Revision, now: WallTime) {
        self.set(subsystem, None, Some(applied), now);
    }

    /// A subsystem has applied a revision as far as that is possible.
    pub(crate) fn partly(&self, subsystem: Subsystem, applied: Revision, error: Error, now: WallTime) {
        self.set(subsystem, Some(error), Some(applied), now);
    }

    /// A subsystem failed; what it had applied before stays.
    pub(crate) fn failed(&self, subsystem: Subsystem, error: Error, now: WallTime) {
        self.set(subsystem, Some(error), None, now);
    }

    /// Lowest revision over the subsystems that change the kernel, and names.
    pub(crate) fn applied(&self) -> Revision {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let revision = |s: &Subsystem| all.get(s).and_then(|state| state.applied).unwrap_or_default();
        // Names count while they are served: nobody waits for a process that doesn't run.
        let names = all.get(&Subsystem::Dns).filter(|state| state.error.is_none());
        let names = names.and_then(|state| state.applied);
        Subsystem::KERNEL.iter().map(revision).chain(names).min().unwrap_or_default()
    }

    /// A copy.
    pub(crate) fn all(&self) -> BTreeMap<Subsystem, State> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Hears of changes.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn set(&self, subsystem: Subsystem, error: Option<Error>, applied: Option<Revision>, now: WallTime) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.contains_key(&subsystem);
        let state = all.entry(subsystem).or_default();
        let applied = applied.or(state.applied);
        let other_error = state.error.as_ref().map(|e| &e.code) != error.as_ref().map(|e| &e.code);
        if known && state.error == error && state.applied == applied {
            return;
        }
        if other_error || !known {
            match &error {
                Some(error) => {
                    tracing::warn!(subsystem = subsystem.as_str(), %error, "subsystem is degraded")
                }
                None if known => tracing::info!(subsystem = subsystem.as_str(), "subsystem is well again"),
                None => {}
            }
            state.since = now;
        }
        state.error = error;
        state.applied = applied;
        self.changes.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests {
    use weft_errors::NFT_FAILED;

    use super::*;

    #[test]
    fn the_lowest_revision_of_the_kernels_subsystems_counts() {
        let states = States::new();
        let mut changes = states.watch();
        for (subsystem, revision) in [(Subsystem::Links, 9), (Subsystem::Mesh, 7), (Subsystem::Routes, 8)] {
            states.well(subsystem, Revision(revision), WallTime(1));
        }
        states.well(Subsystem::Services, Revision(9), WallTime(1));
        states.well(Subsystem::Policy, Revision(9), WallTime(1));
        assert_eq!(states.applied(), Revision(0), "nft hasn't said anything");
        states.well(Subsystem::Nft, Revision(9), WallTime(1));
        states.well(Subsystem::Publish, Revision(1), WallTime(1));
        assert_eq!(states.applied(), Revision(7));
        states.well(Subsystem::Dns, Revision(6), WallTime(1));
        assert_eq!(states.applied(), Revision(6), "names are behind");
        states.failed(Subsystem::Dns, Error::new(&NFT_FAILED, "x"), WallTime(1));
        assert_eq!(states.applied(), Revision(7), "nobody waits for names that aren't served");
        states.failed(Subsystem::Mesh, Error::new(&NFT_FAILED, "x"), WallTime(5));
        assert_eq!(states.applied(), Revision(7), "a failure takes nothing back");
        changes.mark_unchanged();
        states.failed(Subsystem::Mesh, Error::new(&NFT_FAILED, "x"), WallTime(9));
        assert!(!changes.has_changed().unwrap(), "the same again isn't a change");
        assert_eq!(states.all()[&Subsystem::Mesh].since, WallTime(5));
    }
}
