//! What can be wrong with a text, and where.

use std::fmt;

use weft_errors::{
    Code, Coded, MALFORMED, OBJECT_INVALID, READ_ONLY_KIND, TOO_LARGE, UNKNOWN_FIELD, UNKNOWN_KIND,
};

/// A place in a file: line and column count from 1; 0 means unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Name of the file, `-` for standard input.
    pub file: String,
    /// Line.
    pub line: u64,
    /// Column.
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Why a text was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not YAML or JSON, a duplicate key, or a limit passed.
    #[error("{place}: {what}")]
    Malformed {
        /// Where.
        place: Place,
        /// What the parser says.
        what: String,
    },
    /// A key its kind doesn't know.
    #[error("{place}: {path} isn't a field of {kind}{}", hint(.suggestion.as_deref()))]
    UnknownField {
        /// Where.
        place: Place,
        /// Kind of the object.
        kind: String,
        /// Path of the key.
        path: String,
        /// A known key that is spelt alike.
        suggestion: Option<String>,
    },
    /// A kind that isn't served.
    #[error("{place}: kind {kind} of {version} isn't served here{}", hint(.suggestion.as_deref()))]
    UnknownKind {
        /// Where.
        place: Place,
        /// `apiVersion`.
        version: String,
        /// `kind`.
        kind: String,
        /// A served kind that is spelt alike.
        suggestion: Option<String>,
    },
    /// A kind that is made by the control plane or a node.
    #[error("{place}: objects of kind {kind} aren't written by people")]
    ReadOnlyKind {
        /// Where.
        place: Place,
        /// `kind`.
        kind: String,
    },
    /// A value of a wrong form.
    #[error("{place}: {path}: {what}")]
    Invalid {
        /// Where.
        place: Place,
        /// Field path.
        path: String,
        /// What is wrong, and how it is meant.
        what: String,
    },
    /// The text is larger than a request may be.
    #[error("{file} has {bytes} bytes; at most {most} are taken in one request")]
    TooLarge {
        /// Name of the file.
        file: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        most: usize,
    },
}

fn hint(suggestion: Option<&str>) -> String {
    suggestion.map(|word| format!("; did you mean {word:?}?")).unwrap_or_default()
}

impl Coded for Error {
    fn code(&self) -> &'static Code {
        match self {
            Self::Malformed { .. } => &MALFORMED,
            Self::UnknownField { .. } => &UNKNOWN_FIELD,
            Self::UnknownKind { .. } => &UNKNOWN_KIND,
            Self::ReadOnlyKind { .. } => &READ_ONLY_KIND,
            Self::Invalid { .. } => &OBJECT_INVALID,
            Self::TooLarge { .. } => &TOO_LARGE,
        }
    }

    fn envelope(&self) -> weft_errors::Error {
        let error = weft_errors::Error::new(self.code(), self.to_string());
        match self {
            Self::Malformed { place, .. }
            | Self::UnknownKind { place, .. }
            | Self::ReadOnlyKind { place, .. } => error.field(place.to_string()),
            Self::UnknownField { place, path, .. } | Self::Invalid { place, path, .. } => {
                error.field(format!("{path} ({place})"))
            }
            Self::TooLarge { file, .. } => error.object("file", "", file),
        }
    }
}
