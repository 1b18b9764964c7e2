//! The CNI plugin: standard input to the agent's socket.

fn main() {}
