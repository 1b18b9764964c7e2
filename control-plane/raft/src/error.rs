//! Why a replica can't start or go on. Each of these stops the process.

use weft_errors::{Code, Coded};
use weft_model::{ClusterId, LogIndex, ReplicaId, Term};

/// An error of the replica.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The log ends before what this replica once acknowledged: it may not vote any more.
    #[error("the log of replica {id} ends at {last} (term {term}), but it acknowledged {acknowledged}")]
    LogLost {
        /// Who.
        id: ReplicaId,
        /// Where the log ends.
        last: LogIndex,
        /// Latest term it knows.
        term: Term,
        /// What was acknowledged.
        acknowledged: LogIndex,
    },
    /// The state differs from that of the majority.
    #[error("the state of replica {id} at index {index} differs from that of the other replicas")]
    Diverged {
        /// Who.
        id: ReplicaId,
        /// Where the states were compared.
        index: LogIndex,
    },
    /// A stored or committed record can't be read.
    #[error("{what} can't be read: {why}")]
    Undecodable {
        /// What.
        what: String,
        /// The decoder's words.
        why: String,
    },
    /// What is stored contradicts itself.
    #[error("the stored log contradicts itself: {why}")]
    Inconsistent {
        /// How.
        why: String,
    },
    /// The rows of a snapshot or of the state store make no valid state.
    #[error("the stored rows make no valid state: {why}")]
    State {
        /// What core says.
        why: String,
    },
    /// The data is of another cluster.
    #[error("the data belongs to cluster {found}, this replica to {expected}")]
    OtherCluster {
        /// Ours.
        expected: ClusterId,
        /// Theirs.
        found: ClusterId,
    },
    /// The configuration of the replica is not usable.
    #[error("the replica can't be set up: {why}")]
    Setup {
        /// The library's words.
        why: String,
    },
}

impl Coded for Error {
    fn code(&self) -> &'static Code {
        match self {
            Self::LogLost { .. } => &weft_errors::LOG_LOST,
            Self::Diverged { .. } => &weft_errors::STATE_DIVERGED,
            Self::Undecodable { .. } | Self::Inconsistent { .. } | Self::State { .. } => {
                &weft_errors::STORE_CORRUPT
            }
            Self::OtherCluster { .. } => &weft_errors::OTHER_CLUSTER,
            Self::Setup { .. } => &weft_errors::INTERNAL,
        }
    }
}
