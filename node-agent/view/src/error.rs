//! Why an update can't be folded: the follower ends the stream and begins another.

use weft_errors::{Code, Coded, INTERNAL, NO_LEADER};
use weft_model::Revision;

/// A stream that breaks the order of Snapshot, InSync, Delta. The View is unchanged by the refused update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The replica is behind what the node has seen already.
    #[error("the replica stands at revision {offered}, this node has seen {seen}")]
    WentBack {
        /// Revision of the View.
        seen: Revision,
        /// Revision of the update.
        offered: Revision,
    },
    /// A later part of a snapshot came without its first part, or with another revision.
    #[error("a part of the snapshot of revision {offered} doesn't continue the one before")]
    PartOutOfOrder {
        /// Revision of the part.
        offered: Revision,
    },
    /// A delta or InSync came between the parts of a snapshot.
    #[error("revision {offered} came before the snapshot of revision {building} was complete")]
    SnapshotIncomplete {
        /// Revision of the snapshot under way.
        building: Revision,
        /// Revision of the update.
        offered: Revision,
    },
}

impl Coded for Error {
    fn code(&self) -> &'static Code {
        match self {
            Self::WentBack { .. } => &NO_LEADER,
            Self::PartOutOfOrder { .. } | Self::SnapshotIncomplete { .. } => &INTERNAL,
        }
    }
}
