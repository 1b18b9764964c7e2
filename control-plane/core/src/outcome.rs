//! What applying a command gives back to its driver.

use weft_model::{Answer, Item, ItemKey, Record, RecordKey, Revision};

use crate::Error;

/// A row of the applied state that must be written to disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "almost every change is a Put; a box would cost each of them")]
pub enum Change {
    /// The row is this now.
    Put(Record),
    /// The row is gone.
    Delete(RecordKey),
}

/// A change of what nodes need.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "almost every change is an Upsert; a box would cost each of them"
)]
pub enum ItemChange {
    /// The item is this now.
    Upsert(Item),
    /// The item is gone.
    Delete(ItemKey),
}

/// What one command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Revision of the store after it: the command's own index if it changed an object.
    pub revision: Revision,
    /// What the caller is told.
    pub answer: Result<Answer, Error>,
    /// Whether this is the stored answer of an earlier entry with the same client and sequence.
    pub repeated: bool,
    /// Rows to write in one batch; contains `Record::Meta` with the applied index, except for an entry that
    /// had been applied before.
    pub changes: Vec<Change>,
    /// Items to publish at `revision`, in order of their keys.
    pub items: Vec<ItemChange>,
}
