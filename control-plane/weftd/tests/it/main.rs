//! The daemon as people start it: real processes on loopback addresses, killed without warning.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod machine;
mod survive;
mod use_wrong;
