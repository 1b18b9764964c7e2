//! What goes back to the runtime.

use crate::json;

/// Bytes for standard output and the exit status.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u8,
    pub(crate) text: Vec<u8>,
}

/// An error as CNI 1.1.0 section 5 wants it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) version: String,
    pub(crate) code: u32,
    pub(crate) message: String,
    pub(crate) details: String,
}

impl Failure {
    /// What the runtime did wrong (codes 4 to 7 of the specification) carries our own code too.
    pub(crate) fn new(code: u32, message: impl Into<String>, details: impl Into<String>) -> Self {
        let details = match code {
            4..=7 => format!("W4402 CniInvalid; because {}", details.into()),
            _ => details.into(),
        };
        Self { version: "1.1.0".to_owned(), code, message: message.into(), details }
    }

    /// In the version of the configuration, when it names one.
    pub(crate) fn of_version(self, version: Option<String>) -> Self {
        Self { version: version.unwrap_or(self.version), ..self }
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        let Failure { version, code, message, details } = failure;
        let text = format!(
            "{{\"cniVersion\":{},\"code\":{code},\"msg\":{},\"details\":{}}}\n",
            json::text(&version),
            json::text(&message),
            json::text(&details)
        );
        Self { status: 1, text: text.into_bytes() }
    }
}

impl Answer {
    /// VERSION needs no agent.
    pub(crate) fn versions() -> Self {
        let text =
            "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n";
        Self { status: 0, text: text.as_bytes().to_vec() }
    }
}
