//! Labels and short texts, with the limits that Kubernetes has for labels.

use weft_model::{Labels, check_label};

use crate::{Error, limits};

/// At most 64 labels, each key and value as Kubernetes wants them.
pub(crate) fn check_labels(kind: &'static str, name: &str, labels: &Labels) -> Result<(), Error> {
    if labels.len() > limits::MAX_LABELS {
        let name = name.to_owned();
        return Err(Error::TooLarge { kind, name, what: "labels", limit: limits::MAX_LABELS });
    }
    for (key, value) in labels {
        check_label(key, value).map_err(|error| {
            Error::invalid(kind, name, format!("metadata.labels[{key}]"), error.to_string())
        })?;
    }
    Ok(())
}

/// A text that is shown and stored but has no structure: 1 to 253 printable ASCII characters without space.
pub(crate) fn check_text(kind: &'static str, name: &str, field: &str, text: &str) -> Result<(), Error> {
    if text.is_empty() || text.len() > limits::MAX_TEXT || !text.bytes().all(|b| b.is_ascii_graphic()) {
        let why = format!("{field} must be 1 to {} printable characters without spaces", limits::MAX_TEXT);
        return Err(Error::invalid(kind, name, field, why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use weft_errors::{Coded, OBJECT_INVALID, TOO_LARGE};

    use super::*;

    #[test]
    fn labels_are_checked_as_kubernetes_does() {
        let check = |key: &str, value: &str| {
            check_labels("pod", "shop/web", &[(key.to_owned(), value.to_owned())].into())
                .map_err(|e| e.code())
        };
        for (key, value, good) in [
            ("app", "web", true),
            ("app.kubernetes.io/name", "weft-ingress", true),
            ("zone", "", true),
            ("a_b.c-d", "X1", true),
            ("", "web", false),
            ("app", "-web", false),
            ("Not A Name/app", "web", false),
            ("/app", "web", false),
            ("a/b/c", "web", false),
            (&"x".repeat(64), "web", false),
        ] {
            assert_eq!(check(key, value), if good { Ok(()) } else { Err(&OBJECT_INVALID) }, "{key}={value}");
        }
        let many: Labels = (0..65).map(|n| (format!("l{n}"), String::new())).collect();
        assert_eq!(check_labels("pod", "p", &many).map_err(|e| e.code()), Err(&TOO_LARGE));
    }
}
