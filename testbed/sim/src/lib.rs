//! Whole clusters in one thread, seeded.
