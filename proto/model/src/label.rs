//! The rule for labels, the same wherever they enter: as Kubernetes has it.

use crate::Name;

/// Most labels of one object (reliability, section 6); more are refused.
pub const MAX_LABELS: usize = 64;

const WORD: &str = "1 to 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit";

/// Why a label was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// What stands before `/` is no DNS subdomain.
    #[error("the part of label {key:?} before '/' is no DNS name")]
    Prefix {
        /// The key.
        key: String,
    },
    /// The name is malformed.
    #[error("label {key:?} has no valid name: {WORD}")]
    Key {
        /// The key.
        key: String,
    },
    /// The value is neither empty nor a word.
    #[error("value {value:?} of label {key:?} isn't valid: {WORD}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
}

/// Checks one label: an optional DNS subdomain and `/`, a name of 1 to 63 characters, a value that is empty or such a name
/// (Kubernetes, "Labels and Selectors", syntax and character set).
pub fn check_label(key: &str, value: &str) -> Result<(), LabelError> {
    let (prefix, short) = match key.split_once('/') {
        Some((prefix, short)) => (Some(prefix), short),
        None => (None, key),
    };
    if prefix.is_some_and(|prefix| Name::new(prefix).is_err()) {
        return Err(LabelError::Prefix { key: key.to_owned() });
    }
    if !is_word(short) {
        return Err(LabelError::Key { key: key.to_owned() });
    }
    if !value.is_empty() && !is_word(value) {
        return Err(LabelError::Value { key: key.to_owned(), value: value.to_owned() });
    }
    Ok(())
}

/// Checks the name of a port (RFC 6335 section 5.1).
///
/// # Errors
/// What it must be like.
pub fn check_port_name(text: &str) -> Result<(), &'static str> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if text.is_empty() || text.len() > 15 {
        Err("must be 1 to 15 characters")
    } else if !text.bytes().all(allowed) {
        Err("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    } else if !text.bytes().any(|b| b.is_ascii_lowercase()) {
        Err("must contain at least one letter (a-z)")
    } else if text.contains("--") {
        Err("must not contain consecutive hyphens")
    } else if text.starts_with('-') || text.ends_with('-') {
        Err("must not begin or end with a hyphen")
    } else {
        Ok(())
    }
}

fn is_word(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    text.len() <= 63 && text.bytes().all(inner) && ends(text.bytes().next()) && ends(text.bytes().next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: &str, value: &str, expected: &str) {
        let got = check_label(key, value).map_or_else(|error| error.to_string(), |()| String::new());
        assert!(got.starts_with(expected) && got.is_empty() == expected.is_empty(), "{key}={value}: {got}");
    }

    #[test]
    fn labels_are_as_kubernetes_has_them() {
        check("app", "web", "");
        check("app.kubernetes.io/name", "weft-ingress", "");
        check("zone", "", "");
        check("a_b.c-d", "X1", "");
        check("", "web", r#"label "" has no valid name"#);
        check("app", "-web", r#"value "-web" of label "app" isn't valid"#);
        check("app", "a b", r#"value "a b" of label "app" isn't valid"#);
        check("Not A Name/app", "web", r#"the part of label "Not A Name/app" before '/' is no DNS name"#);
        check("/app", "web", r#"the part of label "/app" before '/' is no DNS name"#);
        check("a/b/c", "web", r#"label "a/b/c" has no valid name"#);
        check(&"x".repeat(64), "web", "label \"xxx");
        check("app", &"x".repeat(64), "value \"xxx");
    }
}
