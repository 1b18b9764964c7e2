//! What can be wrong with a text, and where.

use std::fmt;

use weft_errors::{
    Code, Coded, MALFORMED, OBJECT_INVALID, RANGE_INVALID, READ_ONLY_KIND, TOO_LARGE, UNKNOWN_FIELD,
    UNKNOWN_KIND,
};
use weft_model::RangeError;

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
        /// All keys that are known there.
        known: Vec<&'static str>,
    },
    /// A kind that isn't served.
    #[error("{place}: kind {kind} of {version} isn't served here{}{}", hint(.suggestion.as_deref()), of_version(*.meant))]
    UnknownKind {
        /// Where.
        place: Place,
        /// `apiVersion`.
        version: String,
        /// `kind`.
        kind: String,
        /// A served kind that is spelt alike.
        suggestion: Option<String>,
        /// The version under which this kind is served.
        meant: Option<&'static str>,
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
    /// A text that isn't a range.
    #[error("{place}: {path}: {source}")]
    Range {
        /// Where.
        place: Place,
        /// Field path.
        path: String,
        /// What is wrong with it.
        source: RangeError,
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

fn of_version(version: Option<&str>) -> String {
    version.map(|version| format!("; its apiVersion is {version}")).unwrap_or_default()
}

impl Coded for Error {
    fn code(&self) -> &'static Code {
        match self {
            Self::Malformed { .. } => &MALFORMED,
            Self::UnknownField { .. } => &UNKNOWN_FIELD,
            Self::UnknownKind { .. } => &UNKNOWN_KIND,
            Self::ReadOnlyKind { .. } => &READ_ONLY_KIND,
            Self::Invalid { .. } => &OBJECT_INVALID,
            Self::Range { .. } => &RANGE_INVALID,
            Self::TooLarge { .. } => &TOO_LARGE,
        }
    }

    fn envelope(&self) -> weft_errors::Error {
        let error = weft_errors::Error::new(self.code(), self.message());
        match self {
            Self::Malformed { place, .. } | Self::ReadOnlyKind { place, .. } => {
                error.field(place.to_string())
            }
            Self::UnknownKind { place, suggestion: None, meant: None, .. } => error
                .field(place.to_string())
                .try_this("leave out what isn't served here", "weft apply --skip-unknown -f FILE"),
            Self::UnknownKind { place, .. } => error.field(place.to_string()),
            Self::Invalid { place, path, .. } => error.field(format!("{path} ({place})")),
            Self::UnknownField { place, path, suggestion, known, .. } => {
                let remedy = match suggestion {
                    Some(word) => format!("write {word}"),
                    None => format!("remove it; known there are {}", known.join(", ")),
                };
                error.field(format!("{path} ({place})")).try_this(remedy, "")
            }
            Self::Range { place, path, source } => {
                let error = error.field(format!("{path} ({place})"));
                match source {
                    RangeError::HostBits { meant, .. } => error.try_this(format!("write {meant}"), ""),
                    RangeError::Syntax { .. } | RangeError::Mapped { .. } => error,
                }
            }
            Self::TooLarge { file, .. } => error.object("file", "", file),
        }
    }
}

impl Error {
    /// The words without the place, which an envelope names in a field of its own.
    fn message(&self) -> String {
        let text = self.to_string();
        match self {
            Self::Malformed { place, .. }
            | Self::UnknownField { place, .. }
            | Self::UnknownKind { place, .. }
            | Self::ReadOnlyKind { place, .. }
            | Self::Invalid { place, .. }
            | Self::Range { place, .. } => {
                text.strip_prefix(&format!("{place}: ")).map(str::to_owned).unwrap_or(text)
            }
            Self::TooLarge { .. } => text,
        }
    }
}
