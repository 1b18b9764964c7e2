//! Laws of the wire: what is encoded comes back equal, and no bytes can do harm.

mod hostile;
mod old;
mod policies;
mod round_trip;
mod services;
mod strategies;
