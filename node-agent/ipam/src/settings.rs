//! How long an address rests, and when blocks come and go.

/// Times and thresholds of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a released address rests before it is given out again, milliseconds.
    pub quarantine_ms: u64,
    /// The least rest when nothing else is left, milliseconds: longer than packets and caches of its last owner live.
    pub least_rest_ms: u64,
    /// Share of a family's addresses that are held or have rested less than the least rest, from which another block is
    /// wanted, percent.
    pub nearly_full_percent: u8,
    /// Share below which an empty block is given back, counted without that block, percent.
    pub surplus_percent: u8,
    /// Fresh addresses are preferred to rested ones up to this position of a block: bounds the queue of a /64.
    pub fresh_first: u128,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            quarantine_ms: 60_000,
            least_rest_ms: 5_000,
            nearly_full_percent: 80,
            surplus_percent: 50,
            fresh_first: 4096,
        }
    }
}
