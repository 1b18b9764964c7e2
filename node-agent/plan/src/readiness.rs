//! Readiness of pods that nobody else judges: when each is asked, and what its answers amount to.
//!
//! In: how pods are asked, their answers, time. Out: [`Asked`], what is to be asked now, and verdicts. Not here: asking, and
//! keeping verdicts (the agent).

mod judge;
mod schedule;

pub use schedule::{Asked, Schedule};
