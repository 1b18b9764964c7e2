//! One frame of the stream, as far as it concerns the View.

use weft_model::{Item, ItemKey, Revision};

/// What a replica sends: a snapshot in parts, then `InSync`, then deltas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// A part of the whole state at `revision`.
    SnapshotPart {
        /// Revision of the whole; the same in all parts.
        revision: Revision,
        /// Whether this part begins the snapshot.
        first: bool,
        /// Whether this part completes it.
        last: bool,
        /// Items of this part.
        items: Vec<Item>,
    },
    /// Everything up to `revision` has been sent.
    InSync {
        /// The revision.
        revision: Revision,
    },
    /// The changes of one revision.
    Delta {
        /// The revision.
        revision: Revision,
        /// Items that came or changed.
        upserts: Vec<Item>,
        /// Keys of items that went.
        deletes: Vec<ItemKey>,
    },
}
