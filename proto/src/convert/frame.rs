//! Frames of the Watch stream.

use weft_model::{Item, ItemKey, Revision};

use super::shape::{ShapeError, Within, list, missing};
use crate::v1::{self, watch_response::Frame as Wire};

/// One frame of `Sync.Watch`, checked.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "a frame is taken apart where it arrives; none is kept")]
pub enum Frame {
    /// A part of the whole state; the first replaces the View.
    Snapshot {
        /// Revision of the whole.
        revision: Revision,
        /// The first part.
        first: bool,
        /// The last part.
        last: bool,
        /// Items of this part.
        items: Vec<Item>,
    },
    /// Everything up to this revision has been sent.
    InSync(Revision),
    /// Changes of one revision.
    Delta {
        /// The revision.
        revision: Revision,
        /// What came or changed.
        upserts: Vec<Item>,
        /// What went.
        deletes: Vec<ItemKey>,
    },
    /// Something this agent alone is asked to do now.
    Ask(v1::Ask),
}

impl TryFrom<v1::WatchResponse> for Frame {
    type Error = ShapeError;

    fn try_from(wire: v1::WatchResponse) -> Result<Self, ShapeError> {
        match wire.frame.ok_or_else(missing).within("frame")? {
            Wire::Snapshot(part) => Ok(Self::Snapshot {
                revision: Revision(part.revision),
                first: part.first,
                last: part.last,
                items: list("snapshot.items", part.items)?,
            }),
            Wire::InSync(in_sync) => Ok(Self::InSync(Revision(in_sync.revision))),
            Wire::Delta(delta) => Ok(Self::Delta {
                revision: Revision(delta.revision),
                upserts: list("delta.upserts", delta.upserts)?,
                deletes: list("delta.deletes", delta.deletes)?,
            }),
            Wire::Ask(ask) => Ok(Self::Ask(ask)),
        }
    }
}

/// The whole state in frames of at most `items_per_part` items each (at least 1); an empty state is one empty frame.
pub fn snapshot_frames(revision: Revision, items: &[Item], items_per_part: usize) -> Vec<v1::WatchResponse> {
    let parts: Vec<&[Item]> =
        if items.is_empty() { vec![&[]] } else { items.chunks(items_per_part.max(1)).collect() };
    let last = parts.len() - 1;
    let part = |(index, items)| snapshot_part(revision, index == 0, index == last, items);
    parts.into_iter().enumerate().map(part).collect()
}

/// One part of a snapshot.
pub fn snapshot_part(revision: Revision, first: bool, last: bool, items: &[Item]) -> v1::WatchResponse {
    let part =
        v1::SnapshotPart { revision: revision.0, first, last, items: items.iter().map(Into::into).collect() };
    v1::WatchResponse { frame: Some(Wire::Snapshot(part)) }
}

/// "Everything up to here has been sent."
pub fn in_sync_frame(revision: Revision) -> v1::WatchResponse {
    v1::WatchResponse { frame: Some(Wire::InSync(v1::InSync { revision: revision.0 })) }
}

/// Changes of one revision.
pub fn delta_frame<'a>(
    revision: Revision,
    upserts: impl IntoIterator<Item = &'a Item>,
    deletes: impl IntoIterator<Item = &'a ItemKey>,
) -> v1::WatchResponse {
    let delta = v1::Delta {
        revision: revision.0,
        upserts: upserts.into_iter().map(Into::into).collect(),
        deletes: deletes.into_iter().map(Into::into).collect(),
    };
    v1::WatchResponse { frame: Some(Wire::Delta(delta)) }
}
