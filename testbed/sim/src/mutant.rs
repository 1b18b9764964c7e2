//! Bugs put in on purpose: the invariants must find each of them, else they prove nothing.

/// One bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A write is reported durable before it is.
    AckBeforeDurable,
    /// A crash takes entries that had been synced.
    LoseSynced,
    /// Term and vote are never written.
    ForgetVote,
    /// A client that gets no answer asks again as if for the first time: what exactly-once prevents.
    RetryAsNew,
    /// An agent goes on using a block that it has given back.
    KeepReturnedBlock,
    /// An agent forgets a returned block before its View does, and takes it back from there.
    ForgetReturnedEarly,
    /// An agent gives a block back before its end is durable.
    ReturnBeforeDurable,
    /// An agent believes a View that is older than its journal.
    TrustOldView,
    /// A read is answered from the state at hand, without asking whether we still lead.
    StaleRead,
    /// The fan-out loses a delta.
    LoseDelta,
    /// One replica reads commands differently.
    ReadDifferently,
    /// A leader listens with the clocks of an earlier leadership.
    OldClocks,
}

impl Mutant {
    /// Every bug.
    pub const ALL: [Self; 12] = [
        Self::AckBeforeDurable,
        Self::LoseSynced,
        Self::ForgetVote,
        Self::RetryAsNew,
        Self::KeepReturnedBlock,
        Self::ForgetReturnedEarly,
        Self::ReturnBeforeDurable,
        Self::TrustOldView,
        Self::StaleRead,
        Self::LoseDelta,
        Self::ReadDifferently,
        Self::OldClocks,
    ];
}
