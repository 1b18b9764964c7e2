//! The table of error codes and the envelope in which an error travels and is shown.
//!
//! A code is registered once in `codes.rs`, is never reused and never changes its meaning.

mod code;
mod codes;
mod envelope;

pub use code::{Code, ExitCode};
pub use codes::*;
pub use envelope::{Coded, Error, ObjectRef, Remedy};
