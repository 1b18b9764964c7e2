//! What a change of the View may concern.

use std::collections::BTreeSet;

use weft_model::ItemKey;

/// Keys whose items differ from before: reconcilers look at these first, and at the whole View on their timer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Keys that came, changed or went; an item that came again unchanged isn't among them.
    pub keys: BTreeSet<ItemKey>,
    /// Whether the View became in sync by this update: from now on unknown things may be swept.
    pub became_in_sync: bool,
}

impl Touched {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.became_in_sync
    }

    /// Takes up what another update touched.
    pub fn merge(&mut self, other: Self) {
        self.keys.extend(other.keys);
        self.became_in_sync |= other.became_in_sync;
    }
}
