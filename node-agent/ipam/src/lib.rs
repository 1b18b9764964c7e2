//! Blocks, allocation, quarantine, journal records.
