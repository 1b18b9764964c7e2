//! Bounds of the service tables, and what to say where they are reached.

use weft_model::ServiceName;

/// Most elements of all services together.
pub const MOST_ELEMENTS: usize = 1_000_000;
/// Most distinct time-outs of client affinity.
pub const MOST_TIMEOUTS: usize = 64;
/// What can't be given to services.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceProblem {
    /// Too many elements: these services are closed.
    #[error(
        "services need {wanted} elements in the kernel's maps, {MOST_ELEMENTS} at most: connections to {} are refused (the largest: {})",
        closed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        largest.iter().map(|(name, size)| format!("{name} {size}")).collect::<Vec<_>>().join(", ")
    )]
    TooManyElements {
        /// How many they need.
        wanted: usize,
        /// Which services get none.
        closed: Vec<ServiceName>,
        /// The largest services with their elements.
        largest: Vec<(ServiceName, usize)>,
    },
    /// Too many time-outs of client affinity.
    #[error(
        "services use {wanted} distinct affinity time-outs, {MOST_TIMEOUTS} at most: the shortest last {shortest} s instead"
    )]
    TooManyTimeouts {
        /// How many there are.
        wanted: usize,
        /// The shortest that is used, seconds.
        shortest: u32,
    },
}
