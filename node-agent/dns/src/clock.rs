//! Time and chance, which the pure crates are given.

use std::time::Instant;

use rand::{RngCore, SeedableRng, rngs::StdRng};
use weft_errors::{Error, INTERNAL};
use weft_names::Moment;

/// The time since the process began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// Begins now.
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    /// The moment of an instant.
    pub(crate) fn moment(self, at: Instant) -> Moment {
        Moment(u64::try_from(at.saturating_duration_since(self.0).as_millis()).unwrap_or(u64::MAX))
    }

    /// Now.
    pub(crate) fn now(self) -> Moment {
        self.moment(Instant::now())
    }

    /// The instant of a moment.
    pub(crate) fn instant(self, moment: Moment) -> Instant {
        self.0 + std::time::Duration::from_millis(moment.0)
    }
}

/// Chance that nobody can predict: numbers and ports of questions depend on it.
pub(crate) fn chance() -> Result<StdRng, Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Error::new(&INTERNAL, "the system gives no random numbers").because(error))?;
    Ok(StdRng::from_seed(seed))
}

/// A number by chance.
pub(crate) fn number(chance: &mut StdRng) -> u64 {
    chance.next_u64()
}
