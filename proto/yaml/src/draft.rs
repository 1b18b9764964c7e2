//! What a text says, and where.

use std::{collections::BTreeMap, sync::Arc};

use weft_model::{Draft, Kind};

use crate::Place;

/// One object of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drafted {
    /// Where it begins.
    pub place: Place,
    /// Where its fields stand.
    pub fields: FieldPlaces,
    /// What its writer saw before, if that is said.
    pub seen: Seen,
    /// What was written.
    pub draft: Draft,
}

/// The object as its writer saw it (`metadata.resourceVersion` and `metadata.uid`, as Kubernetes' preconditions): one that is another
/// by now isn't overwritten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its version.
    pub version: Option<String>,
    /// Its identity.
    pub uid: Option<String>,
}

/// Where the fields of one object stand, for refusals that come later than reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldPlaces(Arc<BTreeMap<String, (u64, u64)>>);

impl FieldPlaces {
    /// Of paths with line and column.
    pub(crate) fn new(all: BTreeMap<String, (u64, u64)>) -> Self {
        Self(Arc::new(all))
    }

    /// Where a field stands, such as `spec.ports[1].nodePort`; of one that isn't there, what it would stand in; `object` where nothing
    /// of the path is there.
    pub fn find(&self, object: &Place, field: &str) -> Place {
        let mut path = field;
        loop {
            if let Some((line, column)) = self.0.get(path) {
                return Place { file: object.file.clone(), line: *line, column: *column };
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = path.get(..end).unwrap_or_default(),
                None => return object.clone(),
            }
        }
    }
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
