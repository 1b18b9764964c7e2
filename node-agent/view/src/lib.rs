//! The node's picture of the fabric: what the stream of a replica said, folded into one value.
//!
//! In: [`Update`]s in the order of the stream. Out: [`View`], and [`Touched`]: what a change may concern. Not here: the
//! stream itself (agent), its wire form (weft-proto), what follows for the kernel (weft-plan).
//! Invariants: folding deltas equals the snapshot at the same revision; revisions never go back; a snapshot replaces the
//! View only when it is complete.

mod error;
mod pods;
mod share;
mod touched;
mod update;
mod view;

pub use error::Error;
pub use pods::Pods;
pub use touched::Touched;
pub use update::Update;
pub use view::View;
