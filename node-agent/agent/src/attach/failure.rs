//! Errors as a container runtime reads them (CNI 1.1.0 section 5).

use serde_json::json;
use weft_errors::{CNI_INVALID, Coded, Error};

use super::version::Version;

/// What the codes of the specification and ours mean.
pub(crate) mod code {
    /// The version, or a verb in that version, isn't supported.
    pub(crate) const VERSION: u32 = 1;
    /// A field can't be honoured.
    pub(crate) const FIELD: u32 = 2;
    /// An environment variable is missing or wrong.
    pub(crate) const ENVIRONMENT: u32 = 4;
    /// The configuration isn't JSON of the right shape.
    pub(crate) const DECODE: u32 = 6;
    /// The configuration is of the right shape and wrong.
    pub(crate) const CONFIG: u32 = 7;
    /// The network namespace can't be used (library code, not in the specification).
    pub(crate) const NAMESPACE: u32 = 8;
    /// The same call may succeed soon.
    pub(crate) const LATER: u32 = 11;
    /// STATUS: not ready for ADD.
    pub(crate) const NOT_READY: u32 = 50;
    /// Ours: links.
    pub(crate) const LINKS: u32 = 101;
    /// Ours: routes.
    pub(crate) const ROUTES: u32 = 102;
    /// Ours: nf_tables.
    pub(crate) const NFT: u32 = 103;
    /// Ours: addresses and their journal.
    pub(crate) const LEDGER: u32 = 104;
    /// Ours: everything else.
    pub(crate) const OTHER: u32 = 199;
}

/// An error on its way to the runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CniFailure {
    /// One of [`code`].
    pub(crate) code: u32,
    /// What failed.
    pub(crate) message: String,
    /// Our code, causes and remedy.
    pub(crate) details: String,
}

impl CniFailure {
    /// A failure of the request itself; one of the runtime's or its configuration's making gets our code and a remedy.
    pub(crate) fn new(code: u32, message: impl Into<String>, details: impl Into<String>) -> Self {
        let (message, why) = (message.into(), details.into());
        let remedy = match code {
            code::VERSION => "write one of the supported versions into the conflist",
            code::FIELD => "leave it out of the configuration",
            code::ENVIRONMENT => "mend what the runtime sets",
            code::DECODE | code::CONFIG => "mend the named place of the configuration",
            _ => return Self { code, message, details: why },
        };
        let details = format!("{CNI_INVALID} {}; because {why}; try {remedy}", CNI_INVALID.reason);
        Self { code, message, details }
    }

    /// Any error of ours, with the CNI code that its own code means.
    pub(crate) fn of(error: &dyn Coded) -> Self {
        Self::of_envelope(&error.envelope())
    }

    /// As [`Self::of`].
    pub(crate) fn of_envelope(error: &Error) -> Self {
        let registered = error.registered();
        let code = match registered.number {
            2302 => code::LATER,
            2303..=2399 | 4402 => code::CONFIG,
            2400..=2499 | 4403 => code::LEDGER,
            4001 => code::LINKS,
            4002 | 4004 => code::ROUTES,
            4003 => code::NFT,
            4005 => code::NAMESPACE,
            _ => code::OTHER,
        };
        let mut details = format!("{} {}", error.code, error.reason);
        for cause in &error.cause {
            details.push_str(&format!("; because {cause}"));
        }
        for remedy in &error.remedy {
            details.push_str(&format!("; try {}", remedy.text));
        }
        Self { code, message: error.message.clone(), details }
    }

    /// The bytes for standard output.
    pub(crate) fn text(&self, version: Option<Version>) -> Vec<u8> {
        let version = version.unwrap_or(Version::V1_1_0).as_str();
        let body = json!({
            "cniVersion": version, "code": self.code, "msg": self.message, "details": self.details,
        });
        format!("{body}\n").into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use weft_errors::{ADDRESSES_EXHAUSTED, INTERNAL, LINK_FAILED, NAMESPACE_FAILED};

    use super::*;

    #[test]
    fn each_code_of_ours_has_one_of_cni() {
        for (ours, theirs) in [
            (&ADDRESSES_EXHAUSTED, code::LATER),
            (&LINK_FAILED, code::LINKS),
            (&NAMESPACE_FAILED, code::NAMESPACE),
            (&INTERNAL, code::OTHER),
        ] {
            let failure = CniFailure::of_envelope(&Error::new(ours, "it failed").because("of this"));
            assert_eq!(failure.code, theirs, "{}", ours.reason);
            assert!(failure.details.starts_with(&format!("{ours} {}; because of this; try ", ours.reason)));
        }
        let text = CniFailure::new(7, "a \"b\"", "c").text(Some(Version::V0_4_0));
        let text = String::from_utf8(text).unwrap();
        assert_eq!(
            text,
            "{\"cniVersion\":\"0.4.0\",\"code\":7,\"details\":\"W4402 CniInvalid; because c; try mend the named place of the configuration\",\"msg\":\"a \\\"b\\\"\"}\n"
        );
    }
}
