//! Laws of the wire: what is encoded comes back equal, and no bytes can do harm.

mod hostile;
mod round_trip;
mod strategies;
