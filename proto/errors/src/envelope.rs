//! The form in which every error reaches a person or a program (ux: errors have four parts).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Code, INTERNAL, codes};

/// The object an error is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Kind, lower case: `pod`, `node`, `fabric`, `file`.
    pub kind: String,
    /// Namespace, empty where the kind has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.starts_with('/') {
            // A path of a file or directory.
            write!(f, "{} {}", self.kind, self.name)
        } else if self.namespace.is_empty() {
            write!(f, "{}/{}", self.kind, self.name)
        } else {
            write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// One thing to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remedy {
    /// In words.
    pub text: String,
    /// A command that can be pasted; empty when there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub command: String,
}

/// An error with its four parts: what failed, for which object and field, why, what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// Always `Error`.
    pub kind: String,
    /// `W2203`.
    pub code: String,
    /// CamelCase reason.
    pub reason: String,
    /// What failed, one sentence without a full stop.
    pub message: String,
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
    /// Field path (`spec.ranges.pods[0]`) or place in a file (`fabric.yaml:7:11`).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// Why, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cause: Vec<String>,
    /// What to do.
    pub remedy: Vec<Remedy>,
    /// Whether the same call may succeed later.
    pub retryable: bool,
}

impl Error {
    /// An error of a code, with the code's own remedy.
    pub fn new(code: &Code, message: impl Into<String>) -> Self {
        Self {
            kind: "Error".to_owned(),
            code: code.to_string(),
            reason: code.reason.to_owned(),
            message: message.into(),
            object: None,
            field: String::new(),
            cause: Vec::new(),
            remedy: vec![Remedy { text: code.remedy.to_owned(), command: String::new() }],
            retryable: code.retryable,
        }
    }

    /// Names the object.
    #[must_use]
    pub fn object(mut self, kind: &str, namespace: &str, name: impl fmt::Display) -> Self {
        self.object = Some(ObjectRef {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_string(),
        });
        self
    }

    /// Names the field or place.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    /// Adds a reason why.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause.push(cause.to_string());
        self
    }

    /// Replaces the code's general remedy by a particular one.
    #[must_use]
    pub fn try_this(mut self, text: impl Into<String>, command: impl Into<String>) -> Self {
        self.remedy = vec![Remedy { text: text.into(), command: command.into() }];
        self
    }

    /// The registered code; an unknown one (a newer peer's) counts as internal.
    pub fn registered(&self) -> &'static Code {
        codes::ALL.iter().copied().find(|c| c.to_string() == self.code).unwrap_or(&INTERNAL)
    }
}

impl fmt::Display for Error {
    /// One line, as printed off a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code, self.message)?;
        if let Some(object) = &self.object {
            write!(f, "; object {object}")?;
        }
        if !self.field.is_empty() {
            write!(f, "; at {}", self.field)?;
        }
        for cause in &self.cause {
            write!(f, "; because {cause}")?;
        }
        for remedy in &self.remedy {
            write!(f, "; try {}", remedy.text)?;
            if !remedy.command.is_empty() {
                write!(f, " ({})", remedy.command)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// An error of a crate that knows its code and can be shown to people.
pub trait Coded: std::error::Error {
    /// The registered code.
    fn code(&self) -> &'static Code;

    /// The whole envelope; crates override it to name object, field and causes.
    fn envelope(&self) -> Error {
        let mut error = Error::new(self.code(), self.to_string());
        let mut source = self.source();
        while let Some(cause) = source {
            error = error.because(cause);
            source = cause.source();
        }
        error
    }
}
