//! The durable log and the applied state.
