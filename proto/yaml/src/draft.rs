//! What a text says, and where.

use weft_model::{Draft, Kind};

use crate::Place;

/// One object of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drafted {
    /// Where it begins.
    pub place: Place,
    /// What was written.
    pub draft: Draft,
}

/// An object that a text names, for whoever needs no more than its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Where it begins.
    pub place: Place,
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for kinds without one.
    pub namespace: String,
    /// Its name.
    pub name: String,
}
