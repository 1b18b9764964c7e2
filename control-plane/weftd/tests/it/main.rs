//! The daemon as people start it: real processes on loopback addresses, killed without warning.

mod machine;
mod survive;
mod use_wrong;
