//! The control-plane daemon.

fn main() {}
